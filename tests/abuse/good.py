"""The good client: asks for a token 50 times a second on one kept connection from an address of its own, in a process of
its own, so that it does not wait for the harness. Each line that it prints is the instant it asked, the seconds it took, and what it got."""

import http.client
import os
import signal
import sys
import time

PAUSE = 1 / 50
PATIENCE = 15  # seconds; a debug build on a busy machine is slow, and times are judged elsewhere
ADDRESS = "127.0.0.2"


def ask(connection, authorization):
    """The status, or the name of what went wrong."""
    try:
        connection.request("POST", "/token", headers={"Authorization": authorization})
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        # The next question goes over a new connection.
        connection.close()
        return type(error).__name__


def main(host, port, authorization):
    # At once: an exception would be lost where an answer is being freed.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE, source_address=(ADDRESS, 0))
    while True:
        asked = time.monotonic()
        got = ask(connection, authorization)
        took = time.monotonic() - asked
        # In one piece: the end may come between two.
        sys.stdout.write(f"{asked} {took} {got}\n")
        sys.stdout.flush()
        time.sleep(max(0, PAUSE - took))


main(*sys.argv[1:])
