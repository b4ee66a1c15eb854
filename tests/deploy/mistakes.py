"""Each mistake at a start, and under a replica that runs, with the first line of what is said."""

import collections
import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from service import AS_POD, ENVIRONMENT, IS_ROOT, Client, Place, Server, Volume, expect, until

INTERVAL = 1  # second
CONFIG = """\
issuer = "https://tokens.example.com"
[keys]
path = "%s"
[reload]
interval = "%ds"
[ops]
listen = "127.0.0.1:0"
"""


class Pod:
    """A pod's volumes, good at first: a key that has signed for two hours."""

    def __init__(self, place, client):
        self.place = place
        self.config, self.keys = Volume(place.folder / "config", 0o644), Volume(place.folder / "keys")
        self.text = CONFIG % (self.keys.path, INTERVAL) + client.table
        self.good = dict([self.key(-7200)])
        self.file = self.config.path / "lingpai.toml"
        self.mend()

    def key(self, ahead):
        """A key that signs in so many seconds."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + ahead))
        # A folder of its own: beside other keys not every instant is allowed.
        return self.place.new_key(tempfile.mkdtemp(dir=self.place.folder), "--at", at)

    def mend(self):
        if not self.keys.path.exists():
            self.keys.path.with_name("unmounted").rename(self.keys.path)
        self.keys.mode = 0o440
        self.keys.write(self.good)
        self.config.write({"lingpai.toml": self.text.encode()})

    def unmount(self):
        self.keys.path.rename(self.keys.path.with_name("unmounted"))

    def write_with_mode(self, mode):
        self.keys.mode = mode
        self.keys.write(self.good)

    def change(self, old, new):
        self.config.write({"lingpai.toml": self.text.replace(old, new).encode()})


@dataclasses.dataclass
class Mistake:
    name: str
    spoil: Callable[[Pod], None]
    # With KEYS and CONFIG for the volumes' paths, KEY for a key's and NAME for its name.
    said: str
    clock: str = "+0h"
    # What a start cannot know.
    only_running: bool = False


NO_KEY = "KEYS: holds no ES256 key that signs now"
MISTAKES = [
    Mistake("a missing mount", Pod.unmount,
            f"{NO_KEY}, because the folder does not exist; put it back, or make one with `lingpai keys new --alg ES256`"),
    Mistake("an empty Secret", lambda pod: pod.keys.write({"README": b""}),
            f"{NO_KEY}; make one with `lingpai keys new --alg ES256`"),
    Mistake("the default mode of a Secret", lambda pod: pod.write_with_mode(0o644),
            "KEY: has mode 0644, so others can read or change it; expected 0600 or 0640: `chmod 600 KEY`"),
    Mistake("a mode without the group", lambda pod: pod.write_with_mode(0o400),
            "KEY: cannot be opened by the user that this process runs as; expected a file of that user, or one of its group "
            "with mode 0640"),
    Mistake("a typo in a name", lambda pod: pod.change("interval", "intervall"),
            "CONFIG/lingpai.toml:5:1: unknown field `intervall`; did you mean `interval`?"),
    Mistake("a typo in a value", lambda pod: pod.change('"1s"', '"1sec"'),
            'CONFIG/lingpai.toml:5:12: expected a duration: an integer and one of s, m, h, d, for example "10m"'),
    Mistake("a ConfigMap without the file", lambda pod: pod.config.write({"lingpai.tml": b""}),
            "CONFIG/lingpai.toml: there is no such file; `lingpai init` writes one"),
    # New keys, such as of a Secret that was made again, by a clock that is right.
    Mistake("a clock an hour behind", lambda pod: pod.keys.write(dict([pod.key(-300)])),
            f"{NO_KEY}: the first is NAME, and this machine's clock says TIME; put an earlier key back if one is "
            "missing, or set the clock if it is wrong; in an emergency, `lingpai keys rotate --now`", clock="-1h"),
    # The next key, published in time by a clock that is right.
    Mistake("a clock an hour ahead", lambda pod: pod.keys.write(pod.good | dict([pod.key(660)])),
            "KEYS: NAME is new, and dated more than 60 s back: a new key must start at a future instant, so that "
            "verifiers learn of it first; ", clock="+1h", only_running=True),
]


def pattern(mistake, pod):
    name = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.es256\.pem"
    words = {"KEYS": re.escape(str(pod.keys.path)), "CONFIG": re.escape(str(pod.config.path)), "NAME": name}
    words |= {"KEY": rf"{words['KEYS']}/{name}", "TIME": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"}
    return re.sub(r"\b(KEYS|KEY|CONFIG|NAME|TIME)\b", lambda word: words[word[0]], re.escape(mistake.said))


def start(place, pod, mistake):
    """A new pod says it and ends; returns how many seconds that took."""
    begin = time.monotonic()
    run = subprocess.run(
        [*with_clock(mistake), place.binary, "serve", "--config", pod.file, "--listen", "127.0.0.1:0"],
        check=False, capture_output=True, text=True, timeout=60, env=ENVIRONMENT, **AS_POD,
    )
    took = time.monotonic() - begin
    lines = run.stderr.splitlines()
    expect(run.returncode == 2 and len(lines) == 1 and not run.stdout, f"{mistake.name}: {run}")
    expect(re.fullmatch("lingpai: " + pattern(mistake, pod), lines[0]), f"{mistake.name}: a start says {lines[0]}")
    return took


def with_clock(mistake):
    return [] if mistake.clock == "+0h" else ["faketime", "-f", mistake.clock]


def running(place, pod, client, mistake):
    """An old pod says it and goes on; and again all is well when it is mended."""
    fake = {}
    if preload := with_clock(mistake):
        library = subprocess.check_output([*preload, "printenv", "LD_PRELOAD"], text=True).strip()
        fake = {"LD_PRELOAD": library, "FAKETIME": mistake.clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with Server(place, pod.file, fake) as server:
        expect(server.readiness()["reload_error"] is None, f"{mistake.name}: an error before it")
        mistake.spoil(pod)
        # A look that came while the volume was being written may have found another mistake in it, for one interval.
        took = until(
            lambda: re.match("configuration: " + pattern(mistake, pod), server.readiness()["reload_error"] or ""),
            f"{mistake.name}: the operator reads it",
        )

        def refused():
            return [line for line in server.log.read_text().splitlines() if '"reload refused' in line]

        until(lambda: any(re.search(pattern(mistake, pod), json.loads(line)["error"]) for line in refused()),
              f"{mistake.name}: the log says it")
        time.sleep(INTERVAL + 0.2)
        causes = collections.Counter(json.loads(line)["error"] for line in refused())
        expect(set(causes.values()) == {1}, f"{mistake.name}: the log repeats itself: {causes}")
        expect(all('"level":"ERROR"' in line for line in refused()), f"{mistake.name}: the log says {refused()}")
        expect(server.counted("lingpai_reload_failures_total") >= 1, f"{mistake.name}: it is not counted")
        expect(server.token(client)[0] == 200, f"{mistake.name}: no token")
        pod.mend()
        until(lambda: server.readiness()["reload_error"] is None, f"{mistake.name}: it is mended")
        expect(server.token(client)[0] == 200, f"{mistake.name}: no token afterwards")
        expect(server.end() == 0, f"{mistake.name}: it does not end well")
    return took


def main():
    client = Client()
    for mistake in MISTAKES:
        if mistake.name == "a mode without the group" and not IS_ROOT:
            print(f"not root, so not tried: {mistake.name}")
            continue
        with Place() as place:
            pod = Pod(place, client)
            at_run = running(place, pod, client, mistake)
            at_start = "cannot tell"
            if not mistake.only_running:
                mistake.spoil(pod)
                at_start = f"{start(place, pod, mistake):.2f} s"
        print(f"ok: {mistake.name}: a replica says it after {at_run:.2f} s and goes on, a start: {at_start}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
