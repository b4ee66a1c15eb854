"""Three replicas behind HAProxy, each with a copy of the files and a clock of its own, and where the files come from."""

import base64
import bisect
import collections
import datetime
import hashlib
import http.client
import itertools
import json
import os
import pathlib
import random
import secrets
import signal
import socket
import subprocess
import threading
import time

from crew import Broken, until

ISSUER = "https://tokens.example.com"
AUDIENCE = "https://orders.example.com"
ACCESS, REFRESH, SESSION, LEEWAY = 20, 60, 300, 5
CLOCKS = {"behind": -2, "exact": 0, "ahead": 2}  # the replicas, and by how many seconds their clocks are wrong
DELAY = 3  # a change reaches each replica's copy within this
RELOAD = 1  # `[reload] interval`
# What signs for the client of that name.
ALGORITHMS = {"es256": "ES256", "eddsa": "EdDSA"}
LIBFAKETIME = subprocess.check_output(["faketime", "-f", "+0s", "printenv", "LD_PRELOAD"], text=True).strip()


def environment(**more):
    """The environment without what would configure a server behind the harness's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LINGPAI_")} | more


def written(at):
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def file_name(algorithm, at):
    """What a key that signs from `at` on is called."""
    return f"{written(at).replace(':', '-')}.{algorithm.lower()}.pem"


def free_ports(count):
    # Below the range that the kernel gives to outgoing connections: one of those could take the port while its server
    # is down.
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return list(itertools.islice(filter(is_free, random.sample(range(10_000, low), 1_000)), count))


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def place(path, content, mode=0o600):
    """Writes a file so that no reader sees half of it."""
    aside = path.with_name(f".{path.name}")
    aside.touch(0o600)
    aside.write_bytes(content)
    aside.chmod(mode)
    aside.rename(path)


def http_basic(client, secret):
    return "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()


def part(token, index):
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def header(token):
    return part(token, 0)


def claims(token):
    return part(token, 1)


def configuration(clients, max_age):
    text = f"""\
issuer = "{ISSUER}"

[keys]
jwks_max_age = "{max_age}s"

[revocations]
path = "revoked"

[reload]
interval = "{RELOAD}s"

[token]
audience = ["{AUDIENCE}"]
access_lifetime = "{ACCESS}s"
refresh_lifetime = "{REFRESH}s"
session_lifetime = "{SESSION}s"
leeway = "{LEEWAY}s"
"""
    for client, secret in clients.items():
        text += f"""
[[clients]]
id = "{client}"
algorithm = "{ALGORITHMS[client]}"
secrets = ["sha256:{hashlib.sha256(secret.encode()).hexdigest()}"]
scope = ["orders:read", "orders:write"]
subjects = ["user:*"]
"""
    return text


class Central:
    """The folder that the replicas' copies follow, and the schedule of its keys."""

    def __init__(self, lingpai, folder, max_age):
        self.lingpai = lingpai
        self.keys = folder / "keys"
        self.keys.mkdir(parents=True)
        self.config = folder / "lingpai.toml"
        self.revoked = folder / "revoked"
        # Some lines, so that half of them are fewer.
        self.revoked.write_text("".join(f"jti {number:021}A 2100-01-01T00:00:00Z\n" for number in range(10)))
        self.clients = {client: secrets.token_urlsafe(32) for client in ALGORITHMS}
        place(self.config, configuration(self.clients, max_age).encode())
        self.schedule = {algorithm: [] for algorithm in ALGORITHMS.values()}  # (instant, kid), by instant
        for algorithm in self.schedule:
            self.new_key(algorithm, int(time.time()) - 30)

    def command(self, *arguments):
        run = subprocess.run(
            [self.lingpai, *arguments, "--json", "--config", self.config],
            env=environment(), check=False, capture_output=True, text=True, timeout=20,
        )
        if run.returncode != 0:
            raise Broken(f"lingpai {' '.join(arguments)}: {run.stderr}")
        return json.loads(run.stdout)

    def new_key(self, algorithm, at):
        made = self.command("keys", "new", "--alg", algorithm, "--at", written(at))
        self.schedule[algorithm].append((at, made["kid"]))

    def revoke(self, token):
        """Ends the session of a token; returns the line of the list that says so."""
        return self.command("revoke", "--session", claims(token)["sid"])["line"]

    def rotate_now(self):
        made = self.command("keys", "rotate", "--now")
        self.schedule[made["alg"]].append((parsed(made["from"]), made["kid"]))

    def key_elsewhere(self, folder):
        """A key's PEM, in nobody's folder."""
        return pathlib.Path(self.command("keys", "new", "--keys", folder)["file"]).read_bytes()

    def newest(self):
        return max(schedule[-1] for schedule in self.schedule.values())[1]

    def signer(self, algorithm, at):
        """The kid of the key that signs at an instant."""
        schedule = self.schedule[algorithm]
        return schedule[bisect.bisect_right(schedule, at, key=lambda key: key[0]) - 1][1]

    def prune(self):
        """Deletes keys that have been retired for a while on every replica."""
        before = time.time() - REFRESH - LEEWAY - CLOCKS["ahead"] - 10
        for algorithm in self.schedule:
            keys = sorted(self.keys.glob(f"*.{algorithm.lower()}.pem"))
            for key, successor in itertools.pairwise(keys):
                if successor.name < file_name(algorithm, before):
                    key.unlink()


class Replica:
    def __init__(self, crew, central, folder, port, clock):
        self.crew, self.central, self.port = crew, central, port
        self.clock, self.offset = clock, CLOCKS[clock]
        self.name = f"the replica whose clock is {clock}"
        folder = folder / clock
        self.keys = folder / "keys"
        self.keys.mkdir(parents=True)
        self.config = folder / "lingpai.toml"
        self.revoked = folder / "revoked"
        self.listed = {}  # lines of the list, and since when the copy has each
        self.log = folder / "log"
        self.files = threading.Lock()  # held by whoever changes them
        self.process = None
        self.copy()

    def copy(self):
        """Makes the copy equal to the central files."""
        there = {file.name: file for file in self.central.keys.glob("[!.]*")}
        here = {file.name for file in self.keys.glob("[!.]*")}
        for name in there.keys() - here:
            place(self.keys / name, there[name].read_bytes())
        for name in here - there.keys():
            (self.keys / name).unlink()
        content = self.central.config.read_bytes()
        if not self.config.exists() or self.config.read_bytes() != content:
            place(self.config, content)
        content = self.central.revoked.read_bytes()
        if not self.revoked.exists() or self.revoked.read_bytes() != content:
            place(self.revoked, content)
        now = time.monotonic()
        for line in content.decode().rpartition("\n")[0].splitlines():
            self.listed.setdefault(line, now)

    def follow(self):
        while self.crew.wait(random.uniform(0, DELAY)):
            with self.files:
                self.copy()

    def start(self):
        fake = {}
        if self.offset:
            fake = {"LD_PRELOAD": LIBFAKETIME, "FAKETIME": f"{self.offset:+d}s"}
            fake |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
        with self.log.open("ab") as log:
            self.process = self.crew.process(
                [self.central.lingpai, "serve", "--config", self.config, "--listen", f"127.0.0.1:{self.port}"],
                env=environment(**fake), stdout=subprocess.DEVNULL, stderr=log,
            )
        until(lambda: self.ended() or self.ask("GET", "/readyz")[0] == 200, f"{self.name} is ready")
        if self.ended():
            raise Broken(f"{self.name} did not start: {self.log.read_text()[-500:]}")

    def ended(self):
        return self.process.poll() is not None

    def stop(self):
        """Asks it to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        until(self.ended, f"{self.name} ends")
        code = self.process.returncode
        self.crew.end(self.process)
        return code

    def kill(self):
        # It stands still for a moment first, so that it surely has requests that it never answers.
        self.process.send_signal(signal.SIGSTOP)
        self.crew.wait(0.1)
        self.crew.end(self.process)

    def ask(self, method, path, headers=None):
        """Asks it directly; status 0 if there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def publishes(self, kid):
        return kid.encode() in self.ask("GET", "/.well-known/jwks.json")[1]

    def issue(self):
        client = next(iter(ALGORITHMS))
        return self.ask("POST", "/token", {"Authorization": http_basic(client, self.central.clients[client])})

    def clock_is_right(self):
        """Whether the tokens that it issues say what its clock should."""
        before = int(time.time())
        status, body = self.issue()
        after = int(time.time())
        return status == 200 and before <= claims(json.loads(body)["value"])["iat"] - self.offset <= after

    def complains_of(self, name, since):
        return any(name in line for line in self.complaints(since))

    def complaints(self, since=0):
        """The lines of its log from this byte on that are not mere information."""
        with self.log.open() as log:
            log.seek(since)
            return [line.strip() for line in log if '"level":"INFO"' not in line]

    def refusals(self):
        """What it refused, by cause."""
        causes = collections.Counter()
        with self.log.open() as log:
            for line in log:
                if '"cause":' in line:
                    refusal = json.loads(line)
                    causes[f"{refusal['method']} {refusal['status']} {refusal['cause']}"] += 1
        return dict(causes) or "nothing was refused"


HAPROXY = """\
global
  maxconn 256
defaults
  mode http
  option http-buffer-request
  retry-on conn-failure empty-response
  retries 3
  option redispatch 1
  http-reuse always
  timeout connect 2s
  timeout server 10s
  timeout client 30s
  timeout check 5s
frontend tokens
  bind 127.0.0.1:{port}
  http-response set-header X-Replica %s
  default_backend replicas
backend replicas
  balance roundrobin
  option httpchk GET /readyz
  default-server check inter 200ms fall 2 rise 1
{servers}
"""


def proxy(crew, folder, port, replicas):
    """Starts HAProxy; returns its URL."""
    servers = "\n".join(f"  server {replica.clock} 127.0.0.1:{replica.port}" for replica in replicas)
    path = folder / "haproxy.cfg"
    path.write_text(HAPROXY.format(port=port, servers=servers))
    with (folder / "haproxy.log").open("wb") as log:
        process = crew.process(["haproxy", "-db", "-f", path], stdout=log, stderr=log)
    until(lambda: process.poll() is not None or not is_free(port), "haproxy accepts connections")
    if process.poll() is not None:
        raise Broken(f"haproxy: {(folder / 'haproxy.log').read_text()}")
    return f"http://127.0.0.1:{port}"
