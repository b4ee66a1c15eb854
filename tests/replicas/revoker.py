"""Ends sessions that are in use, and asks each replica about their tokens."""

import json
import random
import threading
import time

from cluster import REFRESH, RELOAD

# Seconds beyond the interval of reloads at which a token may still be good: reading the list takes a moment.
SLACK = 0.5
PAUSE = 0.05  # between two questions
KEPT = 100  # ended sessions that are asked about again
ACCESS, REFRESHED = "GET /token, revoked", "PUT /token, revoked"
REFUSED = (ACCESS, REFRESHED)


class Revoker:
    def __init__(self, crew, ledger, central, replicas):
        self.crew, self.ledger, self.central, self.replicas = crew, ledger, central, replicas
        self.ended = []  # pairs of sessions that every replica has refused, and when they began
        self.slowest = 0  # seconds from when a replica's copy had the list until it refused
        self.done = threading.Event()
        self.thread = crew.thread(self.work)

    def work(self):
        while not self.done.is_set() and self.crew.wait(PAUSE):
            self.end_one()

    def end(self):
        """Waits for the session that it is ending."""
        self.done.set()
        self.thread.join()

    def end_one(self):
        """Begins a session, has every replica find its token good, ends it, and asks until all refuse it."""
        began = time.time()
        status, answer = random.choice(self.replicas).issue()
        if status != 200:  # it is down
            return
        pair = json.loads(answer)
        for replica in self.replicas:
            self.status(replica, "GET", pair["value"])
        line = self.central.revoke(pair["value"])
        left = set(self.replicas)
        while left and self.crew.wait(PAUSE):
            left = {replica for replica in left if not self.refuses(replica, pair["value"], line)}
        self.ended = [*self.ended, (pair, began)][-KEPT:]
        for replica in self.replicas:
            self.check_ended(replica, REFRESHED)

    def status(self, replica, method, token):
        return replica.ask(method, "/token", {"Authorization": f"Token {token}"})[0]

    def refuses(self, replica, token, line):
        """Whether a replica refuses a token that the list ends; a failure if it does not, in time."""
        came, asked = replica.listed.get(line), time.monotonic()
        status = self.status(replica, "GET", token)
        if status == 401:
            if came:
                self.slowest = max(self.slowest, asked - came)
            self.ledger.ok(ACCESS)
            return True
        if status == 200 and came and asked > came + RELOAD + SLACK:
            self.ledger.fail(ACCESS, status, f"{asked - came:.2f} s after the list came to {replica.name}")
            return True
        if status not in (0, 200):
            self.ledger.fail(ACCESS, status)
        return False

    def check_ended(self, replica, what):
        """A session that every replica has refused is refused, whatever has become of the list since."""
        fresh = [pair for pair, began in self.ended if time.time() < began + REFRESH - 5]
        if fresh and (status := self.status(replica, "PUT", random.choice(fresh)["refresh"])):
            if status == 401:
                self.ledger.ok(what)
            else:
                self.ledger.fail(what, status, replica.name)
