"""What the nodes of a fleet write into NATS and read from it: names of streams and subjects, headers.

NATS belongs to the operator, but a message there may still be anybody's: decoders are total.
Pure. PROTOCOL §7 "Fleet", decision 0052.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_words import INCARNATION_BYTES, MAILBOX_ID_BYTES

HASH_BYTES: Final = 32
ROLLUP: Final = {"Nats-Rollup": "sub"}
EXPECT_LAST: Final = "Nats-Expected-Last-Subject-Sequence"
SEQUENCE: Final = "Nats-Sequence"
SIZE: Final = "Nats-Msg-Size"
_TOKEN: Final = "Sheaf-Token"
_LIFE: Final = "Sheaf-Life"
_ITEM: Final = "Sheaf-Item"
_LAST: Final = "Sheaf-Last"
NAMEPLATE_STREAM: Final = "SHEAF_NAMEPLATES"


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the streams that mailboxes are spread over."""

    number: int

    @property
    def stream(self) -> str:
        return f"MBX_{self.number:02x}"

    @property
    def subjects(self) -> str:
        return f"mbx.{self.number:02x}.*"

    @property
    def news(self) -> str:
        """Where JetStream says what it has stored, as a pattern of its own."""
        return f"mbn.{self.number:02x}.{{{{wildcard(1)}}}}"

    def subject_of(self, mailbox_id: bytes) -> str:
        return f"mbx.{self.number:02x}.{mailbox_id.hex()}"

    def news_of(self, mailbox_id: bytes) -> str:
        return f"mbn.{self.number:02x}.{mailbox_id.hex()}"


def shard_of(mailbox_id: bytes, shards: int) -> Shard:
    """Where a mailbox lives. Ids are evenly spread, being keys."""
    return Shard(mailbox_id[0] % shards)


def mailbox_of(subject: str) -> bytes:
    """The mailbox id at the end of a subject. Raises WireError."""
    return _hex(subject.rpartition(".")[2], MAILBOX_ID_BYTES, "mailbox id")


def rendezvous_subject(rid: RendezvousId) -> str:
    return f"rdv.{rid.hex()}"


def rendezvous_of(subject: str) -> RendezvousId:
    """The id that `rendezvous_subject` was made from. Raises WireError."""
    return RendezvousId(_hex(subject.rpartition(".")[2], RendezvousId.SIZE, "rendezvous id"))


def node_subject(node: str) -> str:
    return f"sheafnode.{node}"


def tunnel_subject(token: bytes) -> str:
    """Not the token itself: whoever reads NATS's monitoring could join the tunnel."""
    return f"tun.{hashlib.sha256(b'sheaf/1 fleet tunnel' + bytes(1) + token).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Label:
    """What each message of a mailbox carries besides its bytes. So the newest one, its head, is all
    there is to know about the mailbox, and changes in the same step as the mailbox."""

    token_hash: bytes = field(repr=False)
    incarnation: bytes
    digest: bytes
    """SHA-256 of the item; empty in a marker."""
    last: int = 0
    """Only in a marker: the position of the last item there was."""

    def headers(self) -> dict[str, str]:
        """As message headers."""
        words = {_TOKEN: self.token_hash.hex(), _LIFE: self.incarnation.hex()}
        return words | ({_ITEM: self.digest.hex()} if self.digest else {_LAST: str(self.last)})


def read_label(headers: Mapping[str, str] | None) -> Label:
    """Read message headers. Raises WireError: this is no message of a mailbox."""
    words = headers or {}
    digest = _hex(words[_ITEM], HASH_BYTES, "hash") if _ITEM in words else b""
    return Label(
        token_hash=_hex(words.get(_TOKEN, ""), HASH_BYTES, "token hash"),
        incarnation=_hex(words.get(_LIFE, ""), INCARNATION_BYTES, "incarnation"),
        digest=digest,
        last=0 if digest else read_number(words, _LAST),
    )


def read_number(headers: Mapping[str, str] | None, name: str) -> int:
    """A header that is a number. Raises WireError."""
    text = (headers or {}).get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise WireError(f"NATS header {name}: no number")
    return int(text)


def _hex(text: str, size: int, what: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise WireError(f"NATS message: {what} is no hex") from None
    if len(found) != size or found.hex() != text:
        raise WireError(f"NATS message: {what} has the wrong size")
    return found
