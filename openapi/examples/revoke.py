"""Ends tokens of a lingpai by each kind of entry, and tries whether the API of an example learns of it within a minute
from the list that is published. Runs the command that it is given, and prints `ok`. LINGPAI is the program."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import attack
import jwt

LINGPAI = os.environ["LINGPAI"]
# The published list may be kept for a minute, and the server looks at its own every two seconds.
SOON = 63


def lingpai(folder, *arguments, text=None):
    command = [LINGPAI, *arguments]
    return subprocess.run(command, cwd=folder, input=text, stdout=subprocess.PIPE, text=True, check=True).stdout


def set_up(folder):
    """A service that publishes its list, and its clients' secrets."""
    lingpai(folder, "init")
    config = pathlib.Path(folder, "lingpai.toml")
    text = config.read_text().replace('"http://127.0.0.1:8080"', f'"{attack.ISSUER}"')
    config.write_text(text + '\n[revocations]\npath    = "revoked"\npublish = true\n')
    pathlib.Path(folder, "revoked").touch()
    policy = "--scope", "orders:read", "--audience", attack.AUDIENCE, "--subject", "user:*", "--json"
    added = (lingpai(folder, "client", "add", name, *policy) for name in ("shop", "lost"))
    return {client["client_id"]: client["client_secret"] for client in map(json.loads, added)}


@contextlib.contextmanager
def server(folder):
    command = [LINGPAI, "serve", "--listen", "127.0.0.1:0"]
    with open(os.path.join(folder, "server.log"), "w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=60)


def status(url, token):
    return attack.client.get(url, headers={"Authorization": f"Bearer {token}"}).status_code


def issue(base, secrets):
    """A token that stays good, and one to end by each kind of entry."""

    def token(client, subject):
        answer = attack.client.post(f"{base}/token", auth=(client, secrets[client]), json={"subject": subject})
        return answer.raise_for_status().json()["value"]

    tokens = {name: token("shop", "user:1") for name in ("good", "session", "jti")}
    return {**tokens, "client": token("lost", "user:1"), "subject": token("shop", "user:2")}


def revoke(folder, tokens):
    jti = jwt.decode(tokens["jti"], options={"verify_signature": False})["jti"]
    lingpai(folder, "revoke", "--token", "-", text=tokens["session"])
    lingpai(folder, "revoke", "--jti", jti)
    lingpai(folder, "revoke", "--client", "lost")
    lingpai(folder, "revoke", "--subject", "user:2")
    entries = json.loads(lingpai(folder, "revoke", "--list", "--json"))
    assert sorted(entry["kind"] for entry in entries) == ["client", "jti", "session", "subject"], entries


def attempt(folder):
    secrets = set_up(folder)
    with server(folder) as base, attack.api(base) as url:
        tokens = issue(base, secrets)
        each = lambda: {name: status(url, token) for name, token in tokens.items()}
        before, revoked = each(), time.monotonic()
        assert set(before.values()) == {200}, before
        revoke(folder, tokens)
        expected = {name: 200 if name == "good" else 401 for name in tokens}
        while (after := each()) != expected and time.monotonic() < revoked + SOON:
            time.sleep(1)
        assert after == expected, after


def main():
    with tempfile.TemporaryDirectory() as folder:
        try:
            attempt(folder)
        except AssertionError as error:
            print(pathlib.Path(folder, "server.log").read_text())
            sys.exit(f"failed: {error}")
    print("ok")


if __name__ == "__main__":
    main()
