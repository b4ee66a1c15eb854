"""Starts lingpai, an API and the three proxies, asks them everything, and prints a line for each part."""

import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import tokens

DEPLOY = pathlib.Path(__file__).parents[3] / "deploy"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LINGPAI_")}
ENVIRONMENT["PATH"] += ":/usr/sbin"
ORDERS, BILLING = "https://orders.example.com", "https://billing.example.com"
LEEWAY = 5  # seconds
TRUE = {"x-token-subject": "user:7", "x-token-client": "shop", "x-token-scope": "orders:read"}


def say(what):
    print(f"ok: {what}", flush=True)


def fail(what):
    sys.exit(f"front: {what}")


def wait_until(what, true):
    deadline = time.monotonic() + 60
    while not true():
        if time.monotonic() > deadline:
            fail(f"waited in vain: {what}")
        time.sleep(0.1)


def until_not_503(ask):
    deadline = time.monotonic() + 60
    while (answer := ask())[0] == 503 and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def free_port():
    return int(run(DEPLOY.parent / "tests/port"))


class Api(http.server.BaseHTTPRequestHandler):
    """Says what it has got, and remembers it."""

    got = []
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.got.append((self.command, self.path, self.headers.items(), body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


class ApiServer(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """A proxy that closes a connection is nothing to tell of."""


class Proxy:
    """One of the three, with deploy/'s configuration in which only addresses and paths are others."""

    def __init__(self, name, folder, lingpai, api):
        self.name, self.port = name, free_port()
        self.folder = folder / name
        self.folder.mkdir()
        self.log = (self.folder / "log").open("wb")
        getattr(self, name)(lingpai, api)

    def write(self, source, target, *changes):
        text = (DEPLOY / source).read_text()
        for old, new in changes:
            if old not in text:
                fail(f"{source} has no {old!r}")
            text = text.replace(old, new)
        target.write_text(text)

    def start(self, *command):
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.folder,
                                        env=ENVIRONMENT | {"HOME": str(self.folder)})
        wait_until(f"{self.name} starts", self.listens)

    def listens(self):
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def nginx(self, lingpai, api):
        self.write("nginx/orders.conf", self.folder / "orders.conf",
                   ("127.0.0.1:8080", lingpai), ("127.0.0.1:9000", api),
                   ("listen 80;", f"listen 127.0.0.1:{self.port};"))
        paths = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(
            "daemon off; pid nginx.pid; error_log stderr; worker_processes 1; events {}\n"
            f"http {{ access_log off; {paths} include orders.conf; }}\n")
        self.start("nginx", "-p", self.folder, "-e", "stderr", "-c", self.folder / "nginx.conf")

    def caddy(self, lingpai, api):
        file = self.folder / "Caddyfile"
        self.write("caddy/Caddyfile", file, ("127.0.0.1:8080", lingpai), ("127.0.0.1:9000", api),
                   ("\norders.example.com {", f"\nhttp://orders.example.com:{self.port} {{\n\tbind 127.0.0.1"))
        file.write_text("{\n\tadmin off\n}\n" + file.read_text())
        self.start("caddy", "run", "--config", file, "--adapter", "caddyfile")

    def haproxy(self, _, api):
        file, keys = self.folder / "haproxy.cfg", self.folder / "lingpai-keys.cfg"
        self.public = self.folder / "lingpai"
        self.write("haproxy/haproxy.cfg", file, ("127.0.0.1:9000", api), ("bind :80", f"bind 127.0.0.1:{self.port}"),
                   ("/etc/haproxy/lingpai/", f"{self.public}/"))
        self.export()
        self.start("haproxy", "-W", "-f", file, "-f", keys)

    def export(self):
        """As the comments in deploy/haproxy/keys say."""
        run(BINARY, "keys", "export", "--public", "--config", HOME / "lingpai.toml", "--out", self.public)
        run(DEPLOY / "haproxy/keys", self.public, self.folder / "lingpai-keys.cfg")

    def load_keys(self, is_good):
        self.export()
        self.process.send_signal(signal.SIGUSR2)
        # For a moment both workers accept connections.
        wait_until("HAProxy reloads", lambda: all(is_good() for _ in range(10)))

    def ask(self, *fields, method="GET", target="/orders/1", body=b"", seconds=30):
        """Status, fields and body of the answer, and what the API got."""
        Api.got.clear()
        head = [f"{method} {target} HTTP/1.1", "Host: orders.example.com", "Connection: close", *fields]
        if body:
            head.append(f"Content-Length: {len(body)}")
        with socket.create_connection(("127.0.0.1", self.port), seconds) as connection:
            connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
            return answer.status, answer.headers, answer.read(), list(Api.got)

    def ask_again(self, *fields, **more):
        """As `ask`, but lingpai may be overloaded for a while, for the machine may have other work."""
        return until_not_503(lambda: self.ask(*fields, **more))

    def refuses(self, what, status, *fields, **more):
        """Not a byte gets to the API, and the answer says what lingpai's would."""
        ask = self.ask if status == 503 or isinstance(status, tuple) and 503 in status else self.ask_again
        got, headers, body, arrived = ask(*fields, **more)
        if got not in (status if isinstance(status, tuple) else (status,)) or arrived:
            fail(f"{self.name}, {what}: {got} {body!r}; the API got {arrived}")
        return headers, body

    def passes(self, what, *fields, true=TRUE, **more):
        """The API gets the request, and of X-Token-* what is true."""
        got, _, body, arrived = self.ask_again(*fields, **more)
        if got != 200 or len(arrived) != 1:
            fail(f"{self.name}, {what}: {got} {body!r}; the API got {arrived}")
        method, target, headers, sent = arrived[0]
        named = [(re.sub("[^a-z]", "-", name.lower()), value) for name, value in headers]
        about = sorted(field for field in named if field[0].startswith("x-token") and field != ("x-token-actor", ""))
        if about != sorted(true.items()) or any(name == "authorization" for name, _ in named):
            fail(f"{self.name}, {what}: the API got {headers}")
        expected = (more.get("method", "GET"), more.get("target", "/orders/1"), more.get("body", b""))
        if {"upgrade", "http2-settings", "trailer"} & {name for name, _ in named}:
            fail(f"{self.name}, {what}: the API got {headers}")
        if (method, target, sent) != expected:
            fail(f"{self.name}, {what}: the API got {arrived[0]}")


def run(*command):
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    if ran.returncode != 0:
        fail(f"{command}: {ran}")
    return ran.stdout


class Lingpai:
    """`lingpai serve` on one port, which can be ended and started again."""

    def __init__(self):
        run(BINARY, "init", HOME, "--issuer", "https://tokens.example.com")
        file = HOME / "lingpai.toml"
        # As the comments of the proxies' configurations want it: so what they pass on is believed.
        file.write_text(f'trusted_proxies = ["127.0.0.1"]\n{file.read_text()}\n[reload]\ninterval = "1s"\n')
        said = run(BINARY, "client", "add", "shop", "--config", file, "--scope", "orders:read",
                   "--scope", "orders:write", "--audience", ORDERS, "--audience", BILLING, "--subject", "user:*")
        self.secret = re.search(r"lps_[\w-]+", said)[0]
        self.file, self.address = file, f"127.0.0.1:{free_port()}"
        self.start()

    def start(self):
        with (HOME / "log").open("ab") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--config", self.file, "--listen", self.address],
                                            stdout=subprocess.DEVNULL, stderr=log, env=ENVIRONMENT)
        wait_until("lingpai starts", self.is_ready)

    def is_ready(self):
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def stands_still(self):
        """On a busy machine not every thread has stopped when the signal is sent."""
        threads = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        return all(thread.read_text().rpartition(") ")[2].startswith("T") for thread in threads)

    def end(self):
        self.process.terminate()
        if self.process.wait(60) != 0:
            fail(f"lingpai's exit code {self.process.returncode}")

    def call(self, method, target, body=None, **fields):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, target, json.dumps(body) if isinstance(body, dict) else body, fields)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def pair(self, **asked):
        basic = base64.b64encode(f"shop:{self.secret}".encode()).decode()
        body = {"subject": "user:7", "audience": [ORDERS], "scope": ["orders:read"]} | asked
        fields = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
        status, _, answer = until_not_503(lambda: self.call("POST", "/token", body, **fields))
        if status != 200:
            fail(f"no token: {answer}")
        return json.loads(answer)

    def token(self, **asked):
        return self.pair(**asked)["value"]

    def bound_token(self, key):
        """A token that is bound to the key in this file."""
        basic = base64.b64encode(f"shop:{self.secret}".encode()).decode()
        form = f"grant_type=client_credentials&scope=orders:read&audience={ORDERS}"

        def ask():
            proof = tokens.proof(key, "POST", "https://tokens.example.com/oauth2/token")
            fields = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded", "DPoP": proof}
            return self.call("POST", "/oauth2/token", form, **fields)

        status, headers, answer = until_not_503(ask)
        said = json.loads(answer)
        if status != 200 or said["token_type"] != "DPoP" or not headers["DPoP-Nonce"]:
            fail(f"no token: {answer}")
        return said["access_token"]

    def key(self, kid):
        """The key's file."""
        listed = json.loads(run(BINARY, "keys", "list", "--json", "--config", self.file))
        return next(HOME / "keys" / pathlib.Path(key["file"]).name for key in listed if key["kid"] == kid)


def bearer(token):
    return f"Authorization: Bearer {token}"


def challenges(headers):
    return headers.get_all("WWW-Authenticate") or []


def check_answers(proxy, lingpai):
    """Every kind of token, and what the answer says."""
    good = lingpai.token()
    proxy.passes("a good token", bearer(good))
    proxy.passes("two audiences", bearer(lingpai.token(audience=[BILLING, ORDERS])))
    wide = TRUE | {"x-token-scope": "orders:read orders:write"}
    proxy.passes("two scopes", bearer(lingpai.token(scope=["orders:write", "orders:read"])), true=wide)
    proxy.passes("POST", bearer(good), method="POST", body=b'{"scope":["orders:write"]}')
    proxy.passes("a query", bearer(good), target="/orders/1?scope=orders:write&audience=x&token=y")

    def unauthorized(what, *fields, error=', error="invalid_token"'):
        headers, body = proxy.refuses(what, 401, *fields)
        if body != b'{"name":"Unauthorized","message":"authentication failed","stack":[]}':
            fail(f"{proxy.name}, {what}: {body}")
        said = challenges(headers)
        if len(said) != len(set(said)) or not said or not said[0].startswith('Bearer realm="lingpai"' + error):
            fail(f"{proxy.name}, {what}: {said}")
        if (headers["Content-Type"], headers["Cache-Control"]) != ("application/json", "no-store"):
            fail(f"{proxy.name}, {what}: {headers.items()}")
        return said[0]

    unauthorized("no token", error="")
    headers, _ = proxy.refuses("no token", 401)
    if any("error" in challenge for challenge in challenges(headers)):
        fail(f"{proxy.name}: an error without a token")
    for what, fields in (
        ("an empty header", ["Authorization:"]), ("Basic", ["Authorization: Basic c2hvcDp4"]),
        ("no scheme", [f"Authorization: {good}"]), ("garbage", [bearer("x")]), ("a word more", [bearer(good + " x")]),
        ("in another header", [f"X-Authorization: Bearer {good}"]),
    ):
        proxy.refuses(what, 401, *fields)
    proxy.refuses("in the query", 401, target=f"/orders/1?access_token={good}")
    # Which of the two the API would believe is anybody's guess.
    proxy.refuses("two tokens", (400, 401, 503), bearer(good), bearer("x"))
    proxy.refuses("two tokens", (400, 401, 503), bearer("x"), bearer(good))

    unauthorized("a refresh token", bearer(lingpai.pair()["refresh"]))
    unauthorized("another audience", bearer(lingpai.token(audience=[BILLING])))
    header, _ = tokens.parts(good)
    key = lingpai.key(header["kid"])
    public = run("openssl", "pkey", "-pubout", "-in", key).encode()
    stranger = tokens.new_key(HOME / "stranger.pem")
    point = subprocess.run(["openssl", "pkey", "-pubout", "-outform", "DER", "-in", stranger], check=True,
                           capture_output=True).stdout[-64:]
    jwk = {"x": tokens.encode(point[:32]), "y": tokens.encode(point[32:])}
    bad = 0
    for what, token in tokens.forged(good, public, stranger, jwk):
        proxy.refuses(what, 401, bearer(token))
        bad += 1
    for what, token in tokens.genuine_but_wrong(good, key):
        said = unauthorized(what, bearer(token))
        if what == "ended" and proxy.name != "haproxy" and 'error_description="the token has expired"' not in said:
            fail(f"{proxy.name}, {what}: {said}")
        bad += 1
    for what, token in tokens.genuine(good, key):
        try:
            proxy.passes(what, bearer(token))
        except SystemExit:
            # Where the machine stood still for longer than clocks may differ, it is right to refuse it.
            if time.time() < tokens.parts(token)[1]["exp"] + LEEWAY:
                raise

    says = tokens.parts(good)[1]
    acting = tokens.as_written(good, says | {"act": {"sub": "gate", "act": {"sub": "shop"}}}, key)
    proxy.passes("an actor", bearer(acting), true=TRUE | {"x-token-actor": "gate"})
    for name in ("jkt", "x5t#S256"):
        bound = tokens.as_written(good, says | {"cnf": {name: "A" * 43}}, key)
        unauthorized(f"a token that is bound by {name}", bearer(bound))
        bad += 1
    # A certificate is no secret: only a handshake proves whose it is, and here is none.
    certificate = tokens.certificate(HOME / "stranger.pem")
    thumbprint = tokens.encode(hashlib.sha256(certificate).digest())
    bound = bearer(tokens.as_written(good, says | {"cnf": {"x5t#S256": thumbprint}}, key))
    field = f":{base64.b64encode(certificate).decode()}:"
    for spelling in ("Client-Cert", "client-cert", "CLIENT-CERT", "Client_Cert"):
        unauthorized(f"a caller's own {spelling}", bound, f"{spelling}: {field}")
        bad += 1

    for scope in ("orders:write", "orders:readonly", "x.orders:read", "orders:rea d"):
        what = f"the scope {scope}"
        token = tokens.as_written(good, tokens.parts(good)[1] | {"scope": scope}, key)
        headers, body = proxy.refuses(what, 403, bearer(token))
        said = challenges(headers)
        if not said or said[0] != 'Bearer realm="lingpai", error="insufficient_scope"':
            fail(f"{proxy.name}, {what}: {said}")
        if json.loads(body)["name"] != "Forbidden" or json.loads(body)["stack"] != []:
            fail(f"{proxy.name}, {what}: {body}")
    say(f"{proxy.name}: good tokens pass, {bad} forged or wrong ones do not, and the answers are lingpai's")


def check_fields(proxy, lingpai):
    """What the caller says about itself, in every spelling, never arrives."""
    good, lie = bearer(lingpai.token()), "user:1"
    spellings = [
        spelling for one in ("Subject", "Client", "Scope", "Actor") for spelling in (
            f"X-Token-{one}", f"x-token-{one.lower()}", f"X-TOKEN-{one.upper()}", f"X_Token_{one}", f"X-Token_{one}",
            f"X_Token-{one}", f"x_token_{one.lower()}", f"X_TOKEN_{one.upper()}",
        )
    ]
    for spelling in spellings:
        proxy.passes(spelling, f"{spelling}: {lie}", good)
        proxy.passes(f"{spelling} twice", f"{spelling}: {lie}", good, f"{spelling}: {lie}")
        proxy.refuses(f"{spelling} alone", 401, f"{spelling}: {lie}")
    proxy.passes("all at once", good, *(f"{spelling}: {lie}" for spelling in spellings))
    folded = proxy.ask(good, f"X-Token-Subject: {lie}\r\n , user:2")
    if folded[0] == 200 and str(folded[3]).count("user:") != 1:
        fail(f"{proxy.name}, a folded field: {folded}")
    # A field that is named in Connection is dropped on the way (RFC 9110 §7.6.1): either it is not, or the request is.
    for named in ("X-Token-Subject", "close, x-token-subject", "X-Token-Client", "keep-alive, X-Token-Scope"):
        if proxy.ask(good, f"Connection: {named}")[0] != 400:
            proxy.passes(f"Connection: {named}", good, f"Connection: {named}")
    if proxy.ask(good, "Connection: Authorization")[0] not in (400, 401):
        proxy.passes("Connection: Authorization", good, "Connection: Authorization")

    # After a change of protocol the rest of the connection would be nobody's to check.
    upgrade = ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    proxy.passes("an upgrade to HTTP/2", good, *upgrade)
    proxy.passes("an upgrade to another", good, "Upgrade: other/1", "Connection: Upgrade")

    # Nothing in the request changes what lingpai is asked.
    other, lacking = bearer(lingpai.token(audience=[BILLING])), bearer(lingpai.token(scope=["orders:write"]))
    for target in (
        f"/orders/1?audience={BILLING}", f"/orders/1?scope=orders:write&audience={BILLING}", f"/?&audience={BILLING}",
        f"/orders/%3Faudience={BILLING}", "/orders/1?#", f"//orders?audience={BILLING}", "/orders/..;/1?audience=",
        f"/token?audience={BILLING}", f"http://orders.example.com/orders/1?audience={BILLING}",
    ):
        proxy.refuses(f"{target}, other audience", (400, 401), other, target=target)
        proxy.refuses(f"{target}, other scope", (400, 403), lacking, target=target)
    question = f"/token?audience={BILLING}"
    for field in ("X-Original-URI", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Accel-Redirect"):
        proxy.refuses(field, 401, other, f"{field}: {question}")
    for field in ("X-HTTP-Method-Override: OPTIONS", "X-Forwarded-Method: OPTIONS", "X-Method-Override: HEAD"):
        proxy.refuses(field, 401, other, field)
    for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"):
        proxy.refuses(method, (400, 401, 405), other, method=method)
    for target in ("/_token", "/_token?scope=x", "/%5Ftoken"):
        status, _, _, arrived = proxy.ask_again(other, target=target)
        if status not in (401, 404) or arrived:
            fail(f"{proxy.name}, {target}: {status} {arrived}")
    say(f"{proxy.name}: {len(spellings)} spellings of X-Token-*, and questions in the request, change nothing")


def check_proofs(proxy, lingpai):
    """A token that is bound to a key passes beside a proof for this very request, and in no other way."""
    key, other = tokens.new_key(HOME / "client.pem"), tokens.new_key(HOME / "thief.pem")
    token = lingpai.bound_token(key)
    shop = TRUE | {"x-token-subject": "shop"}

    def fields(method="GET", path="/orders/1", host=ORDERS, key=key, **more):
        proof = tokens.proof(key, method, host + path, **{"token": token} | more)
        return f"Authorization: DPoP {token}", f"DPoP: {proof}"

    proxy.passes("a proof", *fields(), true=shop)
    proxy.passes("a proof of POST", *fields("POST"), method="POST", body=b"x", true=shop)
    for path in ("/orders/a%20b", "/orders/%C3%A9%2F%3F%25%26%2B", "/orders/(1);x=@:!$'*,~", "/"):
        proxy.passes(path, *fields(path=path), target=path, true=shop)
        proxy.passes(f"{path} and a query", *fields(path=path), target=path + "?htm=x&htu=y&scope=z", true=shop)
    proxy.passes("a proof with a query", *fields(path="/orders/1?a=b#c"), true=shop)
    got, headers, _, arrived = proxy.ask_again(*fields())
    if got != 200 or not headers["DPoP-Nonce"] or any(name.lower().startswith("dpop") for name, _ in arrived[0][2]):
        fail(f"{proxy.name}: {headers.items()}; the API got {arrived}")
    nonce = headers["DPoP-Nonce"]
    proxy.passes("its nonce", *fields(nonce=nonce), true=shop)
    proxy.passes("a nonce of the caller's own", *fields(), "DPoP-Nonce: x", true=shop)

    authorization, good = fields()
    bare = authorization.replace("DPoP", "Bearer")
    for what, sent, more in (
        ("no proof", (authorization,), {}),
        ("as a bearer's", (bare,), {}),
        ("as a bearer's, beside a proof", (bare, good), {}),
        ("two proofs", (authorization, good, good), {}),
        ("another method's", fields("POST"), {}),
        ("another method's, then", fields("GET"), {"method": "DELETE"}),
        ("another path's", fields(path="/orders/2"), {}),
        ("another path's by an escape", fields(path="/orders/a/b"), {"target": "/orders/a%2Fb"}),
        ("another path's by an escaped escape", fields(path="/orders/a%2Fb"), {"target": "/orders/a%252Fb"}),
        ("another host's", fields(host="https://billing.example.com"), {}),
        ("lingpai's own", fields(path="/token", host="https://tokens.example.com"), {}),
        ("lingpai's own by its query", fields(path="/token", host="https://tokens.example.com"),
         {"target": "/orders/1?htm=GET&htu=https://tokens.example.com/token"}),
        ("another's by the query", fields(path="/orders/2"), {"target": f"/orders/1?htu={ORDERS}/orders/2"}),
        ("another's by the path", fields(path="/orders/2"), {"target": f"/orders/1&htu={ORDERS}/orders/2"}),
        ("another's by an escape", fields(path="/orders/2"), {"target": f"/orders/1%26htu={ORDERS}/orders/2"}),
        ("another token's", fields(token="x"), {}),
        ("no token's", fields(token=None), {}),
        ("another key's", fields(key=other), {}),
        ("an old one", fields(iat=int(time.time()) - 70), {}),
        ("a wrong nonce", fields(nonce="x"), {}),
    ):
        headers, _ = proxy.refuses(what, (401, 503) if "by the path" in what else 401, *sent, **more)
        if what == "a wrong nonce":
            if headers["DPoP-Nonce"] != nonce and not headers["DPoP-Nonce"]:
                fail(f"{proxy.name}, {what}: {headers.items()}")
            if not any('error="use_dpop_nonce"' in challenge for challenge in challenges(headers)):
                fail(f"{proxy.name}, {what}: {challenges(headers)}")
    once = fields()
    proxy.passes("a proof once", *once, true=shop)
    proxy.refuses("a proof twice", 401, *once)
    say(f"{proxy.name}: a bound token passes beside a proof for the very request, once")


def check_rotation(proxies, lingpai):
    """The next key's tokens pass; a revoked key's do not."""
    old = lingpai.token()
    run(BINARY, "keys", "rotate", "--now", "--config", lingpai.file)

    def kid(token):
        return tokens.parts(token)[0]["kid"]

    wait_until("the new key signs", lambda: kid(lingpai.token()) != kid(old))
    new = lingpai.token()
    for proxy in proxies:
        proxy.passes("the old key", bearer(old))
        if proxy.name == "haproxy":
            proxy.refuses("a key that was not loaded", 401, bearer(new))
            proxy.load_keys(lambda: proxy.ask(bearer(new))[0] == 200)
        proxy.passes("the new key", bearer(new))
        proxy.passes("the old key, then", bearer(old))
    say("a new key's tokens pass: with HAProxy once it has been loaded")
    aside = lingpai.file.with_name(".lingpai.toml")
    aside.write_text(lingpai.file.read_text().replace("revoked = []", f'revoked = ["{kid(old)}"]'))
    aside.rename(lingpai.file)
    wait_until("the key is revoked", lambda: lingpai.call("GET", "/token", Authorization=f"Bearer {old}")[0] == 401)
    for proxy in proxies:
        if proxy.name == "haproxy":
            proxy.load_keys(lambda: proxy.ask(bearer(old))[0] == 401)
        proxy.refuses("a revoked key", 401, bearer(old))
        proxy.passes("the key that is left", bearer(new))
    say("a revoked key's tokens do not")


def check_absence(proxies, lingpai):
    """Without lingpai nobody gets in, except by HAProxy, which needs only the keys."""
    good = bearer(lingpai.token())

    def nobody(how):
        for proxy in proxies:
            if proxy.name == "haproxy":
                proxy.passes(how, good)
                proxy.refuses(how, 401, bearer("x"))
            else:
                # Their own time-outs, of 2 and 5 s, end it: without them nginx would wait for a minute.
                proxy.refuses(how, (502, 503, 504), good)
                proxy.refuses(how, (502, 503, 504))

    lingpai.process.send_signal(signal.SIGSTOP)
    wait_until("lingpai stands still", lingpai.stands_still)
    nobody("lingpai stands still")
    lingpai.process.send_signal(signal.SIGCONT)
    lingpai.end()
    nobody("lingpai is gone")
    lingpai.start()
    for proxy in proxies:
        wait_until(f"{proxy.name} recovers", lambda: proxy.ask(good)[0] == 200)
        proxy.passes("lingpai is back", good)
    say("while lingpai stands still or is gone nobody gets in, but by HAProxy, which needs only keys")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for command in ("nginx", "caddy", "haproxy", "openssl"):
        if not shutil.which(command, path=ENVIRONMENT["PATH"]):
            fail(f"no {command}")
    api = ApiServer(("127.0.0.1", 0), Api)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    running = []
    try:
        lingpai = Lingpai()
        running.append(lingpai)
        proxies = []
        for name in ("nginx", "caddy", "haproxy"):
            proxies.append(Proxy(name, HOME.parent, lingpai.address, f"127.0.0.1:{api.server_port}"))
            running.append(proxies[-1])
        for proxy in proxies:
            check_answers(proxy, lingpai)
            check_fields(proxy, lingpai)
            # HAProxy checks tokens itself, and no proofs.
            if proxy.name != "haproxy":
                check_proofs(proxy, lingpai)
        check_rotation(proxies, lingpai)
        check_absence(proxies, lingpai)
    except BaseException:
        for log in HOME.parent.glob("*/log"):
            print(f"{log}: {log.read_text(errors='replace')[-1500:]}", file=sys.stderr)
        raise
    finally:
        for one in running:
            one.process.terminate()
            try:
                one.process.wait(30)
            except subprocess.TimeoutExpired:
                one.process.kill()


BINARY = pathlib.Path(sys.argv[1]).resolve()
with tempfile.TemporaryDirectory() as temporary:
    HOME = pathlib.Path(temporary) / "own"
    main()
