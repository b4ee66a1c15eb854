"""What the parts share: a server as a pod would have it, and how it is asked."""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time

USER = 65532  # as in deploy/kubernetes
IS_ROOT = os.getuid() == 0
# Without what would configure a server behind the harness's back.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LINGPAI_")}
AS_POD = {"user": USER, "group": USER, "extra_groups": []} if IS_ROOT else {}


def fail(what):
    print(f"deploy: {what}", file=sys.stderr)
    sys.exit(1)


def expect(condition, what):
    if not condition:
        fail(what)


def until(condition, what, seconds=60):
    """Waits for `condition`; says how many seconds that took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            fail(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)
    return time.monotonic() - begin


class Place(tempfile.TemporaryDirectory):
    """A folder that the pod's user can enter, with a copy of the binary."""

    def __enter__(self):
        folder = pathlib.Path(super().__enter__())
        folder.chmod(0o755)
        self.binary = folder / "lingpai"
        shutil.copy(sys.argv[1], self.binary)
        self.folder = folder
        return self

    def run(self, *arguments, **options):
        """A command to its end."""
        options = {"capture_output": True, "text": True, "timeout": 60, "env": ENVIRONMENT} | options
        return subprocess.run([self.binary, *map(str, arguments)], check=False, **options)

    def new_key(self, folder, *arguments):
        """Makes a key; its name and content."""
        run = self.run("keys", "new", "--json", "--keys", folder, *arguments, cwd=self.folder)
        expect(run.returncode == 0, run.stderr)
        path = pathlib.Path(json.loads(run.stdout)["file"])
        return path.name, path.read_bytes()


class Client:
    """A client of the service, with a secret of its own."""

    def __init__(self, name="orders"):
        secret = secrets.token_urlsafe(32)
        self.table = f"""
[[clients]]
id      = "{name}"
secrets = ["sha256:{hashlib.sha256(secret.encode()).hexdigest()}"]
scope   = ["orders:read"]
"""
        self.authorization = "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


class Server:
    """`lingpai serve` as the pod's user, ended by `with`."""

    def __init__(self, place, config, environment=None):
        self.log = place.folder / f"{config.stem}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [place.binary, "serve", "--config", config, "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=log, text=True, env=ENVIRONMENT | (environment or {}), **AS_POD,
            )
        try:
            said = self.process.stdout.readline()
            addresses = re.findall(r"http://([\d.]+):(\d+)", said)
            expect(len(addresses) == 2, f"the server did not start: {self.log.read_text()}")
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

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def readiness(self):
        """What the operator reads."""
        return json.loads(ask(self.ops, "GET", "/readyz")[1])

    def token(self, client):
        return ask(self.public, "POST", "/token", client.authorization)

    def counted(self, metric):
        """The number that a metric has, over all labels."""
        text = ask(self.ops, "GET", "/metrics")[1].decode()
        return sum(map(int, re.findall(rf"^{metric}(?:{{.*}})? (\d+)$", text, re.MULTILINE)))


def ask(address, method, path, authorization=None):
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request(method, path, headers={"Authorization": authorization} if authorization else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class Volume:
    """A Secret or ConfigMap volume as the kubelet writes it: files in a folder with the time in its name, `..data`, a
    link to it that is turned in one step, and visible links through that."""

    def __init__(self, path, mode=0o440, owner=0, group=USER):
        self.path, self.mode, self.owner, self.group = path, mode, owner, group
        path.mkdir()
        self.count = 0

    def write(self, files, links_first=False, before_tidying=lambda: None):
        """Brings `files`, a dictionary, there. Older kubelets make new links before the turn, newer ones after."""
        now = time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime())
        self.count += 1
        folder = self.path / f"{now}{self.count:09}"
        folder.mkdir()
        folder.chmod(0o755)
        for name, content in files.items():
            (folder / name).touch(0o600)
            (folder / name).write_bytes(content)
            if IS_ROOT:
                os.chown(folder / name, self.owner, self.group)
            (folder / name).chmod(self.mode)
        data = self.path / "..data"
        old = self.path / data.readlink() if data.is_symlink() else None
        if links_first:
            self.link(files)
        (self.path / "..data_tmp").symlink_to(folder.name)
        (self.path / "..data_tmp").rename(data)
        self.link(files)
        before_tidying()
        for link in self.path.iterdir():
            if not link.name.startswith("..") and link.name not in files:
                link.unlink()
        if old:
            shutil.rmtree(old)

    def link(self, files):
        for name in files:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
