"""Every rendering of deploy/kubernetes: valid for three versions of Kubernetes, and by the rules below."""

import copy
import pathlib
import re
import subprocess
import tomllib

import kubernetes_validate
import yaml

from service import Place, expect, fail

HERE = pathlib.Path(__file__).parent
KUSTOMIZATIONS = HERE.parent.parent / "deploy/kubernetes"
VERSIONS = ["1.35", "1.36", "1.37"]
PROBES = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def render(name):
    text = subprocess.check_output(["kubectl", "kustomize", KUSTOMIZATIONS / name], text=True)
    return list(yaml.safe_load_all(text))


def validate(resource):
    """The versions for which it is not valid, and why."""
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{resource['kind']} {resource['metadata']['name']}, {version}: {error.message}"


class Rendering:
    """A kustomization, rendered, in which these pods may call others."""

    def __init__(self, name, callers=("rotate",)):
        self.name = name
        self.callers = callers
        self.resources = render(name)

    def all(self, kind):
        return {one["metadata"]["name"]: one for one in self.resources if one["kind"] == kind}

    def one(self, kind, name="lingpai"):
        """The one of that name, before the digest that kustomize adds."""
        found = [one for key, one in self.all(kind).items() if re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", key)]
        expect(len(found) == 1, f"{self.name}: {len(found)} × {kind} {name}")
        return found[0]

    def pods(self):
        """The specifications and labels of pods."""
        server = self.one("Deployment")["spec"]["template"]
        rotate = self.one("CronJob", "lingpai-rotate")["spec"]["jobTemplate"]["spec"]["template"]
        return {"server": server, "rotate": rotate}

    def config(self):
        return self.one("ConfigMap")["data"]["lingpai.toml"]


def check(rendering):
    """What is wrong with it."""
    for resource in rendering.resources:
        yield from validate(resource)
    for name, pod in rendering.pods().items():
        yield from (f"{name}: {problem}" for problem in check_pod(rendering, pod["spec"]))
    yield from check_server(rendering)
    yield from check_network(rendering)
    yield from check_secrets(rendering)


def check_pod(rendering, pod):
    context = pod["securityContext"]
    if not context.get("runAsNonRoot") or context.get("runAsUser", 0) == 0 or "fsGroup" not in context:
        yield "runs as root, or without a group for its keys"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False or pod.get("enableServiceLinks") is not False:
        yield "gets a token, or variables of other services, that it did not ask for"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in pod.get("initContainers", []) + pod["containers"]:
        name = container["name"]
        own = container["securityContext"]
        if own.get("allowPrivilegeEscalation") is not False or not own.get("readOnlyRootFilesystem"):
            yield f"{name}: may become more than it is, or write to its image"
        if own.get("capabilities") != {"drop": ["ALL"]} or own.get("privileged"):
            yield f"{name}: has capabilities"
        resources = container["resources"]
        if resources["requests"].keys() != {"cpu", "memory"} or "memory" not in resources["limits"]:
            yield f"{name}: no resources"
        if rendering.name != "base" and not re.search(r":v?\d+\.\d+\.\d+$", container["image"]):
            yield f"{name}: the image {container['image']} has no version"
        for mount in container["volumeMounts"]:
            volume = volumes.get(mount["name"], {})
            if "subPath" in mount or (("secret" in volume or "configMap" in volume) and not mount.get("readOnly")):
                yield f"{name}: {mount['mountPath']} would not be renewed, or is not read-only"
    for volume in volumes.values():
        # lingpai refuses a key that others may read.
        if "secret" in volume and volume["secret"].get("defaultMode", 0o644) & 0o037:
            yield f"the volume {volume['name']}: others may read the keys"
        name = volume.get("configMap", {}).get("name")
        if name and name not in rendering.all("ConfigMap"):
            yield f"there is no ConfigMap {name}"
        if "secret" in volume and volume["secret"]["secretName"] not in rendering.all("Secret"):
            yield f"there is no Secret for the volume {volume['name']}"


def check_server(rendering):
    deployment = rendering.one("Deployment")["spec"]
    pod = deployment["template"]["spec"]
    [container] = pod["containers"]
    config = tomllib.loads(rendering.config())
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listened = {"http": config["listen"], "ops": config["ops"]["listen"]}
    if {name: f"0.0.0.0:{port}" for name, port in ports.items()} != listened:
        yield f"the pod's ports are {ports}, and the configuration says {listened}"
    if config["keys"]["path"] not in [mount["mountPath"] for mount in container["volumeMounts"]]:
        yield "the configuration's keys are mounted nowhere"
    for probe, path in PROBES.items():
        if container.get(probe, {}).get("httpGet") != {"path": path, "port": "ops"}:
            yield f"{probe}: not {path} of the operator's port"
    seconds = sum(int(config["drain"][name].removesuffix("s")) for name in ("lame_duck", "limit"))
    if pod["terminationGracePeriodSeconds"] < seconds + 5 or config["drain"]["lame_duck"] == "0s":
        yield f"killed before the drain of {seconds} s has ended, or no drain"
    if "replicas" in deployment or deployment["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
        yield "to apply it again would undo the autoscaler, or a rollout would take an old pod away first"
    spread = {one["topologyKey"] for one in pod["topologySpreadConstraints"]}
    if spread != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
        yield f"spread over {spread}"
    labels = deployment["template"]["metadata"]["labels"].items()
    selectors = {service: one["spec"]["selector"] for service, one in rendering.all("Service").items()}
    selectors["the budget"] = rendering.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    others = rendering.pods()["rotate"]["metadata"]["labels"].items()
    for name, selector in selectors.items():
        if not selector.items() <= labels or selector.items() <= others:
            yield f"{name} does not select the server's pods, or others too"
    scaled = rendering.one("HorizontalPodAutoscaler")["spec"]
    if scaled["scaleTargetRef"]["name"] not in rendering.all("Deployment") or scaled["minReplicas"] < 2:
        yield "the autoscaler"


def check_network(rendering):
    policies = {name: policy["spec"] for name, policy in rendering.all("NetworkPolicy").items()}
    if {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} not in policies.values():
        yield "nothing denies by default"
    pods = {name: pod["metadata"]["labels"].items() for name, pod in rendering.pods().items()}
    for policy in policies.values():
        selector = policy["podSelector"].get("matchLabels", {}).items()
        applies = [name for name, labels in pods.items() if selector <= labels]
        for rule in policy.get("ingress", []):
            allowed = [port["port"] for port in rule["ports"]]
            if applies != ["server"] or allowed not in (["http"], ["ops"]):
                yield f"{applies} may be reached at {allowed}"
            if allowed == ["ops"] and not rule.get("from"):
                yield "everybody may read the operator's pages"
        if policy.get("egress") and not (applies and set(applies) <= set(rendering.callers)):
            yield f"{applies} may call others"


def check_secrets(rendering):
    """No private key and no client's secret is in a manifest, and rotation may change one Secret and nothing else."""
    if re.search(r"PRIVATE KEY|lps_[\w-]{43}|tls\.key:", yaml.safe_dump_all(rendering.resources)):
        yield "a secret stands in the manifests"
    [role] = rendering.all("Role").values()
    [rule] = role["rules"]
    least = {"resources": ["secrets"], "resourceNames": ["lingpai-keys"], "verbs": ["get", "patch"]}
    if rule != {"apiGroups": [""]} | least:
        yield f"the Role allows {rule}"
    pod = rendering.pods()["rotate"]["spec"]
    tokens = {volume["name"] for volume in pod["volumes"] if "projected" in volume}
    holders = [one["name"] for one in pod["initContainers"] + pod["containers"]
               if tokens & {mount["name"] for mount in one["volumeMounts"]}]
    if holders != ["patch"]:
        yield f"the API server's token is in {holders}"
    if rendering.one("CronJob", "lingpai-rotate")["spec"]["concurrencyPolicy"] != "Forbid":
        yield "jobs may run side by side"


# Changes of a good rendering, each of which must be found.
MISTAKES = {
    "not a field": lambda r: r.one("Deployment")["spec"].update(replica=3),
    "a port that is text": lambda r: r.one("Service")["spec"]["ports"][0].update(port="80"),
    "root": lambda r: r.pods()["server"]["spec"]["securityContext"].update(runAsUser=0),
    "links to services": lambda r: r.pods()["server"]["spec"].pop("enableServiceLinks"),
    "a root that is written": lambda r: container(r)["securityContext"].update(readOnlyRootFilesystem=False),
    "the default mode": lambda r: r.pods()["server"]["spec"]["volumes"][1]["secret"].pop("defaultMode"),
    "a subPath": lambda r: container(r)["volumeMounts"][1].update(subPath="x"),
    "no latest": lambda r: container(r).update(image="registry.example.com/lingpai:latest"),
    "a ConfigMap that is not there": lambda r: r.pods()["rotate"]["spec"]["volumes"][0]["configMap"].update(name="x"),
    "another port": lambda r: container(r)["ports"][0].update(containerPort=8081),
    "no readiness": lambda r: container(r).pop("readinessProbe"),
    "killed in the drain": lambda r: r.pods()["server"]["spec"].update(terminationGracePeriodSeconds=20),
    "replicas": lambda r: r.one("Deployment")["spec"].update(replicas=3),
    "a selector of nothing": lambda r: r.one("Service")["spec"]["selector"].update(a="b"),
    "ops for everybody": lambda r: r.one("NetworkPolicy")["spec"]["ingress"][1].pop("from"),
    "no default": lambda r: r.resources.remove(r.one("NetworkPolicy", "lingpai-nothing")),
    "a key": lambda r: r.one("Secret", "lingpai-keys")["stringData"].update(a="-----BEGIN PRIVATE KEY-----"),
    "every Secret": lambda r: r.one("Role", "lingpai-rotate")["rules"][0].pop("resourceNames"),
    "a token for all": lambda r: r.pods()["rotate"]["spec"]["initContainers"][0]["volumeMounts"].append(
        {"name": "token", "mountPath": "/token", "readOnly": True}),
}


def container(rendering):
    return rendering.pods()["server"]["spec"]["containers"][0]


def check_configuration(place, rendering):
    """The configuration is one that the server takes."""
    file = place.folder / "lingpai.toml"
    file.write_text(rendering.config())
    place.new_key(place.folder / "keys")
    run = place.run("check", "--config", file, "--keys", place.folder / "keys")
    expect(run.returncode == 0, f"{rendering.name}: {run.stderr}")


def main():
    with Place() as place:
        for name in ["base", "overlays/example"]:
            rendering = Rendering(name)
            problems = list(check(rendering))
            expect(not problems, f"{name}: " + "; ".join(problems))
            check_configuration(place, rendering)
            print(f"ok: {name}, {len(rendering.resources)} resources, for Kubernetes {', '.join(VERSIONS)}")
    for name, change in MISTAKES.items():
        changed = copy.deepcopy(rendering)
        change(changed)
        if not list(check(changed)):
            fail(f"nothing is said of this mistake: {name}")
    print(f"ok: {len(MISTAKES)} mistakes in them are found")


if __name__ == "__main__":
    main()
