"""What the cache of verified tokens costs, and what others do to those who profit from it, as benches/compare/run says.

Callers who ask about the same thousand tokens again and again have sixteen connections; so have those who flood. All
rounds take turns; figures are medians of the rounds.
"""

import concurrent.futures
import os
import re
import secrets
import statistics
import subprocess

from servers import BINARY, CACHE, CONNECTIONS, HERE, Lingpai, Server, die, running, take_turns

ROUNDS = int(os.environ.get("COMPARE_ROUNDS", 7))
SECONDS = int(os.environ.get("COMPARE_SECONDS", 3))


def main():
    with running() as (folder, started):
        lingpai = Lingpai(folder)
        every_token_new(lingpai, started)
        floods(lingpai, started)


def every_token_new(lingpai, started):
    """Nothing is known: the cache can only cost."""
    sides = {}
    for entries in (CACHE, 0):
        config = lingpai.folder / f"cache-{entries}.toml"
        config.write_text(lingpai.config.read_text().replace(f"cache = {CACHE}\n", f"cache = {entries}\n"))
        command = [BINARY, "serve", "--config", config, "--listen", "127.0.0.1:0"]
        sides[entries] = Server(lingpai.folder, f"cache = {entries}", command)
        started.append(sides[entries])
    lingpai.prepare(sides[0])
    loads = [lingpai.load(server.name, server, "distinct") for server in sides.values()]
    take_turns(loads, ROUNDS, SECONDS)
    print(f"\n{'every token is new':44}{'req/s':>9}{'CPU µs':>8}")
    for load in loads:
        rps, cpu = (statistics.median(figures[name] for figures in load.rounds) for name in ("rps", "cpu_us"))
        print(f"  {load.name:42}{rps:9,.0f}{cpu:8.1f}")
    with_it, without = loads
    ratio = statistics.median(a["cpu_us"] / b["cpu_us"] for a, b in zip(with_it.rounds, without.rounds))
    print(f"  CPU with it, of that without it: {ratio:.3f}", flush=True)


def floods(lingpai, started):
    config = lingpai.folder / "ops.toml"
    config.write_text(lingpai.config.read_text().replace("[token]", "[ops]\nlisten = \"127.0.0.1:0\"\n[token]"))
    server = Server(lingpai.folder, "lingpai", [BINARY, "serve", "--config", config, "--listen", "127.0.0.1:0"])
    started.append(server)
    operator = re.findall(r" at (http://[^\s,]+)", (lingpai.folder / "lingpai.out").read_text())[1]
    tokens = (lingpai.folder / "distinct.requests").read_text().splitlines()
    lingpai.file("new.requests", tokens[CACHE:])
    lingpai.file("bad-signature.requests", [token[:-8] + "AAAAAAAA" for token in tokens])
    lingpai.file("bad-header.requests", ["Token " + secrets.token_urlsafe(90) + token[token.index("."):] for token in tokens])
    callers = lingpai.load("callers", server, "repeated")
    callers.run(2)
    kinds = {"nobody": None, "good tokens, each new": "new", "forged, a known key's header": "bad-signature",
             "forged, an unknown header": "bad-header"}
    rows = {kind: [] for kind in kinds}
    for number in range(ROUNDS):
        for kind in list(kinds) if number % 2 == 0 else reversed(list(kinds)):
            rows[kind].append(round_of(callers, server, operator, kinds[kind] and lingpai.folder / f"{kinds[kind]}.requests"))
    print(f"\n{f'{CONNECTIONS} connections about {CACHE} tokens; beside them':44}{'req/s':>9}{'of it':>7}{'known':>8}{'flood/s':>9}")
    alone = rows["nobody"]
    for kind, rounds in rows.items():
        median = lambda name: statistics.median(figures[name] for figures in rounds)
        share = statistics.median(one["rps"] / other["rps"] for one, other in zip(rounds, alone))
        print(f"  {kind:42}{median('rps'):9,.0f}{share:7.2f}{median('known'):8.1%}{median('flood'):9,.0f}", flush=True)


def round_of(callers, server, operator, flood):
    """One round of the callers, and of a flood that lasts as long. A flood must be answered with one status only."""
    before = hits(operator)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        flooding = pool.submit(flooded, server, flood) if flood else None
        figures = callers.run(SECONDS)
        flooded_by = flooding.result() if flooding else (0, 0)
    good = flood and flood.name.startswith("new")
    if flood and flooded_by[1] != (0 if good else flooded_by[0]):
        die(f"of {flooded_by[0]} requests of the flood {flooded_by[1]} were refused")
    return {"rps": figures["rps"], "known": (hits(operator) - before) / figures["requests"],
            "flood": flooded_by[0] / SECONDS}


def flooded(server, requests):
    command = ["taskset", "-c", "1", "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", "-s",
               HERE.parent / "load.lua", server.url + "/token", "--", "GET", requests]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answered, _, refused = map(int, said.strip().rsplit("\n", 1)[-1].split()[:3])
    return answered, refused


def hits(operator):
    text = subprocess.run(["curl", "-sS", "--fail", operator + "/metrics"], capture_output=True, text=True, check=True)
    return int(re.search(r'lookups_total\{result="hit"\} (\d+)', text.stdout)[1])


main()
