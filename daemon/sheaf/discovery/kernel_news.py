"""Hears from the kernel when links or addresses change (Linux, rtnetlink(7)).

That something changed, and which addresses were lost meanwhile; the reader looks for itself what there is
now. A laptop carried from one home to another may get the very same address again, and yet
nothing that was open goes on. Where there is no netlink (another system, a sandbox that forbids it) it
stays silent and polling has to do.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final

_RTMGRP_LINK: Final = 0x1
_RTMGRP_IPV4_IFADDR: Final = 0x10
_RTMGRP_IPV6_IFADDR: Final = 0x100
_GROUPS: Final = _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR
_READ_BYTES: Final = 65_536
_RTM_DELADDR: Final = 21
_HEADER: Final = struct.Struct("=IHHII")
"""nlmsghdr: length with header, type, flags, sequence, port."""
_ADDRESS: Final = struct.Struct("=BBBBI")
"""ifaddrmsg: family, prefix length, flags, scope, interface."""
_ATTRIBUTE: Final = struct.Struct("=HH")
"""rtattr: length with these four bytes, type."""
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2


class KernelNews:
    """`changed` is set whenever there is news; the reader clears it."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._lost: set[str] = set()
        self._socket: socket.socket | None = None

    @property
    def is_heard(self) -> bool:
        """Whether the kernel tells us at all."""
        return self._socket is not None

    def take_lost(self) -> frozenset[str]:
        """The addresses that were lost since this was asked last; they may be there again."""
        lost, self._lost = frozenset(self._lost), set()
        return lost

    def start(self) -> None:
        """Begin to listen; never fails."""
        listening = _open()
        if listening is not None:
            self._socket = listening
            asyncio.get_running_loop().add_reader(listening, self._read)

    def close(self) -> None:
        """Stop. Idempotent."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        self.changed.set()
        try:
            while messages := self._socket.recv(_READ_BYTES):
                self._lost.update(lost_addresses(messages))
        except OSError:  # all read; or the kernel dropped some (ENOBUFS), which is news as well
            return


def lost_addresses(messages: bytes) -> Iterator[str]:
    """The addresses that are gone, by a datagram of netlink messages; total (netlink(7), rtnetlink(7))."""
    for kind, body in _messages(messages):
        if kind == _RTM_DELADDR and len(body) >= _ADDRESS.size:
            for attribute, value in _attributes(body[_ADDRESS.size :]):
                if attribute in (_IFA_ADDRESS, _IFA_LOCAL) and len(value) in (4, 16):
                    yield str(ipaddress.ip_address(value))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += length + -length % 4


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += length + -length % 4


def _open() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    except OSError:
        return None
    try:
        made.bind((0, _GROUPS))
    except OSError:
        made.close()
        return None
    return made
