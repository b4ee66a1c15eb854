"""What workloads have: azure-identity, MSAL, google-auth and Authlib."""

import http.client
import importlib.metadata
import json
import logging
import urllib.parse

import msal
from authlib.integrations.requests_client import AssertionSession, OAuth2Session, OAuthError
from authlib.oauth2 import OAuth2Error
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientAssertionCredential, WorkloadIdentityCredential
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.auth import exceptions, identity_pool
from google.auth.transport.requests import Request
from joserfc.jwk import RSAKey

from issuers import Handler, Site
from service import JWT_BEARER, JWT_TYPE, ORDERS, equal, expect

EVERYTHING = "orders:read orders:write"
TENANT = "tenant"


def say(library, what):
    print(f"ok: {library} {importlib.metadata.version(library)}: {what}", flush=True)


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError("not refused")


class Front(Handler):
    """What a proxy does for Microsoft's libraries. azure-identity knows no path but that of Entra's token endpoint, and
    MSAL reads no metadata without an authorization_endpoint."""

    def do_POST(self):
        service = urllib.parse.urlsplit(self.server.service.url)
        expect(self.path == f"/{TENANT}/oauth2/v2.0/token", self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        connection = http.client.HTTPSConnection(service.netloc, context=self.server.service.trust, timeout=60)
        connection.request("POST", "/oauth2/token", body, {"Content-Type": self.headers["Content-Type"]})
        answer = connection.getresponse()
        self.answer(answer.status, json.loads(answer.read()))


def front(world):
    site = Site((world.folder / "tls.crt", world.folder / "tls.key"))
    site.RequestHandlerClass, site.service = Front, world.service
    metadata = {"issuer": f"{site.url}/{TENANT}", "authorization_endpoint": f"{site.url}/none"}
    metadata["token_endpoint"] = f"{world.service.url}/oauth2/token"
    site.documents[f"/{TENANT}/.well-known/openid-configuration"] = metadata
    return site


def azure_identity(world, site):
    service, file = world.service, world.folder / "projected-token"
    file.write_text(world.cluster.token(service.url, "checkout"))
    names = {"tenant_id": TENANT, "client_id": "checkout", "authority": site.url}
    pod = WorkloadIdentityCredential(token_file_path=str(file), **names)
    # The narrow one first: afterwards its cache would answer with the wider one.
    for scope in ["orders:read", EVERYTHING]:
        service.read(pod.get_token(*scope.split()).token, "checkout", "checkout", scope)
    say("azure-identity", "WorkloadIdentityCredential and a projected token, by a proxy that maps its path")

    token = world.cluster.token(service.url, "cart", "default")
    for client, assertion in [("checkout", token), ("deploy", file.read_text())]:
        credential = ClientAssertionCredential(TENANT, client, lambda told=assertion: told, authority=site.url)
        error = raises(ClientAuthenticationError, lambda one=credential: one.get_token("orders:read"))
        expect("client authentication failed" in error.message, error.message)
    say("azure-identity", "ClientAuthenticationError for another account and for another client")


def microsoft(world, site):
    service = world.service

    def application(token):
        return msal.ConfidentialClientApplication(
            "checkout", client_credential={"client_assertion": token}, oidc_authority=f"{site.url}/{TENANT}",
        )

    told = application(world.cluster.token(service.url, "checkout")).acquire_token_for_client(["orders:read"])
    service.read(told["access_token"], "checkout", "checkout", "orders:read")
    told = application(world.cluster.token(service.url, "cart", "default")).acquire_token_for_client(["orders:read"])
    equal(told["error"], "invalid_client")
    say("msal", "client_assertion, by metadata of a proxy's that have an authorization_endpoint; invalid_client")


def google(world):
    service, file = world.service, world.folder / "projected-token"

    def credentials(token):
        file.write_text(token)
        return identity_pool.Credentials.from_info({
            "type": "external_account", "audience": ORDERS, "subject_token_type": JWT_TYPE,
            "token_url": f"{service.url}/oauth2/token", "credential_source": {"file": str(file)},
        }, scopes=["orders:read"])

    pod = credentials(world.cluster.token(service.url, "checkout"))
    pod.refresh(Request())
    service.read(pod.token, "checkout", "checkout", "orders:read")
    expect(pod.valid and not pod.expired, "the credentials are not valid")
    wrong = credentials(world.cluster.token(service.url, "cart", "default"))
    error = raises(exceptions.OAuthError, lambda: wrong.refresh(Request()))
    expect("the subject_token is not accepted" in str(error), error)
    say("google-auth", "identity_pool.Credentials exchange a projected token; OAuthError for another account")


def authlib(world):
    service, endpoint = world.service, f"{world.service.url}/oauth2/token"
    session = OAuth2Session("checkout", token_endpoint_auth_method="none")
    token = world.cluster.token(service.url, "checkout")
    told = session.fetch_token(endpoint, grant_type=JWT_BEARER, assertion=token, scope="orders:read")
    service.read(told["access_token"], "checkout", "checkout", "orders:read")
    wrong = world.cluster.token(service.url, "cart", "default")
    refused = raises(OAuthError, lambda: session.fetch_token(endpoint, grant_type=JWT_BEARER, assertion=wrong))
    equal(refused.error, "invalid_grant")
    say("Authlib", "OAuth2Session presents a projected token by jwt-bearer; invalid_grant")

    pem = world.builds.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = RSAKey.import_key(pem)

    def builder(subject):
        return AssertionSession(endpoint, f"{world.web.url}/builds", subject, audience=service.url, key=key,
                                header={"alg": "RS256", "kid": world.builds.kid})

    nightly = builder("nightly")
    nightly.refresh_token()
    service.read(nightly.token["access_token"], "deploy", "deploy", "deploy:read deploy:run")
    # It presents what it got to the service itself, as an API would be asked.
    equal(nightly.get(f"{service.url}/token", timeout=60).json()["client"], "deploy")
    equal(raises(OAuth2Error, builder("nightly-evil").refresh_token).error, "invalid_grant")
    say("Authlib", "AssertionSession signs by itself, for an issuer with discovery over http; invalid_grant")


def check(world):
    # It warns of each refusal, which is asked for here.
    logging.getLogger("azure").setLevel(logging.ERROR)
    site = front(world)
    azure_identity(world, site)
    microsoft(world, site)
    google(world)
    authlib(world)
