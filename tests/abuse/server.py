"""A server of its own for each case, and what the kernel and its metrics tell of it."""

import base64
import dataclasses
import http.client
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
LISTENS = "0A"  # as /proc/net/tcp says it
TICKS = os.sysconf("SC_CLK_TCK")
OPS = '\n[ops]\nlisten = "127.0.0.1:0"\n'
# Whoever abuses has one core, and who is measured another: else it is the kernel's turns between them that are measured.
CORES = sorted(os.sched_getaffinity(0))
APART = len(CORES) > 1
MEASURED = ["taskset", "-c", str(CORES[0])] if APART else []
# The good client stands for one on another machine, which does not wait for the server's core: where the kernel allows
# it, the client runs as soon as it has an answer.
FIFO = ["chrt", "--fifo", "1"]
AT_ONCE = FIFO if subprocess.run([*FIFO, "true"], stderr=subprocess.DEVNULL).returncode == 0 else []
# Without what would configure a server behind the harness's back.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LINGPAI_")}


class Server:
    """`lingpai serve` in a folder that `lingpai init` made, ended by `with`."""

    def __init__(self, binary, folder, first="", last="", environment=None, log="log", files=None):
        """`first` goes before the file's tables, `last` behind them; it may have so many `files` open."""
        said = subprocess.check_output([binary, "init", folder], text=True, env=ENVIRONMENT)
        self.authorization = basic("first", re.search(r"lps_[\w-]+", said)[0])
        file = folder / "lingpai.toml"
        file.write_text(f"{first}\n{file.read_text()}{OPS}{last}\n")
        self.log = folder / log
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*MEASURED, *(["prlimit", f"--nofile={files}"] if files else []), binary, "serve", "--config", file,
                 "--listen", "127.0.0.1:0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, env=ENVIRONMENT | (environment or {}),
            )
        try:
            addresses = re.findall(r"http://([\d.]+):(\d+)", self.process.stdout.readline())
            self.public, self.ops = ((host, int(port)) for host, port in addresses)
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        # What libfaketime leaves behind when it is killed.
        for name in (f"faketime_shm_{self.process.pid}", f"sem.faketime_sem_{self.process.pid}"):
            pathlib.Path("/dev/shm", name).unlink(missing_ok=True)

    def end(self, seconds=15):
        """SIGTERM; the exit code, or None if there is none in time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def memory(self, which="VmRSS"):
        """MiB that are in use, or (VmHWM) were at most since `forget_peak`."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{which}:\s+(\d+) kB", text)[1]) / 1024

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def queued(self):
        """MiB of payload that wait in the kernel for this server and for its peers, on the public listener's connections."""
        port, queues = f":{self.public[1]:04X}", 0
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, unread, *_ = line.split()
            # A listener's numbers are of connections.
            if local.endswith(port) and state != LISTENS:
                queues += sum(int(queue, 16) for queue in unread.split(":"))
        return queues / (1 << 20)

    def cpu(self):
        """Seconds on a processor so far."""
        text = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICKS

    def ask(self, method, path, seconds=5, address=None, **fields):
        """One request on a new connection: its status and body."""
        connection = http.client.HTTPConnection(*(address or self.public), timeout=seconds)
        try:
            connection.request(method, path, headers=fields)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def send(self, request):
        """One request as it is written: the first bytes of its answer."""
        with socket.create_connection(self.public, timeout=5) as connection:
            connection.sendall(request.encode())
            return connection.recv(1 << 12)

    def token(self):
        """Asks for a token as the good client does."""
        return self.ask("POST", "/token", Authorization=self.authorization)

    def metric(self, name):
        text = self.ask("GET", "/metrics", address=self.ops)[1].decode()
        return int(re.search(rf"^{name} (\d+)$", text, re.MULTILINE)[1])

    def requests(self, labels=""):
        """How many requests the server has counted whose labels match that pattern."""
        text = self.ask("GET", "/metrics", address=self.ops)[1].decode()
        counted = re.findall(r"^lingpai_requests_total\{(.*)\} (\d+)$", text, re.MULTILINE)
        return sum(int(count) for of, count in counted if re.search(labels, of))


def basic(client, secret):
    return "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()


@dataclasses.dataclass
class Span:
    """What the good client saw in some time."""

    took: list
    got: list

    def p99(self):
        return statistics.quantiles(self.took, n=100)[98] if len(self.took) > 1 else 0

    def times(self):
        """Median and p99 in milliseconds."""
        if len(self.took) < 2:
            return "-"
        return f"{statistics.median(self.took) * 1000:.1f}/{self.p99() * 1000:.1f}"


class Good:
    """The process of the good client, ended by `with`."""

    def __init__(self, server, folder):
        self.file = folder / "good"
        program = [sys.executable, "-B", HERE / "good.py"]
        command = [*AT_ONCE, *MEASURED, *program, *map(str, server.public), server.authorization]
        with self.file.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self.file.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.terminate()
        self.process.wait()

    def between(self, begin, end):
        lines = (line.split() for line in self.file.read_text().splitlines())
        seen = [(float(took), got) for asked, took, got in lines if begin <= float(asked) < end]
        return Span([took for took, _ in seen], [got for _, got in seen])
