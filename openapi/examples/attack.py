"""Attacks the API of an example, as an issuer whose keys are ours: so every forgery has a good signature where that is
not what is forged, and every request for the keys is counted. Runs the command that it is given, and prints `ok`."""

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import subprocess
import sys
import threading
import time

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ISSUER = "https://tokens.example.com"
AUDIENCE = "https://orders.example.com"
MAX_AGE, PAUSE = 6, 5  # seconds for which the keys are good, and between two fetches

keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("old", "new", "never")}
published, broken = ["old"], False
fetched, listed = [], []  # the instants at which the keys were fetched, and the list of what is revoked
client = httpx.Client(timeout=60)


class Late(Exception):
    """The machine stood still, so that what had to be asked before an instant was asked after it."""


class Issuer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/.well-known/revocations":  # none is published
            listed.append(time.monotonic())
            return self.send_error(404)
        fetched.append(time.monotonic())
        self.send_response(500 if broken else 200)
        self.send_header("Cache-Control", f"public, max-age={MAX_AGE}")
        self.end_headers()
        self.wfile.write(jwks(published).encode())

    def log_message(self, *_):
        pass


def jwks(names):
    public = {name: ECAlgorithm.to_jwk(keys[name].public_key(), as_dict=True) for name in names}
    return json.dumps({"keys": [{**jwk, "kid": name, "alg": "ES256", "use": "sig"} for name, jwk in public.items()]})


def forge(key="old", alg="ES256", head=(), **claims):
    header = {"typ": "at+jwt", "kid": key, **dict(head)}
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "u", "exp": now + 60, "scope": "orders:read"}
    good |= {"iat": now, "jti": "j", "client_id": "c"}
    chosen = {name: value for name, value in {**good, **claims}.items() if value is not None}
    # By hand, since PyJWT will not write some of what has to be refused.
    header = {name: value for name, value in {"alg": alg, **header}.items() if value is not None}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header, chosen))
    return f"{signed}.{encode(sign(alg, key, signed.encode()))}"


def sign(alg, key, signed):
    public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    if alg == "none":
        return b""
    if alg == "HS256":
        return hmac.new(keys[key].public_key().public_bytes(*public), signed, hashlib.sha256).digest()
    if alg == "DER":
        return keys[key].sign(signed, ec.ECDSA(hashes.SHA256()))
    return ECAlgorithm(ECAlgorithm.SHA256).sign(signed, keys.get(key, keys["never"]))


def encode(octets):
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def ask(authorization):
    return client.get(url, headers={"Authorization": authorization.encode()} if authorization else {})


def expect(what, status, token, scheme="Bearer "):
    answer = ask(scheme + token if token else "")
    problems = [f"{answer.status_code}, not {status}"] if answer.status_code != status else []
    if answer.status_code in (401, 403) and not answer.headers.get("WWW-Authenticate", "").startswith("Bearer"):
        problems.append("no challenge")
    for problem in problems:
        failures.append(f"{what}: {problem}")


def sleep_until(instant):
    time.sleep(max(0, instant - time.monotonic()))


def expect_fetches(what, number, end):
    """So many fetches by now, where that is before the end of a time in which there is no other."""
    if time.monotonic() > end:
        raise Late
    if len(fetched) != number:
        failures.append(f"{what}: the keys were fetched {len(fetched)} times, not {number}")


@contextlib.contextmanager
def api(tokens_url):
    """The API of the example, and where it is."""
    environment = {**os.environ, "ISSUER": ISSUER, "TOKENS_URL": tokens_url, "PORT": "0"}
    process = subprocess.Popen(sys.argv[1:], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=60)


def attack():
    global broken
    now = int(time.time())
    # What it fetches it asks for after this, and has when it answers.
    asked = time.monotonic()
    expect("good", 200, forge())
    expect("bearer in small letters", 200, forge(), "bearer ")
    expect("an audience of several", 200, forge(aud=["https://x.example.com", AUDIENCE]))
    expect("a scope of several", 200, forge(scope="a orders:read z"))
    expect("ended within the leeway", 200, forge(exp=now - 1))
    expect("nothing", 401, None)
    expect("Basic", 401, "dTpw", "Basic ")
    for text in ("x", "a.b.c", "..", forge() + ".", forge()[:-8], "é"):
        expect(f"garbage: {text[:8]}", 401, text)
    for typ in ("rt+jwt", "JWT", None):
        expect(f"typ {typ}", 401, forge(head={"typ": typ}))
    for iss in ("https://other.example.com", ISSUER + "/", None, 1):
        expect(f"iss {iss}", 401, forge(iss=iss))
    for aud in ("https://billing.example.com", AUDIENCE + "/", None, [], 1):
        expect(f"aud {aud}", 401, forge(aud=aud))
    for exp in (now - 60, None, "soon"):
        expect(f"exp {exp}", 401, forge(exp=exp))
    for claim in ("iat", "jti", "sub", "client_id"):
        expect(f"no {claim}", 401, forge(**{claim: None}))
    for scope in (None, "", "orders:reads", "orders:write"):
        expect(f"scope {scope}", 403, forge(scope=scope))
    for alg in ("none", "HS256", "ES384"):
        expect(f"alg {alg}", 401, forge(alg=alg))
    head, claims, signature = forge().split(".")
    der = encode(sign("DER", "old", f"{head}.{claims}".encode()))
    another = forge(exp=now + 9).split(".")[2]
    for what, other in {"none": "", "noughts": encode(bytes(64)), "DER": der, "another": another}.items():
        expect(f"signature: {what}", 401, f"{head}.{claims}.{other}")
    expect("a key that is not theirs", 401, forge("never", head={"kid": "old"}))
    expect("no key id", 401, forge(head={"kid": None}))
    for number in range(20):
        expect("unknown key", 401, forge("never", head={"kid": f"k{number}"}))
    expect_fetches("unknown keys in the first seconds", 1, asked + PAUSE)

    published[:] = ["new"]
    sleep_until((fetched or [asked])[0] + PAUSE + 0.3)
    asked = time.monotonic()
    expect("a key that came later", 200, forge("new"))
    answered = time.monotonic()
    expect("a key that is gone", 401, forge("old"))
    expect_fetches("a new key", 2, asked + PAUSE)
    sleep_until(asked + MAX_AGE - 2)
    expect("within max-age", 200, forge("new"))
    expect_fetches("within max-age", 2, asked + MAX_AGE)
    broken = True
    sleep_until(answered + MAX_AGE + 0.5)
    asked = time.monotonic()
    expect("after max-age, without keys", 503, forge("new"))
    expect("again", 503, forge("new"))
    expect_fetches("after max-age", 3, asked + PAUSE)
    if len(listed) != 1:
        failures.append(f"where no list is published it was asked for {len(listed)} times, not once a minute")


def main():
    global broken, failures, url
    issuer = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    threading.Thread(target=issuer.serve_forever, daemon=True).start()
    for _ in range(5):
        published[:], broken, failures = ["old"], False, []
        fetched.clear()
        listed.clear()
        try:
            with api(f"http://127.0.0.1:{issuer.server_port}") as url:
                attack()
            break
        except Late:
            failures = ["the machine stood still each time"]
    for failure in failures:
        print(failure)
    print("failed" if failures else "ok")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
