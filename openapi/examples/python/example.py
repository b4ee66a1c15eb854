"""Gets a token from lingpai, keeps it fresh, and calls an API that verifies it offline with the published keys.

    pip install -r requirements.txt && CLIENT_ID=shop CLIENT_SECRET=lps_… python example.py

`python example.py api` only serves the API, and needs no secret. ISSUER is what tokens say in `iss`; TOKENS_URL is
where lingpai is reached, if not there; PORT is the API's. Python 3.11 or later.
"""

import math
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8080")
AUDIENCE = "https://orders.example.com"
SCOPE = "orders:read"

lingpai = httpx.Client(base_url=os.environ.get("TOKENS_URL", ISSUER), timeout=10)

# ---- The client


class Tokens:
    """An access token for one audience that is always fresh."""

    def __init__(self, audience: str):
        self._audience = audience
        self._lock = threading.Lock()
        self._pair: dict[str, str] | None = None
        self._renew_at = 0.0

    def get(self) -> str:
        # Callers that come while a token is on its way wait here, and find it.
        with self._lock:
            if self._pair is None or time.time() >= self._renew_at:
                self._renew()
            return self._pair["value"]

    def _renew(self) -> None:
        answer = self._pair and request("PUT", headers={"Authorization": f"Token {self._pair['refresh']}"})
        # A refused refresh token only says that the session has ended: begin another.
        if answer is None or answer.status_code == 401:
            secret = (os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
            answer = request("POST", auth=secret, json={"audience": [self._audience], "scope": [SCOPE]})
        if not answer.is_success:
            raise RuntimeError(f"no token: {answer.status_code} {answer.text}")
        self._pair = answer.json()
        # Half a minute early, so that no request carries a token that ends on its way.
        left = datetime.fromisoformat(self._pair["expire"]).timestamp() - time.time()
        self._renew_at = time.time() + left - min(30, left / 2)


def request(method: str, **options) -> httpx.Response:
    answer = lingpai.request(method, "/token", **options)
    print(f"{method} /token: {answer.status_code}", flush=True)
    return answer


# ---- The API


PAUSE = 5  # seconds, at least, between two fetches of the same


class Keys:
    """lingpai's public keys, for as long as its Cache-Control says."""

    def __init__(self):
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._stale_at = self._fetch_at = 0.0

    def key(self, kid: str | None) -> jwt.PyJWK:
        with self._lock:
            now = time.monotonic()
            # An unknown key may be a new one, but made-up ids must not cause a fetch each time.
            if (now >= self._stale_at or kid not in self._keys) and now >= self._fetch_at:
                self._fetch_at = now + PAUSE
                self._fetch()
            if time.monotonic() >= self._stale_at:
                raise ConnectionError("the keys cannot be fetched")
            if kid not in self._keys:
                raise jwt.InvalidTokenError("unknown key")
            return self._keys[kid]

    def _fetch(self) -> None:
        answer = lingpai.get("/.well-known/jwks.json").raise_for_status()
        self._keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(answer.json()).keys}
        self._stale_at = time.monotonic() + fresh_for(answer)


def fresh_for(answer: httpx.Response) -> int:
    """The seconds for which an answer may be kept."""
    age = re.search(r"max-age=(\d+)", answer.headers.get("Cache-Control", ""))
    return max(int(age[1]) if age else 0, PAUSE)


keys = Keys()


def decode(token: str, typ: str, required: list[str], audience: str | None = None) -> dict:
    """The claims of a JWT of this type that lingpai signed."""
    key = keys.key(jwt.get_unverified_header(token).get("kid"))
    verified = jwt.decode_complete(
        token,
        key,
        algorithms=["ES256"],  # what this service was told to expect; never what the token says
        issuer=ISSUER,
        audience=audience,
        leeway=5,
        options={"require": ["exp", "iss", *required]},
    )
    # Otherwise other tokens of the same issuer would do.
    if verified["header"].get("typ") != typ:
        raise jwt.InvalidTokenError(f"not of the type {typ}")
    return verified["payload"]


class Revocations:
    """What lingpai has revoked, where it publishes a list. A thread keeps it fresh, so that no request waits for it."""

    def __init__(self):
        self._held = set(), [], 0.0  # ids, instants by name, and the list's `exp`

    def follow(self, pause: float) -> None:
        while True:
            time.sleep(pause)
            pause = self.renew()

    def renew(self) -> float:
        """Fetches the list, and says after how many seconds to do so again."""
        try:
            answer = lingpai.get("/.well-known/revocations")
            if answer.status_code == 404:  # none is published
                self._held = set(), [], math.inf
                return 60
            claims = decode(answer.raise_for_status().text, "revocations+jwt", [])
            revoked = claims["revoked"]
            self._held = {*revoked["jti"], *revoked["session"]}, [revoked["client"], revoked["subject"]], claims["exp"]
            return min(fresh_for(answer), 60)
        except Exception as error:  # whatever it is: the list at hand is good until its `exp`
            print(f"no revocations: {error}", file=sys.stderr)
            return PAUSE

    def end(self, claims: dict) -> bool:
        """Whether they end the token with these claims."""
        ids, instants, exp = self._held
        if time.time() >= exp:
            raise ConnectionError("the revocations cannot be fetched")
        # `sid` is the second in which the session began, a dot and an id. A refresh makes no token older.
        sid = claims.get("sid")
        began = int(sid.split(".")[0]) if sid else claims["iat"]
        names, actor = [claims["client_id"]], claims
        while actor:
            names.append(actor["sub"])
            actor = actor.get("act")
        early = any(began < before.get(name, 0) for before in instants for name in names)
        return early or claims["jti"] in ids or sid in ids


revocations = Revocations()


def verify(token: str) -> dict:
    claims = decode(token, "at+jwt", ["aud", "iat", "jti", "sub", "client_id"], AUDIENCE)
    if revocations.end(claims):
        raise jwt.InvalidTokenError("revoked")
    return claims


def authorize(authorization: str) -> tuple[int, str | None]:
    """The status and, where it is not 200, the challenge (RFC 6750 §3)."""
    bearer = re.fullmatch(r"Bearer ([^ ]+)", authorization, re.IGNORECASE)
    if bearer is None:
        return 401, "Bearer"
    try:
        granted = verify(bearer[1]).get("scope", "")
    except jwt.PyJWTError:
        return 401, 'Bearer error="invalid_token"'
    except (httpx.HTTPError, OSError):
        return 503, None  # without keys, or a list that there should be, nothing can be said about the token
    return (200, None) if SCOPE in granted.split(" ") else (403, 'Bearer error="insufficient_scope"')


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        status, challenge = authorize(self.headers.get("Authorization", ""))
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


def call(url: str, tokens: Tokens) -> int:
    return httpx.get(url, headers={"Authorization": f"Bearer {tokens.get()}"}).status_code


def main() -> None:
    api = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Api)
    threading.Thread(target=revocations.follow, args=[revocations.renew()], daemon=True).start()
    url = f"http://127.0.0.1:{api.server_port}/orders"
    print(f"API at {url}", flush=True)
    if sys.argv[1:] == ["api"]:
        api.serve_forever()
    threading.Thread(target=api.serve_forever, daemon=True).start()

    tokens = Tokens(AUDIENCE)
    with ThreadPoolExecutor() as callers:
        for number in range(3):
            if number > 0:
                time.sleep(2.5)
            statuses = callers.map(call, [url, url], [tokens, tokens])
            print("two callers at once:", *statuses, flush=True)
    print("a token for another API:", call(url, Tokens("https://billing.example.com")))


if __name__ == "__main__":
    main()
