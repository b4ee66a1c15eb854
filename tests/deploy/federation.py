"""The example with components/federation, and the pod in workload that it is for: valid, by the rules of manifests.py,
and each as the other expects it."""

import copy
import itertools
import os
import re
import subprocess
import tomllib

import yaml

from manifests import KUSTOMIZATIONS, VERSIONS, Rendering, check, check_pod, validate
from service import Place, expect, fail

COMPONENT = KUSTOMIZATIONS / "components/federation"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def with_component(folder):
    """A kustomization of the example and the component."""
    folder.mkdir()
    up = os.path.relpath(KUSTOMIZATIONS, folder.resolve())
    parts = {"resources": [f"{up}/overlays/example"], "components": [f"{up}/components/federation"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(parts | {"namespace": "lingpai"}))
    return folder


def documented():
    """The settings that the component's comments have."""
    _, after = (COMPONENT / "kustomization.yaml").read_text().split("in its lingpai.toml\n")
    lines = itertools.takewhile(lambda line: re.match("#(   |$)", line), after.splitlines())
    return "\n".join(line[4:] for line in lines)


def volume(pod, name):
    [found] = [one for one in pod["volumes"] if one["name"] == name]
    return found


def identity(pod):
    [source] = volume(pod, "identity")["projected"]["sources"]
    return source["serviceAccountToken"]


def check_pair(server, workload, settings):
    """What one of them says, and the other does not expect."""
    [issuer], [client] = settings["issuers"], settings["clients"]
    [rule] = issuer["rules"]
    deployment = workload.one("Deployment", "checkout")
    pod = deployment["spec"]["template"]["spec"]
    own = tomllib.loads(server.config())["issuer"]
    if identity(pod)["audience"] != own or own not in pod["initContainers"][0]["command"]:
        yield f"the pod's token is not for {own}, or it does not ask there"
    account = f"system:serviceaccount:{deployment['metadata']['namespace']}:{pod['serviceAccountName']}"
    if rule["match"] != {"sub": account} or rule["client"] != client["id"]:
        yield f"the rule is not for {account}"
    [container] = server.pods()["server"]["spec"]["containers"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    if {os.path.dirname(issuer[name]) for name in ("ca_file", "token_file")} - mounted:
        yield "what lingpai reads of its own account is mounted nowhere"


def check_workload(workload):
    for resource in workload.resources:
        yield from validate(resource)
    pod = workload.one("Deployment", "checkout")["spec"]["template"]["spec"]
    yield from check_pod(workload, pod)
    if pod["serviceAccountName"] not in workload.all("ServiceAccount"):
        yield "there is no such service account"
    if volume(pod, "tokens").get("emptyDir", {}).get("medium") != "Memory":
        yield "tokens come to a disk"
    holders = [one["name"] for one in pod["initContainers"] + pod["containers"]
               if "identity" in {mount["name"] for mount in one["volumeMounts"]}]
    if holders != ["token"]:
        yield f"the pod's identity is in {holders}"


def pod(rendering):
    return rendering.one("Deployment", "checkout")["spec"]["template"]["spec"]


# Changes of the workload, each of which must be found.
MISTAKES = {
    "not a field": lambda w, _: pod(w).update(serviceAccounts="checkout"),
    "another audience": lambda w, _: identity(pod(w)).update(audience="https://kubernetes.default.svc"),
    "another server": lambda w, _: pod(w)["initContainers"][0]["command"].__setitem__(2, "https://tokens.example.net"),
    "another account": lambda w, _: pod(w).update(serviceAccountName="default"),
    "another namespace": lambda w, _: w.one("Deployment", "checkout")["metadata"].update(namespace="default"),
    "another rule": lambda _, s: s["issuers"][0]["rules"][0]["match"].update(sub="system:serviceaccount:shop:*"),
    "another folder": lambda _, s: s["issuers"][0].update(token_file="/kubernetes/token"),
    "a token on a disk": lambda w, _: volume(pod(w), "tokens").update(emptyDir={}),
    "an identity for all": lambda w, _: pod(w)["containers"][0]["volumeMounts"].append(
        {"name": "identity", "mountPath": "/identity", "readOnly": True}),
    "root": lambda w, _: pod(w)["securityContext"].update(runAsUser=0),
}


def check_configuration(place, server):
    """The server takes the documented settings."""
    account = place.folder / "account"
    account.mkdir()
    authority = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout /dev/null -out"
    subprocess.run([*authority.split(), account / "ca.crt"], check=True, capture_output=True)
    file, keys = place.folder / "lingpai.toml", place.folder / "keys"
    file.write_text(f"{server.config()}\n{documented()}".replace(ACCOUNT, str(account)))
    place.new_key(keys)
    run = place.run("check", "--config", file, "--keys", keys)
    expect(run.returncode == 0, f"components/federation: {run.stderr}")


def main():
    settings = tomllib.loads(documented())
    workload = Rendering("workload")
    with Place() as place:
        server = Rendering(with_component(place.folder / "overlay"), callers=("rotate", "server"))
        problems = [*check(server), *check_workload(workload), *check_pair(server, workload, settings)]
        expect(not problems, "federation: " + "; ".join(problems))
        check_configuration(place, server)
    versions = ", ".join(VERSIONS)
    print(f"ok: components/federation with the example, and workload, for Kubernetes {versions}; they fit each other")
    alone = copy.deepcopy(server)
    alone.callers = ("rotate",)
    expect(list(check(alone)), "nothing is said of a server that may call others")
    for name, change in MISTAKES.items():
        changed, said = copy.deepcopy(workload), copy.deepcopy(settings)
        change(changed, said)
        if not [*check_workload(changed), *check_pair(server, changed, said)]:
            fail(f"nothing is said of this mistake: {name}")
    print(f"ok: {len(MISTAKES) + 1} mistakes in them are found")


if __name__ == "__main__":
    main()
