"""What every client must do, whatever made it: the calls against the service, then strange answers of a stub."""

import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Protocol


class TokenPair(Protocol):
    value: str
    refresh: str
    expire: str


class TokenInfo(Protocol):
    scope: list[str]
    subject: str
    client: str


@dataclass
class Refused(Exception):
    """A refusal with what a client made of it; `error` is its name and message, if it has the errors' shape."""

    status: int
    error: tuple[str, str] | None
    headers: Mapping[str, str]


class Client(Protocol):
    def create(self, order: dict[str, Any], secret: str | None = None) -> TokenPair: ...
    def inspect(self, token: str, scope: list[str]) -> tuple[TokenInfo, dict[str, Any]]: ...
    def refresh(self, token: str, scope: list[str]) -> TokenPair: ...


def check(name: str, connect: Callable[[str], Client], unclear: type[Exception]) -> None:
    """Runs `connect(address)` through it all, and says so under `name`. Bodies that are no JSON raise `unclear`."""
    calls(connect(os.environ["SERVICE"]), os.environ["SECRET"])
    strange_answers(connect, unclear)
    print(f"ok: {name}: create, inspect, refresh, 401, 403; 429, 503, empty and HTML answers")


def calls(client: Client, secret: str) -> None:
    claims = {"tenant": ["acme", 7, True]}
    created = client.create({"scope": ["demo:read", "demo:write"], "subject": "user:7", "claims": claims}, secret)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", created.expire), created

    info, got = client.inspect(created.value, ["demo:read", "demo:write"])
    assert (info.subject, info.client, info.scope) == ("user:7", "demo", ["demo:read", "demo:write"]), info
    assert got == claims, got

    pair = client.refresh(created.refresh, ["demo:read"])
    assert client.inspect(pair.value, [])[0].scope == ["demo:read"]

    # Without credentials: an anonymous one.
    assert client.inspect(client.create({}).value, [])[0].subject == "anonymous"

    unauthorized = ("Unauthorized", "authentication failed")
    refused(lambda: client.create({}, "wrong"), 401, unauthorized)
    refused(lambda: client.inspect(created.refresh, []), 401, unauthorized)
    refused(lambda: client.refresh(created.value, []), 401, unauthorized)
    other = ("Forbidden", "the scope other is not allowed")
    refused(lambda: client.create({"scope": ["other"]}, secret), 403, other)
    write = ("Forbidden", "the token does not have the scope demo:write")
    refused(lambda: client.inspect(pair.value, ["demo:write"]), 403, write)


def raised(call: Callable[[], object]) -> Exception:
    try:
        value = call()
    except Exception as error:
        return error
    raise AssertionError(f"not refused: {value}")


def refused(call: Callable[[], object], status: int, error: tuple[str, str] | None) -> Mapping[str, str]:
    got = raised(call)
    assert isinstance(got, Refused), repr(got)
    assert (got.status, got.error) == (status, error), got
    return got.headers


def strange_answers(connect: Callable[[str], Client], unclear: type[Exception]) -> None:
    answer: tuple[int, dict[str, str], bytes] = (500, {}, b"")

    class Stub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Stub) as stub:
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        client = connect(f"http://127.0.0.1:{stub.server_port}")

        def everything() -> list[Callable[[], object]]:
            return [lambda: client.create({}), lambda: client.inspect("t", []), lambda: client.refresh("t", [])]

        # GET is never answered with 429 by the service itself, so the document does not type that: the status and headers
        # are there. 0, because urllib3 waits as long and asks again, three times.
        for status, name in [(429, "TooManyRequests"), (503, "ServiceUnavailable")]:
            body = json.dumps({"name": name, "message": "later", "stack": []}).encode()
            answer = (status, {"Content-Type": "application/json", "Retry-After": "0"}, body)
            for call, typed in zip(everything(), [True, status == 503, True], strict=True):
                headers = refused(call, status, (name, "later") if typed else None)
                assert headers["Retry-After"] == "0", headers

        # What a proxy says, and a 200 without a body.
        for status, body in [(502, b""), (502, b"<html><h1>502 Bad Gateway</h1></html>"), (200, b"")]:
            answer = (status, {"Content-Type": "text/html" if status == 502 else "application/json"}, body)
            for call in everything():
                got = raised(call)
                if isinstance(got, Refused):
                    assert (got.status, got.error) == (502, None), got
                else:
                    assert isinstance(got, unclear), repr(got)
        stub.shutdown()
