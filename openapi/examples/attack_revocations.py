"""Attacks what the API of an example makes of a list of revocations. The issuer is ours, so that it can publish lists
that nobody may believe. Runs the command that it is given, several times, and prints `ok`."""

import contextlib
import http.server
import sys
import threading
import time

import attack
from attack import ISSUER, PAUSE, forge

MINUTE = 60  # how long an API may believe that there is no list, or that its own is the newest
failures = []


class Service(http.server.ThreadingHTTPServer):
    """An issuer, which publishes what `answer` is: a status, a list and for how many seconds it may be kept."""

    def __init__(self, *answer):
        super().__init__(("127.0.0.1", 0), Paths)
        self.answer, self.listed = answer, []  # the instants at which the list was asked for
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def publish(self, *answer):
        """Publishes another, and waits until the API has asked for it."""
        self.answer = answer
        self.wait(len(self.listed) + 1)

    def wait(self, number):
        """Waits until the API has asked for the list so many times."""
        end = time.monotonic() + 2 * MINUTE
        while len(self.listed) < number and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.5)


class Paths(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, body, age = 200, attack.jwks(["old"]), 300
        if self.path == "/.well-known/revocations":
            self.server.listed.append(time.monotonic())
            status, body, age = self.server.answer
        self.send_response(status)
        self.send_header("Cache-Control", f"public, max-age={age}")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def api_of(service):
    """The API of the example, as a function from a token to a status."""
    with attack.api(f"http://127.0.0.1:{service.server_port}") as url:
        yield lambda token: attack.client.get(url, headers={"Authorization": f"Bearer {token}"}).status_code
    service.shutdown()


def list_of(key="old", typ="revocations+jwt", head=(), jti=(), session=(), client=(), subject=(), **claims):
    revoked = {"jti": list(jti), "session": list(session), "client": dict(client), "subject": dict(subject)}
    absent = dict.fromkeys(("aud", "sub", "scope", "jti", "client_id"))
    return forge(key, head={"typ": typ, **dict(head)}, **{**absent, "revoked": revoked, **claims})


def expect(what, status, answer):
    if answer != status:
        failures.append(f"{what}: {answer}, not {status}")


def attack_entries():
    """Every kind of entry, and when a token began; then lists that come later, and none."""
    now = int(time.time())
    names = {"jti": ["ended"], "session": ["1.ended"], "client": {"gone": now}, "subject": {"user:7": now}}
    exp = now + 12
    service = Service(200, list_of(exp=exp, **names), 1)
    with api_of(service) as status:
        expect("good", 200, status(forge()))
        expect("jti", 401, status(forge(jti="ended")))
        expect("sid", 401, status(forge(sid="1.ended")))
        expect("another sid", 200, status(forge(sid="1.other")))
        # A client's id is a subject too, so either kind of line matches it anywhere.
        for name in ("gone", "user:7"):
            for what, claims in {
                "client_id": {"client_id": name},
                "sub": {"sub": name},
                "act": {"act": {"sub": name}},
                "act within act": {"act": {"sub": "a", "act": {"sub": "b", "act": {"sub": name}}}},
            }.items():
                expect(f"{what} {name}, earlier", 401, status(forge(iat=now - 1, **claims)))
                expect(f"{what} {name}, later", 200, status(forge(iat=now, **claims)))
                expect(f"{what} {name}, refreshed", 401, status(forge(iat=now, sid=f"{now - 1}.x", **claims)))
                expect(f"{what} {name}, session later", 200, status(forge(iat=now - 1, sid=f"{now}.x", **claims)))
        for name in ("constructor", "__proto__", "jti"):
            expect(f"subject {name}", 200, status(forge(sub=name, iat=1)))
        expect("revoked, and without scope", 401, status(forge(jti="ended", scope=None)))

        # One that is not believed does not replace the one at hand, which is good until its `exp`.
        service.publish(200, list_of("never", head={"kid": "old"}, jti=["j"]), 1)
        kept = status(forge()), status(forge(jti="ended"))
        if time.time() >= exp:
            raise attack.Late
        expect("a forged list after a good one", (200, 401), kept)
        service.answer = 500, "", 1
        time.sleep(max(0, exp + 0.5 - time.time()))
        expect("no list after its exp", 503, status(forge()))
        service.publish(404, "", 1)
        expect("no list any more", (200, 200), (status(forge()), status(forge(jti="ended"))))
        between = [after - before for before, after in zip(service.listed, service.listed[1:])]
        if min(between) < PAUSE - 0.5:
            failures.append(f"the list was fetched again after {min(between):.1f} s")


def attack_lists():
    """An API that knows only a list that it must not believe knows nothing."""
    now = int(time.time())
    head, claims, signature = list_of().split(".")
    for what, answer in {
        "another key": (200, list_of("never", head={"kid": "old"})),
        "unknown key": (200, list_of("never")),
        "an access token's type": (200, list_of(typ="at+jwt")),
        "a refresh token's type": (200, list_of(typ="rt+jwt")),
        "no type": (200, list_of(typ=None)),
        "another issuer": (200, list_of(iss="https://other.example.com")),
        "expired": (200, list_of(iat=now - 700, exp=now - 60)),
        "expired within the leeway": (200, list_of(iat=now - 700, exp=now - 1)),
        "no end": (200, list_of(exp=None)),
        "no algorithm": (200, list_of(alg="none")),
        "no signature": (200, f"{head}.{claims}."),
        "garbage": (200, "x"),
        "nothing": (200, ""),
        "an error": (500, list_of()),
    }.items():
        with api_of(Service(*answer, 60)) as status:
            expect(f"a list with {what}", 503, status(forge()))
            expect(f"a list with {what}, and a forged token", 401, status(forge("never", head={"kid": "old"})))


def main():
    # Whatever was said before, after a minute the newest list counts.
    silent, slow = Service(404, "", 3_600), Service(200, list_of(exp=int(time.time()) + 600), 3_600)
    with api_of(silent) as one, api_of(slow) as other:
        expect("before there is a list", (200, 200), (one(forge()), other(forge())))
        for service in (silent, slow):
            service.answer = 200, list_of(jti=["j"], exp=int(time.time()) + 600), 60
        failed = list(failures)
        for _ in range(5):
            failures[:] = failed
            with contextlib.suppress(attack.Late):
                attack_entries()
                break
        else:
            failures.append("the machine stood still each time")
        attack_lists()
        for service in (silent, slow):
            service.wait(2)
            if service.listed[1:2] > [service.listed[0] + MINUTE + 10]:
                failures.append("the list was not fetched again within a minute")
        expect("after a minute without a list, and with an old one", (401, 401), (one(forge()), other(forge())))
    for failure in failures:
        print(failure)
    print("failed" if failures else "ok")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
