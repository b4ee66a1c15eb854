"""Identities as platforms sign them, against the running service. `main.py FOLDER URL`: what `run` made, and where the
service is to be."""

import hmac
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import libraries
import rotation
from issuers import GITHUB, GITLAB, Cluster, Key, Site, bundle, github, gitlab, segment, svid
from service import ENVIRONMENT, REFUSALS, SPIFFE_TYPE, Service, equal, expect, until

HERE = pathlib.Path(__file__).parent


def say(what):
    print(f"ok: {what}", flush=True)


class World:
    """Every issuer and the service that trusts them."""

    def __init__(self, folder, url):
        self.folder = folder
        certificate = (folder / "tls.crt", folder / "tls.key")
        bearer = "lingpai.own.token"
        (folder / "kubernetes-token").write_text(bearer)
        site = lambda: Site(certificate, bearer)
        self.cluster = Cluster(site())
        self.named = Cluster(site(), "https://kubernetes.default.svc.cluster.local", "https://172.18.0.2:6443")
        self.advertised = site()
        self.elsewhere = Cluster(site(), keys_at=self.advertised.url)
        self.advertised.documents = self.elsewhere.site.documents
        self.web = Site()
        self.github, self.gitlab, self.builds = Key("RS256"), Key("RS256"), Key("RS256")
        for name, key in [("github", self.github), ("gitlab", self.gitlab), ("builds", self.builds)]:
            self.web.documents[f"/{name}/jwks"] = {"keys": [key.jwk]}
        builds = f"{self.web.url}/builds"
        metadata = {"issuer": builds, "jwks_uri": f"{builds}/jwks"}
        self.web.documents["/builds/.well-known/openid-configuration"] = metadata
        self.svid, self.x509 = Key("ES256", use="jwt-svid"), Key("ES256", use="x509-svid")
        (folder / "bundle.json").write_text(json.dumps(bundle(self.x509, self.svid)))
        issuers = {"cluster": self.cluster, "named": self.named, "elsewhere": self.elsewhere, "web": self.web}
        self.team = rotation.Team()
        self.service = Service(folder, url, self.team, **issuers)


def check_configuration(world):
    """Rules that name the owner by number are as they should be; without the number `check` warns."""
    service = world.service
    said = service.run("check", "--config", service.config)
    expect("anybody can get tokens" not in said, said)
    written = service.config.read_text()
    for number in ['repository_owner_id = "65", ', 'namespace_id = "72", project_id = "20", ']:
        expect(number in written, number)
        loose = service.home / "loose.toml"
        loose.write_text(written.replace(number, ""))
        said = service.run("check", "--config", loose)
        expect("anybody can get tokens" in said, f"no warning without {number}: {said}")
    say("lingpai check: nothing to say of rules by the owner's number, and a warning without")


def check_kubernetes(world):
    service, cluster = world.service, world.cluster
    mine = service.url
    equal(cluster.site.asked, [])
    service.gives(cluster.token(mine, "checkout"), "checkout", "checkout", "orders:read orders:write")
    equal(cluster.site.asked, ["/.well-known/openid-configuration", "/openid/v1/jwks"])
    service.gives(cluster.token(mine, "checkout"), "checkout", "checkout", "orders:read", scope="orders:read")
    service.gives(cluster.token(mine, "cart"), "shop", "system:serviceaccount:shop:cart", "orders:read")
    service.refuses(cluster.token(mine, "checkout", "shop-evil"), "no_rule")
    service.refuses(cluster.token(mine, "cart", "default"), "no_rule")
    # What the kubelet mounts without being asked is for the API server.
    service.refuses(cluster.token("https://kubernetes.default.svc.cluster.local", "checkout"), "wrong_audience")
    say("Kubernetes: a projected token by its account and by its namespace; discovery with ca_file and token_file")


def check_addresses(world):
    service = world.service
    mine = service.url
    service.gives(world.named.token(mine, "checkout"), "checkout", "checkout", "orders:read orders:write")
    equal(world.named.site.asked, ["/openid/v1/jwks"])
    for status, headers, body in service.doors(world.elsewhere.token(mine, "checkout")):
        equal((status, json.loads(body).get("error")), (503, "temporarily_unavailable"))
        expect(int(headers["Retry-After"]) > 0, "no Retry-After")
    expect(set(world.advertised.presented) == {None}, "another address than the issuer's got the token of token_file")
    expect("status 403" in service.log.read_text(), "the log has no word of the advertised address")
    say("Kubernetes: where another address is advertised: keys by jwks_uri; without it 503, and no token there")


def check_workload(world):
    """deploy/kubernetes/workload's script: while it is refused, when it no longer is, and the token after the first."""
    service, identity, file = world.service, world.folder / "identity", world.folder / "access"
    identity.write_text(world.cluster.token(service.url, "renewing", "default"))
    script = HERE.parents[1] / "deploy/kubernetes/workload/token.sh"
    environment = ENVIRONMENT | {"CURL_CA_BUNDLE": str(world.folder / "ca.crt")}
    command = ["sh", script, service.url, identity, file]
    keeper = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        said = keeper.stderr.readline()
        expect("401" in said and not file.exists(), f"refused, it said {said}")
        identity.write_text(world.cluster.token(service.url, "renewing"))
        until(file.exists, "a token after the refusal")
        first = file.read_text()
        equal(file.stat().st_mode & 0o777, 0o600)
        service.read(first, "renewing", "renewing", "orders:read")
        until(lambda: file.read_text() != first, "the next token")
        service.read(file.read_text(), "renewing", "renewing", "orders:read")
    finally:
        os.killpg(keeper.pid, signal.SIGTERM)
        keeper.wait(timeout=60)
    say("deploy/kubernetes/workload/token.sh: tries again when it was refused, and keeps a token that has not expired")


def refuse_attacks(service, sign, attacks):
    """No rule speaks for any of these claims."""
    for claims in attacks:
        service.refuses(sign(claims), "no_rule")


def refuse_long(service, sign, claims, seconds):
    """The same claims, in a token that lives this long."""
    service.refuses(sign(claims | {"exp": claims["iat"] + seconds}), "max_age")


def check_github(world):
    service = world.service
    mine, sign = service.url, lambda claims: world.github.sign(claims, x5t=segment(b"thumbprint-of-a-cert"))
    service.gives(sign(github(mine)), "deploy", "ci:github:74", "deploy:run")
    newer = "repo:acme@65/shop@74:environment:production"
    token = sign(github(mine, newer, environment="production"))
    service.gives(token, "deploy", "ci:github:74", "deploy:read deploy:run")
    fork = {"ref": "refs/pull/7/merge", "event_name": "pull_request", "head_ref": "main", "base_ref": "main"}
    attacks = [
        github(mine, "repo:acme/other:ref:refs/heads/main", repository="acme/other", repository_id="75"),
        github(mine, "repo:acme/shop-evil:ref:refs/heads/main", repository="acme/shop-evil", repository_id="76"),
        # Somebody took the name `acme` when it was free.
        github(mine, repository_owner_id="666", repository_id="77"),
        github(mine, "repo:mallory/shop:ref:refs/heads/main", repository="mallory/shop", repository_owner="mallory"),
        # A pull request from a fork; one with an environment; and what looks like the right branch.
        github(mine, "repo:acme/shop:pull_request", **fork),
        github(mine, newer, environment="production", **fork),
        github(mine, "repo:acme/shop:ref:refs/heads/main/evil", ref="refs/heads/main/evil"),
        github(mine, "repo:acme/shop:ref:refs/tags/main", ref_type="tag"),
        github(mine, "repo:acme@65/shop@74:environment:production:ref:refs/heads/x"),
        github(mine, "repo:acme@666/shop@74:environment:production"),
        github(mine, repository_owner_id=65),
    ]
    refuse_attacks(service, sign, attacks)
    refuse_long(service, sign, github(mine), 21_600)
    say(f"GitHub: both forms of sub; {len(attacks)} attacks fail: another repository, shop-evil, a fork, a lost name")


def check_gitlab(world):
    service = world.service
    mine, sign = service.url, world.gitlab.sign
    service.gives(sign(gitlab(mine)), "deploy", "ci:gitlab:20", "deploy:read deploy:run")
    fork = {"namespace_id": "666", "namespace_path": "mallory", "project_id": "24"}
    fork |= {"pipeline_source": "merge_request_event", "ref_protected": "false"}
    attacks = [
        gitlab(mine, "acme/other", project_id="21"),
        gitlab(mine, "acme/shop-evil", project_id="22"),
        gitlab(mine, namespace_id="666", project_id="23"),
        # A fork's merge request, whose pipeline runs in the project that it is for.
        gitlab(mine, "mallory/shop", **fork),
        gitlab(mine, **(fork | {"namespace_id": "72", "project_id": "20"})),
        gitlab(mine, ref="feature", ref_protected="false"),
        gitlab(mine, ref="main/evil"),
        gitlab(mine, ref_protected=True),
        gitlab(mine, project_id=20),
    ]
    refuse_attacks(service, sign, attacks)
    # It lives as long as the job may run.
    refuse_long(service, sign, gitlab(mine), 7_200)
    say(f"GitLab: a protected branch; {len(attacks)} attacks fail: another project, shop-evil, a fork, a lost name")


def check_spiffe(world):
    service = world.service
    mine, path = service.url, "/ns/shop/sa/checkout"
    for issuer in [{}, {"iss": "https://spire.example.org"}]:
        service.gives(world.svid.sign(svid(mine, path, **issuer)), "checkout", "checkout", "orders:read orders:write")
    token = world.svid.sign(svid(mine, path))
    own_type = {"client_assertion_type": SPIFFE_TYPE, "client_assertion": token}
    status, _, body = service.post(grant_type="client_credentials", **own_type)
    equal(status, 200)
    service.read(json.loads(body)["access_token"], "checkout", "checkout", "orders:read orders:write")
    # The bundle's other key is for certificates.
    service.refuses(world.x509.sign(svid(mine, path)), "unknown_key")
    for other in ["/ns/shop/sa/checkout-evil", "/ns/shop/x/sa/checkout", "/ns//sa/checkout", "/ns/../sa/checkout"]:
        service.refuses(world.svid.sign(svid(mine, other)), "no_rule")
    say("SPIFFE: a JWT-SVID with and without iss, by the bundle's key for it; not by its key for certificates")


def unsigned(claims, key):
    return jwt.encode(claims, None, "none", headers={"kid": key.kid})


def mistaken(claims, key):
    """Signed with HS256, by the public key as the secret."""
    head, payload, _ = jwt.encode(claims, bytes(32), "HS256", headers={"kid": key.kid}).split(".")
    secret = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{head}.{payload}.{segment(hmac.digest(secret, f'{head}.{payload}'.encode(), 'sha256'))}"


def check_wrong(world):
    service, cluster = world.service, world.cluster
    mine = service.url
    right = cluster.claims(mine, "checkout")
    now = right["iat"]
    asked = cluster.site.times("/openid/v1/jwks")
    other = Key("RS256")
    cases = [
        ("expired", cluster.token(mine, "checkout", iat=now - 3_700, nbf=now - 3_700, exp=now - 100)),
        ("not_yet_valid", cluster.token(mine, "checkout", nbf=now + 60)),
        ("wrong_audience", cluster.token("https://other.example.com", "checkout")),
        ("wrong_audience", cluster.token(mine, "checkout", aud=[mine, "https://other.example.com"])),
        ("wrong_audience", cluster.token(mine, "checkout", aud=[])),
        ("unknown_key", other.sign(right, typ=None)),
        ("bad_signature", other.sign(right, kid=cluster.key.kid, typ=None)),
        # Keys of other issuers, good ones for what they are.
        ("unknown_key", world.gitlab.sign(right)),
        ("unknown_key", world.gitlab.sign(github(mine))),
        ("bad_signature", world.github.sign(gitlab(mine), kid=world.gitlab.kid)),
        ("max_age", cluster.token(mine, "checkout", exp=now + 31_536_000)),
    ]
    for cause, token in cases:
        service.refuses(token, cause)
    expect(cluster.site.times("/openid/v1/jwks") <= asked + 1, "unknown kids made it fetch more than once")
    # What says that it needs no key, or that the public key is its secret, is no token of any issuer.
    # By exchange it is then taken for one of our own, whose client must authenticate.
    for forged in [unsigned(right, cluster.key), mistaken(right, cluster.key)]:
        causes = ["unsupported_algorithm", "unsupported_algorithm", "no_credentials"]
        service.refuses(forged, *causes, told=[*REFUSALS[:2], REFUSALS[0]])
    say(f"{len(cases) + 2} wrong ones, why only the log says: expired, for another, for two, unknown kid, alg none")


def check_explain(world):
    service = world.service
    file, keys = service.home / "token", service.home / "keys.json"
    keys.write_text(json.dumps({"keys": [world.github.jwk]}))

    def explain(claims, *more, code):
        file.write_text(world.github.sign(claims))
        return service.run("explain", "--config", service.config, "--token", file, *more, code=code)

    right = github(service.url)
    said = explain(right, code=0)
    expect(f"token of {GITHUB}\n  not verified" in said, said)
    for words in ['subject ci:github:74, scope "deploy:run"\n', "granted, if the token is good: client deploy, by client_credentials"]:
        expect(words in said, said)
    expect(f"token of {GITHUB}\n  verified" in explain(right, "--jwks", keys, code=0), said)
    evil = github(service.url, "repo:acme/shop-evil:ref:refs/heads/main")
    said = explain(evil, "--jwks", keys, code=1)
    for words in [
        "client deploy: sub\n",
        'rule   "repo:acme/shop:ref:refs/heads/main"\n',
        'token  "repo:acme/shop-evil:ref:refs/heads/main"\n',
        "REFUSED: no rule matches, so there is no token",
    ]:
        expect(words in said, said)
    said = explain(github(service.url, repository_owner_id="666"), code=1)
    expect(': repository_owner_id\n           rule   "65"\n           token  "666"' in said, said)
    told = json.loads(explain(evil, "--jwks", keys, "--json", code=1))
    equal((told["granted"], told["verified"]), (False, True))
    equal([(rule["verdict"], rule["claim"]) for rule in told["rules"]], [("differs", "sub"), ("differs", "sub")])
    said = explain(github(service.url, exp=right["iat"] + 21_600), "--jwks", keys, code=1)
    expect("NOT VALID: max_age" in said, said)
    file.write_text(world.cluster.token(service.url, "cart", "default"))
    said = service.run("explain", "--config", service.config, "--token", file, code=1)
    expect(': kubernetes.io.namespace\n           rule   "shop"\n           token  "default"' in said, said)
    say("lingpai explain --token: exit code 0 and the rule that speaks, 1 and the first claim that differs")


def check_page(world):
    """What deploy/federation.md shows of `explain` is what it prints, for the configuration that the page begins with."""
    service, home = world.service, world.folder / "page"
    page = (HERE.parents[1] / "deploy/federation.md").read_text()
    configuration = re.search(r"```toml\n(.+?)```", page, re.DOTALL)[1]
    shown = re.search(r"```text\n(token of .+?)```", page, re.DOTALL)[1]
    issuer = "https://tokens.example.com"
    service.run("init", home, "--issuer", issuer)
    file = home / "lingpai.toml"
    file.write_text(f"{file.read_text()}\n{configuration}")
    evil = github(issuer, "repo:acme/shop-evil:ref:refs/heads/main", repository_owner_id="1234")
    (home / "id-token.txt").write_text(world.github.sign(evil))
    command = ["explain", "--config", "lingpai.toml", "--token", "id-token.txt"]
    # In which line the rule stands is for `init` to say.
    without_line = lambda text: re.sub(r"lingpai\.toml:\d+", "lingpai.toml", text)
    equal(without_line(service.run(*command, cwd=home, code=1)), without_line(shown))
    say("deploy/federation.md: its example of lingpai explain --token is what is printed")


def check_libraries(world):
    libraries.check(world)
    token = world.cluster.token(world.service.url, "checkout")
    environment = ENVIRONMENT | {"ISSUER": world.service.url, "TOKEN": token}
    subprocess.run(["node", HERE / "oauth4webapi.mjs"], env=environment, check=True)


def main():
    world = World(pathlib.Path(sys.argv[1]), sys.argv[2])
    check_configuration(world)
    checks = [check_kubernetes, check_addresses, check_workload, check_github, check_gitlab, check_spiffe, check_wrong]
    with world.service.serving():
        for check in [*checks, check_explain, check_page, check_libraries]:
            check(world)
        rotation.check(world, say)


if __name__ == "__main__":
    main()
