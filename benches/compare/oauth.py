"""What the OAuth dialect costs beside the native one, as benches/compare/run oauth says.

A client-credentials token (without refresh token) beside a native pair, with as little as each needs and with one scope
token each; introspection of known tokens beside GET of the same tokens; a token for a signed assertion beside bare hyper
with one verification and one signature.
"""

import base64
import json
import os
import statistics
import subprocess
import time

from servers import BESIDE, CLIENT, ISSUER, SCOPE, Lingpai, Server, running, take_turns

ROUNDS = int(os.environ.get("COMPARE_ROUNDS", 7))
SECONDS = int(os.environ.get("COMPARE_SECONDS", 5))
CONSTANT = "target/release/examples/constant"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def main():
    with running() as (folder, servers):
        rows = measured(folder, servers)
    others = max(figures["others"] for pair in rows for load in pair[1:3] for figures in load.rounds)
    beside = ", beside a process that writes to half of the shared cache" if BESIDE else ""
    print(f"{ROUNDS} rounds of {SECONDS} s a side{beside}; others used {others:.0%} of the machine at most")
    print(f"{'request':34}{'req/s':>9}{'CPU µs':>8}   {'beside':26}{'req/s':>9}{'CPU µs':>8}{'ratio':>7}  goal")
    for what, ours, theirs, how, goal, is_most in rows:
        middle = lambda load, name: statistics.median(figures[name] for figures in load.rounds)
        ratio = statistics.median(how(one, other) for one, other in zip(ours.rounds, theirs.rounds))
        reached = ratio <= goal if is_most else ratio >= goal
        print(f"{what:34}{middle(ours, 'rps'):9,.0f}{middle(ours, 'cpu_us'):8.1f}   {theirs.name:26}"
              f"{middle(theirs, 'rps'):9,.0f}{middle(theirs, 'cpu_us'):8.1f}{ratio:7.3f}  "
              f"{'at most' if is_most else 'at least'} {goal}: {'yes' if reached else 'no'}")


def measured(folder, servers):
    lingpai = Lingpai(folder)
    sign = signer(folder, lingpai)
    ours = lingpai.serve()
    servers.append(ours)
    lingpai.prepare(ours)
    form = f"{lingpai.basic}\tgrant_type=client_credentials"
    segments = r"eyJ[%w_-]+%.eyJ[%w_-]+%.[%w_-]+"
    issued = f'^{{"access_token":"{segments}","token_type":"Bearer","expires_in":%d+,"scope":"[^"]*"}}$'
    lingpai.file("oauth.requests", [form])
    lingpai.file("oauth.answers", [issued])
    scope = SCOPE.split()[0]
    lingpai.file("oauth-scope.requests", [f"{form}&scope={scope}"])
    lingpai.file("create-scope.requests", [f'{lingpai.basic}\t{{"scope":["{scope}"]}}'])
    tokens = [line.removeprefix("Token ") for line in (folder / "repeated.requests").read_text().splitlines()]
    lingpai.file("introspect.requests", [f"{lingpai.basic}\ttoken={token}" for token in tokens])
    lingpai.file("introspect.answers", [r'^{"active":true,"scope":"[^"]*","client_id":"' + CLIENT + r'",.*"token_type":"Bearer"}$'])
    assertion = sign(int(time.time()))
    lingpai.file("assertion.requests", [
        f"\tgrant_type=client_credentials&client_assertion_type={JWT_BEARER}&client_assertion={assertion}"
    ])
    recorded = folder / "recorded"
    recorded.write_text(ours.ask("POST", "/oauth2/token", lingpai.basic, "-i", "-d", "grant_type=client_credentials"))
    lingpai.file("recorded.answers", [recorded.read_text().splitlines()[-1]])
    floor = Server(folder, "hyper, both operations", [CONSTANT, recorded, "both"])
    servers.append(floor)

    def load(name, server, what, path, requests, answers):
        return lingpai.load(name, server, what, path=path, requests=folder / f"{requests}.requests",
                            answers=folder / f"{answers}.answers")

    cpu = lambda one, other: one["cpu_us"] / other["cpu_us"]
    rate = lambda one, other: one["rps"] / other["rps"]
    rows = [
        ("client credentials", load("lingpai", ours, "create", "/oauth2/token", "oauth", "oauth"),
         load("POST /token", ours, "create", "/token", "create", "pair"), cpu, 0.95, True),
        ("client credentials for a scope", load("lingpai", ours, "create", "/oauth2/token", "oauth-scope", "oauth"),
         load("POST /token for a scope", ours, "create", "/token", "create-scope", "pair"), cpu, 0.95, True),
        ("introspection of known tokens", load("lingpai", ours, "create", "/oauth2/introspect", "introspect", "introspect"),
         load("GET /token, the same", ours, "repeated", "/token", "repeated", "info"), rate, 0.85, False),
        ("private_key_jwt", load("lingpai", ours, "create", "/oauth2/token", "assertion", "oauth"),
         load("hyper, both operations", floor, "create", "/oauth2/token", "assertion", "recorded"), cpu, 1.1, True),
    ]
    for _, mine, theirs, *_ in rows:
        take_turns([mine, theirs], ROUNDS, SECONDS)
    return rows


def signer(folder, lingpai):
    """Adds a client that signs its assertions; what makes one."""
    key = folder / "client.pem"
    openssl = lambda *more, **io: subprocess.run(["openssl", *more], check=True, capture_output=True, **io).stdout
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    point = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-64:]
    b64 = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    jwk = {"kty": "EC", "crv": "P-256", "kid": "1", "x": b64(point[:32]), "y": b64(point[32:])}
    (folder / "client.json").write_text(json.dumps({"keys": [jwk]}))
    with lingpai.config.open("a") as config:
        config.write('[[clients]]\nid = "signer"\njwks = "client.json"\nscope = ["orders:read"]\n')

    def sign(now):
        header = b64(json.dumps({"alg": "ES256", "kid": "1"}).encode())
        payload = {"iss": "signer", "sub": "signer", "aud": ISSUER, "exp": now + 3600, "iat": now, "jti": "1"}
        message = f"{header}.{b64(json.dumps(payload).encode())}"
        return f"{message}.{b64(raw(openssl('dgst', '-sha256', '-sign', key, input=message.encode())))}"

    return sign


def raw(der):
    """R and S of an ECDSA signature in DER, 32 bytes each."""
    parts, at = [], 2
    for _ in range(2):
        length = der[at + 1]
        parts.append(der[at + 2:at + 2 + length].lstrip(b"\0").rjust(32, b"\0"))
        at += 2 + length
    return b"".join(parts)


main()
