"""The two kinds of run that `run` starts: the usual one, and an emergency."""

import argparse
import pathlib
import signal
import sys
import tempfile
import time
import urllib.request

from cluster import CLOCKS, DELAY, RELOAD, Central, Replica, free_ports, proxy
from crew import Broken, Crew, until
from faults import ROUND, Faults
from ledger import Ledger
from load import OPERATIONS, Load
from revoker import REFUSED, Revoker
from verifiers import Verifiers

MAX_AGE = 5
# How long a replica's copy may stand still for the sake of a bad file, and how late anything may be on a busy machine.
HELD, NOISE = 4, 15
# How long ahead of its instant a key is made: when the clock that is ahead comes to it, every verifier must know it.
LEAD = DELAY + HELD + RELOAD + MAX_AGE + CLOCKS["ahead"] + NOISE
START = 6  # seconds until everything runs and the first switch comes
OTHER = 10  # every so many seconds the other algorithm's key switches, too
CLOSE = 5  # seconds before its end at which some token must have been tried
SHARE = 0.05  # of the answers that each replica must have given: less than a third, for they are down at times

EMERGENCY_MAX_AGE = 30
CALM = 10  # seconds before the emergency
# Seconds after it until everybody has the new key.
SETTLED = DELAY + RELOAD + EMERGENCY_MAX_AGE + CLOCKS["ahead"] + NOISE


class Publisher:
    """Makes a key for every second, in time."""

    def __init__(self, crew, central):
        self.crew, self.central = crew, central
        self.first = self.next = int(time.time()) + START

    def make_due(self):
        while self.next - LEAD <= time.time():
            self.central.new_key("ES256", self.next)
            if self.next % OTHER == 0:
                self.central.new_key("EdDSA", self.next)
            self.next += 1
        self.central.prune()

    def work(self):
        while self.crew.wait(self.next - LEAD - time.time()):
            self.make_due()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status == 200
    except OSError:
        return False


class Setup:
    """Everything that runs, running."""

    def __init__(self, crew, ledger, folder, central):
        self.central, self.ledger, self.problems = central, ledger, []
        front, *ports = free_ports(1 + len(CLOCKS))
        self.replicas = [Replica(crew, central, folder, port, clock) for port, clock in zip(ports, CLOCKS, strict=True)]
        base = proxy(crew, folder, front, self.replicas)
        for replica in self.replicas:
            replica.start()
            if not replica.clock_is_right():
                raise Broken(f"{replica.name} has another clock")
            crew.thread(replica.follow)
        until(lambda: answers(f"{base}/readyz"), "haproxy has seen the replicas")
        self.verifiers = Verifiers(crew, self.ledger, central, base)
        self.load = Load(crew, self.ledger, self.verifiers, front, central.clients)
        self.revoker = Revoker(crew, self.ledger, central, self.replicas)

    def finish(self):
        """Ends the load, waits for the verifiers and prints what was counted."""
        self.load.end()
        # A replica that ends answers 503, which would count.
        self.revoker.end()
        self.verifiers.settle()
        self.ledger.table()
        if self.ledger.failed:
            for replica in self.replicas:
                print(f"{replica.name} says: {replica.refusals()}")
        for what in (*OPERATIONS, *REFUSED, *self.verifiers.names):
            enough = 10 if what in REFUSED else ROUND
            self.demand(self.ledger.good[what] >= enough, f"{what}: too few good ones to prove anything")
        for replica in self.replicas:
            self.demand(not replica.ended(), f"{replica.name} ended by itself")
            share = self.ledger.shares[replica.clock] / self.ledger.shares.total()
            self.demand(share > SHARE, f"{replica.name} gave but {share:.0%} of the answers")

    def demand(self, fulfilled, otherwise):
        if not fulfilled:
            self.problems.append(otherwise)

    def demand_no_complaints(self, known):
        """No replica may have complained, except in lines that hold one of these words."""
        for replica in self.replicas:
            lines = [line for line in replica.complaints() if not any(word in line for word in known)]
            self.demand(not lines, f"{replica.name} complains {len(lines)} times, first: {''.join(lines[:1])}")

    def summary(self):
        good, names = self.ledger.good, self.verifiers.names
        verified = sum(good[name] for name in names)
        failed = sum(self.ledger.failed.values())
        return f"{good.total() - verified} answers and {verified} verifications, {failed} failed"


def usual(crew, ledger, folder, lingpai, rounds):
    """Nobody may notice anything."""
    central = Central(lingpai, folder / "central", MAX_AGE)
    publisher = Publisher(crew, central)
    publisher.make_due()
    setup = Setup(crew, ledger, folder, central)
    crew.thread(publisher.work)
    faults = Faults(crew, ledger, central, setup.replicas, setup.revoker, folder / "spare")
    faults.rounds(rounds)
    last = publisher.first + rounds * ROUND - 1
    # Until the clock that is behind has come to the last switch, too.
    crew.wait(last + 1 - CLOCKS["behind"] - time.time())
    setup.finish()

    planned = faults.planned(rounds)
    setup.demand(not ledger.failed, "somebody noticed")
    setup.demand(ledger.events == planned, f"planned were {planned}, done {dict(ledger.events)}")
    setup.demand_no_complaints(faults.names)
    demand_old_tokens(setup)
    print(f"revoked tokens were refused {setup.revoker.slowest:.2f} s at most after the list had come to the replica")
    print(f"keys in the folder at the end: {len(list(central.keys.iterdir()))}")
    switches = {algorithm: demand_switches(setup, algorithm, publisher.first, last) for algorithm in central.schedule}
    return setup, f"{switches['ES256']} switches, " + ", ".join(f"{count} {kind}" for kind, count in planned.items())


def demand_switches(setup, algorithm, first, last):
    """The keys of these seconds must have signed; returns how many did."""
    due = [kid for at, kid in setup.central.schedule[algorithm] if first <= at <= last]
    signed = sum(kid in setup.verifiers.signed for kid in due)
    print(f"{algorithm} keys that signed in their turn: {signed} of {len(due)}")
    # What signed did so on schedule, or the ledger would say so. A key may come and go unused where the machine stands
    # still for its second.
    setup.demand(signed > len(due) // 2, f"{algorithm}: hardly any key of the schedule signed")
    return signed


def demand_old_tokens(setup):
    for kind, pool in (("access", setup.load.access), ("refresh", setup.load.refresh)):
        print(f"{kind} tokens were good until {pool.closest:.1f} s before their end")
        setup.demand(pool.closest < CLOSE, f"no {kind} token was tried shortly before its end")


def emergency(crew, ledger, folder, lingpai):
    """A key that signs at once, before anybody knows it: measures who notices, and for how long."""
    setup = Setup(crew, ledger, folder, Central(lingpai, folder / "central", EMERGENCY_MAX_AGE))
    central = setup.central
    crew.wait(CALM)
    at, before = ledger.now(), ledger.tries()
    with ledger.event("rotation", "rotation"):
        central.rotate_now()
    crew.wait(SETTLED)
    after = ledger.tries()
    crew.wait(CALM)
    setup.finish()

    setup.demand_no_complaints(['"level":"WARN"'])  # they warn of such a key, and should
    setup.demand(setup.verifiers.signed[central.newest()], "the new key never signed")
    print(f"after the rotation, of what was tried in the next {SETTLED} s:")
    for (what, cause), (first, last) in ledger.span.items():
        count, of = ledger.failed[what, cause], after[what] - before[what]
        print(f"  {what}: {cause}: {count:,} of {of:,}, from {first - at:.1f} s to {last - at:.1f} s")
        setup.demand(at <= first and last <= at + SETTLED, f"{what}: {cause}: not because of the rotation")
    return setup, "1 rotation that nobody expected"


def main():
    parser = argparse.ArgumentParser(prog="tests/replicas/run")
    parser.add_argument("lingpai", type=pathlib.Path, help=argparse.SUPPRESS)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--long", action="store_true", help="3,600 switches instead of 60")
    kind.add_argument("--now", action="store_true", help="measure an emergency rotation")
    arguments = parser.parse_args()
    # Ended like that, too, it ends its processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ledger = Ledger()
    with tempfile.TemporaryDirectory() as name, Crew() as crew:
        folder, lingpai = pathlib.Path(name), arguments.lingpai.resolve()
        try:
            if arguments.now:
                setup, events = emergency(crew, ledger, folder, lingpai)
            else:
                setup, events = usual(crew, ledger, folder, lingpai, 60 if arguments.long else 1)
        except Broken as error:
            ledger.table()
            sys.exit(f"replicas: broken: {error}")
    for problem in setup.problems:
        print(f"replicas: {problem}")
    print(f"replicas: {setup.summary()}; {events}")
    return 1 if setup.problems else 0


try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(130)
