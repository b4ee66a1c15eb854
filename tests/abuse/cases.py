"""The cases. Each abuses a server for some seconds, appends to `wrong` what should not be, and returns what it saw."""

import asyncio
import collections
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import http2
from issuer import Issuer
from server import HERE, basic


READ = 1 << 16
# As much as one machine can be asked to stand, in minutes instead of seconds.
FULL = os.environ.get("ABUSE_FULL") == "1"
HEADS = 10_000 if FULL else 2_000
IDLE = 10_000 if FULL else 3_000
ADDRESSES = 1_000_000 if FULL else 30_000
# What the manifests give, which the limits follow; all cases stay below half of it.
MEMORY = '[limits]\nmemory = "128MiB"'
BOUND = 64


class Skipped(Exception):
    """What a case needs is not there."""


@dataclass
class Case:
    name: str
    abuse: Callable
    bound: int  # MiB of memory
    first: str = ""  # configuration before the tables
    last: str = ""  # and behind them
    good: tuple = ("200",)  # what the good client may get
    log: str = "log"  # where it goes, in the server's folder
    files: int | None = None  # that the server may have open
    environment: Callable = lambda folder: {}
    judged: bool = False  # by the good client's times, where ABUSE_FULL=1
    calm: bool = False  # takes no processor to speak of, so that another may run beside it


async def until_closed(reader, seconds):
    """What comes until the server closes; and whether it does, in time."""
    came = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while piece := await reader.read(READ):
                came += piece
    except TimeoutError:
        return bytes(came), False
    except ConnectionError:
        pass
    return bytes(came), True


async def send(writer, data):
    """Sends what is taken; False once the server has hung up."""
    try:
        writer.write(data)
        await writer.drain()
    except ConnectionError:
        return False
    return True


async def exchange(address, data, seconds=10):
    """Sends all of `data` on a connection of its own, then as `until_closed`."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        sending = asyncio.create_task(send(writer, data))
        came = await until_closed(reader, seconds)
        sending.cancel()
        return came
    finally:
        writer.transport.abort()


def statuses(came):
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", came)]


def count(things):
    return ", ".join(f"{number:,} × {thing}" for thing, number in sorted(collections.Counter(things).items()))


async def half_sent_heads(server, wrong):
    """Thousands that never finish their head: closed after 5 s, whether others are there or not."""

    async def one():
        reader, writer = await asyncio.open_connection(*server.public)
        began = time.monotonic()
        try:
            await send(writer, b"GET /token HTTP/1.1\r\nHost:")
            # As long again, for the noise of a busy machine.
            came, closed = await until_closed(reader, 10)
            return closed and not came, time.monotonic() - began
        finally:
            writer.transport.abort()

    ended = await asyncio.gather(*(one() for _ in range(HEADS)))
    if left := sum(not closed for closed, _ in ended):
        wrong.append(f"{left} half-sent heads were not closed, or answered")
    times = sorted(took for _, took in ended)
    return f"{len(ended) - left:,} of {len(ended):,} closed after {times[0]:.1f} to {times[-1]:.1f} s"


async def slow_bodies(server, wrong):
    """200 bodies of which a byte comes each second: 408 after 10 s, or closed."""

    async def one():
        reader, writer = await asyncio.open_connection(*server.public)

        async def drip():
            head = "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
            going = await send(writer, head.encode())
            while going:
                await asyncio.sleep(1)
                going = await send(writer, b" ")

        dripping = asyncio.create_task(drip())
        try:
            # 10 s, 2 more in which the rest may come, and some for noise.
            came, closed = await until_closed(reader, 20)
        finally:
            dripping.cancel()
            writer.transport.abort()
        return "not closed" if not closed else " ".join(map(str, statuses(came))) or "closed"

    seen = await asyncio.gather(*(one() for _ in range(200)))
    if set(seen) - {"408", "closed"}:
        wrong.append("a slow body ended otherwise")
    return count(seen)


async def bodies_in_pieces(server, wrong):
    """20 bodies of 30,000 bytes, each byte in a packet of its own: what was read is not kept in pieces."""
    length = 30_000
    head = f"POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"

    async def one():
        reader, writer = await asyncio.open_connection(*server.public)
        # From the first on: what came before a connection broke is lost to who reads afterwards.
        answer = asyncio.create_task(reader.read(READ))
        try:
            going = await send(writer, head.encode())
            for _ in range(length):
                going = going and await send(writer, b" ")
                # One write, one packet: asyncio sets TCP_NODELAY.
                await asyncio.sleep(0)
            return statuses(await answer)
        finally:
            answer.cancel()
            writer.transport.abort()

    seen = await asyncio.gather(*(one() for _ in range(20)))
    # Blanks are no object; on a slow machine the time for a body may be over before.
    if not {tuple(statuses) for statuses in seen} <= {(400,), (408,)}:
        wrong.append("a body in pieces ended otherwise")
    return count(" ".join(map(str, statuses)) for statuses in seen)


async def beyond_the_limit(server, wrong):
    """150 connections that begin HTTP/2 and ask nothing, where 50 are allowed: who comes now displaces one."""
    silent = [await asyncio.open_connection(*server.public) for _ in range(150)]
    took = []
    try:
        for _, writer in silent:
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        await asyncio.sleep(0.5)
        for address in "127.0.0.2", "127.0.0.1":
            began = time.monotonic()
            reader, writer = await asyncio.open_connection(*server.public, local_addr=(address, 0))
            await send(writer, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer, _ = await until_closed(reader, 3)
            took.append(time.monotonic() - began)
            writer.transport.abort()
            if statuses(answer) != [200]:
                wrong.append(f"from {address}, who came then was not served")
    finally:
        for _, other in silent:
            other.transport.abort()
    return f"150 silent; who came then had an answer after {took[0]:.2f} s, from the same address {took[1]:.2f} s"


async def few_files(server, wrong):
    """300 silent connections, and files for 50: accepting fails, and must not spin; those who leave make room."""
    silent = [await asyncio.open_connection(*server.public) for _ in range(300)]
    try:
        await asyncio.sleep(0.5)
        began, cpu = time.monotonic(), server.cpu()
        await asyncio.sleep(3)
        busy = (server.cpu() - cpu) / (time.monotonic() - began)
    finally:
        for _, other in silent:
            other.transport.abort()
    left = time.monotonic()
    while (took := time.monotonic() - left) < 10:
        try:
            if (await asyncio.to_thread(server.token))[0] == 200:
                break
        except OSError:
            await asyncio.sleep(0.02)
    else:
        wrong.append("nobody new was served for 10 s after the others left")
    if b"cannot accept a connection" not in server.log.read_bytes():
        wrong.append("accepting never failed: nothing was tried")
    return f"{busy:.1%} of a processor meanwhile; served {took:.2f} s after the others left"


async def flood(server, connections, seconds, opening, pieces):
    """On each of some connections, for so long, `opening` and then `pieces()` without end; a new one wherever the
    server ends it. What was said on each that ended, and how many bytes were written. Where the server hangs up on
    what is still being sent, its GOAWAY may be lost: that is `closed`."""
    said, sent = [], 0
    until = time.monotonic() + seconds

    async def one():
        nonlocal sent
        while time.monotonic() < until:
            reader, writer = await asyncio.open_connection(*server.public)
            listening = asyncio.create_task(until_closed(reader, seconds + 5))
            try:
                await send(writer, opening)
                for piece in pieces():
                    if listening.done() or time.monotonic() > until or not await send(writer, piece):
                        break
                    sent += len(piece)
                    # Or a loop that never has to wait would keep the others from running.
                    await asyncio.sleep(0)
                if time.monotonic() <= until:
                    said.append(http2.goodbye((await listening)[0]) or "closed")
            finally:
                listening.cancel()
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(connections)))
    return said, sent


async def rapid_reset(server, wrong):
    """Requests that are taken back at once, as fast as they can be written (CVE-2023-44487)."""
    request = http2.fields(b"GET", b"/healthz")

    def resets(first, number):
        return b"".join(
            http2.frame(http2.HEADERS, stream, request, http2.END_STREAM | http2.END_HEADERS)
            + http2.frame(http2.RST_STREAM, stream, http2.CANCEL)
            for stream in range(first, first + 2 * number, 2)
        )

    def pieces():
        for first in itertools.count(1, 200):
            yield resets(first, 100)

    few, _ = await exchange(server.public, http2.START + resets(1, 40), 3)
    if http2.goodbye(few) != "ENHANCE_YOUR_CALM":
        wrong.append("40 requests that are taken back at once do not end their connection")
    said, sent = await flood(server, 10, 3, http2.START, pieces)
    if not said:
        wrong.append("no connection was ended for its resets")
    return f"{sent >> 20} MiB written; ended: {count(said)}"


async def endless_fields(server, wrong):
    """A head that never ends, in CONTINUATION frames (VU#421644)."""
    part = b"".join(http2.literal(b"x-%d" % number, b"a" * 100) for number in range(100))

    def pieces():
        yield http2.frame(http2.HEADERS, 1, http2.fields(b"GET", b"/healthz"))
        while True:
            yield http2.frame(http2.CONTINUATION, 1, part)

    said, sent = await flood(server, 10, 3, http2.START, pieces)
    if not said or set(said) - {"ENHANCE_YOUR_CALM", "closed"}:
        wrong.append("no connection was ended for its endless head")
    return f"{sent >> 20} MiB written; ended: {count(said)}"


async def empty_data(server, wrong):
    """A body of empty DATA frames without end (CVE-2019-9518)."""
    json_type = (b"content-type", b"application/json")
    some = http2.frame(http2.DATA, 1) * 1_000

    def pieces():
        yield http2.frame(http2.HEADERS, 1, http2.fields(b"POST", b"/token", json_type), http2.END_HEADERS)
        yield from itertools.repeat(some)

    said, sent = await flood(server, 10, 3, http2.START, pieces)
    if not said:
        wrong.append("no connection was ended for its empty frames")
    return f"{sent // 9:,} frames written; ended: {count(said)}"


async def frames_of_nothing(server, wrong):
    """Frames that belong to no request, of every kind, without end; or a request for so many of them that they may go on,
    on two thirds of the connections."""
    kinds = (
        http2.frame(http2.PRIORITY, 1, bytes(5)),
        http2.frame(http2.SETTINGS),
        http2.frame(http2.PING, payload=bytes(8)),
        http2.frame(http2.WINDOW_UPDATE, payload=bytes([0, 0, 0, 1])),
        http2.frame(0x42, payload=bytes(8)),
    )
    # As many bytes as a request allows.
    some = [kind * ((128 << 10) // len(kind)) for kind in kinds]
    for kind in some:
        if not (await exchange(server.public, http2.START + kind * 80, 5))[1]:
            wrong.append(f"10 MiB of frames of kind {kind[3]} do not end their connection")
    numbers = itertools.count()

    def pieces():
        asks = next(numbers) % 3 > 0
        for stream, kind in zip(itertools.count(3, 2), itertools.cycle(some)):
            yield kind
            if asks:
                yield heads(1, b"GET", b"/healthz", http2.END_HEADERS | http2.END_STREAM, stream)

    said, sent = await flood(server, 16, 4, http2.START, pieces)
    if not said:
        wrong.append("no connection was ended for its frames")
    return f"{sent >> 20} MiB written; ended: {count(said)}"


async def spoofed_addresses(server, wrong):
    """Wrong secrets by the ten thousand, each from another address, as a proxy would say it: none is known from before, and the
    table of failures has its size."""
    connections, together = 6, 50
    rounds = ADDRESSES // (connections * together)
    guess = basic("first", "lps_" + "A" * 43)
    numbers = itertools.count(1)

    def request():
        number = next(numbers)
        # Of IPv6 a /64 is one caller.
        high, low = divmod(number, 1 << 16)
        address = f"2001:db8:{high:x}:{low:x}::1" if number % 2 else f"10.{high}.{low >> 8}.{low & 255}"
        fields = f"Host: a\r\nAuthorization: {guess}\r\nX-Forwarded-For: {address}\r\n"
        return f"POST /token HTTP/1.1\r\n{fields}\r\n".encode()

    async def one():
        seen = []
        reader, writer = await asyncio.open_connection(*server.public)
        try:
            for _ in range(rounds):
                await send(writer, b"".join(request() for _ in range(together)))
                for _ in range(together):
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
                    seen += statuses(head)
        finally:
            writer.transport.abort()
        return seen

    seen = list(itertools.chain(*await asyncio.gather(*(one() for _ in range(connections)))))
    if set(seen) != {401} or len(seen) != connections * together * rounds:
        wrong.append("not every wrong secret got 401")
    return count(seen)


async def huge_heads(server, wrong):
    """Heads over every limit, again and again: 414 and 431, and none is read to its end (contract §1.4)."""
    head = "GET /{}healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n"
    long = "X-Long: " + "a" * 1_000 + "\r\n"
    kinds = {  # what is sent, the status, and the error's name; the parser's own refusals have no body
        "target of 9 KB": (head.format("a" * 9_000, ""), 414, "UriTooLong"),
        "fields of 17 KB": (head.format("", long * 17), 431, "HeadersTooLarge"),
        "200 fields": (head.format("", "X: 1\r\n" * 200), 431, None),
        "head of 100 KB": (head.format("", "X-Long: " + "a" * 100_000 + "\r\n"), 431, None),
    }
    until = time.monotonic() + 3
    seen = collections.Counter()

    async def one(kind, text, status, name):
        while time.monotonic() < until:
            came, closed = await exchange(server.public, text.encode())
            got, body = statuses(came), came.partition(b"\r\n\r\n")[2]
            # A parser that hangs up on what is still being sent may lose its answer.
            right = got == [status] or (name is None and not came)
            if not (closed and right and (json.loads(body)["name"] == name if name else not body)):
                wrong.append(f"{kind}: {got}, {'closed' if closed else 'open'}, {body[:200]!r}")
                return
            seen[f"{kind}: {got or 'closed'}"] += 1

    await asyncio.gather(*(one(kind, *kinds[kind]) for kind in kinds for _ in range(5)))
    return count(seen.elements())


# Messages of which two readers could disagree where they end, and what might then be another request.
HIDDEN = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
AMBIGUOUS = {
    "length, then chunked": ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "chunked, then length": ("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\n"),
    "length of all, chunked": (f"Content-Length: {5 + len(HIDDEN)}\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "two lengths": ("Content-Length: 0\r\nContent-Length: 5\r\n", ""),
    "two lengths in one": ("Content-Length: 0, 5\r\n", ""),
    "a signed length": ("Content-Length: +0\r\n", ""),
    "a folded line": ("Content-Length: 0\r\nX: a\r\n Transfer-Encoding: chunked\r\n", ""),
    "a folded coding": ("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
    "a length behind a bare LF": ("Transfer-Encoding: chunked\r\nX: a\nContent-Length: 6\r\n", "0\r\n\r\n"),
    "a coding behind a bare LF": ("Content-Length: 6\r\nX: a\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "a coding behind a bare CR": ("Content-Length: 0\r\nX: a\rTransfer-Encoding: chunked\r\n", ""),
    "chunked, identity": ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
    "identity": ("Transfer-Encoding: identity\r\n", ""),
    "xchunked": ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
    "gzip, chunked": ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
    "chunked twice": ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "a blank before the colon": ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
    "a size with a sign": ("Transfer-Encoding: chunked\r\n", "+0\r\n\r\n"),
    "a size with 0x": ("Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n"),
    "a chunk that ends with LF": ("Transfer-Encoding: chunked\r\n", "2\r\n{}\n0\r\n\r\n"),
    "a chunk longer than its size": ("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n"),
}


async def smuggling(server, wrong):
    """A message that two readers could end at different places is answered at most once, and nothing behind it is taken
    for a request: the server itself counts those."""
    head = "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

    async def answered(framing, body, seconds):
        """The answers, and whether it was closed."""
        came, closed = await exchange(server.public, f"{head}{framing}\r\n{body}{HIDDEN}".encode(), seconds)
        return statuses(came), closed

    # Where the end is beyond doubt, the second request is one, and is seen.
    plain, hidden = await answered("Content-Length: 0\r\n", "", 1), 'route="other"'
    if plain != ([401, 404], False) or server.requests(hidden) != 1:
        wrong.append(f"two requests in a row: {plain}")
    ended = await asyncio.gather(*(answered(*message, 5) for message in AMBIGUOUS.values()))
    for kind, (got, closed) in zip(AMBIGUOUS, ended):
        if len(got) > 1 or not closed:
            wrong.append(f"{kind}: {got}, {'closed' if closed else 'open'}")
    if reached := server.requests(hidden) - 1:
        wrong.append(f"{reached} hidden requests were counted")
    return f"{len(ended)} pairs: {count(' '.join(map(str, got)) or 'closed' for got, _ in ended)}"


def clock_of(folder):
    """The environment in which a file says by how many seconds the clock is wrong."""
    try:
        preload = subprocess.check_output(["faketime", "-f", "+0s", "printenv", "LD_PRELOAD"], text=True).strip()
    except FileNotFoundError:
        raise Skipped("no faketime") from None
    set_clock(folder, 0)
    return {
        "LD_PRELOAD": preload,
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        # No clock of a machine that is set moves this one.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(folder, seconds):
    aside = folder / ".clock"
    aside.write_text(f"{seconds:+}\n")
    aside.rename(folder / "clock")


async def jumping_clock(server, wrong):
    """The machine's clock is set back and forth, to before 1970 and 100 years ahead: no key signs before its instant,
    and a token from now is good at no other time; once the clock is right, all is as before."""
    folder, year = server.log.parent.parent, 365 * 86_400
    bearer = f"Bearer {json.loads(server.token()[1])['value']}"

    def both():
        return server.token()[0], server.ask("GET", "/token", Authorization=bearer)[0]

    seen = [both()]
    for seconds in (3_600, -3_600, -int(time.time()) - 86_400, 100 * year, 0):
        set_clock(folder, seconds)
        await asyncio.sleep(1)
        seen.append(both())
    # The key is dated five minutes back; a token lasts for ten.
    right = [(200, 200), (200, 401), (503, 401), (503, 401), (200, 401), (200, 200)]
    if seen != right:
        wrong.append(f"issued and checked: {seen}, not {right}")
    return f"issued/checked, right, +1 h, -1 h, 1969, +100 y, right: {', '.join(f'{a}/{b}' for a, b in seen)}"


async def full_disk(server, wrong):
    """The log goes where nothing can be written: requests are answered all the same, and lost lines are counted."""
    answers = [server.token()[0] for _ in range(300)]
    if set(answers) != {200}:
        wrong.append("not every request was answered")
    lost = server.metric("lingpai_log_lines_dropped")
    if not 300 <= lost <= 2_000:
        wrong.append(f"{lost} lost lines were counted")
    return f"{count(answers)}; {lost} lines of the log lost and counted"


async def many(server, number, opening, asks=None):
    """So many connections on which `opening` was sent and, with `asks`, answered."""

    async def one():
        reader, writer = await asyncio.open_connection(*server.public)
        await send(writer, opening)
        if asks:
            try:
                await asyncio.wait_for(reader.readuntil(asks), 10)
            except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
                pass
        return reader, writer

    opened = []
    for first in range(0, number, 100):
        opened += await asyncio.gather(*(one() for _ in range(first, min(number, first + 100))))
    return opened


def leave(connections):
    for _, writer in connections:
        writer.transport.abort()


def resets(came):
    """Of HTTP/2, how many streams the server has reset."""
    return sum(kind == http2.RST_STREAM for kind, _ in http2.frames(came))


def heads(number, method, path, flags, first=1):
    """So many requests of HTTP/2, on streams from `first` on."""
    json_type = (b"content-type", b"application/json")
    fields = http2.fields(method, path, *([json_type] if method == b"POST" else []))
    return b"".join(http2.frame(http2.HEADERS, first + 2 * at, fields, flags) for at in range(number))


async def unfinished_streams(server, wrong):
    """100 requests whose bodies never come, on each of 200 connections of HTTP/2."""
    opening = http2.START + heads(100, b"POST", b"/token", http2.END_HEADERS)
    opened = await many(server, 200, opening)
    try:
        await asyncio.sleep(1)
        refused = sum([resets((await until_closed(reader, 0.1))[0]) for reader, _ in opened])
    finally:
        leave(opened)
    if not refused:
        wrong.append("no stream was refused")
    return f"20,000 streams, {refused:,} refused"


async def unfinished_heads(server, wrong):
    """12 KB of a head of HTTP/2 that does not end, on each of 900 connections."""
    more = [(f"x{number}".encode(), b"a" * 100) for number in range(115)]
    part = http2.fields(b"GET", b"/healthz", *more)[:11_800]
    opened = await many(server, 900, http2.START + http2.frame(http2.HEADERS, 1, part))
    try:
        await asyncio.sleep(2)
        said = [(await until_closed(reader, 0.01))[0] for reader, _ in opened[::9]]
        if ended := sum(http2.goodbye(came) is not None for came in said):
            wrong.append(f"{ended} of 100 were ended: nothing was tried")
    finally:
        leave(opened)
    return "900 heads"


async def windows_of_nothing(server, wrong):
    """100 requests on each of 100 connections of HTTP/2 whose answers may not be sent, though PINGs are answered: each
    stream ends. (The minute that it takes is tried in full; src/server tries it in no time.)"""
    nothing = http2.frame(http2.SETTINGS, payload=struct.pack("!HI", 0x4, 0))
    opening = http2.PREFACE + nothing + heads(100, b"GET", b"/healthz", http2.END_HEADERS | http2.END_STREAM)
    opened, ended = [], 0
    try:
        opened = await many(server, 100, opening)
        until = time.monotonic() + (100 if FULL else 2)

        async def one(reader, writer):
            nonlocal ended
            came = b""
            while time.monotonic() < until and ended < 10_000:
                try:
                    piece = await asyncio.wait_for(reader.read(READ), 1)
                except TimeoutError:
                    continue
                except ConnectionError:
                    piece = b""
                if not piece:
                    ended += 100
                    return
                for kind, payload in http2.frames(piece):
                    if kind == http2.PING:
                        await send(writer, http2.frame(http2.PING, payload=payload, flags=1))
                came += piece
                ended += resets(piece)

        await asyncio.gather(*(one(*connection) for connection in opened))
    finally:
        leave(opened)
    if FULL and ended < 10_000:
        wrong.append(f"{10_000 - ended} streams never ended")
    return f"10,000 streams, {ended:,} ended"


async def most_queued(server, wrong, abusing):
    """What `abusing` says, and the most MiB that the kernel holds meanwhile."""
    abusing, most = asyncio.create_task(abusing), 0
    while not abusing.done():
        most = max(most, server.queued())
        await asyncio.wait({abusing}, timeout=0.2)
    if most > BOUND:
        wrong.append(f"{most:.0f} MiB in the kernel")
    if most < 1:
        wrong.append("hardly anything waited in the kernel: nothing was tried")
    return f"{await abusing}, at most {most:.0f} MiB in the kernel"


async def unread_answers(server, wrong):
    """500 connections that ask for the document again and again, and read nothing."""

    async def silence():
        opened = await many(server, 500, b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
        try:
            await asyncio.sleep(3)
        finally:
            leave(opened)
        return f"{len(opened)} that read nothing"

    return await most_queued(server, wrong, silence())


async def sent_ahead(server, wrong):
    """Bad tokens as fast as the kernel takes them, on all the connections that there may be."""
    return await most_queued(server, wrong, flooded(FLOODS["bad tokens"], 64)(server, wrong))


async def idle_connections(server, wrong):
    """3,000 connections (10,000 in full) that have had an answer and ask for nothing more: new ones displace the longest idle."""
    ask = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    opened = await many(server, IDLE, ask, asks=b'{"status":"ok"}')
    try:
        # A look for room is followed by a pause, in which an address with many connections gets no other.
        await asyncio.sleep(0.5)
        status, _ = await asyncio.to_thread(server.ask, "GET", "/healthz")
        if status != 200:
            wrong.append(f"who came then got {status}")
    finally:
        leave(opened)
    answered = sum(not reader.at_eof() for reader, _ in opened)
    return f"{IDLE:,} came, {answered:,} are left"


async def large_heads(server, wrong):
    """60,000 bytes of a head that does not end, on each of 2,000 connections."""
    opening = b"GET /token HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 60_000
    opened = await many(server, 2_000, opening)
    try:
        await asyncio.sleep(2)
    finally:
        leave(opened)
    return f"2,000 heads, {sum(reader.at_eof() for reader, _ in opened):,} closed at once"


async def large_bodies(server, wrong):
    """64,000 bytes of a body of 64 KiB, on each of 2,000 connections."""
    head = b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 65536\r\n\r\n"
    opened = await many(server, 2_000, head + b" " * 64_000)
    try:
        await asyncio.sleep(2)
    finally:
        leave(opened)
    return f"2,000 bodies, {sum(reader.at_eof() for reader, _ in opened):,} refused"


async def greedy_slots(server, wrong):
    """50 connections are allowed, and one address keeps 60 that are idle: who comes is answered at once."""
    ask = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    opened = await many(server, 60, ask, asks=b'{"status":"ok"}')
    try:
        early = [await asyncio.to_thread(server.ask, "GET", "/healthz") for _ in range(20)]
        if {status for status, _ in early} != {200}:
            wrong.append("who came while all places were idle was not answered")
    finally:
        leave(opened)
    return f"{len(early)} answered beside {len(opened)} idle"


async def share_of_an_address(server, wrong):
    """20 connections of one address are allowed: a 21st that is idle displaces one, a silent one is closed."""
    silent = await many(server, 40, b"")
    try:
        await asyncio.sleep(1)
        left = sum(not reader.at_eof() for reader, _ in silent)
        if left > 20:
            wrong.append(f"{left} connections of one address")
    finally:
        leave(silent)
    return f"40 came, {left} were left"


async def slow_readers(server, wrong):
    """600 bytes of an answer are read every 0.4 s: the server hangs up within two minutes."""
    ask = b"GET /docs HTTP/1.1\r\nHost: a\r\n\r\n"
    began = time.monotonic()

    def one():
        import socket

        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            connection.settimeout(10)
            connection.connect(server.public)
            # More than the kernel holds.
            connection.sendall(ask * 20)
            while time.monotonic() < began + 120:
                time.sleep(0.4)
                try:
                    if not connection.recv(600):
                        return True
                except OSError:
                    return True
        return False

    if not FULL:
        raise Skipped("it takes two minutes; ABUSE_FULL=1 tries it")
    if not all(await asyncio.gather(*(asyncio.to_thread(one) for _ in range(5)))):
        wrong.append("a slow reader kept its place for two minutes")
    return f"ended after {time.monotonic() - began:.0f} s"


def flooded(request, addresses, connections=2_000, rate=None):
    """A case in which connections pipeline `request(server)` without end; with a `rate`, so many are sent a second, and
    each connection waits for its answer."""

    async def abuse(server, wrong):
        file = server.log.parent / "request"
        file.write_bytes(request(server).encode())
        command = [sys.executable, "-B", HERE / "flood.py", *server.public, connections, addresses, file]
        command = [*map(str, command), *([str(rate)] if rate else [])]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            await asyncio.sleep(FLOOD)
            # Probes of the operator are answered.
            probed = {(await asyncio.to_thread(server.ask, "GET", "/healthz", address=server.ops))[0] for _ in range(3)}
            if probed != {200}:
                wrong.append(f"the operator's probes got {probed}")
        finally:
            process.terminate()
            said = process.communicate()[0]
        seen = json.loads(said)
        seconds = seen.pop("seconds")
        if sum(seen.values()) < 500:
            wrong.append("it was no flood")
        return ", ".join(f"{number / seconds:,.0f} × {what}" for what, number in sorted(seen.items())) + " a second"

    return abuse


# For 2,000 connections and some; without a limit on failures, every secret is looked at.
ROOM = "[limits]\nconnections = 3000\nfailures = 0"
FLOOD = 30 if FULL else 4
ISSUER = Issuer()
FLOODS = {
    "healthz": lambda server: "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "keys": lambda server: "GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n",
    "new connections": lambda server: "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "options": lambda server: "OPTIONS /token HTTP/1.1\r\nHost: a\r\n\r\n",
    "bad tokens": lambda server: f"GET /token HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {forged(server)}\r\n\r\n",
    "bad secrets": lambda server: (
        f"POST /token HTTP/1.1\r\nHost: a\r\nAuthorization: {basic('first', 'lps_' + 'A' * 43)}\r\n\r\n"
    ),
}


def unknown_kids(addresses, **how):
    """A case in which tokens name keys that the issuer does not have: it is asked for its keys at most once in 30 seconds."""

    async def abuse(server, wrong):
        before, began = ISSUER.fetches, time.monotonic()
        # While there are no keys, requests wait for them, and those that find no place to wait are 503.
        await asyncio.to_thread(server.send, ISSUER.unknown_kid())
        said = await flooded(lambda _: ISSUER.unknown_kids(), addresses, **how)(server, wrong)
        fetches = ISSUER.fetches - before
        if not 1 <= fetches <= 1 + (time.monotonic() - began) // 29:
            wrong.append(f"the issuer was asked {fetches} times")
        return f"{said}, {fetches} fetches"

    return abuse


def forged(server):
    """A token of which all but the signature is right: what costs most to refuse."""
    token = json.loads(server.token()[1])["value"]
    head, claims, signature = token.split(".")
    # Not at its ends: r and s stay in their range, and what is left over of base64 stays zero.
    at = len(signature) // 4
    return ".".join((head, claims, signature[:at] + ("A" if signature[at] != "A" else "B") + signature[at + 1 :]))


CASES = [
    Case("half-sent heads", half_sent_heads, HEADS // 20 + 50, last=f"[limits]\nconnections = {HEADS + 2_000}"),
    Case("slow bodies", slow_bodies, 60, calm=True),
    Case("bodies in pieces", bodies_in_pieces, 50),
    Case("beyond the limit", beyond_the_limit, 50, last="[limits]\nconnections = 50", calm=True),
    Case("few files", few_files, 50, last="[limits]\nconnections = 1000", files=64, calm=True),
    Case("rapid reset", rapid_reset, 50),
    Case("endless fields", endless_fields, 50),
    Case("empty data", empty_data, 50),
    Case("frames of nothing", frames_of_nothing, 50),
    Case("spoofed addresses", spoofed_addresses, 50, first='trusted_proxies = ["127.0.0.1"]'),
    Case("huge heads", huge_heads, 50),
    Case("smuggling", smuggling, 50, calm=True),
    Case("full disk", full_disk, 50, log="/dev/full", calm=True),
    Case("jumping clock", jumping_clock, 50, good=("200", "503"), environment=clock_of, calm=True),
    Case("unfinished streams", unfinished_streams, BOUND, last=MEMORY, calm=True),
    Case("unfinished heads", unfinished_heads, BOUND, last=MEMORY),
    Case("no window", windows_of_nothing, BOUND, last=MEMORY, calm=True),
    Case("idle connections", idle_connections, BOUND, last=MEMORY),
    Case("large heads", large_heads, BOUND, last=MEMORY),
    Case("large bodies", large_bodies, BOUND, last=MEMORY),
    Case("sent ahead", sent_ahead, BOUND, last=MEMORY),
    Case("unread answers", unread_answers, BOUND, last=MEMORY),
    Case("greedy slots", greedy_slots, 50, last="[limits]\nconnections = 50", calm=True),
    Case("one address", share_of_an_address, 50, last="[limits]\nconnections_per_address = 20", calm=True),
    Case("slow readers", slow_readers, 50, calm=True),
    *(
        Case(f"{kind} from {addresses}", flooded(request, addresses), 110, last=ROOM, judged=True)
        for kind, request in FLOODS.items()
        for addresses in (1, 64)
    ),
    *(
        Case(name, abuse, 110, last=f"{ROOM}\n{ISSUER.written()}", judged=True)
        for name, abuse in {
            "unknown kids from 1": unknown_kids(1),
            "unknown kids from 64": unknown_kids(64),
            "10,000 kids a second": unknown_kids(1, connections=100, rate=10_000),
        }.items()
    ),
]
