"""Verifies lingpai's access tokens with PyJWT and nothing but the published keys, for every algorithm."""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import jwt

LINGPAI = pathlib.Path("target/debug/lingpai").resolve()
RSA = ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LINGPAI_")}


def lingpai(*arguments, cwd):
    run = subprocess.run([LINGPAI, *arguments], cwd=cwd, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return run.stdout


def add_key(folder, algorithm):
    if algorithm == "RS256":
        name = folder / "keys" / "2026-01-01T00-00-00Z.rs256.pem"
        subprocess.run([*RSA, name], check=True)
        name.chmod(0o600)
    elif algorithm != "ES256":  # `init` makes that one
        lingpai("keys", "new", "--alg", algorithm, cwd=folder)


def check(algorithm):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        secret = json.loads(lingpai("init", "--json", cwd=folder))["client_secret"]
        config = folder / "lingpai.toml"
        config.write_text(config.read_text().replace("[token]", f'[token]\nalgorithm = "{algorithm}"'))
        add_key(folder, algorithm)
        server = subprocess.Popen(
            [LINGPAI, "serve", "--listen", "127.0.0.1:0"],
            cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        try:
            base = server.stdout.readline().split()[-1]
            verify(base, secret, algorithm)
        finally:
            server.terminate()
            if server.wait(timeout=60) != 0:
                sys.exit(f"{algorithm}: the server ended with {server.returncode}")


def verify(base, secret, algorithm):
    basic = base64.b64encode(f"first:{secret}".encode()).decode()
    request = urllib.request.Request(f"{base}/token", method="POST", headers={"Authorization": f"Basic {basic}"})
    pair = json.load(urllib.request.urlopen(request, timeout=60))
    keys = jwt.PyJWKClient(f"{base}/.well-known/jwks.json", timeout=60)

    def decode(token):
        key = keys.get_signing_key_from_jwt(token)
        assert key.algorithm_name == algorithm, key.algorithm_name
        issuer = "http://127.0.0.1:8080"
        return jwt.decode(token, key, algorithms=[algorithm], audience=issuer, issuer=issuer, options={"require": ["exp", "iat", "jti"]})

    assert jwt.get_unverified_header(pair["value"])["typ"] == "at+jwt"
    claims = decode(pair["value"])
    assert (claims["sub"], claims["client_id"], claims["scope"]) == ("first", "first", "read write"), claims

    head, payload, signature = pair["value"].split(".")
    wider = base64.urlsafe_b64encode(json.dumps({**claims, "scope": "admin"}).encode()).decode().rstrip("=")
    for forged in (f"{head}.{wider}.{signature}", pair["refresh"]):
        try:
            decode(forged)
        except jwt.PyJWTError:
            continue
        sys.exit(f"{algorithm}: accepted {forged}")
    print(f"ok: PyJWT {jwt.__version__} verifies {algorithm}, and refuses what is forged")


for each in ("ES256", "EdDSA", "RS256"):
    check(each)
