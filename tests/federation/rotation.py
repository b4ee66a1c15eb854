"""Issuers whose keys change while the service runs: one rotates them, one goes down, and a flood of tokens names keys that
one does not have. All three are trusted in a file of a team."""

import concurrent.futures
import http.client
import json
import re
import subprocess
import time
import urllib.parse

from issuers import Key, Site, segment
from service import ASSERTION_TYPE, ORDERS, equal, expect, until

# Seconds between two fetches of an issuer that has keys.
PAUSE = 30
FLOOD = 40
TEAM = """
[[clients]]
id       = "jobs"
grants   = ["client_credentials", "{jwt_bearer}", "{exchange}"]
scope    = ["orders:read"]
audience = ["{orders}"]
"""
ISSUER = """
[[issuers]]
issuer        = "{issuer.name}"
jwks_uri      = "{issuer.site.url}/keys"
allow_private = true

[[issuers.rules]]
match  = {{ sub = "nightly" }}
client = "jobs"
"""


class Issuer:
    """An issuer with a site of its own."""

    def __init__(self, name):
        self.name, self.site, self.key = f"https://{name}.example.net", Site(), Key("ES256")
        self.publish(self.key)

    def publish(self, *keys):
        self.site.documents["/keys"] = {"keys": [key.jwk for key in keys]}

    def claims(self, audience):
        now = int(time.time())
        return {"iss": self.name, "sub": "nightly", "aud": audience, "iat": now, "exp": now + 600}

    def fetches(self):
        return self.site.times("/keys")


class Team:
    """The issuers, and the file that trusts them."""

    def __init__(self):
        self.rotating, self.down, self.flooded = map(Issuer, ("rotating", "down", "flooded"))

    def write(self, folder, **words):
        issuers = (self.rotating, self.down, self.flooded)
        folder.mkdir()
        text = TEAM.format(**words) + "".join(ISSUER.format(issuer=issuer) for issuer in issuers)
        (folder / "team.toml").write_text(text)


def presented(token):
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": token}
    return urllib.parse.urlencode(form)


def latencies(service, token, seconds):
    """How long each request of a caller took that presents `token` again and again, sorted, in milliseconds."""
    connection = http.client.HTTPSConnection(service.url.removeprefix("https://"), context=service.trust, timeout=60)
    body, headers, took = presented(token), {"Content-Type": "application/x-www-form-urlencoded"}, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        connection.request("POST", "/oauth2/token", body, headers)
        answer = connection.getresponse()
        answer.read()
        took.append((time.monotonic() - begun) * 1_000)
        equal(answer.status, 200)
    connection.close()
    return sorted(took)


def shown(took):
    return f"p50 {took[len(took) // 2]:.1f} ms, p99 {took[len(took) * 99 // 100]:.1f} ms of {len(took)}"


def write_flood(service, issuer, folder):
    """What wrk is to send: tokens of 20,000 keys that nobody has, whose signatures are as long as real ones."""
    payload, signature = segment(json.dumps(issuer.claims(service.url)).encode()), segment(bytes(range(64)))
    header = lambda number: segment(json.dumps({"alg": "ES256", "kid": f"unknown-{number}"}).encode())
    lines = [presented(f"{header(number)}.{payload}.{signature}") for number in range(20_000)]
    (folder / "flood").write_text("\n".join(lines))
    (folder / "flood.lua").write_text(f"""
local bodies, next = {{}}, 0
for line in io.lines("{folder}/flood") do bodies[#bodies + 1] = line end
local headers = {{ ["Content-Type"] = "application/x-www-form-urlencoded" }}
function request()
  next = next % #bodies + 1
  return wrk.format("POST", "/oauth2/token", headers, bodies[next])
end
""")
    return folder / "flood.lua"


def check_flood(world):
    """However fast unknown kids come, the issuer is asked at most once in 30 s; other issuers' callers are served."""
    service, issuer, other = world.service, world.team.flooded, world.team.rotating
    service.gives(issuer.key.sign(issuer.claims(service.url)), "jobs", "jobs", "orders:read")
    first = time.monotonic()
    token = other.key.sign(other.claims(service.url))
    before = latencies(service, token, 5)
    script = write_flood(service, issuer, world.folder)
    command = ["wrk", "-t1", "-c16", f"-d{FLOOD}s", "-s", script, service.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flood:
        during = latencies(service, token, FLOOD - 5)
        said = flood.communicate()[0]
    expect(flood.returncode == 0, f"wrk: {said}")
    elapsed = time.monotonic() - first
    # The service counts whole seconds.
    most = 1 + int(elapsed / (PAUSE - 1))
    expect(2 <= issuer.fetches() <= most, f"{issuer.fetches()} fetches in {elapsed:.0f} s, expected 2 to {most}")
    [answers], [rate] = re.findall(r"(\d+) requests in", said), re.findall(r"Requests/sec: +([\d.]+)", said)
    [refused] = re.findall(r"Non-2xx or 3xx responses: (\d+)", said)
    equal(refused, answers)
    service.gives(issuer.key.sign(issuer.claims(service.url)), "jobs", "jobs", "orders:read")
    print(f"    {rate} unknown kids/s for {FLOOD} s; another issuer's caller before: {shown(before)}; during: {shown(during)}")
    return f"a flood of {answers} unknown kids: {issuer.fetches()} fetches in {elapsed:.0f} s"


def check_new_key(world):
    """A new key is fetched with the first token that it signed, once for all that come together."""
    service, issuer = world.service, world.team.rotating
    asked, new = issuer.fetches(), Key("ES256")
    issuer.publish(issuer.key, new)
    token = new.sign(issuer.claims(service.url))
    with concurrent.futures.ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda _: service.doors(token), range(16)))
    statuses = {status for doors in answers for status, _, _ in doors}
    equal((statuses, issuer.fetches()), ({200}, asked + 1))
    # The old one is published no more. Its tokens are accepted until the keys are fetched again.
    issuer.publish(new)
    service.gives(issuer.key.sign(issuer.claims(service.url)), "jobs", "jobs", "orders:read")
    equal(issuer.fetches(), asked + 1)
    return new, time.monotonic()


def check_outage(world):
    """Where the issuer cannot be reached, the last good set serves, and the operator is told."""
    service, issuer = world.service, world.team.down
    good, begin = issuer.key.sign(issuer.claims(service.url)), service.log.stat().st_size
    issuer.site.shutdown()
    issuer.site.server_close()
    # This one needs a fetch, which fails.
    service.refuses(Key("ES256").sign(issuer.claims(service.url)), "unknown_key")
    service.gives(good, "jobs", "jobs", "orders:read")
    page, metrics = json.loads(service.operator("/readyz")), service.operator("/metrics")
    equal(page["status"], "ok")
    warned = [one for one in page["warnings"] if issuer.name in one]
    expect(len(warned) == 1 and "s old and serve for a day" in warned[0], f"the operator's page has no warning: {page}")
    [age] = re.findall(rf'^lingpai_issuer_keys_age_seconds{{issuer="{issuer.name}"}} (\d+)$', metrics, re.MULTILINE)
    expect(int(age) >= PAUSE, f"the metric says that the keys are {age} s old")
    until(lambda: "an issuer's keys cannot be fetched" in service.tail(begin), "a warning in the log")
    equal(issuer.fetches(), 1)


def check_old_key(world, new, fetched):
    """A key that is published no more is refused after the next fetch."""
    service, issuer = world.service, world.team.rotating
    until(lambda: time.monotonic() > fetched + PAUSE + 1, "the next fetch may come")
    asked = issuer.fetches()
    service.refuses(Key("ES256").sign(issuer.claims(service.url)), "unknown_key")
    equal(issuer.fetches(), asked + 1)
    service.refuses(issuer.key.sign(issuer.claims(service.url)), "unknown_key")
    service.gives(new.sign(issuer.claims(service.url)), "jobs", "jobs", "orders:read")
    equal(issuer.fetches(), asked + 1)


def check(world, say):
    service, team = world.service, world.team
    for issuer in (team.rotating, team.down):
        service.gives(issuer.key.sign(issuer.claims(service.url)), "jobs", "jobs", "orders:read")
        equal(issuer.fetches(), 1)
    say(check_flood(world))
    new, fetched = check_new_key(world)
    check_outage(world)
    say("an issuer that is down: the last good keys serve; a warning, the metric, the log")
    check_old_key(world, new, fetched)
    say("an issuer rotates its keys: the new one is fetched once for 48 requests; the old one ends with the next fetch")
