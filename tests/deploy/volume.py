"""Keys come and go in volumes as the kubelet writes them, while clients get, check and refresh tokens: none may fail.

One server's keys are 0440 and root's, readable by its group (`fsGroup`), the other's 0400 and its own. Every two
seconds another key signs; each is published before and deleted after it could be noticed."""

import base64
import collections
import http.client
import json
import math
import random
import threading
import time

from service import USER, Client, Place, Server, Volume, expect, until

STEP, KEYS = 2, 12  # seconds between keys that sign, and how many
ACCESS, REFRESH, MAX_AGE = 2, 4, 1
PUBLISHED = 10  # seconds before it signs that a key gets into the volume: a second would do where nothing stands still
RETIRED = STEP + REFRESH + 3  # seconds after it signs first that it gets out
SETTINGS = f"""\
issuer = "https://tokens.example.com"
[keys]
path = "{{keys}}"
jwks_max_age = "{MAX_AGE}s"
[reload]
interval = "1s"
[ops]
listen = "127.0.0.1:0"
[token]
access_lifetime = "{ACCESS}s"
refresh_lifetime = "{REFRESH}s"
leeway = "1s"
"""


class Load(threading.Thread):
    """One caller after the other on one connection."""

    def __init__(self, server, client, stop):
        super().__init__(daemon=True)
        self.address, self.client, self.stop = server.public, client, stop
        self.counts = collections.Counter()
        self.failures = []
        self.keys = collections.defaultdict(set)  # what signed, by second
        self.start()

    def run(self):
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        held = collections.deque()
        while not self.stop.is_set():
            try:
                made = time.time()
                if pair := self.ask(connection, "POST", self.client.authorization):
                    held.append((made, pair))
                # Some time after they were made, too, by what may then be an older key.
                while held and held[0][0] < time.time() - REFRESH + 0.5:
                    held.popleft()
                if not held:
                    continue
                made, pair = random.choice(held)
                if made > time.time() - ACCESS + 0.5:
                    self.ask(connection, "GET", f"Token {pair['value']}", made + ACCESS)
                self.ask(connection, "PUT", f"Token {pair['refresh']}", made + REFRESH)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()

    def ask(self, connection, method, authorization, ends=math.inf):
        """The answer; nothing, and a failure, unless it is good, or what is presented has ended meanwhile."""
        connection.request(method, "/token", headers={"Authorization": authorization})
        response = connection.getresponse()
        body = response.read()
        self.counts[method] += 1
        answer = json.loads(body)
        if response.status != 200:
            if time.time() < ends:
                self.failures.append(f"{method}: {response.status} {answer}")
            return None
        if "value" in answer:
            header, claims, _ = answer["value"].split(".")
            self.keys[json.loads(base64.urlsafe_b64decode(claims + "=="))["iat"]].add(header)
        return answer


class Replica:
    def __init__(self, place, client, stop, volume, keys):
        self.name, self.volume = volume.path.name, volume
        volume.write(keys)
        config = place.folder / f"{self.name}.toml"
        config.write_text(SETTINGS.format(keys=self.name) + client.table)
        self.server = Server(place, config)
        self.loads = [Load(self.server, client, stop) for _ in range(2)]

    def requests(self):
        return sum((load.counts for load in self.loads), collections.Counter())

    def failures(self):
        return [failure for load in self.loads for failure in load.failures]


def window(keys, begin, now):
    """The keys that the Secret holds at an instant: number i signs from begin + i * STEP on."""
    signs = [begin + number * STEP for number in range(len(keys))]
    return dict(key for at, key in zip(signs, keys) if at - PUBLISHED <= now < at + RETIRED)


def main():
    stop, client = threading.Event(), Client()
    with Place() as place:
        begin = int(time.time())
        instants = [begin - 30] + [begin + number * STEP for number in range(1, KEYS)]
        written = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in instants]
        keys = [place.new_key(place.folder / f"made-{at}", "--at", at) for at in written]
        volumes = [Volume(place.folder / "group", 0o440), Volume(place.folder / "owner", 0o400, owner=USER)]
        first = window(keys, begin, time.time())
        replicas = [Replica(place, client, stop, volume, first) for volume in volumes]
        try:
            turns = follow(replicas, keys, begin)
            killed_kubelet(replicas[0], keys)
            stop.set()
            for replica in replicas:
                for load in replica.loads:
                    load.join(60)
                tell(replica, turns, begin)
                expect(replica.server.end() == 0, "it does not end well")
        finally:
            stop.set()
            for replica in replicas:
                replica.server.kill()


def follow(replicas, keys, begin):
    """Brings each key in time and takes it away in time; returns how often something changed."""
    turns, before = 0, None
    while time.time() < begin + KEYS * STEP + 1:
        now = window(keys, begin, time.time())
        if now.keys() != before:
            before = now.keys()
            for replica in replicas:
                replica.volume.write(now, links_first=turns % 2 == 0)
            turns += 1
        time.sleep(0.05)
    return turns


def killed_kubelet(replica, keys):
    """A kubelet that is killed before it has tidied up leaves links to nothing: that is refused, and harms nobody."""
    refused = replica.server.counted("lingpai_reload_failures_total")

    def wait():
        until(lambda: replica.server.counted("lingpai_reload_failures_total") > refused, "a link to nothing is refused")
        error = replica.server.readiness()["reload_error"]
        expect(error.endswith(".pem: cannot be opened: No such file or directory (os error 2)"), error)

    last = dict(keys[-2:])
    replica.volume.write(last, False, before_tidying=wait)
    until(lambda: replica.server.readiness()["reload_error"] is None, "the volume is good again")


def tell(replica, turns, begin):
    counts, failures = replica.requests(), replica.failures()
    expect(not failures, f"{replica.name}: {len(failures)} of {counts.total()} requests failed, first: {failures[:3]}")
    # Of every turn in which there was a request, one key, which is no other's.
    signers = collections.defaultdict(set)
    for load in replica.loads:
        for second, keys in load.keys.items():
            signers[min((second - begin) // STEP, KEYS - 1)] |= keys
    signed = len(set().union(*signers.values()))
    expect(all(len(keys) == 1 for keys in signers.values()) and signed == len(signers), f"{replica.name}: {signers}")
    expect(signed > KEYS // 2, f"{replica.name}: hardly any load: {counts}")
    readiness = replica.server.readiness()
    expect(readiness["reload_error"] is None, readiness["reload_error"])
    refused = replica.server.counted("lingpai_reload_failures_total")
    mode = f"{replica.volume.mode:04o}"
    print(f"ok: keys {mode}: {turns} turns of the volume, {signed} keys signed, {counts.total()} requests, 0 failed; "
          f"{refused} reloads refused")


if __name__ == "__main__":
    main()
