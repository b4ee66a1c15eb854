"""Whether a Grafana dashboard is one: every member is known to Grafana's own types, and has its type.

python dashboard.py FILE, with the package in requirements.txt."""

import enum
import json
import sys
import typing

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard


def lost(before, after, path=""):
    """What was not read, because no type has a member of that name."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after[name], f"{path}/{name}") if name in after else [f"{path}/{name}: unknown"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after)):
            yield from lost(*pair, f"{path}/{index}")
    elif before != after:
        yield f"{path}: {before!r} is read as {after!r}"


def mistyped(value, hint, path=""):
    """What is not of the type that the package's annotations say."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (typing.Any, object) or isinstance(hint, typing.TypeVar):
        hint = type(value)
    if origin is typing.Union:
        found = [list(mistyped(value, one, path)) for one in arguments]
        yield from min(found, key=len)
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{path}: {value!r} is none of {arguments}"
    elif origin in (list, dict):
        if not isinstance(value, origin):
            yield f"{path}: {value!r} is no {origin.__name__}"
            return
        for key, item in value.items() if origin is dict else enumerate(value):
            yield from mistyped(item, arguments[-1], f"{path}/{key}")
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [one.value for one in hint]:
            yield f"{path}: {value!r} is none of {[one.value for one in hint]}"
    elif hint is float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{path}: {value!r} is no number"
    elif isinstance(hint, type) and (not isinstance(value, hint) or hint is int and isinstance(value, bool)):
        yield f"{path}: {value!r} is no {hint.__name__}"
    elif hasattr(value, "to_json"):
        for name, item in vars(value).items():
            yield from mistyped(item, typing.get_type_hints(type(value)).get(name, typing.Any), f"{path}/{name}")


def main(file):
    plugins.register_default_plugins()
    with open(file) as opened:
        text = json.load(opened)
    read = dashboard.Dashboard.from_json(text)
    wrong = [*lost(text, json.loads(JSONEncoder().encode(read))), *mistyped(read, dashboard.Dashboard)]
    for panel in read.panels:
        if isinstance(panel.options, dict):
            wrong.append(f"{panel.title}: there is no panel of type {panel.type_val!r}")
    for panel in text["panels"]:
        ends = panel["gridPos"]["x"] + panel["gridPos"]["w"]
        if ends > 24:
            wrong.append(f"{panel['title']}: ends at column {ends} of 24")
    for what in ("id", "title"):
        if len({panel[what] for panel in text["panels"]}) != len(text["panels"]):
            wrong.append(f"two panels have one {what}")
    if wrong:
        sys.exit("\n".join(wrong))


main(sys.argv[1])
