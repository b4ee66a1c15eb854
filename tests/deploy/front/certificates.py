"""Clients with certificates (RFC 8705) behind nginx, Caddy and HAProxy, as deploy/ configures them: what those pass on as
Client-Cert (RFC 9440) is what the handshake proved, and nothing else is."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse

import tokens

DEPLOY = pathlib.Path(__file__).parents[3] / "deploy"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LINGPAI_")}
ENVIRONMENT["PATH"] += ":/usr/sbin"
BINARY = pathlib.Path(sys.argv[1]).resolve()
NAME, SERVER = "orders.example.com", "mtls.tokens.example.com"


def fail(what):
    sys.exit(f"front: {what}")


def run(*command):
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    if ran.returncode != 0:
        fail(f"{command}: {ran}")
    return ran.stdout


def free_port():
    return int(run(DEPLOY.parent / "tests/port"))


def wait_until(what, true):
    deadline = time.monotonic() + 60
    while not true():
        if time.monotonic() > deadline:
            fail(f"waited in vain: {what}")
        time.sleep(0.1)


def listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Certificates:
    """Made with openssl in a folder: NAME.crt, NAME.key, and both as NAME.pem."""

    def __init__(self, folder):
        self.folder = folder
        for authority in ("ca", "other-ca"):
            self.make(authority, "-addext", "keyUsage=critical,keyCertSign", subject="authority")
        client = ("-addext", f"subjectAltName=DNS:{NAME}", "-addext", "extendedKeyUsage=clientAuth")
        self.make("good", *client, by="ca")
        self.make("second", *client, by="ca")
        self.make("other's", *client, by="other-ca")
        self.make("self-signed", *client)
        self.make("registered", *client)
        # As long as certificates get: an RSA key of 4096 bits and many names, too long for nginx's variables, and not.
        for what, names in (("long", 40), ("too long", 80)):
            many = ",".join(f"DNS:{number:04}.orders.example.com" for number in range(names))
            self.make(what, "-addext", f"subjectAltName={many}", kind=("rsa:4096",))
        self.make("server", "-addext", f"subjectAltName=DNS:{SERVER}", by="ca")

    def make(self, name, *more, by=None, subject=None, kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        path = self.folder / name
        signer = ("-CA", self.folder / f"{by}.crt", "-CAkey", self.folder / f"{by}.key") if by else ()
        leaf = () if "keyCertSign" in str(more) else ("-addext", "basicConstraints=critical,CA:FALSE")
        run("openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "2", "-subj", f"/CN={subject or 'client'}",
            "-keyout", f"{path}.key", "-out", f"{path}.crt", *signer, *more, *leaf)
        both = pathlib.Path(f"{path}.crt").read_text() + pathlib.Path(f"{path}.key").read_text()
        pathlib.Path(f"{path}.pem").write_text(both)

    def der(self, name):
        return ssl.PEM_cert_to_DER_cert((self.folder / f"{name}.crt").read_text())

    def field(self, name):
        return f":{base64.b64encode(self.der(name)).decode()}:"

    def thumbprint(self, name):
        return tokens.encode(hashlib.sha256(self.der(name)).digest())


class Lingpai:
    """It believes what comes from 127.0.0.1. Of its clients `bound` has a secret and binds its tokens, `named` is known
    by an authority's word, `registered` by its certificate."""

    def __init__(self, folder, certificates):
        home = folder / "lingpai"
        run(BINARY, "init", home, "--issuer", "https://tokens.example.com")
        file = home / "lingpai.toml"
        said = run(BINARY, "client", "add", "bound", "--config", file, "--scope", "orders:read")
        self.secret = re.search(r"lps_[\w-]+", said)[0]
        chain = [base64.b64encode(certificates.der("registered")).decode()]
        key = tokens.jwk(certificates.folder / "registered.key") | {"x5c": chain}
        (home / "registered.json").write_text(json.dumps({"keys": [key]}))
        (home / "ca.pem").write_text((certificates.folder / "ca.crt").read_text())
        file.write_text(f"""trusted_proxies = ["127.0.0.1"]
{file.read_text()}
sender = "mtls"

[[clients]]
id = "named"
scope = ["orders:read"]
tls_san_dns = "{NAME}"
sender = "mtls"

[[clients]]
id = "registered"
scope = ["orders:read"]
jwks = "registered.json"
sender = "mtls"

[mtls]
ca = "ca.pem"
url = "https://mtls.tokens.example.com"
""")
        self.port = free_port()
        with (folder / "lingpai.log").open("wb") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--config", file, "--listen", f"127.0.0.1:{self.port}"], stdout=log, stderr=log,
                env=ENVIRONMENT)
        wait_until("lingpai starts", lambda: listens(self.port))


class Proxy:
    """One of the three, with deploy/'s configuration in which only addresses and paths are others."""

    def __init__(self, name, folder, certificates, lingpai):
        self.name, self.port, self.certificates, self.lingpai = name, free_port(), certificates, lingpai
        own = folder / name
        own.mkdir()
        pem = certificates.folder / "server"
        file = {"nginx": "nginx/mtls.conf", "caddy": "caddy/mtls.Caddyfile", "haproxy": "haproxy/mtls.cfg"}[name]
        text = (DEPLOY / file).read_text()
        for old, new in {
            "nginx": (("listen 443", f"listen 127.0.0.1:{self.port}"), ("/etc/nginx/tokens.crt", f"{pem}.crt"),
                      ("/etc/nginx/tokens.key", f"{pem}.key")),
            "caddy": ((f"\n{SERVER} {{", f"\nhttps://{SERVER}:{self.port} {{\n\tbind 127.0.0.1"),
                      ("\ttls {", f"\ttls {pem}.crt {pem}.key {{")),
            "haproxy": (("bind :443", f"bind 127.0.0.1:{self.port}"), ("/etc/haproxy/tokens.pem", f"{pem}.pem")),
        }[name] + (("127.0.0.1:8080", f"127.0.0.1:{lingpai.port}"),):
            if old not in text:
                fail(f"{file} has no {old!r}")
            text = text.replace(old, new)
        (own / "config").write_text(text)
        command = ("haproxy", "-W", "-f", own / "config")
        if name == "caddy":
            (own / "config").write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + text)
            command = ("caddy", "run", "--config", own / "config", "--adapter", "caddyfile")
        if name == "nginx":
            paths = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            (own / "nginx.conf").write_text(
                "daemon off; pid nginx.pid; error_log stderr; worker_processes 1; events {}\n"
                f"http {{ access_log off; {paths} include config; }}\n")
            command = ("nginx", "-p", own, "-e", "stderr", "-c", own / "nginx.conf")
        with (folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=own,
                                            env=ENVIRONMENT | {"HOME": str(own)})
        wait_until(f"{name} starts", lambda: listens(self.port))

    def context(self, certificate):
        context = ssl.create_default_context(cafile=self.certificates.folder / "ca.crt")
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if certificate:
            context.load_cert_chain(self.certificates.folder / f"{certificate}.pem")
        return context

    def connect(self, context, session=None):
        plain = socket.create_connection(("127.0.0.1", self.port), 60)
        return context.wrap_socket(plain, server_hostname=SERVER, session=session)

    def ask(self, certificate, method, target, body=None, *fields):
        """Status and JSON of the answer to a caller with this certificate, or none."""
        connection = http.client.HTTPSConnection(SERVER)
        connection.sock = self.connect(self.context(certificate))
        return answer(connection, method, target, body, fields)

    def token(self, certificate, client, *fields):
        form = {"grant_type": "client_credentials", "client_id": client}
        if client == "bound":
            form["client_secret"] = self.lingpai.secret
        body = urllib.parse.urlencode(form)
        return self.ask(certificate, "POST", "/oauth2/token", body, ("Content-Type", "application/x-www-form-urlencoded"),
                        *fields)

    def inspect(self, certificate, token, *fields):
        return self.ask(certificate, "GET", "/token", None, ("Authorization", f"Bearer {token}"), *fields)[0]

    def expect(self, what, got, expected):
        if got != expected:
            fail(f"{self.name}, {what}: {got}, expected {expected}")


def answer(connection, method, target, body, fields):
    with contextlib.closing(connection):
        connection.putrequest(method, target)
        for name, value in (*fields, ("Content-Length", str(len(body or "")))):
            connection.putheader(name, value)
        connection.endheaders((body or "").encode())
        got = connection.getresponse()
        return got.status, json.loads(got.read() or "null")


def check_bound(proxy, certificates):
    """A token is good beside the certificate that it was bound to, and in no other way."""
    for name in ("good", "self-signed", "long") + (("too long",) if proxy.name != "nginx" else ()):
        status, said = proxy.token(name, "bound")
        proxy.expect(f"a token with {name}", (status, said.get("token_type")), (200, "Bearer"))
        token = said["access_token"]
        proxy.expect("cnf", tokens.parts(token)[1]["cnf"], {"x5t#S256": certificates.thumbprint(name)})
        proxy.expect(f"{name}, with it", proxy.inspect(name, token), 200)
        proxy.expect(f"{name}, without", proxy.inspect(None, token), 401)
        proxy.expect(f"{name}, with another", proxy.inspect("second", token), 401)
        field, chain = certificates.field(name), ("Client-Cert-Chain", certificates.field("ca"))
        for spelling in ("Client-Cert", "client-cert", "CLIENT-CERT", "Client_Cert"):
            for own in (None, "second"):
                proxy.expect(f"{own}'s {spelling}", proxy.inspect(own, token, (spelling, field)), 401)
                proxy.expect(f"{own}'s {spelling} twice",
                             proxy.inspect(own, token, (spelling, field), (spelling, field), chain), 401)
            # Nor does it do any harm.
            other, wrong = (spelling, certificates.field("second")), ("Client-Cert-Chain", "x")
            proxy.expect(f"{spelling} beside it", proxy.inspect(name, token, other, wrong), 200)
    if proxy.name == "nginx":
        # Its variables do not hold it: better none than a part.
        proxy.expect("a certificate that is too long", proxy.token("too long", "bound")[1]["error"], "invalid_request")
    for own in ((), (("Client-Cert", certificates.field("good")),)):
        status, said = proxy.token(None, "bound", *own)
        proxy.expect("no certificate", (status, said["error"]), (400, "invalid_request"))


def check_names(proxy, certificates):
    """The proxy asks and does not verify, so lingpai must: nobody gets another's name."""
    chain = ("Client-Cert-Chain", certificates.field("ca"))
    for client, certificate, fields, status in (
        ("named", "good", (), 200),
        ("named", "second", (), 200),
        ("named", None, (), 401),
        ("named", "self-signed", (), 401),
        ("named", "registered", (), 401),
        ("named", "other's", (), 401),
        ("named", "self-signed", (chain,), 401),
        ("named", "self-signed", (("Client-Cert", certificates.field("good")),), 401),
        ("named", None, (("Client-Cert", certificates.field("good")),), 401),
        ("registered", "registered", (), 200),
        ("registered", None, (), 401),
        ("registered", "self-signed", (), 401),
        ("registered", "good", (), 401),
        ("registered", None, (("Client-Cert", certificates.field("registered")),), 401),
    ):
        got = proxy.token(certificate, client, *fields)
        proxy.expect(f"{certificate} as {client} with {fields}", got[0], status)
        if status == 401:
            proxy.expect("an error", got[1]["error"], "invalid_client")


def check_resumed(proxy):
    """A session that is taken up again has the certificate of the first handshake."""
    token = proxy.token("good", "bound")[1]["access_token"]
    context, session, statuses = proxy.context("good"), None, []
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for _ in range(2):
        with proxy.connect(context, session) as one:
            session, resumed = one.session, one.session_reused
            one.sendall(f"GET /token HTTP/1.1\r\nHost: {SERVER}\r\nConnection: close\r\n"
                        f"Authorization: Bearer {token}\r\n\r\n".encode())
            statuses.append(one.recv(12)[-3:])
    proxy.expect("a session taken up again", (resumed, statuses), (True, [b"200", b"200"]))


def check_direct(lingpai, certificates, token):
    """Only the proxy's address is believed."""
    for source, status in (("127.0.0.1", 200), ("127.0.0.2", 401)):
        connection = http.client.HTTPConnection("127.0.0.1", lingpai.port, timeout=60, source_address=(source, 0))
        fields = (("Authorization", f"Bearer {token}"), ("Client-Cert", certificates.field("good")))
        got = answer(connection, "GET", "/token", None, fields)
        if got[0] != status:
            fail(f"Client-Cert from {source}: {got}")


def main(folder):
    made = folder / "certificates"
    made.mkdir()
    certificates = Certificates(made)
    running = []
    try:
        lingpai = Lingpai(folder, certificates)
        running.append(lingpai)
        for name in ("nginx", "caddy", "haproxy"):
            proxy = Proxy(name, folder, certificates, lingpai)
            running.append(proxy)
            check_bound(proxy, certificates)
            check_names(proxy, certificates)
            check_resumed(proxy)
            print(f"ok: {name}: a token that is bound to a certificate is good beside it alone; a certificate that nobody "
                  "vouches for is nobody else's name", flush=True)
        check_direct(lingpai, certificates, proxy.token("good", "bound")[1]["access_token"])
        print("ok: Client-Cert from an address that is no proxy's proves nothing", flush=True)
    except BaseException:
        for log in folder.glob("*.log"):
            print(f"{log}: {log.read_text(errors='replace')[-1500:]}", file=sys.stderr)
        raise
    finally:
        for one in running:
            one.process.terminate()
            one.process.wait(30)


with tempfile.TemporaryDirectory() as temporary:
    main(pathlib.Path(temporary))
