"""Runs the cases, each in a process of its own, and prints a row for each when it ends. No time is asserted, for machines
are noisy: only answers, failures of the good client, memory, and the end."""

import asyncio
import collections
import contextlib
import fcntl
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
TOGETHER = 1 if FULL else 3  # cases at a time, of which one abuses; the others are calm, or give memory back
LONGEST = 300 if FULL else 30  # seconds that a case may abuse
# Seconds after which a case is ended, whatever it waits for: others that abuse, the server, or what it started.
WHOLE = 600 if FULL else 240
ONE = "--one"  # the process of one case, which gets a lock as its standard input
RECOVERY = 10  # seconds within which a new connection is answered afterwards
SETTLED = 60  # seconds within which memory is given back
KEPT = 8  # MiB that may be left
IDLE = 12  # MiB that the release build has when idle, for which the cases' bounds are; a debug build has more
HEADINGS = ("case", "ms before", "ms during", "good", "failed", "MiB", "most", "left", "bound", "CPU s", "exit", "seen")
WIDTHS = (20, 10, 10, 5, 6, 5, 5, 5, 5, 5, 4, 0)


def row(columns):
    return " ".join(f"{column!s:<{width}}" for column, width in zip(columns, WIDTHS)).rstrip()


@contextlib.contextmanager
def abusing():
    """While no other case abuses. What it starts has no part in the lock, for its standard input is another."""
    fcntl.flock(sys.stdin, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(sys.stdin, fcntl.LOCK_UN)


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


async def ended(abuse):
    """What it saw, if it ends in time."""
    try:
        async with asyncio.timeout(LONGEST) as limit:
            return await abuse
    except TimeoutError:
        # A socket's own limit raises the same.
        if limit.expired():
            raise TimeoutError(f"not over after {LONGEST} s") from None
        raise


def run(case, binary, folder):
    """Runs one case; returns its row, and what was wrong."""
    wrong = []
    environment = case.environment(folder)
    with contextlib.ExitStack() as stack:
        alone = stack.enter_context(contextlib.ExitStack())
        if not case.calm:
            alone.enter_context(abusing())
        server = stack.enter_context(
            Server(binary, folder / "server", case.first, case.last, environment, case.log, case.files))
        with Good(server, folder) as good:
            began = time.monotonic()
            time.sleep(BASELINE)
            memory, cpu = server.memory(), server.cpu()
            server.forget_peak()
            abused = time.monotonic()
            seen = asyncio.run(ended(case.abuse(server, wrong)))
            over = time.monotonic()
            most, cpu = server.memory("VmHWM"), server.cpu() - cpu
            good.end()
            alone.close()
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
    return row((
        case.name, before.times(), during.times(), len(before.got + during.got), len(failed),
        f"{memory:.1f}", f"{most:.1f}", f"{left:.1f}", case.bound, f"{cpu:.1f}", code, seen,
    )), wrong


def tried(binary, name):
    """Runs the case of that name, whatever becomes of it, prints how it was, and returns whether all was well."""
    case = next(case for case in CASES if case.name == name)
    with tempfile.TemporaryDirectory() as folder:
        try:
            said, wrong = run(case, binary, pathlib.Path(folder))
        except Skipped as reason:
            said, wrong = f"{case.name}: skipped: {reason}", []
        except Exception as error:  # it takes too long, or a server that is gone breaks it off anywhere
            said, wrong = traceback.format_exc(), [repr(error)]
    print("\n".join([said, *(f"{case.name}: FAILED: {what}" for what in wrong)]), flush=True)
    return not wrong


def told_to_end(*_):
    """By a signal, too, what was started is ended, and a second one does not break that off."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def one(binary, name):
    """The process of one case."""
    signal.signal(signal.SIGTERM, told_to_end)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000) if hard >= 0 else 20_000, hard))
    if APART:
        os.sched_setaffinity(0, CORES[1:])
    sys.exit(not tried(binary, name))


async def supervised(binary, name, places, lock):
    """Runs one case when there is a place, prints what it says, and returns whether all was well."""
    async with places:
        # Each opens the file for itself: a shared descriptor shares the lock.
        with open(lock) as lock:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-B", __file__, binary, ONE, name, stdin=lock, stdout=asyncio.subprocess.PIPE)
        said = asyncio.create_task(process.stdout.read())
        late = False
        try:
            await asyncio.wait_for(process.wait(), WHOLE)
        except TimeoutError:
            late = True
        finally:
            await end(process)
        print((await said).decode(), end="", flush=True)
        if late:
            print(f"{name}: FAILED: not over after {WHOLE} s", flush=True)
        return process.returncode == 0


async def end(process):
    """Ends a process that may have ended, and with it what it started."""
    with contextlib.suppress(ProcessLookupError):
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


async def all_of(binary, names):
    """Whether all was well in the cases of these names."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    places = asyncio.Semaphore(TOGETHER)
    with tempfile.NamedTemporaryFile() as lock:
        return all(await asyncio.gather(*(supervised(binary, name, places, lock.name) for name in names)))


def main(binary, *names):
    binary = pathlib.Path(binary).resolve()
    if names[:1] == (ONE,):
        one(binary, names[1])
    if unknown := set(names) - {case.name for case in CASES}:
        sys.exit(f"abuse: no case {', '.join(unknown)}")
    began = time.monotonic()
    print(row(HEADINGS), flush=True)
    try:
        fine = asyncio.run(all_of(binary, [case.name for case in CASES if not names or case.name in names]))
    except asyncio.CancelledError:
        sys.exit(1)
    print(f"{'ok' if fine else 'FAILED'}, in {time.monotonic() - began:.0f} s")
    sys.exit(not fine)


main(*sys.argv[1:])
