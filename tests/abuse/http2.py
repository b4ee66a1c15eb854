"""HTTP/2 frames by hand (RFC 9113), for what no library would send."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY = 0x0, 0x1, 0x2, 0x3, 0x4, 0x6, 0x7
WINDOW_UPDATE, CONTINUATION = 0x8, 0x9
END_STREAM, END_HEADERS = 0x1, 0x4
CANCEL = struct.pack("!I", 0x8)
ERRORS = {0x0: "NO_ERROR", 0x1: "PROTOCOL_ERROR", 0x6: "FRAME_SIZE_ERROR", 0xB: "ENHANCE_YOUR_CALM"}


def frame(kind, stream=0, payload=b"", flags=0):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


START = PREFACE + frame(SETTINGS)


def literal(name, value):
    """A field that enters no table (RFC 7541 §6.2.2), of short parts."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def fields(method, path, *more):
    pseudo = {b":method": method, b":scheme": b"http", b":path": path, b":authority": b"a"}
    return b"".join(literal(name, value) for name, value in [*pseudo.items(), *more])


def frames(came):
    """The kinds and payloads of the whole frames in `came`."""
    while len(came) >= 9 and len(came) >= (end := 9 + int.from_bytes(came[:3])):
        yield came[3], came[9:end]
        came = came[end:]


def goodbye(came):
    """Why the server ended the connection, if it said so."""
    for kind, payload in frames(came):
        if kind == GOAWAY:
            code = int.from_bytes(payload[4:8])
            return ERRORS.get(code, hex(code))
    return None
