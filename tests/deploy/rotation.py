"""The CronJob's containers, one after the other as they are rendered, with busybox's own commands, against an API
server that knows one Secret, and allows what the rendered Role does."""

import base64
import datetime
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import threading

import jsonpatch

from manifests import Rendering
from service import AS_POD, ENVIRONMENT, IS_ROOT, USER, Client, Place, Server, Volume, expect

BUSYBOX = shutil.which("busybox")
NAMESPACE, SECRET, TOKEN = "lingpai", "lingpai-keys", "a-token"
PATH = f"/api/v1/namespaces/{NAMESPACE}/secrets/{SECRET}"
DISCOVERY = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1",
        "resources": [{"name": "secrets", "namespaced": True, "kind": "Secret", "verbs": ["get", "patch"]}],
    },
}


class Api(http.server.ThreadingHTTPServer):
    """The API server. `lock` makes what it does to the Secret one step, as etcd would."""

    def __init__(self, rendering, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        # kubectl gives its token to nobody without TLS.
        self.certificate, key = folder / "api.crt", folder / "api.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1", "-out", self.certificate, "-keyout", key],
            check=True, capture_output=True,
        )
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate, key)
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        manifest = rendering.one("Secret", SECRET)
        data = {name: base64.b64encode(text.encode()).decode() for name, text in manifest["stringData"].items()}
        self.secret = {
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
            "metadata": {"name": SECRET, "namespace": NAMESPACE, "resourceVersion": "1"},
        }
        [self.rule] = rendering.one("Role", "lingpai-rotate")["rules"]
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def files(self):
        return {name: base64.b64decode(text) for name, text in self.secret["data"].items()}

    def keys(self):
        return sorted(name for name in self.secret["data"] if name.endswith(".pem"))

    def allows(self, verb):
        return (verb in self.rule["verbs"] and SECRET in self.rule["resourceNames"]
                and "secrets" in self.rule["resources"])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path in DISCOVERY:
            return self.answer(200, DISCOVERY[path])
        return self.handle_secret(path, "get", lambda secret: secret)

    def do_PATCH(self):
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Content-Type"] != "application/json-patch+json":
            return self.refuse(415, "UnsupportedMediaType")
        return self.handle_secret(self.path.split("?")[0], "patch", lambda secret: jsonpatch.apply_patch(secret, patch))

    def handle_secret(self, path, verb, change):
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.refuse(401, "Unauthorized")
        if path != PATH or not self.server.allows(verb):
            return self.refuse(403, "Forbidden")
        with self.server.lock:
            before = self.server.secret
            try:
                after = change(before)
            except jsonpatch.JsonPatchException:
                return self.refuse(422, "Invalid")
            if after != before:
                version = str(int(before["metadata"]["resourceVersion"]) + 1)
                self.server.secret = after | {"metadata": after["metadata"] | {"resourceVersion": version}}
            return self.answer(200, self.server.secret)

    def refuse(self, code, reason):
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
        self.answer(code, status | {"message": f"refused: {reason}"})

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Job:
    """A pod of the CronJob: its volumes are folders here, and its containers are processes."""

    def __init__(self, place, api, rendering, name, clock="+0s"):
        self.place, self.clock = place, clock
        self.folder = place.folder / name
        self.folder.mkdir()
        pod = rendering.pods()["rotate"]["spec"]
        self.containers = pod["initContainers"] + pod["containers"]
        self.folders = {volume["name"]: self.volume(api, rendering, volume) for volume in pod["volumes"]}
        (self.folder / "kubeconfig").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "pod",
            "clusters": [{"name": "c", "cluster": {
                "server": f"https://127.0.0.1:{api.server_port}", "certificate-authority": str(api.certificate),
            }}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "pod", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        }))

    def volume(self, api, rendering, volume):
        folder = self.folder / volume["name"]
        if "secret" in volume:
            Volume(folder, volume["secret"]["defaultMode"]).write(api.files())
            return folder
        folder.mkdir()
        if "configMap" in volume:
            for name, text in rendering.all("ConfigMap")[volume["configMap"]["name"]]["data"].items():
                (folder / name).write_text(text)
        if "emptyDir" in volume and IS_ROOT:
            os.chown(folder, 0, USER)
            folder.chmod(0o2770)
        return folder

    def run(self, *names):
        """Runs these containers, or all; stops at the first that fails, and returns what it said."""
        for container in self.containers:
            if names and container["name"] not in names:
                continue
            run = subprocess.run(
                self.command(container), check=False, capture_output=True, text=True, timeout=300,
                env=ENVIRONMENT | self.environment(container), cwd="/", **self.user(container),
            )
            if run.returncode != 0:
                return f"{container['name']}: {run.stderr.strip()}"
        return None

    def user(self, container):
        # kubectl is somewhere that not everybody may enter.
        return {} if "kubectl" in container["image"] else AS_POD

    def command(self, container):
        mounts = {mount["mountPath"]: self.folders[mount["name"]] for mount in container["volumeMounts"]}
        paths = re.compile("|".join(rf"(?<![\w/]){re.escape(path)}(?![\w-])" for path in mounts))
        given = container.get("command", []) + container.get("args", [])
        words = [paths.sub(lambda found: str(mounts[found[0]]), word) for word in given]
        match re.search(r"/(\w+):", container["image"])[1]:
            case "lingpai":
                return ["faketime", "-f", self.clock, self.place.binary, *words]
            case "busybox":
                return [BUSYBOX, *words]
            case "kubectl":
                return ["kubectl", *words[1:]]

    def environment(self, container):
        if "kubectl" in container["image"]:
            # As in the image, there is no home in which something could be kept.
            return {"KUBECONFIG": str(self.folder / "kubeconfig"), "HOME": "/nonexistent"}
        return {"PATH": str(self.place.folder / "applets")} if "busybox" in container["image"] else {}


def states(place, api, folder):
    """The states of the Secret's keys, in order."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in api.files().items():
        (folder / name).touch(0o600)
        (folder / name).write_bytes(content)
    run = place.run("keys", "list", "--json", "--keys", folder, cwd=place.folder)
    expect(run.returncode == 0, run.stderr)
    return [key["state"] for key in json.loads(run.stdout)]


def main():
    rendering = Rendering("overlays/example")
    with Place() as place, Api(rendering, place.folder) as api:
        (place.folder / "applets").mkdir()
        subprocess.run(["busybox", "--install", "-s", place.folder / "applets"], check=True)
        (place.folder / "lingpai.toml").write_text(rendering.config())

        def job(name, clock="+0s"):
            return Job(place, api, rendering, name, clock)

        def look():
            return states(place, api, place.folder / "look")

        expect(api.keys() == [], "the Secret begins with a key")
        expect((said := job("first").run()) is None, f"the first job: {said}")
        expect(look() == ["signing"], "an empty Secret does not get a key that signs")

        # Both have read the Secret when the first writes.
        one, two = job("one"), job("two")
        for racer in (one, two):
            expect((said := racer.run("copy", "rotate", "prune", "compare")) is None, said)
        expect((said := one.run("patch")) is None, f"the faster one: {said}")
        expect(look() == ["signing", "upcoming"], "the next job does not add the next key")
        signs = datetime.datetime.strptime(api.keys()[1][:20] + "+0000", "%Y-%m-%dT%H-%M-%SZ%z")
        lead = signs - datetime.datetime.now(datetime.UTC)
        expect(lead > datetime.timedelta(minutes=115), f"the next key signs in {lead}")
        before = api.secret
        refusal = two.run("patch")
        expect(refusal is not None, "of two writers both succeed")
        expect((said := job("again").run()) is None, f"tried again: {said}")
        expect(api.secret is before, "who was slower changed something, or found something to do when it tried again")
        print("ok: the CronJob fills an empty Secret, adds the next key, and then has nothing to do")
        print(f"ok: of two writers at once the slower one changes nothing, and says: {refusal.splitlines()[0]}")

        serve(place, api)

        # Of the week's two keys the older one is then long retired.
        first, second = api.keys()
        expect((said := job("later", "+8d").run()) is None, f"a week later: {said}")
        expect(first not in api.keys() and api.keys()[0] == second and len(api.keys()) == 2, f"there are {api.keys()}")
        others = before["data"].items() - {(first, before["data"][first])}
        expect(api.secret["data"].items() >= others, "something else changed")
        print("ok: a key that is long retired is deleted, and nothing else")
        api.shutdown()


def serve(place, api):
    """A server takes what the jobs wrote."""
    client = Client()
    volume = Volume(place.folder / "mounted")
    volume.write(api.files())
    config = place.folder / "serve.toml"
    text = 'issuer = "https://tokens.example.com"\n[ops]\nlisten = "127.0.0.1:0"\n[keys]\npath = "mounted"\n'
    config.write_text(text + client.table)
    with Server(place, config) as server:
        expect(server.token(client)[0] == 200, "no token")
        expect(len(server.readiness()["keys"]) == 2, "it has other keys")


if __name__ == "__main__":
    main()
