"""What compare.py and memory.py share: a lingpai with its tokens, servers on cores, and one round of wrk."""

import base64
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
BINARY = os.environ.get("LINGPAI_BINARY") or "target/release/lingpai"
# Built with the feature aws-lc.
AWS_LC = "target/aws-lc/release/lingpai"
TICKS = os.sysconf("SC_CLK_TCK")
CONNECTIONS = int(os.environ.get("COMPARE_CONNECTIONS", 16))
# Whether there is another load meanwhile.
BESIDE = os.environ.get("COMPARE_BESIDE", "0") != "0"
CLIENT, SCOPE, ISSUER = "first", "read write", "https://tokens.example.com"
# In seconds. Access tokens are made before a run, and must outlive it.
LIFETIMES = {"access_lifetime": 86_400, "refresh_lifetime": 86_400, "session_lifetime": 30 * 86_400}
# Entries of every cache of verified tokens; so many tokens are asked about again and again.
CACHE = 1_000
# So many are asked about in turn: far more than a cache holds.
DISTINCT = 60_000


def die(text):
    sys.exit(f"benches/compare: {text}")


@contextlib.contextmanager
def running():
    """A folder, and a list of servers, which are stopped when it is left."""
    with tempfile.TemporaryDirectory() as name, neighbour():
        started = []
        try:
            yield Path(name), started
        finally:
            for server in started:
                server.stop()


# Writes to each line of half of the cache that all cores share, for as long as its parent runs.
NEIGHBOUR = """
import os
parent = os.getppid()
lines = int(open("/sys/devices/system/cpu/cpu0/cache/index3/size").read().rstrip("K\\n")) * 1024 // 2 // 64
memory, line = bytearray(lines * 64), bytes(lines)
while os.getppid() == parent:
    memory[::64] = line
"""
# The process that does so, with COMPARE_BESIDE.
neighbours = []


@contextlib.contextmanager
def neighbour():
    """With COMPARE_BESIDE, another load on the core of wrk."""
    if BESIDE:
        neighbours.append(subprocess.Popen(["taskset", "-c", "1", sys.executable, "-c", NEIGHBOUR]))
    try:
        yield
        if any(process.poll() is not None for process in neighbours):
            die("the other load ended too early")
    finally:
        while neighbours:
            process = neighbours.pop()
            process.kill()
            process.wait()


class Server:
    """A process on some cores that has said on standard output where it listens. Its log goes to a file."""

    def __init__(self, folder, name, command, cores="0"):
        self.name, self.log = name, folder / f"{name}.log".replace(" ", "-")
        out = self.log.with_suffix(".out")
        # To be cut to nothing between rounds, the log must be appended to.
        with open(out, "w") as stdout, open(self.log, "a") as stderr:
            environment = {**os.environ, "NODE_ENV": "production"}
            command = ["taskset", "-c", cores, *command]
            self.process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment)
        until = time.monotonic() + 10
        while not (found := re.search(r" at (http://[^\s,]+)", out.read_text())):
            if self.process.poll() is not None or time.monotonic() > until:
                die(f"{name} does not start: {self.log.read_text()}")
            time.sleep(0.02)
        self.url = found[1]

    def cpu(self):
        """As cpu_seconds."""
        return cpu_seconds(self.process)

    def memory(self):
        """Resident memory, and the most of it so far, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "VmHWM"))

    def ask(self, method, path, authorization, *more):
        """The answer of one request, with its head if `more` says -i."""
        command = ["curl", "-sS", "--fail", "--max-time", "60", "-X", method, "-H", f"Authorization: {authorization}"]
        answer = subprocess.run([*command, *more, self.url + path], capture_output=True)
        if answer.returncode != 0:
            die(f"{method} {path} of {self.name}: {answer.stderr.decode()}")
        return answer.stdout.decode()

    def stop(self):
        self.process.terminate()
        self.process.wait()


@dataclass
class Load:
    """What is sent to one server. `requests` and `answers` are files for load.lua."""

    name: str
    server: Server
    method: str
    requests: Path
    answers: Path
    path: str = "/token"
    cores: str = "1"
    samples: Path | None = None
    at: int = 0
    rounds: list = field(default_factory=list)

    def run(self, seconds):
        """One round. Any answer that is not right ends the whole run."""
        os.truncate(self.server.log, 0)
        command = ["taskset", "-c", self.cores, "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s",
                   HERE / "load.lua", self.server.url + self.path, "--", self.method, self.requests, str(self.at),
                   self.answers, *([self.samples] if self.samples else [])]
        own, machine, began = self.server.cpu(), busy_seconds(), time.monotonic()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        wrk = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        own, machine = self.server.cpu() - own, busy_seconds() - machine
        sent = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
        figures = re.fullmatch(r"(\d+) (\d+) (\d+) (\d+) (\d+)", wrk.stdout.strip().rsplit("\n", 1)[-1])
        if wrk.returncode != 0 or not figures:
            die(f"wrk failed against {self.name}: {wrk.stdout}{wrk.stderr}")
        requests, micros, errors, wrong, seen = map(int, figures.groups())
        if errors or wrong or seen < requests or requests == 0:
            die(f"void: of {requests} {self.method} requests to {self.name} {errors} had an error, and {wrong} of "
                f"{seen} answers were not right. {wrk.stderr.strip()}")
        # The next round goes on where this one ended, past what was on its way.
        self.at += requests + 2 * CONNECTIONS
        return {"requests": requests, "rps": requests / micros * 1e6, "cpu_us": own / requests * 1e6,
                "busy": own / micros * 1e6, "others": max(0, machine - own - sent) / took / os.cpu_count()}

    def logged(self, requests):
        """Which part of the round's requests its log has lines for."""
        time.sleep(0.1)
        with open(self.server.log, "rb") as log:
            return sum(b'"answered"' in line for line in log) / requests


def take_turns(loads, rounds, seconds):
    """Runs all of them, warm, round for round; every other round from the last to the first."""
    for load in loads:
        load.run(1)
    for number in range(rounds):
        for load in loads if number % 2 == 0 else reversed(loads):
            load.rounds.append(load.run(seconds))


def cpu_seconds(process):
    """User and system time of all its threads so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def busy_seconds():
    """What all processors of the machine have done so far, and what others took from it; without the neighbour."""
    user, nice, system, _, _, *more = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(more)) / TICKS - sum(map(cpu_seconds, neighbours))


class Lingpai:
    """A configuration with a key and a client, and the files that its load needs."""

    def __init__(self, folder):
        self.folder, self.secret = folder, "lps_" + secrets.token_urlsafe(32)
        self.digest = hashlib.sha256(self.secret.encode()).hexdigest()
        self.config = folder / "lingpai.toml"
        lifetimes = "\n".join(f'{name} = "{seconds}s"' for name, seconds in LIFETIMES.items())
        self.config.write_text(
            f'issuer = "{ISSUER}"\n[token]\n{lifetimes}\ncache = {CACHE}\n'
            f'[[clients]]\nid = "{CLIENT}"\nsecrets = ["sha256:{self.digest}"]\n'
            f"scope = {json.dumps(SCOPE.split())}\n"
        )
        subprocess.run([BINARY, "keys", "new", "--config", self.config], check=True, stdout=subprocess.DEVNULL)
        self.pem = next((folder / "keys").glob("*.pem")).read_text()
        self.basic = "Basic " + base64.b64encode(f"{CLIENT}:{self.secret}".encode()).decode()

    def serve(self, name="lingpai", cores="0", binary=BINARY):
        command = [binary, "serve", "--config", self.config, "--listen", "127.0.0.1:0"]
        return Server(self.folder, name, command, cores)

    def prepare(self, server):
        """Issues the tokens, and writes what load.lua reads."""
        # What stands after # stays here, and makes curl ask so often.
        pairs = server.ask("POST", f"/token#[1-{DISTINCT}]", self.basic, "-w", "\n").splitlines()
        pairs = [json.loads(pair) for pair in pairs]
        tokens = [pair["value"] for pair in pairs]
        if len(set(tokens)) != DISTINCT:
            die(f"expected {DISTINCT} distinct tokens")
        self.file("create.requests", [self.basic])
        self.file("distinct.requests", [f"Token {token}" for token in tokens])
        # Token k of the first thousand as often as 1 / k says, the same draw in every run.
        weights = [1 / rank for rank in range(1, CACHE + 1)]
        drawn = random.Random(1).choices(tokens[:CACHE], weights, k=100_000)
        self.file("repeated.requests", [f"Token {token}" for token in drawn])
        self.file("refresh.requests", [f"Token {pair['refresh']}" for pair in pairs])
        segments = r"eyJ[%w_-]+%.eyJ[%w_-]+%.[%w_-]+"
        instant = r"%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.000Z"
        self.file("pair.answers", [f'^{{"value":"{segments}","refresh":"{segments}","expire":"{instant}"}}$'])
        self.file("info.answers", [told(token) for token in tokens])

    def file(self, name, lines):
        (self.folder / name).write_text("\n".join(lines) + "\n")

    def load(self, name, server, what, **more):
        method, requests, answers = {
            "create": ("POST", "create", "pair"), "refresh": ("PUT", "refresh", "pair"),
            "distinct": ("GET", "distinct", "info"), "repeated": ("GET", "repeated", "info"),
        }[what]
        more = {"requests": self.folder / f"{requests}.requests", "answers": self.folder / f"{answers}.answers", **more}
        return Load(name, server, method, **more)


def parts(token):
    """Header and claims, not verified."""
    return tuple(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2])


def told(token):
    """What GET /token must say of a token, to the byte."""
    claims = parts(token)[1]
    iso = lambda seconds: time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))
    return json.dumps({
        "expire": iso(claims["exp"]), "scope": claims["scope"].split(), "subject": claims["sub"],
        "client": claims["client_id"], "audience": [claims["aud"]], "issued": iso(claims["iat"]), "id": claims["jti"],
        "claims": {},
    }, separators=(",", ":"))
