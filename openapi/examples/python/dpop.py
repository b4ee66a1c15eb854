"""Gets a token that is bound to a key (DPoP, RFC 9449), and calls an API that wants a proof beside it.

    pip install -r requirements.txt && CLIENT_ID=shop CLIENT_SECRET=lps_… python dpop.py

A stolen token is worth nothing without the key. The API checks the token as `example.py` does, and then the proof.
"""

import base64
import hashlib
import json
import os
import re
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from example import AUDIENCE, ISSUER, SCOPE, lingpai, revocations, verify

WINDOW = 60  # seconds by which a proof's time may be off


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def digest(text: str) -> str:
    return encode(hashlib.sha256(text.encode()).digest())


# ---- The client


class Prover:
    """A key, and the proofs that it makes. The key may live as long as the process does."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._jwk = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self._nonces: dict[str, str] = {}

    def proof(self, method: str, url: str, token: str | None = None) -> str:
        """A proof for one request. `url` is where the receiver believes that it is, without query."""
        claims = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": int(time.time())}
        if token is not None:
            claims["ath"] = digest(token)
        if nonce := self._nonces.get(str(httpx.URL(url).host)):
            claims["nonce"] = nonce
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"typ": "dpop+jwt", "jwk": self._jwk})

    def learn(self, url: str, answer: httpx.Response) -> None:
        """Every answer may have the nonce for the next proof."""
        if nonce := answer.headers.get("DPoP-Nonce"):
            self._nonces[str(httpx.URL(url).host)] = nonce


def bound_token(prover: Prover) -> str:
    secret = (os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
    form = {"grant_type": "client_credentials", "scope": SCOPE, "audience": AUDIENCE}
    # The proof is for the issuer's URL, wherever lingpai is reached.
    url = f"{ISSUER}/oauth2/token"
    # Once more if it wants a nonce, which it has then told.
    for _ in range(2):
        answer = lingpai.post("/oauth2/token", data=form, auth=secret, headers={"DPoP": prover.proof("POST", url)})
        print(f"POST /oauth2/token: {answer.status_code}", flush=True)
        prover.learn(url, answer)
        if answer.status_code != 400 or answer.json()["error"] != "use_dpop_nonce":
            break
    if not answer.is_success:
        raise RuntimeError(f"no token: {answer.status_code} {answer.text}")
    token = answer.json()
    assert token["token_type"] == "DPoP", "the server binds no tokens"
    return token["access_token"]


# ---- The API


class Seen:
    """Ids of proofs that may come no second time, and are forgotten when they could not."""

    MOST = 100_000

    def __init__(self):
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def enter(self, proof_id: str) -> bool:
        now = time.time()
        with self._lock:
            if len(self._until) >= self.MOST:
                self._until = {one: until for one, until in self._until.items() if until > now}
            if len(self._until) >= self.MOST or self._until.get(proof_id, 0) > now:
                return False
            self._until[proof_id] = now + 2 * WINDOW
            return True


seen = Seen()


def check_proof(proof: str, method: str, url: str, token: str, thumbprint: str) -> None:
    """RFC 9449 §4.3; `thumbprint` is what the token says of its key."""
    header = jwt.get_unverified_header(proof)
    jwk = header.get("jwk")
    if header.get("typ") != "dpop+jwt" or not isinstance(jwk, dict) or jwk.get("crv") != "P-256" or "d" in jwk:
        raise jwt.InvalidTokenError("not a proof")
    required = ["jti", "htm", "htu", "iat", "ath"]
    said = jwt.decode(proof, jwt.PyJWK(jwk, algorithm="ES256"), algorithms=["ES256"], leeway=WINDOW,
                      options={"require": required, "verify_aud": False})
    key = json.dumps({name: jwk.get(name) for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    is_for_this = (said["htm"], said["htu"], said["ath"]) == (method, url, digest(token))
    if not is_for_this or digest(key) != thumbprint or abs(time.time() - said["iat"]) > WINDOW:
        raise jwt.InvalidTokenError("a proof for something else")
    if not seen.enter(f"{thumbprint} {said['jti']}"):
        raise jwt.InvalidTokenError("a proof that was used before")


def authorize(authorization: str, proofs: list[str], method: str, url: str) -> tuple[int, str | None]:
    """The status and, where it is not 200, the challenge (RFC 9449 §7.1)."""
    presented = re.fullmatch(r"DPoP ([^ ]+)", authorization, re.IGNORECASE)
    if presented is None or len(proofs) != 1:
        return 401, 'DPoP algs="ES256"'
    token = presented[1]
    try:
        claims = verify(token)
        check_proof(proofs[0], method, url, token, claims.get("cnf", {}).get("jkt", ""))
    except (jwt.PyJWTError, ValueError):
        return 401, 'DPoP error="invalid_token", algs="ES256"'
    except (httpx.HTTPError, OSError):
        return 503, None  # without keys nothing can be said about the token
    granted = claims.get("scope", "").split(" ")
    return (200, None) if SCOPE in granted else (403, 'DPoP error="insufficient_scope"')


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        # Its own name, and not what the caller says in Host.
        url = f"http://127.0.0.1:{self.server.server_port}{self.path.split('?')[0]}"
        proofs = self.headers.get_all("DPoP") or []
        status, challenge = authorize(self.headers.get("Authorization", ""), proofs, self.command, url)
        body = b'{"orders":["tea"]}' if status == 200 else b"{}"
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


# ---- Both


def main() -> None:
    # What lingpai has revoked, before the first request and from then on.
    threading.Thread(target=revocations.follow, args=[revocations.renew()], daemon=True).start()
    api = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Api)
    url = f"http://127.0.0.1:{api.server_port}/orders"
    threading.Thread(target=api.serve_forever, daemon=True).start()

    prover, thief = Prover(), Prover()
    token = bound_token(prover)

    def call(what: str, proof: str, scheme: str = "DPoP") -> None:
        answer = httpx.get(f"{url}?page=2", headers={"Authorization": f"{scheme} {token}", "DPoP": proof})
        print(f"{what}: {answer.status_code}", flush=True)

    proof = prover.proof("GET", url, token)
    call("the token and a proof", proof)
    call("the same proof again", proof)
    call("a proof for another method", prover.proof("POST", url, token))
    call("a proof for another path", prover.proof("GET", f"{url}/7", token))
    call("a proof by another key", thief.proof("GET", url, token))
    call("as a bearer's token", prover.proof("GET", url, token), "Bearer")


if __name__ == "__main__":
    main()
