"""A flood: requests without a pause on many connections, pipelined, from some addresses; answers are thrown away. In a
process of its own, on one core. Prints how many answers there were of each status, as JSON, when it is told to end.

flood.py HOST PORT CONNECTIONS ADDRESSES FILE [RATE]: FILE holds one request or several. With RATE, so many are sent a
second, each on a connection that waits for no answer."""

import collections
import errno
import itertools
import json
import pathlib
import re
import resource
import select
import signal
import socket
import sys
import time

READ = 1 << 16
WRITE = 1 << 14  # more would fill the kernel's buffers, of one connection after the other


class Over(Exception):
    """It is told to end."""


def connect(host, port, number):
    connection = socket.socket()
    # All of 127.0.0.0/8 is this machine.
    connection.bind((f"127.0.1.{number + 1}", 0))
    connection.setblocking(False)
    try:
        connection.connect((host, port))
    except BlockingIOError:
        pass
    return connection


def flood(host, port, connections, addresses, requests, seen):
    """Until `Over`. A connection that ends is opened again."""
    poll, open_ = select.epoll(), {}

    def another(number):
        connection = connect(host, port, number % addresses)
        open_[connection.fileno()] = connection, number, requests
        poll.register(connection, select.EPOLLIN | select.EPOLLOUT)

    for number in range(connections):
        another(number)
    while True:
        for descriptor, events in poll.poll():
            connection, number, rest = open_[descriptor]
            try:
                if events & select.EPOLLIN:
                    came = connection.recv(READ)
                    if not came:
                        raise ConnectionError
                    for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", came):
                        seen[status.decode()] += 1
                if events & select.EPOLLOUT:
                    sent = connection.send(rest[:WRITE])
                    # Where a piece of a request was left over, it comes first.
                    open_[descriptor] = connection, number, rest[sent:] or requests
                if events & (select.EPOLLERR | select.EPOLLHUP):
                    raise ConnectionError
            except BlockingIOError:
                pass
            except OSError as error:
                seen["ended"] += 1
                del open_[descriptor]
                connection.close()
                if error.errno not in (None, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT):
                    seen[errno.errorcode.get(error.errno)] += 1
                another(number)


def pace(host, port, connections, addresses, requests, rate, seen):
    """Until `Over`: `rate` requests a second, fewer while all connections wait for answers."""
    poll, open_, idle = select.epoll(), {}, collections.deque()

    def another(number):
        connection = connect(host, port, number % addresses)
        connection.setblocking(True)
        open_[connection.fileno()] = connection, number
        poll.register(connection, select.EPOLLIN)
        idle.append(connection)

    for number in range(connections):
        another(number)
    requests = itertools.cycle(requests)
    last, due = time.monotonic(), 0
    while True:
        now = time.monotonic()
        # What could not be sent in time is left out.
        last, due = now, min(due + (now - last) * rate, connections)
        while due >= 1 and idle:
            idle.popleft().send(next(requests))
            due -= 1
        for descriptor, _ in poll.poll(0.0005):
            connection, number = open_[descriptor]
            # An answer is shorter than what a piece of the network carries.
            if came := connection.recv(READ):
                seen[came[9:12].decode()] += 1
                idle.append(connection)
            else:
                raise SystemExit("the server ended a connection")


def main(host, port, connections, addresses, file, rate=None):
    def over(*_):
        raise Over

    signal.signal(signal.SIGTERM, over)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    seen = collections.Counter()
    request = pathlib.Path(file).read_bytes()
    where = host, int(port), int(connections), int(addresses)
    began = time.monotonic()
    try:
        if rate:
            pace(*where, re.split(rb"(?=POST /)", request)[1:], int(rate), seen)
        else:
            # Of a view, what is left over is no copy.
            flood(*where, memoryview(request * max(1, WRITE // len(request))), seen)
    except Over:
        seen["seconds"] = time.monotonic() - began
        print(json.dumps(seen))


main(*sys.argv[1:])
