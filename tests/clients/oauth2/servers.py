"""Prometheus, which scrapes with a token of its own, and Apache as a resource server by mod_auth_openidc and mod_oauth2.
The argument is a folder to work in."""

import base64
import contextlib
import json
import os
import pathlib
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

FOLDER = pathlib.Path(sys.argv[1])
ROOT = pathlib.Path(__file__).parents[3]
ISSUER, CA = os.environ["ISSUER"], os.environ["CA_FILE"]
ORDERS, BILLING, METRICS = (f"https://{name}.example.com" for name in ("orders", "billing", "metrics"))
TLS = ssl.create_default_context(cafile=CA)
MODULES = "/usr/lib/apache2/modules"


def say(what):
    print(f"ok: {what}", flush=True)


def fail(what):
    sys.exit(f"clients: {what}")


def wait_until(what, true, log):
    deadline = time.monotonic() + 60
    while not true():
        if time.monotonic() > deadline:
            fail(f"waited in vain: {what}: {log.read_text()[-4000:]}")
        time.sleep(0.1)


def free_port():
    return int(subprocess.run([ROOT / "tests/port"], capture_output=True, check=True).stdout)


def ask(url, token=None, form=None, authorization=None):
    """Status, fields and body of the answer; status 0 where nobody listens."""
    request = urllib.request.Request(url, form and urllib.parse.urlencode(form, doseq=True).encode())
    if token is not None:
        authorization = f"Bearer {token}"
    if authorization is not None:
        request.add_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=60, context=TLS if url.startswith("https:") else None) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, {}, ""


def pair(**asked):
    basic = base64.b64encode(f"shop:{os.environ['SHOP_SECRET']}".encode()).decode()
    form = {"grant_type": "client_credentials", "resource": ORDERS} | asked
    status, _, body = ask(f"{ISSUER}/oauth2/token", form=form, authorization=f"Basic {basic}")
    if status != 200:
        fail(f"no token: {status} {body}")
    return json.loads(body)


@contextlib.contextmanager
def running(name, command, log):
    """A server in the foreground, ended at last."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def open_to_workers(*folders):
    """Started by root, nginx and Apache run their workers as another user; it must reach the files."""
    for folder in [FOLDER, *folders]:
        folder.chmod(0o711)


def version(*command):
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return re.search(r"\d+\.\d+\.\d+[\w.+~-]*", ran.stdout + ran.stderr)[0]


def package(name):
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=True).stdout


def prometheus():
    """nginx lets a scrape through to the figures as lingpai says; Prometheus brings a token."""
    folder = FOLDER / "prometheus"
    (folder / "api").mkdir(parents=True)
    (folder / "api/metrics").write_text("# TYPE orders gauge\norders 7\n")
    open_to_workers(folder, folder / "api")
    target, port = free_port(), free_port()
    paths = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(f"""
daemon off; pid nginx.pid; error_log stderr; worker_processes 1; events {{}}
http {{
  access_log off; {paths}
  server {{
    listen 127.0.0.1:{target};
    root {folder}/api;
    location = /metrics {{ auth_request /lingpai; default_type text/plain; }}
    location = /lingpai {{
      internal;
      proxy_pass {ISSUER}/token?scope=metrics:read&audience={METRICS};
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {CA};
      proxy_ssl_name lingpai;
    }}
  }}
}}
""")
    for client in ["prometheus", "shop"]:
        (folder / client).write_text(os.environ[f"{client.upper()}_SECRET"])
    (folder / "wrong").write_text("wrong")

    def job(name, oauth2):
        return {"job_name": name, "scrape_interval": "2s", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]} | oauth2

    def oauth2(client, secret, scope, audience):
        return {"oauth2": {
            "client_id": client, "client_secret_file": str(folder / secret), "token_url": f"{ISSUER}/oauth2/token",
            "scopes": [scope], "endpoint_params": {"audience": audience}, "tls_config": {"ca_file": CA},
        }}

    jobs = {
        "token": oauth2("prometheus", "prometheus", "metrics:read", METRICS),
        "none": {},
        "other": oauth2("shop", "shop", "orders:read", ORDERS),
        "wrong": oauth2("prometheus", "wrong", "metrics:read", METRICS),
        "refused": oauth2("prometheus", "prometheus", "orders:read", METRICS),
    }
    # YAML holds all of JSON.
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({"scrape_configs": [job(name, more) for name, more in jobs.items()]}))
    nginx = ["nginx", "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
    server = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
              f"--web.listen-address=127.0.0.1:{port}"]
    with running("nginx", nginx, folder / "nginx.log"), running("prometheus", server, folder / "log"):
        expected = {
            "token": ("up", ""), "none": ("down", "401 Unauthorized"), "other": ("down", "401 Unauthorized"),
            "wrong": ("down", "invalid_client"), "refused": ("down", "invalid_scope"),
        }

        def are_as_expected():
            status, _, body = ask(f"http://127.0.0.1:{port}/api/v1/targets?state=active")
            listed = json.loads(body)["data"]["activeTargets"] if status == 200 else []
            got = {one["labels"]["job"]: one for one in listed}
            return got.keys() == expected.keys() and all(
                got[job]["health"] == health and said in got[job]["lastError"] for job, (health, said) in expected.items())

        def has_the_figure():
            result = json.loads(ask(f"http://127.0.0.1:{port}/api/v1/query?query=orders")[2])["data"]["result"]
            return [(one["metric"]["job"], one["value"][1]) for one in result] == [("token", "7")]

        wait_until("Prometheus has the answer that each target should get", are_as_expected, folder / "nginx.log")
        wait_until("Prometheus has the figure of the one target", has_the_figure, folder / "log")
        if "lps_" in (folder / "log").read_text() + (folder / "nginx.log").read_text():
            fail("a secret is in a log")
    name = f"Prometheus {version('prometheus', '--version')}"
    say(f"{name}: scrapes by oauth2 what nginx gives to callers with the scope and the audience alone")
    say(f"{name}: a wrong secret is invalid_client and a refused scope invalid_scope in the target's error")


def apache():
    folder = FOLDER / "apache"
    (folder / "api").mkdir(parents=True)
    (folder / "api/orders").write_text("orders\n")
    open_to_workers(folder, folder / "api")
    keys, basic, post, other = (free_port() for _ in range(4))
    jwks, metadata = f"{ISSUER}/.well-known/jwks.json", f"{ISSUER}/.well-known/oauth-authorization-server"
    caller = urllib.parse.urlencode({"client_id": "gate", "client_secret": os.environ["GATE_SECRET"]})
    # The module's library trusts the system's authorities, or every certificate; it has no setting for one of our own.
    loose = "ssl_verify=false"

    def oidc(port, settings):
        return f"""
<VirtualHost 127.0.0.1:{port}>
  OIDCCABundlePath {CA}
  OIDCOAuthRemoteUserClaim sub
  {settings}
  <Location /orders>
    AuthType oauth20
    <RequireAll>
      Require claim iss:{ISSUER}
      Require claim aud:{ORDERS}
      Require claim "scope~(^| )orders:write( |$)"
    </RequireAll>
  </Location>
</VirtualHost>"""

    # Debian builds this module without regular expressions, so the whole scope is compared.
    def oauth2(path, verify):
        return f"""
  Alias /{path} {folder}/api/orders
  <Location /{path}>
    AuthType oauth2
    OAuth2TokenVerify {verify}
    <RequireAll>
      Require oauth2_claim iss:{ISSUER}
      Require oauth2_claim aud:{ORDERS}
      Require oauth2_claim "scope:orders:read orders:write"
    </RequireAll>
  </Location>"""

    client = f"OIDCOAuthClientID gate\n  OIDCOAuthClientSecret {os.environ['GATE_SECRET']}"
    by_metadata = f"OIDCOAuthServerMetadataURL {metadata}\n  {client}"
    by_post = f"""OIDCOAuthIntrospectionEndpoint {ISSUER}/oauth2/introspect
  OIDCOAuthIntrospectionEndpointAuth client_secret_post
  {client}"""
    listen = "\n".join(f"Listen 127.0.0.1:{port}" for port in (keys, basic, post, other))
    modules = ["mpm_event", "authn_core", "authz_core", "authz_user", "alias", "auth_openidc", "oauth2"]
    load = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in modules)
    (folder / "apache2.conf").write_text(f"""
ServerRoot {folder}
ServerName 127.0.0.1
PidFile apache2.pid
DefaultRuntimeDir {folder}
ErrorLog /dev/stderr
User www-data
Group www-data
DocumentRoot {folder}/api
{load}
{listen}
{oidc(keys, f"OIDCOAuthVerifyJwksUri {jwks}")}
{oidc(basic, by_metadata)}
{oidc(post, by_post)}
<VirtualHost 127.0.0.1:{other}>
{oauth2("jwks", f"jwks_uri {jwks} jwks_uri.{loose}&verify.iss={ISSUER}")}
{oauth2("basic", f"introspect {ISSUER}/oauth2/introspect introspect.{loose}&introspect.auth=client_secret_basic&{caller}")}
{oauth2("post", f"introspect {ISSUER}/oauth2/introspect introspect.{loose}&introspect.auth=client_secret_post&{caller}")}
{oauth2("metadata", f"metadata {metadata} metadata.{loose}&introspect.{loose}&introspect.auth=client_secret_basic&{caller}")}
</VirtualHost>
""")
    good, narrow, billing = pair(), pair(scope="orders:read"), pair(resource=BILLING)
    openidc = f"mod_auth_openidc {package('libapache2-mod-auth-openidc')}"
    mod_oauth2 = f"mod_oauth2 {package('libapache2-mod-oauth2')}"
    log = folder / "log"
    with running("apache2", ["apache2", "-X", "-f", folder / "apache2.conf"], log):
        wait_until("Apache starts", lambda: ask(f"http://127.0.0.1:{other}/")[0], log)
        for name, url in [
            (f"{openidc} by JWKS", f"http://127.0.0.1:{keys}/orders"),
            (f"{openidc} by introspection, client_secret_basic, by metadata", f"http://127.0.0.1:{basic}/orders"),
            (f"{openidc} by introspection, client_secret_post", f"http://127.0.0.1:{post}/orders"),
            (f"{mod_oauth2} by JWKS", f"http://127.0.0.1:{other}/jwks"),
            (f"{mod_oauth2} by introspection, client_secret_basic", f"http://127.0.0.1:{other}/basic"),
            (f"{mod_oauth2} by introspection, client_secret_post", f"http://127.0.0.1:{other}/post"),
            (f"{mod_oauth2} by metadata", f"http://127.0.0.1:{other}/metadata"),
        ]:
            status, _, body = ask(url, good["access_token"])
            if (status, body) != (200, "orders\n"):
                fail(f"{name}: {status} {body} {log.read_text()[-4000:]}")
            head, middle, signature = good["access_token"].split(".")
            forged = ".".join([head, middle, ("B" if signature[0] == "A" else "A") + signature[1:]])
            for what, token, expected in [
                ("no token", None, (401,)), ("a refresh token", good["refresh_token"], (401,)),
                ("another signature", forged, (401,)), ("another audience", billing["access_token"], (401, 403)),
                ("less scope", narrow["access_token"], (401, 403)),
            ]:
                status, _, body = ask(url, token)
                if status not in expected:
                    fail(f"{name}, {what}: {status} {body} {log.read_text()[-4000:]}")
            say(f"{name}: lets an access token in, and none that is forged, narrower, for another audience or to refresh")


prometheus()
apache()
