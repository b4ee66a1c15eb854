"""Runs the cases and prints a row for each. No time is asserted, for machines are noisy: only answers, failures of the
good client, memory, and the end."""

import asyncio
import collections
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time
import traceback

from cases import CASES, FULL, Skipped
from server import APART, CORES, Good, Server

BASELINE = 10 if FULL else 2  # seconds
LONGEST = 300 if FULL else 30  # seconds that a case may take, whatever it waits for
RECOVERY = 10  # seconds within which a new connection is answered afterwards
SETTLED = 60  # seconds within which memory is given back
KEPT = 8  # MiB that may be left
IDLE = 12  # MiB that the release build has when idle, for which the cases' bounds are; a debug build has more
HEADINGS = ("case", "ms before", "ms during", "good", "failed", "MiB", "most", "left", "bound", "CPU s", "exit", "seen")
WIDTHS = (20, 10, 10, 5, 6, 5, 5, 5, 5, 5, 4, 0)


def row(columns):
    print(" ".join(f"{column!s:<{width}}" for column, width in zip(columns, WIDTHS)).rstrip(), flush=True)


def recovers(server):
    """Whether a new connection gets a token in time."""
    deadline = time.monotonic() + RECOVERY
    while time.monotonic() < deadline:
        try:
            if server.token()[0] == 200:
                return True
        except OSError:
            pass
        time.sleep(0.1)
    return False


def settled(server, before):
    """MiB in use once all is over, within a minute."""
    deadline = time.monotonic() + SETTLED
    while (left := server.memory()) > before + KEPT and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def run(case, binary, folder):
    """Runs one case, prints its row, and returns what was wrong."""
    wrong = []
    environment = case.environment(folder)
    with Server(binary, folder / "server", case.first, case.last, environment, case.log, case.files) as server:
        with Good(server, folder) as good:
            began = time.monotonic()
            time.sleep(BASELINE)
            memory, cpu = server.memory(), server.cpu()
            server.forget_peak()
            abused = time.monotonic()
            seen = asyncio.run(asyncio.wait_for(case.abuse(server, wrong), LONGEST))
            over = time.monotonic()
            most, cpu = server.memory("VmHWM"), server.cpu() - cpu
            good.end()
            left = settled(server, memory)
        before, during = good.between(began, abused), good.between(abused, over)
        failed = [got for got in before.got + during.got if got not in case.good]
        if failed:
            wrong.append(f"the good client got {dict(collections.Counter(failed))}")
        if "200" not in before.got or "200" not in during.got:
            wrong.append("the good client was not served")
        if FULL and case.judged and during.p99() > 2 * before.p99():
            wrong.append("the good client waited more than twice as long as before")
        if most > case.bound + max(0, memory - IDLE):
            wrong.append(f"{most:.0f} MiB of memory")
        if left > memory + KEPT:
            wrong.append(f"{left:.0f} MiB of memory are left of {memory:.0f}")
        if not recovers(server):
            wrong.append("no new connection is served afterwards")
        if internal := server.requests(f'status="(?!{"|".join(case.good)})5'):
            wrong.append(f"{internal} answers of 500 or more")
        code = server.end()
        if code != 0:
            wrong.append(f"exit code {code}")
        if server.log.is_file() and "panicked" in server.log.read_text(errors="replace"):
            wrong.append("a panic in the log")
    row((
        case.name, before.times(), during.times(), len(before.got + during.got), len(failed),
        f"{memory:.1f}", f"{most:.1f}", f"{left:.1f}", case.bound, f"{cpu:.1f}", code, seen,
    ))
    return wrong


def main(binary, *names):
    binary = pathlib.Path(binary).resolve()
    unknown = set(names) - {case.name for case in CASES}
    if unknown:
        sys.exit(f"abuse: no case {', '.join(unknown)}")
    # So that whoever ends this ends its servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000) if hard >= 0 else 20_000, hard))
    if APART:
        os.sched_setaffinity(0, CORES[1:])
    began = time.monotonic()
    broken = False
    row(HEADINGS)
    for case in CASES:
        if names and case.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                wrong = run(case, binary, pathlib.Path(folder))
            except Skipped as reason:
                print(f"{case.name}: skipped: {reason}", flush=True)
                continue
            except TimeoutError:
                wrong = [f"not over after {LONGEST} s"]
            except Exception as error:  # a server that is gone breaks a case off anywhere
                traceback.print_exc()
                wrong = [repr(error)]
        for what in wrong:
            print(f"{case.name}: FAILED: {what}", flush=True)
        broken = broken or bool(wrong)
    print(f"{'FAILED' if broken else 'ok'}, in {time.monotonic() - began:.0f} s")
    sys.exit(broken)


main(*sys.argv[1:])
