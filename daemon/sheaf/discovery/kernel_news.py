"""Hears from the kernel when links or addresses change (Linux, rtnetlink(7)).

Only that something changed, never what: the reader looks for itself. Where there is no
netlink (another system, a sandbox that forbids it) it stays silent and polling has to do.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Final

_RTMGRP_LINK: Final = 0x1
_RTMGRP_IPV4_IFADDR: Final = 0x10
_RTMGRP_IPV6_IFADDR: Final = 0x100
_GROUPS: Final = _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR
_READ_BYTES: Final = 65_536


class KernelNews:
    """`changed` is set whenever there is news; the reader clears it."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._socket: socket.socket | None = None

    @property
    def is_heard(self) -> bool:
        """Whether the kernel tells us at all."""
        return self._socket is not None

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
            while self._socket.recv(_READ_BYTES):
                pass
        except OSError:  # all read; or the kernel dropped some (ENOBUFS), which is news as well
            return


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
