"""What is done to the replicas under load: one thing at a time, so that a failure has one cause."""

import itertools
import time

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cluster import file_name, place
from crew import Broken, until

ROUND = 60  # seconds over which a round of them is spread
LINGER = 1.2  # seconds that a bad file stays after it was noticed: longer than the interval of reloads
DOWN = 1  # seconds until somebody starts a killed replica again
NOTICE = 60  # seconds that a replica has for noticing a file
RESTARTS, KILLS, BAD = "restarts", "kills", "bad files"


def bad_key(content=None, name=None, mode=0o600):
    """Drops a file into a replica's folder of keys: the good key, unless `content` is given."""

    def drop(replica, good):
        file = replica.keys / (name or file_name("ES256", time.time() + 3600))
        place(file, content or good, mode)
        return file

    return drop


def an_hour_back(replica, _):
    # Of an algorithm that no other key here has: of another it would be retired already.
    key = rsa.generate_private_key(65_537, 2_048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return bad_key(pem, file_name("RS256", time.time() - 3600))(replica, None)


def symlink_to_nowhere(replica, _):
    file = replica.keys / file_name("ES256", time.time() + 3600)
    file.symlink_to("nowhere")
    return file


def bad_configuration(change):
    def drop(replica, _):
        place(replica.config, change(replica.config.read_text()).encode())
        return replica.config

    return drop


def bad_list(change):
    def drop(replica, _):
        # What it has not read yet is gone, and comes again with the good list.
        replica.listed.clear()
        place(replica.revoked, change(replica.revoked.read_bytes()))
        return replica.revoked

    return drop


BAD_FILES = {
    "a key of garbage": bad_key(b"-----BEGIN PRIVATE KEY-----\ngarbage\n"),
    "a configuration with a typo": bad_configuration(lambda text: text.replace('leeway = "5s"', 'leeway = "5s')),
    "a key with a wrong name": bad_key(name="spare.pem"),
    "a configuration with an unknown member": bad_configuration(lambda text: text.replace("leeway", "leaway")),
    "a key that all may read": bad_key(mode=0o644),
    "half a configuration": bad_configuration(lambda text: text[: text.rindex("sha256:")]),
    "a key dated an hour back": an_hour_back,
    "an empty configuration": bad_configuration(lambda _: ""),
    "a key that is a symlink to nowhere": symlink_to_nowhere,
    "a huge key": bad_key(b"x" * (1 << 20)),
    "a list of revocations with a typo": bad_list(lambda text: text + b"sesion 1.a 2100-01-01T00:00:00Z\n"),
    "half a list of revocations": bad_list(lambda text: text[: len(text) // 2]),
    "an empty list of revocations": bad_list(lambda _: b""),
    "a list of revocations of garbage": bad_list(lambda _: bytes(range(256)) * 4_096),
}


class Faults:
    def __init__(self, crew, ledger, central, replicas, revoker, folder):
        self.crew, self.ledger, self.central, self.replicas = crew, ledger, central, replicas
        self.revoker = revoker
        self.spare = central.key_elsewhere(folder)
        self.names = set()  # of files that were bad for a while

    @staticmethod
    def planned(rounds):
        return {RESTARTS: 6 * rounds, KILLS: (len(BAD_FILES) - 2) * rounds, BAD: len(BAD_FILES) * rounds}

    def rounds(self, count):
        """Does everything `count` times, at an even pace."""
        replicas, bad = itertools.cycle(self.replicas), itertools.cycle(BAD_FILES.items())
        steps = [lambda: self.bad_file(next(replicas), *next(bad)), lambda: self.kill(next(replicas))] * len(BAD_FILES)
        # Instead of two kills.
        steps[9] = steps[19] = self.rolling_restart
        begin = time.monotonic()
        for number, step in enumerate(steps * count):
            self.crew.wait(begin + number * ROUND / len(steps) - time.monotonic())
            self.all_live()
            step()

    def all_live(self):
        for replica in self.replicas:
            if replica.ended():
                raise Broken(f"{replica.name} ended by itself: {replica.log.read_text()[-500:]}")

    def rolling_restart(self):
        for replica in self.replicas:
            with self.ledger.event(RESTARTS, f"restart of {replica.name}"):
                if code := replica.stop():
                    self.ledger.fail("restart", f"exit code {code}")
                replica.start()

    def kill(self, replica):
        with self.ledger.event(KILLS, f"kill -9 of {replica.name}"):
            replica.kill()
            self.crew.wait(DOWN)
            replica.start()

    def bad_file(self, replica, what, drop):
        with self.ledger.event(BAD, f"{what} at {replica.name}"), replica.files:
            since = replica.log.stat().st_size
            name = drop(replica, self.spare).name
            self.names.add(name)
            try:
                until(lambda: replica.complains_of(name, since), f"{replica.name} names {name} in its log", NOTICE)
            except Broken as error:
                self.ledger.fail("bad file", "unnoticed", f"{what}: {error}")
            self.crew.wait(LINGER)
            self.serves(replica)
            self.revoker.check_ended(replica, "revoked, beside a bad file")
            # What is central is good: this puts right what was dropped, and brings the newest keys.
            newest = self.central.newest()
            replica.copy()
            until(lambda: replica.publishes(newest), f"{replica.name} has read its files again")

    def serves(self, replica):
        """HAProxy would hide it if the replica itself did not answer."""
        for what, (status, _) in (("/readyz", replica.ask("GET", "/readyz")), ("/token", replica.issue())):
            if status == 200:
                self.ledger.ok("with a bad file")
            else:
                self.ledger.fail("with a bad file", status, what)
