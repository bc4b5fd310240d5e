"""`nats://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][?shards=N&replicas=N]`, as given to `--store`.

Pure; the scheme may be `tls` for servers that want it. Decision 0052.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from sheaf.core.base.errors import UsageError

SCHEMES: Final = ("nats", "tls")
SHARDS_DEFAULT: Final = 4
SHARDS_MAX: Final = 256
REPLICAS_MAX: Final = 5
_PORT: Final = 4222
_HINT: Final = "write nats://HOST:4222, several hosts with commas, then ?shards=4&replicas=3 if you like"


@dataclass(frozen=True, slots=True)
class NatsAddress:
    """Where NATS is and how mailboxes are spread over it."""

    servers: tuple[str, ...] = field(repr=False)
    """One URL each, with credentials."""
    shown: str
    """host:port of each, without credentials: for logs and messages."""
    shards: int = SHARDS_DEFAULT
    """Streams the mailboxes are spread over; each costs NATS some memory."""
    replicas: int = 1
    """Copies JetStream keeps; more than one needs a NATS cluster."""

    @property
    def is_cluster(self) -> bool:
        """Whether there is more than one NATS server, as far as we were told."""
        return len(self.servers) > 1 or self.replicas > 1


def parse_nats_address(text: str) -> NatsAddress:
    """Read what `--store` was given.

    Raises:
        UsageError: it is none; the text says how to write one, and repeats no password.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise UsageError(f"this is no address of NATS; {_HINT}") from None
    if parts.scheme not in SCHEMES:
        raise UsageError(f"this is no address of NATS; {_HINT}")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    if parts.path not in ("", "/") or parts.fragment:
        raise UsageError(f"nothing follows the hosts of NATS but ?options; {_HINT}")
    targets = [_host_port(host) for host in hosts.split(",")]
    prefix = f"{parts.scheme}://{userinfo}@" if userinfo else f"{parts.scheme}://"
    options = _options(parts.query)
    return NatsAddress(
        servers=tuple(prefix + target for target in targets),
        shown=", ".join(targets),
        shards=_number(options, "shards", SHARDS_DEFAULT, SHARDS_MAX),
        replicas=_number(options, "replicas", 1, REPLICAS_MAX),
    )


def _host_port(text: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.netloc != text:
        raise UsageError(f"NATS is at HOST:PORT; {_HINT}")
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{_PORT if port is None else port}"


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(options) - {"shards", "replicas"}):
        raise UsageError(f"NATS has no option {unknown[0]!r} here; {_HINT}")
    return options


def _number(options: dict[str, str], name: str, default: int, highest: int) -> int:
    text = options.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or not 1 <= int(text) <= highest:
        raise UsageError(f"{name} of NATS is a number from 1 to {highest}; {_HINT}")
    return int(text)
