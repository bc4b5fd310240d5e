"""What every listening port meets: scanners, broken-off requests, resets, TLS on a plain port."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Final

from tests.support.raw_websocket import BINARY, CLOSE, TEXT, handshake, masked

Connect = Callable[[], socket.socket]
ANSWER_S: Final = 5.0
CLIENT_HELLO: Final = bytes.fromhex("16030100c8010000c40303") + bytes(200)
_RESET: Final = struct.pack("ii", 1, 0)


def _ask(connect: Connect, *parts: bytes, is_reading: bool = True, is_reset: bool = False) -> bytes:
    """Send `parts`, read until the other side is done or silent, and close (with a reset if asked to)."""
    answer = b""
    with connect() as connection:
        connection.settimeout(ANSWER_S)
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
                if part is not parts[-1]:
                    answer += connection.recv(65536)
            if is_reading:
                connection.shutdown(socket.SHUT_WR)
                while more := connection.recv(65536):
                    answer += more
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return answer


def _head(method: bytes, path: bytes, host: bytes, lines: bytes) -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + lines + b"\r\n"


def make_noise(connect: Connect, *, host: str, path: str, document: str, headers: Mapping[str, str]) -> None:
    """One of each.

    Args:
        connect: opens a connection to the port.
        host: what belongs into Host.
        path: where its WebSocket is.
        document: one that can be written there, if it is a daemon's door.
        headers: what lets somebody in there, if anything does.
    """
    name = host.encode()
    keys = "".join(f"{key}: {value}\r\n" for key, value in headers.items()).encode()
    opening = handshake(path=path.encode(), headers=keys).replace(b"Host: relay", b"Host: " + name)
    put = _head(
        b"PUT", f"/api/v1/documents/{document}/content".encode(), name, keys + b"Content-Length: 9000\r\n"
    )
    chunked = _head(b"POST", b"/api/v1/spaces", name, keys + b"Transfer-Encoding: chunked\r\n")
    for junk in (
        b"",
        b"\x00" * 64,
        b"\xff\xfe\r\n\r\n",
        b"\x05\x01\x00",
        b"SSH-2.0-scanner\r\n",
        b"GET /\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        CLIENT_HELLO,
        _head(b"GET", b"/.env", name, b""),
        _head(b"BREW", b"/", name, b"Content-Length: x\r\n"),
        opening.replace(b"Version: 13", b"Version: 12"),
        opening.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
        opening.replace(b"\r\n\r\n", b"\r\nOrigin: http://other.example\r\n\r\n"),
        opening[:40],
        put + b"x" * 100,
        chunked + b"5\r\nab",
        chunked + b"zz\r\n",
    ):
        for is_reset in (False, True):
            _ask(connect, junk, is_reset=is_reset)
            _ask(connect, junk, is_reading=False, is_reset=is_reset)
    for frames in (
        b"",
        b"\x00" * 64,
        b"\x82\x05hello",
        masked(b"\xff\xff", BINARY),
        masked(b"hello", TEXT),
        masked(b"\xff\xfe", TEXT),
        masked(b"x" * 200, 9),
        masked(b"", 5),
        masked(b"a", CLOSE),
        masked(struct.pack("!H", 1001), CLOSE),
        masked(b"", is_first_reserved_bit_set=True),
        masked(b"y" * 1000)[:300],
        masked(b"z" * 20_000_000)[:14],
    ):
        for is_reset in (False, True):
            _ask(connect, opening, frames, is_reset=is_reset)
            _ask(connect, opening, frames, is_reading=False, is_reset=is_reset)
