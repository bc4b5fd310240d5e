"""How a relay is named: `wss://host[:port][/path]`, with the operator's token in front of an @ (PROTOCOL §7).

The text without the token is public: it stands in tickets and in a space's preferences, and one relay has
one such text. The token is the daemon's alone. Knows no sockets and looks nothing up.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from sheaf.core.base.errors import WireError
from sheaf.core.wire.relay_words import OPERATOR_TOKEN_BYTES_MAX

CHARS_MAX: Final = 200
"""Of the public text: what fits into a ticket."""
SOCKET_PATH: Final = "/sheaf"
"""What every relay and listener answers at; a relay behind a proxy may have a path before it."""

_TEXT: Final = re.compile(r"(wss?)://(?:([^@/]*)@)?(\[[0-9A-Fa-f:.]+\]|[^@/:\[\]]+)(?::([0-9]{1,5}))?(/.*)?")
_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


def is_relay_address(address: str) -> bool:
    """Whether an address of the signalling port is a relay and not a listener's host:port."""
    return address.startswith(("ws://", "wss://"))


@dataclass(frozen=True, slots=True)
class RelayUrl:
    """One relay. `host` is a name or a literal address, without brackets."""

    scheme: str
    host: str
    port: int
    path: str = ""
    token: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> RelayUrl:
        """Read what a person, a ticket or an owner of a space gave.

        Raises:
            WireError: not the address of a relay; fit to show, and without the token.
        """
        cleaned = text.strip()
        found = _TEXT.fullmatch(cleaned) if cleaned.isascii() and cleaned.isprintable() else None
        if found is None:
            raise WireError("A relay's address looks like wss://relay.example.org or ws://192.168.1.7:7412.")
        scheme, secret, host, port, path = found.groups()
        url = cls(
            scheme=scheme,
            host=_host(host),
            port=_port(port, scheme),
            path=_path(path or ""),
            token=None if secret is None else _token(secret),
        )
        if len(url.text) > CHARS_MAX:
            raise WireError(f"The address of a relay has at most {CHARS_MAX} characters.")
        return url

    @property
    def text(self) -> str:
        """The public name, without the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def is_encrypted(self) -> bool:
        """TLS to the relay: hides from the network who talks to which relay about which mailbox."""
        return self.scheme == "wss"

    @property
    def socket_path(self) -> str:
        """What to ask of the web server at `host`."""
        return self.path + SOCKET_PATH


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise WireError("The address of this relay has no IPv6 address between its brackets.") from None
    name = text.lower().rstrip(".")
    if not _NAME.fullmatch(name):
        raise WireError("The address of this relay has no host name after the //.")
    return name


def _port(text: str | None, scheme: str) -> int:
    port = _DEFAULT_PORTS[scheme] if text is None else int(text)
    if not 1 <= port <= 65_535:
        raise WireError("The port in the address of this relay is not between 1 and 65535.")
    return port


def _path(text: str) -> str:
    path = text.rstrip("/").removesuffix(SOCKET_PATH)
    if not _PATH.fullmatch(path) or any(part in (".", "..") for part in path.split("/")):
        raise WireError("The path in the address of this relay has characters that do not belong there.")
    return path


def _token(secret: str) -> bytes:
    token = unquote(secret).encode("utf-8", "surrogateescape")
    if not 1 <= len(token) <= OPERATOR_TOKEN_BYTES_MAX:
        raise WireError(f"The token before the @ has 1 to {OPERATOR_TOKEN_BYTES_MAX} bytes.")
    return token


def public_relay_url(text: str) -> str:
    """The one public text of a relay's address.

    Raises:
        WireError: not a relay's address, or one with a token in it, which nobody else may get.
    """
    url = RelayUrl.parse(text)
    if url.token is not None:
        raise WireError(
            "This address carries a token, which everybody would get. Leave it out here, and give it to your "
            "own daemon: sheaf up --relay wss://TOKEN@host"
        )
    return url.text
