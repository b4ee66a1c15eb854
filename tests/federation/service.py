"""The service under test, its configuration, and the three doors by which an identity comes."""

import contextlib
import json
import os
import pathlib
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import jwt

from issuers import GITHUB, GITLAB

BINARY = pathlib.Path(__file__).resolve().parents[2] / "target/debug/lingpai"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LINGPAI_")}
ORDERS = "https://orders.example.com"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SPIFFE_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"

# How each cluster is asked, and the rule that all have.
CHECKOUT = """ca_file       = "../ca.crt"
token_file    = "../kubernetes-token"
allow_private = true

[[issuers.rules]]
match  = { sub = "system:serviceaccount:shop:checkout" }
client = "checkout"
"""

# Each {name} is a port or a file of the test's.
CONFIGURATION = """
[tls]
cert = "../tls.crt"
key  = "../tls.key"

[limits]
failures = 0

[[clients]]
id       = "checkout"
grants   = [{grants}]
scope    = ["orders:read", "orders:write"]
audience = ["{orders}"]

[[clients]]
id       = "shop"
grants   = [{grants}]
scope    = ["orders:read"]
audience = ["{orders}"]
subjects = ["system:serviceaccount:shop:*"]

[[clients]]
id              = "renewing"
scope           = ["orders:read"]
audience        = ["{orders}"]
access_lifetime = "8s"

[[clients]]
id       = "deploy"
grants   = [{grants}]
scope    = ["deploy:read", "deploy:run"]
audience = ["{orders}"]
subjects = ["ci:*"]

# A cluster whose keys are where its discovery document is.
[[issuers]]
issuer = "{cluster.issuer}"
{checkout}
[[issuers.rules]]
match  = {{ sub = "system:serviceaccount:shop:renewing" }}
client = "renewing"

[[issuers.rules]]
match   = {{ "kubernetes.io" = {{ namespace = "shop" }} }}
client  = "shop"
subject = "{{sub}}"

# One that advertises another address than the issuer's, so its keys are named here.
[[issuers]]
issuer   = "https://kubernetes.default.svc.cluster.local"
jwks_uri = "{named.site.url}/openid/v1/jwks"
{checkout}
# The same, without.
[[issuers]]
issuer = "{elsewhere.issuer}"
{checkout}
[[issuers]]
issuer        = "{github_issuer}"
jwks_uri      = "{web.url}/github/jwks"
allow_private = true

[[issuers.rules]]
match   = {{ repository_owner_id = "65", sub = "repo:acme/shop:ref:refs/heads/main" }}
client  = "deploy"
subject = "ci:github:{{repository_id}}"
scope   = ["deploy:run"]

[[issuers.rules]]
match   = {{ sub = "repo:acme@65/shop@74:environment:*", event_name = "push" }}
client  = "deploy"
subject = "ci:github:{{repository_id}}"

[[issuers]]
issuer        = "{gitlab_issuer}"
jwks_uri      = "{web.url}/gitlab/jwks"
allow_private = true

[[issuers.rules]]
match   = {{ namespace_id = "72", project_id = "20", ref_protected = "true", ref_type = "branch", ref = "*" }}
client  = "deploy"
subject = "ci:gitlab:{{project_id}}"

[[issuers]]
spiffe    = "example.org"
jwks_file = "../bundle.json"

[[issuers.rules]]
match  = {{ sub = "spiffe://example.org/ns/*/sa/checkout" }}
client = "checkout"

# Over plain http, with discovery.
[[issuers]]
issuer        = "{web.url}/builds"
allow_private = true

[[issuers.rules]]
match  = {{ sub = "nightly" }}
client = "deploy"
"""


def fail(what):
    print(f"federation: {what}", file=sys.stderr)
    sys.exit(1)


def expect(condition, what):
    if not condition:
        fail(what)


def until(condition, what):
    """Waits for `condition`, a minute at most."""
    end = time.monotonic() + 60
    while not condition():
        expect(time.monotonic() < end, f"waited in vain: {what}")
        time.sleep(0.02)


def equal(got, expected):
    expect(got == expected, f"{got!r}, expected {expected!r}")


class Service:
    """lingpai, with a configuration in `folder`/service."""

    def __init__(self, folder, url, **sites):
        self.folder, self.url, self.home = folder, url, folder / "service"
        self.trust = ssl.create_default_context(cafile=folder / "ca.crt")
        self.run("init", self.home, "--issuer", url)
        self.config = self.home / "lingpai.toml"
        grants = ", ".join(f'"{grant}"' for grant in ("client_credentials", JWT_BEARER, EXCHANGE))
        names = {"grants": grants, "orders": ORDERS, "github_issuer": GITHUB, "gitlab_issuer": GITLAB, "checkout": CHECKOUT}
        written = CONFIGURATION.format(**names, **sites)
        self.config.write_text(self.config.read_text() + written)
        self.log = folder / "log"

    def run(self, *arguments, code=0):
        """A command, which must end with this exit code; what it printed."""
        command = [BINARY, *map(str, arguments)]
        ran = subprocess.run(command, env=ENVIRONMENT, cwd=self.home if self.home.exists() else None,
                             capture_output=True, text=True, check=False)
        expect(ran.returncode == code, f"{command} ended with {ran.returncode}: {ran.stdout}{ran.stderr}")
        return ran.stdout + ran.stderr

    @contextlib.contextmanager
    def serving(self):
        command = [BINARY, "serve", "--config", self.config, "--listen", self.url.removeprefix("https://")]
        with self.log.open("w") as log:
            server = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = server.stdout.readline().strip()
            expect(line.endswith(f" at {self.url}"), f"lingpai did not start: {line}\n{self.log.read_text()}")
            self.keys = jwt.PyJWKSet.from_dict(json.loads(self.get("/.well-known/jwks.json")))
            yield
        finally:
            server.terminate()
            ended = server.wait(timeout=60)
        expect(ended == 0, f"lingpai ended with {ended}")

    def get(self, path):
        return urllib.request.urlopen(self.url + path, context=self.trust, timeout=60).read()

    def post(self, **parameters):
        """Status, headers and body of an answer of the token endpoint."""
        body = urllib.parse.urlencode(parameters).encode()
        request = urllib.request.Request(f"{self.url}/oauth2/token", body)
        try:
            answer = urllib.request.urlopen(request, context=self.trust, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        return answer.status, answer.headers, answer.read()

    def doors(self, token, **more):
        """The answers to the same identity by each door."""
        assertion = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token}
        return [
            self.post(grant_type="client_credentials", **assertion, **more),
            self.post(grant_type=JWT_BEARER, assertion=token, **more),
            self.post(grant_type=EXCHANGE, subject_token=token, subject_token_type=JWT_TYPE, **more),
        ]

    def read(self, token, client, subject, scope):
        """Verifies one of the service's tokens offline, by its published keys and nothing else."""
        key = next(key for key in self.keys.keys if key.key_id == jwt.get_unverified_header(token)["kid"])
        claims = jwt.decode(token, key, algorithms=["ES256"], audience=ORDERS, issuer=self.url,
                            options={"require": ["exp", "iat", "jti", "sub"]})
        equal((claims["client_id"], claims["sub"], claims["scope"]), (client, subject, scope))
        return claims

    def gives(self, token, client, subject, granted, **more):
        """By each door the identity gets the same: a token that says this, and never one to refresh with."""
        for status, _, body in self.doors(token, **more):
            answer = json.loads(body)
            expect(status == 200, f"status {status}: {answer}")
            equal(answer["token_type"], "Bearer")
            expect("refresh_token" not in answer, "an identity got a refresh token")
            self.read(answer["access_token"], client, subject, granted)

    def refuses(self, token, *causes, told=None):
        """Each door refuses it in the same words whatever the cause, which the log alone has: one, or one for each."""
        begin = self.log.stat().st_size
        equal([(status, json.loads(body)) for status, _, body in self.doors(token)], told or REFUSALS)
        lines = self.logged(begin)
        expected = list(causes) if len(causes) > 1 else list(causes) * len(REFUSALS)
        equal([json.loads(line)["cause"] for line in lines], expected)
        segments = [segment for segment in token.split(".") if segment]
        expect(not any(segment in line for line in lines for segment in segments), "the log has a token")

    def logged(self, begin):
        """The refusals in the log since it was this long, when there is one for each door."""
        for _ in range(250):
            written = self.log.read_text()[begin:].splitlines(True)
            lines = [line for line in written if '"cause":' in line and line.endswith("\n")]
            if len(lines) >= len(REFUSALS):
                break
            time.sleep(0.02)
        return lines


REFUSALS = [
    (401, {"error": "invalid_client", "error_description": "client authentication failed"}),
    (400, {"error": "invalid_grant", "error_description": "the assertion is not accepted"}),
    (400, {"error": "invalid_request", "error_description": "the subject_token is not accepted"}),
]
