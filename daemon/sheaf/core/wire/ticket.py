"""Tickets: the text that brings somebody into a space (PROTOCOL §8).

`sheaf1` ‖ base32(CBOR ‖ crc32), then optionally `@host:port[,host:port…]` for networks
without multicast. The body carries no address. A ticket is a secret: whoever holds it can
ask to join, so its `repr` hides it. Knows nothing of keys; `core.protocol.pairing` derives them.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import SpaceId, UserId
from sheaf.core.base.limits import INTEGER_MAX
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields, is_printable

TICKET_PREFIX: Final = "sheaf1"
TICKET_VERSION: Final = 1
TICKET_TEXT_MAX: Final = 4096
SECRET_BYTES: Final = 16
RELAYS_MAX: Final = 4
RELAY_URL_CHARS_MAX: Final = 200
NAME_HINT_BYTES_MAX: Final = 96
HOSTS_MAX: Final = 8

_BODY_BYTES_MAX: Final = 1536
_HOST: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.\-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}(?:%[a-z0-9]{1,15})?\]):([0-9]{1,5})"
)
_RELAY: Final = re.compile(r"(?:wss?|https?)://[\x21-\x7e]+")


class TicketKind(IntEnum):
    """What a ticket is for."""

    JOIN = 0
    """Somebody joins a space."""
    DEVICE = 1
    """A person links another device of their own."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """An invitation as it is handed from person to person.

    `secret` is 16 random bytes from which the invitation's keys come; `expires_ms` is a hint
    (wall clock), the issuer decides; `name_hint` is for the join dialog only; `hosts` are
    'host:port' listeners of the issuer, IPv6 in brackets.
    """

    space_id: SpaceId
    secret: bytes = field(repr=False)
    issuer: UserId
    kind: TicketKind = TicketKind.JOIN
    relay_urls: tuple[str, ...] = ()
    expires_ms: int | None = None
    name_hint: str = ""
    hosts: tuple[str, ...] = ()
    version: int = TICKET_VERSION

    def encode(self) -> str:
        """The text to hand over.

        Raises:
            WireError: a field is out of range (an address that is none, a name too long).
        """
        _check(self)
        body: dict[int, object] = {
            0: self.version,
            1: int(self.kind),
            2: bytes(self.space_id),
            3: self.secret,
            7: bytes(self.issuer),
        }
        if self.relay_urls:
            body[4] = list(self.relay_urls)
        if self.expires_ms is not None:
            body[5] = self.expires_ms
        if self.name_hint:
            body[6] = self.name_hint
        raw = cbor.encode(body)
        raw += binascii.crc32(raw).to_bytes(4, "big")
        text = TICKET_PREFIX + base64.b32encode(raw).decode("ascii").rstrip("=").lower()
        return text + ("@" + ",".join(self.hosts) if self.hosts else "")

    @classmethod
    def decode(cls, text: str) -> Ticket:
        """Read a ticket as a person pasted it: a link (what follows `#` counts), any case, spaces
        and line breaks forgiven.

        Raises:
            WireError: not a ticket, damaged, or of a newer version; fit to show.
        """
        if len(text) > TICKET_TEXT_MAX:
            raise WireError("This is too long to be a Sheaf ticket.")
        cleaned = "".join(text.rpartition("#")[2].split()).lower()
        encoded, at, suffix = cleaned.partition("@")
        ticket = _from_body(_body_bytes(encoded), tuple(suffix.split(",")) if at else ())
        _check(ticket)
        return ticket


_KINDS: Final = {int(kind): kind for kind in TicketKind}


def _body_bytes(encoded: str) -> bytes:
    if not encoded.startswith(TICKET_PREFIX):
        raise WireError(f"This is not a Sheaf ticket: tickets start with {TICKET_PREFIX}.")
    letters = encoded[len(TICKET_PREFIX) :].replace("-", "")
    try:
        raw = base64.b32decode(letters.upper() + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError) as error:
        raise WireError("This ticket is damaged: copy it again, whole.") from error
    body, check = raw[:-4], raw[-4:]
    is_canonical = base64.b32encode(raw).decode("ascii").rstrip("=").lower() == letters
    if len(raw) < 5 or not is_canonical or binascii.crc32(body).to_bytes(4, "big") != check:
        raise WireError("This ticket is damaged: copy it again, whole.")
    return body


def _from_body(body: bytes, hosts: tuple[str, ...]) -> Ticket:
    fields = Fields(cbor.decode(body, bytes_max=_BODY_BYTES_MAX), "ticket")
    if fields.uint(0) != TICKET_VERSION:
        raise WireError("This ticket was made by a newer Sheaf: update this one first.")
    kind = fields.uint(1)
    if kind not in _KINDS:
        raise WireError("This ticket is of an unknown kind: update this Sheaf first.")
    ticket = Ticket(
        kind=_KINDS[kind],
        space_id=fields.id(2, SpaceId),
        secret=fields.octets(3, size=SECRET_BYTES),
        relay_urls=_relays(fields) if fields.has(4) else (),
        expires_ms=fields.uint_or_none(5),
        name_hint=fields.text(6, bytes_max=NAME_HINT_BYTES_MAX) if fields.has(6) else "",
        issuer=fields.id(7, UserId),
        hosts=hosts,
    )
    fields.done()
    return ticket


def _relays(fields: Fields) -> tuple[str, ...]:
    urls = fields.array(4, maximum=RELAYS_MAX)
    return tuple(url if isinstance(url, str) else "" for url in urls)


def _check(ticket: Ticket) -> None:
    if len(ticket.secret) != SECRET_BYTES or ticket.version != TICKET_VERSION:
        raise WireError("a ticket with a malformed secret or version")
    if ticket.expires_ms is not None and not 0 <= ticket.expires_ms <= INTEGER_MAX:
        raise WireError("a ticket with an impossible expiry")
    if len(ticket.name_hint.encode()) > NAME_HINT_BYTES_MAX or not is_printable(ticket.name_hint):
        raise WireError("a ticket with an unprintable or overlong name")
    if len(ticket.relay_urls) > RELAYS_MAX or not all(_is_relay(url) for url in ticket.relay_urls):
        raise WireError("a ticket with malformed relays")
    if len(ticket.hosts) > HOSTS_MAX or not all(is_host_and_port(host) for host in ticket.hosts):
        raise WireError("What follows the @ in this ticket is not host:port.")


def _is_relay(url: str) -> bool:
    return len(url) <= RELAY_URL_CHARS_MAX and _RELAY.fullmatch(url) is not None


def is_host_and_port(text: str) -> bool:
    """Whether `text` is a lower-case 'host:port' (IPv6 in brackets) that could be dialled."""
    match = _HOST.fullmatch(text)
    return match is not None and 1 <= int(match[1]) <= 65535
