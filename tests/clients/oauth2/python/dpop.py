"""requests and requests-oauthlib with DPoP (RFC 9449), which neither they nor Authlib have: PyJWT makes the proofs, and an
`auth` of requests sends them, again with the server's nonce where it wants one."""

import base64
import hashlib
import importlib.metadata
import json
import os
import secrets
import time
import urllib.parse

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

ISSUER, SHOP = os.environ["ISSUER"], os.environ["SHOP_SECRET"]
ORDERS = "https://orders.example.com"


def equal(got: object, expected: object) -> None:
    assert got == expected, f"{got!r}, expected {expected!r}"


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


class Prover(requests.auth.AuthBase):
    """A key; the nonces that servers gave; and the token that it sends, if it has one."""

    def __init__(self, algorithm: str = "ES256", token: str | None = None):
        make, public = {
            "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
            "EdDSA": (ed25519.Ed25519PrivateKey.generate, OKPAlgorithm),
            "PS256": (lambda: rsa.generate_private_key(65537, 2048), RSAAlgorithm),
            "RS256": (lambda: rsa.generate_private_key(65537, 2048), RSAAlgorithm),
        }[algorithm]
        self.algorithm, self.token, self.key = algorithm, token, make()
        self.jwk = json.loads(public.to_jwk(self.key.public_key()))
        self.nonces: dict[str, str] = {}

    def thumbprint(self) -> str:
        members = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}[self.jwk["kty"]]
        return digest(json.dumps({name: self.jwk[name] for name in members}, separators=(",", ":")))

    def sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = urllib.parse.urlsplit(request.url)
        claims = {"jti": secrets.token_urlsafe(16), "htm": request.method, "iat": int(time.time()),
                  "htu": urllib.parse.urlunsplit(url._replace(query="", fragment=""))}
        if nonce := self.nonces.get(url.netloc):
            claims["nonce"] = nonce
        if self.token:
            claims["ath"] = digest(self.token)
            request.headers["Authorization"] = f"DPoP {self.token}"
        headers = {"typ": "dpop+jwt", "jwk": self.jwk}
        request.headers["DPoP"] = jwt.encode(claims, self.key, algorithm=self.algorithm, headers=headers)
        return request

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.register_hook("response", self.again)
        return self.sign(request)

    def again(self, answer: requests.Response, **options: object) -> requests.Response:
        """The answer, or another one to the same request with the nonce that this one has. Hooks see the first alone."""
        server = urllib.parse.urlsplit(answer.request.url).netloc
        if nonce := answer.headers.get("DPoP-Nonce"):
            self.nonces[server] = nonce
        said = answer.headers.get("WWW-Authenticate", "") + answer.text
        if answer.status_code not in (400, 401) or "use_dpop_nonce" not in said:
            return answer
        request = self.sign(answer.request.copy())
        other = answer.connection.send(request, **options)
        other.request = request
        other.history = [answer]
        return other


def statuses(answer: requests.Response) -> list[int]:
    return [one.status_code for one in [*answer.history, answer]]


def main() -> None:
    server = requests.get(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=60).json()
    endpoint = server["token_endpoint"]
    for algorithm in ("ES256", "EdDSA", "PS256", "RS256"):
        assert algorithm in server["dpop_signing_alg_values_supported"]
        prover = Prover(algorithm)

        def ask(expected: list[int], **form: str) -> dict[str, str]:
            credentials = {"client_id": "shop", "client_secret": SHOP}
            answer = requests.post(endpoint, data=form | credentials, auth=prover, timeout=60)
            equal(statuses(answer), expected)
            equal(answer.json()["token_type"], "DPoP")
            return answer.json()

        pair = ask([400, 200], grant_type="client_credentials", resource=ORDERS)
        for _ in range(5):
            pair = ask([200], grant_type="refresh_token", refresh_token=pair["refresh_token"])
        token = pair["access_token"]
        equal(jwt.decode(token, options={"verify_signature": False})["cnf"], {"jkt": prover.thumbprint()})
        # As with a nonce that has expired.
        prover.nonces.clear()
        prover.token, url = token, f"{ISSUER}/token?scope=orders:read"
        for expected in ([401, 200], [200], [200]):
            equal(statuses(requests.get(url, auth=prover, timeout=60)), expected)
        thief = Prover(algorithm, token)
        equal(statuses(requests.get(url, auth=thief, timeout=60))[-1], 401)
        equal(requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60).status_code, 401)
    say("requests", "DPoP ES256, EdDSA, PS256, RS256: a nonce learnt, a bound token, refresh, GET /token, no other key's")

    session, prover = OAuth2Session(client=BackendApplicationClient("shop")), Prover()
    equal(session.fetch_token(endpoint, auth=prover, include_client_id=True, client_secret=SHOP)["token_type"], "DPoP")
    more = {"client_id": "shop", "client_secret": SHOP}
    prover.token = session.refresh_token(endpoint, auth=prover, **more)["access_token"]
    answer = requests.get(f"{ISSUER}/token", auth=prover, timeout=60)
    equal((statuses(answer), answer.json()["client"]), ([200], "shop"))
    say("requests-oauthlib", "DPoP: a nonce learnt, a bound token, refresh, GET /token")


def say(library: str, what: str) -> None:
    print(f"ok: {library} {importlib.metadata.version(library)}: {what}", flush=True)


main()
