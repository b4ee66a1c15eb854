"""Clients that create, check and refresh tokens without pause, each over one kept connection."""

import collections
import http.client
import json
import math
import random
import threading
import time

from cluster import AUDIENCE, REFRESH, SESSION, http_basic, parsed

CLIENTS = 4
PACE = 0.08  # seconds from one round of a client to its next; a round is six questions
TIMEOUT = 60
MARGIN = 1  # seconds before its end at which a token is left alone
POST, GET, GET_OLD = "POST /token", "GET /token", "GET /token, older"
PUT, PUT_OLD = "PUT /token", "PUT /token, older"
OPERATIONS = (POST, GET, GET_OLD, PUT, PUT_OLD)

Session = collections.namedtuple("Session", "client subject began")
Kept = collections.namedtuple("Kept", "token session ends")


class Pool:
    """Tokens of one kind that have not ended yet."""

    def __init__(self):
        self.kept = collections.deque()
        self.lock = threading.Lock()
        self.closest = math.inf  # seconds from the end of one, at which it was still good

    def add(self, kept):
        with self.lock:
            self.kept.append(kept)

    def any(self):
        """A random one, or None."""
        with self.lock:
            while self.kept and self.kept[0].ends - MARGIN < time.time():
                self.kept.popleft()
            kept = random.choice(self.kept) if self.kept else None
        return kept if kept and time.time() < kept.ends - MARGIN else None

    def was_good(self, kept):
        self.closest = min(self.closest, kept.ends - time.time())


class Load:
    def __init__(self, crew, ledger, verifiers, port, secrets):
        self.crew, self.ledger, self.verifiers = crew, ledger, verifiers
        self.port, self.secrets = port, secrets
        self.access, self.refresh = Pool(), Pool()
        self.done = threading.Event()
        self.threads = [crew.thread(Client(self, number).work) for number in range(CLIENTS)]

    def end(self):
        self.done.set()
        for thread in self.threads:
            thread.join()


class Client:
    def __init__(self, load, number):
        self.load, self.number = load, number
        self.connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=TIMEOUT)

    def work(self):
        turn = time.monotonic()
        while not self.load.done.is_set() and self.load.crew.wait(turn - time.monotonic()):
            turn = max(turn + PACE, time.monotonic())
            self.round()
        self.connection.close()

    def round(self):
        # One session in four is another client's, whose tokens another algorithm signs.
        session = Session("eddsa" if random.random() < 0.25 else "es256", f"user:{self.number}", time.time())
        if created := self.create(session):
            self.check(GET, created["value"], session)
            if refreshed := self.renew(PUT, created["refresh"], session):
                self.check(GET, refreshed["value"], session)
        pool = self.load.access
        if (kept := pool.any()) and self.check(GET_OLD, kept.token, kept.session, kept.ends):
            pool.was_good(kept)
            self.load.verifiers.take(kept.token)
        pool = self.load.refresh
        if (kept := pool.any()) and self.renew(PUT_OLD, kept.token, kept.session, kept.ends):
            pool.was_good(kept)

    def create(self, session):
        return self.pair(POST, session, "POST", "/token", {
            "Authorization": http_basic(session.client, self.load.secrets[session.client]),
            "Content-Type": "application/json",
        }, json.dumps({"subject": session.subject, "scope": ["orders:read"]}))

    def renew(self, what, refresh, session, ends=math.inf):
        return self.pair(what, session, "PUT", "/token", {"Authorization": f"Token {refresh}"}, ends=ends)

    def pair(self, what, session, *request, ends=math.inf):
        """Asks for a pair, has it verified and keeps it."""
        issued = time.time()
        pair = self.ask(what, *request, ends=ends)
        if pair:
            load = self.load
            load.verifiers.take_new(pair["value"])
            ends = parsed(pair["expire"])
            load.access.add(Kept(pair["value"], session, ends))
            # A session ends without leeway, maybe on a clock that is ahead of the one on which it began.
            ends = min(issued + REFRESH, session.began + SESSION - 5)
            load.refresh.add(Kept(pair["refresh"], session, ends))
        return pair

    def check(self, what, token, session, ends=math.inf):
        expected = {"subject": session.subject, "client": session.client, "scope": ["orders:read"]}
        headers = {"Authorization": f"Token {token}"}
        return self.ask(what, "GET", f"/token?audience={AUDIENCE}", headers, None, expected, ends)

    def ask(self, what, method, path, headers, body=None, expected=None, ends=math.inf):
        """The answer; None unless it is good, and a line in the ledger unless the token has ended on the way."""
        ledger = self.load.ledger
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            answer = response.read()
            if response.status == 401 and time.time() > ends:
                return None
            if response.status != 200:
                ledger.fail(what, response.status, f"{answer[:100]} {response.headers.get_all('WWW-Authenticate')}")
                return None
            answer = json.loads(answer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.connection.close()
            ledger.fail(what, type(error).__name__, str(error))
            return None
        if expected and not expected.items() <= answer.items():
            ledger.fail(what, "another token", f"{answer} instead of {expected}")
            return None
        ledger.ok(what, response.headers["X-Replica"])
        return answer
