"""The alerts in promtool; alerts and dashboard in a Prometheus that scrapes two replicas; the log in jq."""

import base64
import collections
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

DEPLOY = pathlib.Path(__file__).parents[3] / "deploy"
ALERTS = DEPLOY / "prometheus/alerts.yaml"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LINGPAI_")}


def say(what):
    print(f"ok: {what}", flush=True)


def fail(what):
    sys.exit(f"alerts: {what}")


def run(*command, **more):
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, **more)


def wait_for(what, ask):
    """What `ask` answers, once that is something."""
    deadline = time.monotonic() + 120
    while not (found := ask()):
        if time.monotonic() > deadline:
            fail(f"waited in vain: {what}")
        time.sleep(0.2)
    return found


def check_rules():
    """promtool is content with the alerts and their test, in which each fires. It lists all that fire in each case, so
    that where it lists none, each is silent."""
    test = DEPLOY / "prometheus/alerts.test.yaml"
    for command in (("check", "rules", ALERTS), ("test", "rules", test)):
        ran = run("promtool", *command)
        if ran.returncode:
            fail(f"promtool {command[0]} rules: {ran.stdout}{ran.stderr}")
    alerts, text = re.findall(r"- alert: (\w+)", ALERTS.read_text()), test.read_text()
    fires = set(re.findall(r'ALERTS\{alertname="(\w+)",alertstate="firing"', text))
    if not alerts or set(alerts) != fires:
        fail(f"not tested: {set(alerts) ^ fires}")
    well = text.partition("- name: all is well\n")[2].partition("- name: ")[0]
    if """{expr: 'ALERTS{alertstate="firing"}', eval_time: 7h, exp_samples: []}""" not in well:
        fail("no case in which all is well")
    say(f"{len(alerts)} alerts, each of which fires in a test and is silent in another")


def replace(file, text):
    aside = file.with_name(".aside")
    aside.write_text(text)
    aside.rename(file)


class Replica:
    """`lingpai serve` with the operator's pages."""

    def __init__(self, binary, folder):
        self.folder, self.log = folder, folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--config", folder / "lingpai.toml", "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=log, text=True, env=ENVIRONMENT)
        self.public, self.ops = re.findall(r"http://([\d.:]+)", self.process.stdout.readline())

    def call(self, method, target, body=None, address=None, **fields):
        connection = http.client.HTTPConnection(address or self.public, timeout=60)
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        if isinstance(body, str):
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        elif body:
            body, fields["Content-Type"] = json.dumps(body), "application/json"
        connection.request(method, target, body, fields)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text

    def metrics(self):
        return self.call("GET", "/metrics", address=self.ops)[1].decode()


def traffic(replica, secret):
    """Something of everything; the first pair's access token."""
    basic = "Basic " + base64.b64encode(f"shop:{secret}".encode()).decode()
    wrong = "Basic " + base64.b64encode(b"shop:wrong").decode()
    pair = json.loads(replica.call("POST", "/token", {"subject": "user:7"}, Authorization=basic,
                                   X_Request_Id="example-7")[1])
    token, refresh = f"Token {pair['value']}", f"Token {pair['refresh']}"
    for expected, call in (
        (200, ("GET", "/token", None, token)), (200, ("PUT", "/token", None, refresh)),
        (200, ("POST", "/oauth2/introspect", f"token={pair['refresh']}", basic)),
        (401, ("POST", "/token", None, wrong)), (401, ("GET", "/token", None, refresh)),
        (403, ("GET", "/token?scope=admin", None, token)), (404, ("GET", "/nowhere", None, token)),
    ):
        method, target, body, authorization = call
        status = replica.call(method, target, body, Authorization=authorization)[0]
        if status != expected:
            fail(f"{method} {target}: {status}")
    return pair["value"]


TRUSTED = """
[[clients]]
id = "ci"

[[issuers]]
issuer    = "https://ci.example.com"
audience  = "lingpai"
jwks_file = "ci.json"

[[issuers.rules]]
match  = { sub = "nightly" }
client = "ci"
"""


def segment(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def identity(folder):
    """A token of the issuer in `TRUSTED`, whose keys are then in `folder`."""
    key, now = folder / "ci.pem", int(time.time())
    run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    modulus = run("openssl", "rsa", "-in", key, "-noout", "-modulus").stdout.strip().removeprefix("Modulus=")
    public = {"kty": "RSA", "n": segment(bytes.fromhex(modulus)), "e": "AQAB"}
    (folder / "ci.json").write_text(json.dumps({"keys": [public]}))
    claims = {"iss": "https://ci.example.com", "aud": "lingpai", "sub": "nightly", "iat": now, "exp": now + 600}
    signed = ".".join(segment(json.dumps(part).encode()) for part in ({"alg": "RS256"}, claims))
    ran = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=signed.encode(), capture_output=True, check=True)
    return f"{signed}.{segment(ran.stdout)}"


def federated(replica, token):
    """The identity becomes a token of ours."""
    form = {"grant_type": "client_credentials", "client_assertion": token,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    connection = http.client.HTTPConnection(replica.public, timeout=60)
    connection.request("POST", "/oauth2/token", urllib.parse.urlencode(form),
                       {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    if answer.status != 200:
        fail(f"a trusted issuer's token: {answer.status} {answer.read()}")
    connection.close()


class Prometheus:
    def __init__(self, folder, targets):
        self.address = f"127.0.0.1:{run(DEPLOY.parent / 'tests/port').stdout.strip()}"
        file = folder / "prometheus.yml"
        file.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(ALERTS)],
            "scrape_configs": [{"job_name": "lingpai", "static_configs": [{"targets": targets}]}],
        }))
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}",
                 f"--web.listen-address={self.address}", "--log.level=error"], stderr=log, env=ENVIRONMENT)

    def get(self, path, **query):
        """The answer's data; nothing while it is starting."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(query)}")
            response = connection.getresponse()
            if response.status == 503:
                return None
            answer = json.load(response)
        except OSError:
            return None
        finally:
            connection.close()
        if answer["status"] != "success":
            fail(f"{query}: {answer}")
        return answer["data"]

    def query(self, expression):
        return (self.get("query", query=expression) or {}).get("result")


def check_names(metrics, dashboard):
    """Every name in use is one that a replica shows."""
    there = set(re.findall(r"^(lingpai_\w+)", metrics, re.MULTILINE))
    for what, text in (("the alerts", ALERTS.read_text()), ("the dashboard", json.dumps(dashboard["panels"]))):
        # A name that a record gives is none of ours.
        used = set(re.findall(r"(?<![:\w])lingpai_\w+", text))
        if not used or used - there:
            fail(f"{what}: no metric is called {used - there}")


def check_dashboard(prometheus, dashboard, busy):
    """Every expression gives numbers while there is traffic, which `busy` makes, and every variable has values."""
    def concrete(expression):
        for name, value in (("$__rate_interval", "20s"), ("$job", "lingpai"), ("$instance", ".*")):
            expression = expression.replace(name, value)
        if "$" in expression:
            fail(f"a variable is left in {expression}")
        return expression

    count = 0
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = concrete(target["expr"])

            def numbers():
                found = prometheus.query(expression)
                if found and all(one["value"][1] != "NaN" for one in found):
                    return found
                busy()

            found = wait_for(f"{panel['title']}: {expression}", numbers)
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            if any(labels - set(one["metric"]) for one in found):
                fail(f"{panel['title']}: the legend has {labels}, the data {found}")
            count += 1
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            if not any(label in one for one in prometheus.get("series", **{"match[]": concrete(series)})):
                fail(f"the variable {variable['name']} has no values")
    say(f"{len(dashboard['panels'])} panels of the dashboard with {count} expressions, all with data")


def check_alerts(prometheus, replicas):
    """None is wrong where it runs; one fires."""
    def rules():
        groups = (prometheus.get("rules") or {}).get("groups", [])
        found = [rule for group in groups for rule in group["rules"]]
        return found if found and all(rule["health"] != "unknown" for rule in found) else None

    wrong = [rule for rule in wait_for("the rules are evaluated", rules) if rule["health"] != "ok"]
    if wrong:
        fail(wrong)
    if firing := prometheus.query('ALERTS{alertstate="firing"}'):
        fail(f"all is well, and yet: {firing}")
    configuration = replicas[0].folder / "lingpai.toml"
    before = configuration.read_text()
    replace(configuration, "nonsense")
    # Not for long enough to fire.
    pending = wait_for("an alert", lambda: prometheus.query('ALERTS{alertname="LingpaiReloadFailed"}'))
    if [alert["metric"]["instance"] for alert in pending] != [replicas[0].ops]:
        fail(pending)
    replace(configuration, before)
    say("Prometheus evaluates the rules, and sees whose reload is refused")


def replace(path, text):
    """Writes beside, and renames: what is written in place waits for a second look."""
    aside = path.with_name(f".{path.name}")
    aside.write_text(text)
    aside.rename(path)


def rotate(binary, replica, secret):
    """A key that signs at once, and a token of it."""
    made = run(binary, "keys", "rotate", "--now", "--json", "--config", replica.folder / "lingpai.toml")
    kid = json.loads(made.stdout)["kid"]
    wait_for("the new key signs", lambda: "signs from now on" in replica.log.read_text())
    traffic(replica, secret)
    return kid


# Where the causes of refusals stand.
CAUSES = ("service/denied.rs", "service/carried.rs", "foreign/rejected.rs", "token/verify.rs", "clients/policy.rs",
          "http/credentials.rs", "telemetry/mod.rs")


def check_causes():
    """logs.md explains every cause, and no other."""
    text = "".join((DEPLOY.parent / "src" / path).read_text() for path in CAUSES)
    known = set(re.findall(r'(?:=> |Challenge::\w+(?:\(None\))?, |DRAINING: &str = )"([a-z_]+)"', text))
    kinds = (DEPLOY.parent / "src/revocation/entry.rs").read_text()
    known |= set(re.findall(r'"(revoked_[a-z]+)"', kinds)) | {"overload"}
    rows = (DEPLOY / "logs.md").read_text().partition("## The causes")[2]
    told = {word for row in re.findall(r"^\| (`[^|]+)\|", rows, re.M) for word in re.findall(r"`([a-z_]+)`", row)} - {"cause"}
    if known ^ told:
        fail(f"logs.md: {known ^ told} are causes, or are explained, and not both")
    say(f"{len(known)} causes are explained")


def check_log(replica, jti, kids):
    """Each command of logs.md says what its question asks for."""
    old, new = kids
    answers = {
        "Who got a token for": rf'"issued","shop","orders:read orders:write","{jti}","127.0.0.1"\]\n',
        "A token leaked": r'^\["[^"]+","shop","user:7","127.0.0.1","example-7"\]\n$',
        "What happened to one request": r'^\{.*"message":"token".*\n\{.*"message":"answered".*\n(.*\n){2}$',
        "Which client is refused": r"\n? +2 shop\tGET\t403\tmissing_scope\tadmin\n(.*\n)*",
        "Introspection said": r"^ +2 shop\twrong_kind\n$",
        "Which addresses send": r"^ +2 127\.0\.0\.1\n$",
        "Who got a token from which": r'^\["[^"]+","https://ci.example.com","ci","ci","127.0.0.1"\]\n$',
        "When did a client last": r"^20[0-9T:.-]+Z\n$",
        "What did a rotation do": rf'"serving","{old}"\]\n(.*\n)*.*"reload refused[^"]*","[^"]+"\]\n(.*\n)*'
                                  rf'.*"reloaded","{new}"\]\n.*"signs from now on","[^"]* {new}"\]\n',
        "Which key signed": r"^( +[0-9]+ [0-9T:-]+\t\S+\n)+$",
        "Which requests took longest": r'^(\[[0-9]+,"[A-Z]+","[^"]+",[0-9]+,"[^"]+"\]\n)+$',
    }
    blocks = re.findall(r"\n\n(.+)(?:\n.+)*\n\n```sh\n(.*\n)```", (DEPLOY / "logs.md").read_text())
    # Each traffic ends with a 404, and the log is written in order.
    wait_for("the log is written", lambda: replica.log.read_text().count('"status":404') == 2)
    shutil.copy(replica.log, replica.folder / "answers")
    said = {}
    for question, command in blocks:
        known = [pattern for words, pattern in answers.items() if question.startswith(words)]
        if len(known) != 1:
            fail(f"logs.md: nothing is known about: {question}")
        ran = run("bash", "-euo", "pipefail", "-c", f"export JTI={jti}\n{command.replace(' log', ' answers')}",
                  cwd=replica.folder)
        if ran.returncode or not re.search(known[0], ran.stdout):
            fail(f"logs.md: {question}: {ran}")
        said[question] = ran.stdout
    if len(blocks) != len(answers):
        fail(f"logs.md: {len(blocks)} questions for {len(answers)} answers")
    # What took how long, and in which minute something was, is the machine's.
    [longest], [signed] = ([text for question, text in said.items() if question.startswith(words)]
                           for words in ("Which requests took longest", "Which key signed"))
    lines = [json.loads(line) for line in (replica.folder / "answers").read_text().splitlines()]
    expected = sorted((line["micros"] for line in lines if "micros" in line), reverse=True)[:10]
    if [json.loads(line)[0] for line in longest.splitlines()] != expected:
        fail(f"logs.md: the longest are {expected}, not {longest}")
    counts = collections.Counter()
    for count, _, kid in map(str.split, signed.splitlines()):
        counts[kid] += int(count)
    # Two pairs in each traffic, and before the rotation one token for a foreign identity.
    if counts != {old: 3, new: 2}:
        fail(f"logs.md: three signatures of the old key and two of the new one, not {signed}")
    say(f"{len(blocks)} questions to the log")


def main(binary, folder):
    check_rules()
    check_causes()
    said = run(binary, "init", folder / "a").stdout
    toml = folder / "a/lingpai.toml"
    said = run(binary, "client", "add", "shop", "--config", toml, "--scope", "orders:read", "--scope", "orders:write",
               "--subject", "user:*").stdout
    secret = re.search(r"lps_[\w-]+", said)[0]
    toml.write_text(toml.read_text() + '\n[ops]\nlisten = "127.0.0.1:0"\n[reload]\ninterval = "1s"\n'
                    '[revocations]\npath = "revoked"\n' + TRUSTED)
    foreign = identity(folder / "a")
    (folder / "a/revoked").touch()
    shutil.copytree(folder / "a", folder / "b")
    dashboard = json.loads((DEPLOY / "grafana/lingpai.json").read_text())
    running = []
    try:
        replicas = [Replica(binary, folder / name) for name in ("a", "b")]
        running += replicas
        token = traffic(replicas[0], secret)
        federated(replicas[0], foreign)
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
        check_names(replicas[0].metrics(), dashboard)
        prometheus = Prometheus(folder, [replica.ops for replica in replicas])
        running.append(prometheus)
        wait_for("both are scraped", lambda: len(prometheus.query("up == 1") or []) == 2)
        check_alerts(prometheus, replicas)
        wait_for("the old file is back", lambda: "the files match what is in force again" in replicas[0].log.read_text())
        kids = header["kid"], rotate(binary, replicas[0], secret)
        # Of the other replica, whose log is not looked at, so that there is a rate of everything.
        check_dashboard(prometheus, dashboard, lambda: traffic(replicas[1], secret))
        check_log(replicas[0], claims["jti"], kids)
    finally:
        for one in running:
            one.process.terminate()
            one.process.wait(60)


with tempfile.TemporaryDirectory() as temporary:
    main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(temporary))
