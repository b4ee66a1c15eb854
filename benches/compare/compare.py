"""lingpai beside its rivals, the bare floor and itself with AWS-LC, as benches/compare/run says: compare.py FOLDER.

Servers have core 0 and wrk core 1. Of every request all sides take turns, round for round; a ratio is the median of
the rounds' own ratios, every other figure the median of the rounds. Every answer of every side is looked at.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from servers import (
    AWS_LC, BESIDE, BINARY, CACHE, CLIENT, CONNECTIONS, DISTINCT, HERE, ISSUER, LIFETIMES, SCOPE, Lingpai, Server, die,
    parts, running,
)

ROUNDS = int(os.environ.get("COMPARE_ROUNDS", 7))
SECONDS = int(os.environ.get("COMPARE_SECONDS", 5))
# Whether lingpai is compared with the bare floors alone.
FLOORS = BESIDE or os.environ.get("COMPARE_FLOORS", "0") != "0"
CONSTANT = "target/release/examples/constant"
# What oidc-provider is asked.
FORM = f"grant_type=client_credentials&scope={SCOPE.replace(' ', '+')}"
# What a ratio is of, by how it is said: requests a second, or CPU time of a request; both are better when high.
FASTER = "req/s", lambda ours, theirs: ours["rps"] / theirs["rps"]
SHARE = "CPU", lambda ours, theirs: theirs["cpu_us"] / ours["cpu_us"]


def main(out):
    with running() as (folder, servers):
        result = measured(folder, servers)
    if not FLOORS and not os.environ.get("LINGPAI_BINARY"):
        (out / "compare.json").write_text(json.dumps(result, indent=1) + "\n")
    table(result)


def measured(folder, servers):
    def started(server):
        servers.append(server)
        return server

    lingpai = Lingpai(folder)
    ours = started(lingpai.serve())
    jwks = ours.ask("GET", "/.well-known/jwks.json", "")
    (folder / "jwks.json").write_text(jwks)
    (folder / "settings.json").write_text(json.dumps({
        "issuer": ISSUER, "kid": json.loads(jwks)["keys"][0]["kid"], "pem": lingpai.pem, "client": CLIENT,
        "secret": lingpai.secret, "secret_sha256": lingpai.digest, "scope": SCOPE, "cache": CACHE, **LIFETIMES,
    }))
    fastify, oidc = (
        started(Server(folder, name, ["node", HERE / script, folder / "settings.json"]))
        for name, script in (("fastify + fast-jwt", "fastify.mjs"), ("oidc-provider", "oidc.mjs"))
    )
    aws_lc = started(lingpai.serve("lingpai, AWS-LC", binary=AWS_LC))
    both = started(lingpai.serve("lingpai, two cores", "0,1"))
    lingpai.prepare(ours)
    lingpai.file("oidc.requests", [f"{lingpai.basic}\t{FORM}"])
    lingpai.file("oidc.answers", [
        r'^{"access_token":"eyJ[%w_-]+%.eyJ[%w_-]+%.[%w_-]+","expires_in":%d+,"scope":"' + SCOPE
        + '","token_type":"Bearer"}$'
    ])
    floors = {}

    def floor(what, work, name):
        """Bare hyper that answers what lingpai has answered, after `work`."""
        if what not in floors:
            load = lingpai.load(name, ours, what)
            first = load.requests.read_text().split("\n", 1)[0]
            recorded = folder / f"{what}.recorded"
            recorded.write_bytes(ours.ask(load.method, load.path, first, "-i").encode())
            lingpai.file(f"{what}.answers", [recorded.read_text().splitlines()[-1]])
            floors[what] = started(Server(folder, name, [CONSTANT, recorded, *work]))
        return lingpai.load(name, floors[what], what, answers=folder / f"{what}.answers")

    def load(name, server, what, **more):
        samples = folder / "samples" if what in ("create", "refresh") else None
        return lingpai.load(name, server, what, samples=samples, **more)

    provider = {"path": "/token", "requests": folder / "oidc.requests", "answers": folder / "oidc.answers"}
    # Request, ours, and whom it is compared with: a load, how, and the goal if there is one.
    rows = [
        ("POST /token", load("lingpai", ours, "create"), [
            (load("fastify + fast-jwt", fastify, "create"), FASTER, 8),
            (load("oidc-provider", oidc, "create", **provider), FASTER, 20),
            (load("lingpai, AWS-LC", aws_lc, "create"), FASTER, None),
            (floor("create", ["sign"], "hyper + one signature"), SHARE, 0.80 if BESIDE else 0.85),
        ]),
        ("PUT /token", load("lingpai", ours, "refresh"), [
            (load("fastify + fast-jwt", fastify, "refresh"), FASTER, 8),
            (load("lingpai, AWS-LC", aws_lc, "refresh"), FASTER, None),
            (floor("refresh", ["sign"], "hyper + one signature"), SHARE, 0.80 if BESIDE else 0.85),
        ]),
        ("GET /token, repeated", load("lingpai", ours, "repeated"), [
            (load("fastify + fast-jwt", fastify, "repeated"), FASTER, 5),
            (floor("repeated", [], "hyper"), SHARE, 0.70 if BESIDE else 0.80),
        ]),
        ("GET /token, distinct", load("lingpai", ours, "distinct"), [
            (load("lingpai, AWS-LC", aws_lc, "distinct"), FASTER, None),
            (floor("distinct", ["verify"], "hyper + one verification"), SHARE, 0.90 if BESIDE else 0.92),
        ]),
        # Here a request may cost 1.08 times as much.
        ("POST /token, two cores", load("lingpai, two cores", both, "create", cores="0,1"), [
            (load("lingpai, one core", ours, "create"), SHARE, 1 / 1.08),
        ]),
    ]
    if FLOORS:
        rows = [(request, mine, [other for other in others if other[1] is SHARE]) for request, mine, others in rows
                if mine.server is ours]
    equal(ours, fastify, oidc, lingpai.basic, folder)
    for request, mine, others in rows:
        sides = [mine, *(side for side, *_ in others)]
        for side in sides:
            # Until V8 has compiled what is hot, and the caches are full.
            side.run(min(5, 2 * SECONDS))
        for number in range(ROUNDS):
            for side in sides if number % 2 == 0 else reversed(sides):
                figures = side.run(SECONDS)
                check_signatures(side, folder)
                figures["logged"] = side.logged(figures["requests"])
                side.rounds.append(figures)
                say(f"{request}, round {number + 1} of {ROUNDS}, {side.name}: {figures['rps']:,.0f} req/s")
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine(), "rounds": ROUNDS, "seconds": SECONDS,
        "connections": CONNECTIONS, "cache": CACHE, "distinct": DISTINCT, "versions": versions(),
        "others": max(figures["others"] for _, mine, others in rows for side in (mine, *(other[0] for other in others))
                      for figures in side.rounds),
        "rows": [row(*of) for of in rows],
    }


def equal(ours, fastify, oidc, basic, folder):
    """The rivals do the same: their answers say what ours say."""
    shapes = []
    for server in (ours, fastify):
        pair = json.loads(server.ask("POST", "/token", basic))
        again = json.loads(server.ask("PUT", "/token", f"Token {pair['refresh']}"))
        shapes.append([
            (sorted(header), sorted(claims), [claims.get(name) for name in ("iss", "sub", "aud", "client_id", "scope")],
             header["alg"], header["typ"], claims["exp"] - claims["iat"], len(token))
            for token in (*list(pair.values())[:2], *list(again.values())[:2]) for header, claims in [parts(token)]
        ])
    if shapes[0] != shapes[1]:
        die(f"the tokens differ:\n{shapes[0]}\n{shapes[1]}")
    form = ("-d", FORM)
    header, claims = parts(json.loads(oidc.ask("POST", "/token", basic, *form))["access_token"])
    if (sorted(header), sorted(claims)) != shapes[0][0][:2] or header["alg"] != "ES256":
        die(f"oidc-provider's token is another: {header} {claims}")
    # A rival that takes anything would be a fast one.
    spoilt = (folder / "refresh.requests").read_text().split("\n", 1)[0][:-4] + "AAAA"
    stale = (folder / "distinct.requests").read_text().split("\n", 1)[0][:-4] + "AAAA"
    for method, wrong in (("POST", "Basic Zmlyc3Q6d3Jvbmc="), ("PUT", spoilt), ("GET", stale)):
        for server in (ours, fastify) + ((oidc,) if method == "POST" else ()):
            command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method,
                       "-H", f"Authorization: {wrong}", server.url + "/token", *(form if server is oidc else ())]
            status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            if status != "401":
                die(f"{server.name} answered {status} to a {method} that should be 401")


def check_signatures(side, folder):
    command = ["node", HERE / "verify.mjs", folder / "jwks.json", ISSUER]
    if side.samples and subprocess.run([*command, side.samples]).returncode != 0:
        die(f"void: a token of {side.name} was not good")


def row(request, mine, others):
    def median(side, name):
        return statistics.median(figures[name] for figures in side.rounds)

    def side(load):
        return {"name": load.name, **{name: median(load, name) for name in ("rps", "cpu_us", "busy", "logged")},
                "rounds": load.rounds}

    def ratio(theirs, how):
        return statistics.median(how(one, other) for one, other in zip(mine.rounds, theirs.rounds))

    return {"request": request, "sides": [side(mine)] + [
        {**side(theirs), "faster": ratio(theirs, FASTER[1]), "share": ratio(theirs, SHARE[1]), "by": by, "goal": goal}
        for theirs, (by, _), goal in others
    ]}


def machine():
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next(line.split(": ", 1)[1] for line in cpuinfo.splitlines() if line.startswith("model name"))
    virtual = ", virtual" if " hypervisor" in cpuinfo else ""
    return f"{model}{virtual}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def versions():
    lock = json.loads((HERE / "package-lock.json").read_text())["packages"]
    rivals = {name: lock[f"node_modules/{name}"]["version"] for name in ("fastify", "fast-jwt", "oidc-provider")}
    said = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.split()
    return {"lingpai": said(BINARY, "--version")[-1], "commit": said("git", "rev-parse", "--short", "HEAD")[0],
            "node": said("node", "--version")[0].lstrip("v"), "wrk": said("wrk", "-v")[1], **rivals}


def table(result):
    versions = " ".join(f"{name} {version}" for name, version in result["versions"].items())
    print(f"\n{result['date']}, {result['machine']}\n{versions}\n{result['rounds']} rounds of {result['seconds']} s a "
          f"side, {result['connections']} connections. Others used {result['others']:.0%} of the machine at most.\n"
          "busy: cores that the server used. logged: requests that its log has. faster, share: lingpai beside this\n"
          "side, by req/s and by CPU time; both are better when high.\n")
    if BESIDE:
        print("Another process wrote to half of the shared cache meanwhile, on the core of wrk.\n")
    if result["others"] > 0.05:
        print("The machine was not quiet: these figures are good for a look only.\n")
    print(f"{'request':24}{'side':26}{'req/s':>9}{'CPU µs':>8}{'busy':>6}{'logged':>8}{'faster':>8}{'share':>7}  goal")
    for row in result["rows"]:
        request = row["request"]
        for side in row["sides"]:
            logged = f"{side['logged']:.0%}" if side["name"].startswith("lingpai") else ""
            print(f"{request:24}{side['name']:26}{side['rps']:9,.0f}{side['cpu_us']:8.1f}{side['busy']:6.2f}"
                  f"{logged:>8}", end="")
            if "faster" in side:
                print(f"{side['faster']:8.2f}{side['share']:7.3f}", end="")
            if side.get("goal"):
                reached = side["faster" if side["by"] == "req/s" else "share"] >= side["goal"]
                print(f"  {side['goal']:.3g} by {side['by']}: {'yes' if reached else 'no'}", end="")
            print()
            request = ""


def say(text):
    print(text, file=sys.stderr, flush=True)


main(Path(sys.argv[1]))
