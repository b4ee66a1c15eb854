"""Tokens that nobody should issue: signed with a key file by the openssl command, or not at all."""

import base64
import functools
import hashlib
import hmac
import json
import re
import secrets
import subprocess
import time


def encode(data):
    if isinstance(data, dict):
        # As lingpai writes it.
        data = json.dumps(data, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(segment):
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def parts(token):
    """Header and claims."""
    return tuple(json.loads(decode(segment)) for segment in token.split(".")[:2])


def openssl(key, message):
    """The signature as openssl writes it, in DER."""
    command = ["openssl", "dgst", "-sha256", "-sign", key]
    return subprocess.run(command, input=message, check=True, capture_output=True).stdout


def es256(key, message):
    """r and s, 32 bytes each (RFC 7518 §3.4)."""
    text = subprocess.run(["openssl", "asn1parse", "-inform", "DER"], input=openssl(key, message), check=True,
                          capture_output=True).stdout.decode()
    r, s = re.findall(r"INTEGER +:([0-9A-F]+)", text)
    return bytes.fromhex(r.zfill(64) + s.zfill(64))


def join(header, claims, sign):
    message = f"{encode(header)}.{encode(claims)}"
    return f"{message}.{encode(sign(message.encode()))}"


def as_written(good, claims, key):
    """Other claims under the header of `good`, which lingpai compares byte for byte."""
    message = f"{good.split('.')[0]}.{encode(claims)}"
    return f"{message}.{encode(es256(key, message.encode()))}"


def new_key(file):
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file]
    subprocess.run(command, check=True, capture_output=True)
    return file


def certificate(key):
    """One that this key vouches for itself, in DER."""
    command = ["openssl", "req", "-x509", "-new", "-key", key, "-subj", "/CN=stranger", "-days", "2", "-outform", "DER"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def forged(good, public, stranger, strangers_public):
    """Name and token: each claims what `good` does, and whoever made it has not the key of the PEM text `public`."""
    header, claims = parts(good)
    message, _, signature = good.rpartition(".")
    first, second, _ = good.split(".")
    for alg in ("none", "None", "NONE", ""):
        yield f"alg {alg!r}", join(header | {"alg": alg}, claims, lambda _: b"")
        yield f"alg {alg!r} with the signature", f"{encode(header | {'alg': alg})}.{second}.{signature}"
    yield "no signature", message + "."
    yield "two segments", message
    yield "four segments", good + "." + signature
    yield "a wider scope", f"{first}.{encode(claims | {'scope': 'orders:read orders:write'})}.{signature}"
    yield "another subject", f"{first}.{encode(claims | {'sub': 'user:1'})}.{signature}"
    yield "zeros", f"{message}.{encode(bytes(64))}"
    yield "a short signature", f"{message}.{signature[:-4]}"
    for what, secret in (("PEM", public), ("trimmed PEM", public.strip()), ("nothing", b"")):
        sign = functools.partial(hmac.digest, secret, digest=hashlib.sha256)
        yield f"HS256 with the public {what}", join(header | {"alg": "HS256"}, claims, sign)
    for what, changed in (
        ("its kid", {}),
        ("no kid", {"kid": None}),
        ("an unknown kid", {"kid": "A" * 43}),
        ("a kid that is a path", {"kid": f"../{stranger.parent.name}/{stranger.stem}"}),
        ("its own jwk", {"jwk": {"kty": "EC", "crv": "P-256", **strangers_public}}),
        ("its own jku", {"jku": "http://127.0.0.1/jwks.json"}),
        ("crit", {"crit": ["exp"]}),
    ):
        yield f"a stranger's key and {what}", join(header | changed, claims, functools.partial(es256, stranger))
    yield "DER with its kid", join(header, claims, functools.partial(openssl, stranger))


def genuine_but_wrong(good, key):
    """Name and token: each is signed with the key file `key`, and is not to be accepted."""
    header, claims = parts(good)
    now = int(time.time())
    orders = claims["aud"]

    def without(name):
        return {member: value for member, value in claims.items() if member != name}

    for what, head, said in (
        ("ended", {}, claims | {"iat": now - 60, "exp": now - 6}),
        ("without an end", {}, without("exp")),
        ("from tomorrow", {}, claims | {"iat": now + 86_400, "exp": now + 86_460}),
        ("not before tomorrow", {}, claims | {"nbf": now + 86_400}),
        ("another issuer's", {}, claims | {"iss": "https://tokens.example.com.evil"}),
        ("without issuer", {}, without("iss")),
        ("of another type", {"typ": "JWT"}, claims),
        ("without type", {"typ": None}, claims),
        ("for another service", {}, claims | {"aud": "https://billing.example.com"}),
        ("for others", {}, claims | {"aud": ["https://a.example", orders + "/", "x" + orders, orders + '",']}),
        ("for whom is called like a list", {}, claims | {"aud": json.dumps([orders])}),
        ("for nobody", {}, without("aud")),
        ("ES384 by its header", {"alg": "ES384"}, claims),
    ):
        yield what, join(header | head, said, functools.partial(es256, key))


def genuine(good, key):
    """Name and token: unusual, but to be accepted."""
    claims, now = parts(good)[1], int(time.time())
    for what, said in (
        ("ended, but clocks may differ", claims | {"iat": now - 60, "exp": now - 1}),
        ("for the eighth of eight", claims | {"aud": [f"https://{n}.example" for n in range(7)] + [claims["aud"]]}),
    ):
        yield what, as_written(good, said, key)


def jwk(key):
    """The public part of a P-256 key file, in the order of its thumbprint (RFC 7638)."""
    command = ["openssl", "pkey", "-pubout", "-outform", "DER", "-in", key]
    point = subprocess.run(command, check=True, capture_output=True).stdout[-64:]
    return {"crv": "P-256", "kty": "EC", "x": encode(point[:32]), "y": encode(point[32:])}


def proof(key, method, url, token=None, **more):
    """A DPoP proof (RFC 9449 §4.2)."""
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(key)}
    claims = {"jti": secrets.token_hex(16), "htm": method, "htu": url, "iat": int(time.time())}
    if token:
        claims["ath"] = encode(hashlib.sha256(token.encode()).digest())
    return join(header, claims | more, functools.partial(es256, key))
