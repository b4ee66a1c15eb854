"""Authlib, requests-oauthlib and PyJWT, each doing all that it can."""

import importlib.metadata
import os
import pathlib
import urllib.parse
import warnings

import jwt
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.integrations.requests_client import OAuthError
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import get_well_known_url
from joserfc.errors import SecurityWarning
from joserfc.jwk import import_key
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError, InvalidGrantError, InvalidScopeError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

ISSUER, SHOP, GATE = os.environ["ISSUER"], os.environ["SHOP_SECRET"], os.environ["GATE_SECRET"]
KEYS = pathlib.Path(os.environ["KEYS"])
ORDERS, BILLING = "https://orders.example.com", "https://billing.example.com"
BOTH, READ = "orders:read orders:write", "orders:read"


def say(library: str, what: str) -> None:
    print(f"ok: {library} {importlib.metadata.version(library)}: {what}", flush=True)


def equal(got: object, expected: object) -> None:
    assert got == expected, f"{got!r}, expected {expected!r}"


def raises(kind: type[Exception], call) -> Exception:
    try:
        value = call()
    except kind as error:
        return error
    raise AssertionError(f"not refused: {value}")


def authlib() -> None:
    library = "Authlib"
    server = requests.get(get_well_known_url(ISSUER, external=True), timeout=60).json()
    equal(server["issuer"], ISSUER)
    say(library, "the metadata are where get_well_known_url looks")
    token_endpoint, introspection = server["token_endpoint"], server["introspection_endpoint"]

    def session(method: str, secret: object = SHOP, client: str = "shop") -> AuthlibSession:
        return AuthlibSession(client, secret, token_endpoint_auth_method=method)

    def signer(kid: str, algorithm: str) -> AuthlibSession:
        key = import_key((KEYS / f"{kid}.pem").read_text(), {"ec": "EC", "ed": "OKP", "es": "EC", "rs": "RSA"}[kid[:2]])
        one = session("private_key_jwt", key, "signer")
        one.register_client_auth_method(PrivateKeyJWT(token_endpoint, headers={"kid": kid}, alg=algorithm))
        return one

    for name, one in [
        ("client_secret_basic", session("client_secret_basic")),
        ("client_secret_post", session("client_secret_post")),
        ("private_key_jwt ES256", signer("es256", "ES256")),
        ("private_key_jwt RS256", signer("rsa", "RS256")),
        ("private_key_jwt PS256", signer("rsa", "PS256")),
        ("private_key_jwt EdDSA", signer("ed25519", "EdDSA")),
        ("private_key_jwt Ed25519", signer("ed25519", "Ed25519")),
    ]:
        whole = one.fetch_token(token_endpoint, grant_type="client_credentials")
        equal((whole["token_type"], whole["scope"]), ("Bearer", BOTH))
        assert not whole.is_expired()
        narrow = one.fetch_token(token_endpoint, grant_type="client_credentials", scope=READ, resource=ORDERS)
        equal(narrow["scope"], READ)
        equal(one.refresh_token(token_endpoint, whole["refresh_token"], scope=READ)["scope"], READ)
        told = one.introspect_token(introspection, narrow["access_token"], token_type_hint="access_token").json()
        equal((told["active"], told["scope"], told["aud"]), (True, READ, ORDERS))
        say(library, f"{name}: a token, scope and resource narrowed, refresh, introspection")

    def grant(one: AuthlibSession, **more: str):
        return one.fetch_token(token_endpoint, grant_type="client_credentials", **more)

    for method in ["client_secret_basic", "client_secret_post"]:
        error = raises(OAuthError, lambda method=method: grant(session(method, "wrong")))
        equal((error.error, error.description), ("invalid_client", "client authentication failed"))
    stranger = session("private_key_jwt", import_key((KEYS / "es256.pem").read_text(), "EC"), "nobody")
    stranger.register_client_auth_method(PrivateKeyJWT(token_endpoint, headers={"kid": "es256"}, alg="ES256"))
    equal(raises(OAuthError, lambda: grant(stranger)).error, "invalid_client")
    equal(raises(OAuthError, lambda: grant(session("client_secret_basic"), scope="other")).error, "invalid_scope")
    shop = session("client_secret_basic")
    old = grant(shop)["access_token"]
    equal(raises(OAuthError, lambda: shop.refresh_token(token_endpoint, old)).error, "invalid_grant")
    say(library, "invalid_client for a wrong secret and an unknown client, invalid_scope, invalid_grant")

    gate = session("client_secret_basic", GATE, "gate")
    told = gate.introspect_token(introspection, grant(shop, resource=ORDERS)["access_token"]).json()
    equal(told["client_id"], "shop")
    told = gate.introspect_token(introspection, grant(shop, resource=BILLING)["access_token"]).json()
    equal(told, {"active": False})
    say(library, "introspection by the API that accepts the audience, and inactive for another audience")

    # A session that refreshes by itself, and then asks with the new token.
    stored: list[dict[str, object]] = []
    itself = AuthlibSession(
        "shop", SHOP, token_endpoint=token_endpoint, token=grant(session("client_secret_basic")) | {"expires_at": 1},
        update_token=lambda token, refresh_token=None, access_token=None: stored.append(token),
    )
    answer = itself.get(f"{ISSUER}/token", timeout=60)
    equal((answer.status_code, answer.json()["client"], len(stored)), (200, "shop", 1))
    say(library, "an expired token is refreshed before the request that needs it")


def requests_oauthlib() -> None:
    library = "requests-oauthlib"
    endpoint = f"{ISSUER}/oauth2/token"

    def session(scope: str | None = None) -> OAuth2Session:
        return OAuth2Session(client=BackendApplicationClient("shop", scope=scope and scope.split()))

    basic = HTTPBasicAuth("shop", SHOP)
    for name, how in [
        ("client_secret_basic", {"auth": basic}),
        ("client_secret_post", {"include_client_id": True, "client_secret": SHOP}),
    ]:
        equal(session().fetch_token(endpoint, **how)["scope"], BOTH.split())
        equal(session(READ).fetch_token(endpoint, resource=ORDERS, **how)["scope"], [READ])
        one = session()
        one.fetch_token(endpoint, **how)
        more = {"client_id": "shop", "client_secret": SHOP} if "auth" not in how else how
        new = one.refresh_token(endpoint, **more)
        equal(new["scope"], BOTH.split())
        answer = one.get(f"{ISSUER}/token", timeout=60)
        equal((answer.status_code, answer.json()["client"]), (200, "shop"))
        say(library, f"{name}: a token, scope narrowed, refresh, a request with the token")

    for how in [{"auth": HTTPBasicAuth("shop", "wrong")}, {"include_client_id": True, "client_secret": "wrong"}]:
        raised = raises(InvalidClientError, lambda how=how: session().fetch_token(endpoint, **how))
        equal(raised.description, "client authentication failed")
    raises(InvalidScopeError, lambda: session("other").fetch_token(endpoint, auth=basic))
    raises(InvalidGrantError, lambda: session().refresh_token(endpoint, refresh_token="x", auth=basic))
    say(library, "InvalidClientError, InvalidScopeError, InvalidGrantError")


def pyjwt() -> None:
    library = "PyJWT"
    server = requests.get(urllib.parse.urljoin(ISSUER, "/.well-known/openid-configuration"), timeout=60).json()
    client = jwt.PyJWKClient(server["jwks_uri"])

    def read(token: str, audience: str) -> dict[str, object]:
        key = client.get_signing_key_from_jwt(token)
        algorithms = server["id_token_signing_alg_values_supported"]
        return jwt.decode(token, key, algorithms=algorithms, audience=audience, issuer=server["issuer"])

    session = AuthlibSession("shop", SHOP)
    pair = session.fetch_token(server["token_endpoint"], grant_type="client_credentials", resource=ORDERS)
    claims = read(pair["access_token"], ORDERS)
    equal((claims["sub"], claims["client_id"], claims["scope"]), ("shop", "shop", BOTH))
    raises(jwt.InvalidAudienceError, lambda: read(pair["access_token"], BILLING))
    raises(jwt.InvalidAlgorithmError, lambda: read(pair["refresh_token"], ORDERS))
    say(library, "PyJWKClient finds the key; another audience and a refresh token are refused")


# It says that Ed25519 is the name to prefer; servers must still take the older one.
warnings.simplefilter("ignore", SecurityWarning)
authlib()
requests_oauthlib()
pyjwt()
