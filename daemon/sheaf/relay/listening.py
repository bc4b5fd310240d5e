"""Where a relay listens: reading HOST:PORT, binding it, and the certificate if there is one."""

from __future__ import annotations

import errno
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from pathlib import Path
from typing import Final

from sheaf.core.base.errors import TransportFailure, UsageError
from sheaf.core.base.limits import KIB

READ_BYTES_MAX: Final = 8 * KIB
"""What one read brings at most, and is parsed before others have their turn."""
SEND_BYTES: Final = 128 * KIB
"""What the kernel may hold for one client (it takes this twice): left alone, megabytes."""
BACKLOG: Final = 1024
"""Connections the kernel completes before we accept them: everybody comes at once after a restart."""
_BIND_TRIES: Final = 8
WILDCARDS: Final = ("", "0.0.0.0", "::", "*")


def parse_listen(text: str) -> tuple[str, int]:
    """(host, port) of `HOST:PORT`, `[v6]:PORT` or `:PORT`. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise UsageError(
            f"--listen takes HOST:PORT, for example 127.0.0.1:7412; this is no such thing: {text}"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def bind_tcp(host: str, port: int) -> list[socket.socket]:
    """Listening sockets of one port: both families for a wildcard, else what `host` names.

    Raises:
        TransportFailure: the address cannot be had, with the reason in words.
    """
    try:
        return _bind(host, port, socket.SOCK_STREAM)
    except OSError as error:
        raise TransportFailure(
            f"cannot listen on {host or '0.0.0.0'}:{port}: {error.strerror or error}. "
            "Choose another with --listen HOST:PORT"
        ) from error


def bind_udp(host: str, port: int) -> list[socket.socket]:
    """The same for datagrams. Raises OSError."""
    return _bind(host, port, socket.SOCK_DGRAM)


def shown(host: str, port: int) -> str:
    """host:port as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate chain. Raises UsageError."""
    _shrink_tls_buffers()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """(Re)load the files; connections made from now on use them. Raises UsageError."""
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise UsageError(
            f"The certificate {certificate} with the key {key} cannot be used: {error}"
        ) from error


def _shrink_tls_buffers() -> None:
    """asyncio gives each TLS connection 256 KiB to read into, which an idle one keeps (*measured*: 292 KiB
    per connection, 43 with this). There is no parameter for it; this process serves nothing else."""
    if hasattr(SSLProtocol, "max_size"):
        SSLProtocol.max_size = READ_BYTES_MAX


def _no_password() -> str:
    raise ValueError("the key asks for a password; a server needs one without")


def _bind(host: str, port: int, kind: socket.SocketKind) -> list[socket.socket]:
    if host not in WILDCARDS:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
        return [_bound(family, address, kind)]
    for _ in range(_BIND_TRIES):
        four = _bound(socket.AF_INET, ("0.0.0.0", port), kind)
        chosen = four.getsockname()[1]
        try:
            return [four, _bound(socket.AF_INET6, ("::", chosen), kind)]
        except OSError as error:
            if port != 0 or error.errno != errno.EADDRINUSE:
                return [four]  # no IPv6 here, or somebody else has that half of a fixed port
            four.close()
    return [_bound(socket.AF_INET, ("0.0.0.0", port), kind)]


def _bound(family: socket.AddressFamily, address: object, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(family, kind)
    try:
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what is accepted
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        if kind is socket.SOCK_STREAM:
            made.listen(BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made
