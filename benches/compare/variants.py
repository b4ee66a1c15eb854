"""lingpai beside itself, made in other ways, as benches/compare/run says: variants.py runtime|builds.

Of every request all sides take turns, round for round; a ratio is the median of the rounds' own ratios, every other
figure the median of the rounds. Every answer is looked at.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import servers
from servers import Lingpai, Server, die, running, take_turns

ROUNDS = int(os.environ.get("COMPARE_ROUNDS", 7))
SECONDS = int(os.environ.get("COMPARE_SECONDS", 2))
KINDS = {"create": "POST /token", "repeated": "GET /token, repeated", "distinct": "GET /token, distinct"}
# What a release is built with, and another way to build it. The first is what Cargo.toml has.
BUILDS = {
    "fat LTO, one unit": {},
    "thin LTO, one unit": {"LTO": "thin"},
    "no LTO, 16 units": {"LTO": "off", "CODEGEN_UNITS": "16"},
    "for size (s)": {"OPT_LEVEL": "s"},
    "panic = abort": {"PANIC": "abort"},
    "no overflow checks": {"OVERFLOW_CHECKS": "false"},
}
# Debian's packages libjemalloc2, libmimalloc2.0 and libtcmalloc-minimal4, before the C library's allocator.
ALLOCATORS = {"jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4"}


def main(what):
    with running() as (folder, started):
        {"runtime": runtime, "builds": builds}[what](folder, started)


def compare(title, loads):
    """Prints a line for each load; ratios are to the first."""
    take_turns(loads, ROUNDS, SECONDS)
    print(f"\n{title:52}{'req/s':>9}{'least':>9}{'CPU µs':>8}{'ratio':>7}{'RSS KiB':>9}")
    for load in loads:
        of = lambda name: [figures[name] for figures in load.rounds]
        ratio = statistics.median(a / b for a, b in zip(of("cpu_us"), (one["cpu_us"] for one in loads[0].rounds)))
        print(f"  {load.name:50}{statistics.median(of('rps')):9,.0f}{min(of('rps')):9,.0f}"
              f"{statistics.median(of('cpu_us')):8.1f}{ratio:7.3f}{load.server.memory()[0]:9,}", flush=True)


def runtime(folder, started):
    """One queue for all threads, beside a single-threaded runtime and a listener for each."""
    lingpai = Lingpai(folder)
    ways = {"shared": "one queue for all threads", "own": "a runtime for each thread"}
    sides = {}
    for cores in ("0", "0,1"):
        for way, name in ways.items():
            command = ["target/release/examples/cores", lingpai.config, way]
            sides[cores, way] = Server(folder, f"{name}, {cores}", command, cores)
            started.append(sides[cores, way])
    lingpai.prepare(sides["0", "shared"])
    for cores in ("0", "0,1"):
        for connections in (3, 16, 1_000):
            servers.CONNECTIONS = connections
            for kind in ("create", "repeated"):
                title = f"{KINDS[kind]}, {connections} connections, {'one core' if cores == '0' else 'two cores'}"
                compare(title, [
                    lingpai.load(name, sides[cores, way], kind, cores="1" if cores == "0" else "0,1")
                    for way, name in ways.items()
                ])


def builds(folder, started):
    """The release as it is, built in other ways, and with other allocators."""
    lingpai, binaries = Lingpai(folder), {}
    for name, settings in BUILDS.items():
        environment = {f"CARGO_PROFILE_RELEASE_{setting}": value for setting, value in settings.items()}
        target = Path("target") if not settings else Path("target/builds")
        command = ["cargo", "build", "--locked", "--quiet", "--release", "--bin", "lingpai", "--target-dir", target]
        subprocess.run(command, check=True, env={**os.environ, **environment})
        binary = folder / f"lingpai-{len(binaries)}"
        subprocess.run(["cp", target / "release/lingpai", binary], check=True)
        binaries[name] = [binary], {}
        print(f"{name}: {binary.stat().st_size // 1024:,} KiB", flush=True)
    for name, library in ALLOCATORS.items():
        binaries[name] = [binaries["fat LTO, one unit"][0][0]], {"LD_PRELOAD": found(library)}
    sides = {}
    for name, (command, environment) in binaries.items():
        command = ["env", *(f"{key}={value}" for key, value in environment.items()), *command]
        sides[name] = Server(folder, name, [*command, "serve", "--config", lingpai.config, "--listen", "127.0.0.1:0"])
        started.append(sides[name])
    lingpai.prepare(next(iter(sides.values())))
    for kind, title in KINDS.items():
        compare(title, [lingpai.load(name, side, kind) for name, side in sides.items()])


def found(library):
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"):
        if (path := Path(folder, library)).exists():
            return path
    die(f"no {library}; on Debian: apt-get install libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4")


main(sys.argv[1])
