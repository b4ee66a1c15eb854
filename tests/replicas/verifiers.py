"""Independent verifiers, which know the published keys and nothing else, and the schedule."""

import collections
import json
import pathlib
import queue
import re
import subprocess
import threading
import urllib.request

import jwt

from cluster import ALGORITHMS, AUDIENCE, ISSUER, LEEWAY, claims, header
from crew import until

COOLDOWN = 5  # seconds between two looks at the published keys for the sake of an unknown one
TIMEOUT = 60
REQUIRED = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]


class PyJWT:
    name = "verified by PyJWT"

    def __init__(self, crew, ledger, jwks, max_age):
        self.crew, self.ledger = crew, ledger
        self.keys = jwt.PyJWKClient(jwks, lifespan=max_age, cooldown_duration=COOLDOWN, timeout=TIMEOUT)
        self.waiting = queue.SimpleQueue()
        crew.thread(self.work)

    def take(self, token):
        self.waiting.put(token)

    def work(self):
        while not self.crew.stopped.is_set():
            try:
                token = self.waiting.get(timeout=1)
            except queue.Empty:
                continue
            try:
                self.verify(token)
            except jwt.PyJWTError as error:
                self.ledger.fail(self.name, type(error).__name__, str(error))
            else:
                self.ledger.ok(self.name)

    def verify(self, token):
        if header(token)["typ"] != "at+jwt":
            raise jwt.InvalidTokenError("not an access token")
        key = self.keys.get_signing_key_from_jwt(token)
        jwt.decode(
            token, key, algorithms=list(ALGORITHMS.values()), audience=AUDIENCE, issuer=ISSUER, leeway=LEEWAY,
            options={"require": REQUIRED},
        )


class Jose:
    name = "verified by jose"

    def __init__(self, crew, ledger, jwks, max_age):
        self.crew, self.ledger = crew, ledger
        settings = {
            "jwks": jwks, "timeout": TIMEOUT, "maxAge": max_age, "cooldown": COOLDOWN, "issuer": ISSUER,
            "audience": AUDIENCE, "leeway": LEEWAY, "algorithms": list(ALGORITHMS.values()), "required": REQUIRED,
        }
        script = pathlib.Path(__file__).with_name("verify.mjs")
        self.process = crew.process(
            ["node", script, json.dumps(settings)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        crew.thread(self.work)

    def take(self, token):
        self.process.stdin.write(f"{token}\n")

    def work(self):
        for verdict in self.process.stdout:
            if verdict == "ok\n":
                self.ledger.ok(self.name)
            else:
                cause, _, detail = verdict.strip().partition(" ")
                self.ledger.fail(self.name, cause, detail)


class Verifiers:
    """All that look at the tokens that were issued."""

    SCHEDULE = "signed on schedule"

    def __init__(self, crew, ledger, central, base):
        jwks = f"{base}/.well-known/jwks.json"
        with urllib.request.urlopen(jwks, timeout=TIMEOUT) as response:
            max_age = int(re.search(r"max-age=(\d+)", response.headers["Cache-Control"])[1])
        self.ledger, self.central = ledger, central
        self.strangers = [PyJWT(crew, ledger, jwks, max_age), Jose(crew, ledger, jwks, max_age)]
        self.names = [self.SCHEDULE] + [stranger.name for stranger in self.strangers]
        self.signed = collections.Counter()  # tokens by kid
        self.lock = threading.Lock()
        self.taken = 0

    def take_new(self, token):
        """One that was issued just now."""
        said, content = header(token), claims(token)
        algorithm = ALGORITHMS[content["client_id"]]
        expected = self.central.signer(algorithm, content["iat"])
        if (said["alg"], said["kid"]) == (algorithm, expected):
            self.ledger.ok(self.SCHEDULE)
        else:
            self.ledger.fail(self.SCHEDULE, "another key", f"{said} at {content['iat']} instead of {expected}")
        with self.lock:
            self.signed[said["kid"]] += 1
        self.take(token)

    def take(self, token):
        with self.lock:
            self.taken += 1
            for stranger in self.strangers:
                stranger.take(token)

    def settle(self):
        def done():
            tries = self.ledger.tries()
            return all(tries[stranger.name] == self.taken for stranger in self.strangers)

        until(done, "every token has been verified", 300)
