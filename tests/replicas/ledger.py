"""What was counted: answers and verifications, good and failed, and what was going on meanwhile."""

import collections
import contextlib
import threading
import time

TOLD = 2  # failures of one kind that are told one by one


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.good = collections.Counter()  # by what was tried
        self.failed = collections.Counter()  # by (what was tried, cause)
        self.shares = collections.Counter()  # answers by replica
        self.span = {}  # (what was tried, cause): seconds of the first and the last
        self.told = []
        self.events = collections.Counter()  # finished ones, by kind
        self.going_on = "nothing yet"

    def now(self):
        return time.monotonic() - self.began

    def ok(self, what, replica=None):
        with self.lock:
            self.good[what] += 1
            if replica:
                self.shares[replica] += 1

    def fail(self, what, cause, detail=""):
        now = self.now()
        with self.lock:
            self.failed[what, cause] += 1
            self.span[what, cause] = (self.span.get((what, cause), (now,))[0], now)
            if self.failed[what, cause] <= TOLD:
                self.told.append(f"{now:7.2f} s  {what}: {cause}  {detail}  [{self.going_on}]")

    @contextlib.contextmanager
    def event(self, kind, what):
        self.going_on = f"{what}, since {self.now():.2f} s"
        yield
        self.events[kind] += 1
        self.going_on = f"{what}, over at {self.now():.2f} s"

    def failures(self):
        """How often each thing failed."""
        failures = collections.Counter()
        for (what, _), count in self.failed.items():
            failures[what] += count
        return failures

    def tries(self):
        """How often each thing was tried."""
        with self.lock:
            return self.good + self.failures()

    def table(self):
        failures = self.failures()
        print(f"{'':<26}{'good':>9}{'failed':>9}")
        for what in sorted(self.good | failures):
            print(f"{what:<26}{self.good[what]:>9,}{failures[what]:>9,}")
        for line in self.told:
            print(line)
        for (what, cause), count in self.failed.most_common():
            first, last = self.span[what, cause]
            print(f"{what}: {cause}: {count:,} times, from {first:.1f} s to {last:.1f} s")
        print("answers by clock: " + ", ".join(f"{clock} {count:,}" for clock, count in self.shares.items()))
