"""What is inside an envelope, under the encryption (PROTOCOL §3).

CBOR {0: hlc_ms, 1: [[doc_id, kind, bytes]…], 2: agent?}. Updates too large for one
envelope travel as consecutive `part` items, one per envelope; `PartBuffer` puts them
together again. Knows nothing of Yjs: data is bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DocId
from sheaf.core.base.limits import ENVELOPE_BYTES_MAX, KIB, UPDATE_BYTES_MAX
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields
from sheaf.core.wire.varint import Reader, encode_uvar

AGENT_BYTES_MAX = 128
ITEMS_MAX = 4096
PART_BYTES = 240 * KIB
"""Data per envelope; the rest of the 256 KiB is room for dependencies, heads and framing."""
PARTS_MAX = UPDATE_BYTES_MAX // PART_BYTES + 1


class PayloadKind(IntEnum):
    """What an item's bytes are."""

    UPDATE = 0
    CHECKPOINT = 1
    ATTEST = 2
    PART = 3
    PAD = 4
    BLOB = 5


_KINDS = {int(kind): kind for kind in PayloadKind}


@dataclass(frozen=True, slots=True)
class PayloadItem:
    """One thing said about one document; for an UPDATE, `data` is a Yjs v1 update."""

    doc_id: DocId
    kind: PayloadKind
    data: bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """An envelope's content. `agent` labels a guest or API client the daemon wrote for."""

    hlc_ms: int
    items: tuple[PayloadItem, ...]
    agent: str | None = None


def encode_payload(payload: Payload) -> bytes:
    """The plaintext of an envelope."""
    fields: dict[int, object] = {
        0: payload.hlc_ms,
        1: [[item.doc_id, int(item.kind), item.data] for item in payload.items],
    }
    if payload.agent is not None:
        fields[2] = payload.agent
    return cbor.encode(fields)


def decode_payload(plaintext: bytes) -> Payload:
    """Undo `encode_payload`.

    Raises:
        WireError: not a payload (its author's fault: it was inside the signature).
    """
    fields = Fields(cbor.decode(plaintext, bytes_max=ENVELOPE_BYTES_MAX), "payload")
    hlc_ms = fields.uint(0)
    items = tuple([_read_item(entry) for entry in fields.array(1, maximum=ITEMS_MAX)])
    agent = fields.text(2, bytes_max=AGENT_BYTES_MAX) if fields.has(2) else None
    fields.done()
    return Payload(hlc_ms, items, agent)


def _read_item(entry: cbor.Value) -> PayloadItem:
    if not isinstance(entry, list) or len(entry) != 3:
        raise WireError("payload: an item is [doc_id, kind, bytes]")
    doc_id, kind, data = entry
    if not isinstance(doc_id, bytes) or len(doc_id) != DocId.SIZE or not isinstance(data, bytes):
        raise WireError("payload: an item is [doc_id, kind, bytes]")
    if isinstance(kind, bool) or not isinstance(kind, int) or kind not in _KINDS:
        raise WireError("payload: unknown kind")
    return PayloadItem(DocId(doc_id), _KINDS[kind], data)


# --------------------------------------------------------------------------- parts


def split_into_parts(item: PayloadItem) -> list[PayloadItem]:
    """The `part` items, one per envelope, that carry an item larger than `PART_BYTES`.

    Part data: inner kind u8 ‖ index uvar ‖ count uvar ‖ bytes.
    """
    chunks = [item.data[at : at + PART_BYTES] for at in range(0, len(item.data), PART_BYTES)]
    head = bytes((item.kind,))
    count = encode_uvar(len(chunks))
    return [
        PayloadItem(item.doc_id, PayloadKind.PART, head + encode_uvar(index) + count + chunk)
        for index, chunk in enumerate(chunks)
    ]


class PartBuffer:
    """The open chain of parts of one log: at most one, at most `UPDATE_BYTES_MAX` bytes."""

    __slots__ = ("_chunks", "_count", "_doc_id", "_kind")

    def __init__(self) -> None:
        self._doc_id = DocId(bytes(DocId.SIZE))
        self._kind = PayloadKind.UPDATE
        self._count = 0
        self._chunks: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether parts are waiting for the rest of theirs."""
        return bool(self._chunks)

    def __len__(self) -> int:
        return len(self._chunks)

    def take(self, item: PayloadItem) -> PayloadItem | None:
        """Add a part; returns the whole item when it was the last.

        Raises:
            WireError: it does not continue the chain. The chain is dropped.
        """
        reader = Reader(item.data)
        kind, index, count = reader.u8(), reader.uvar(), reader.uvar()
        chunk = reader.rest()
        if index == 0:
            self._start(item.doc_id, kind, count)
        elif (item.doc_id, kind, count, index) != (self._doc_id, self._kind, self._count, len(self._chunks)):
            self._chunks.clear()
            raise WireError("part out of order")
        self._chunks.append(chunk)
        if len(self._chunks) < self._count:
            return None
        whole = PayloadItem(self._doc_id, self._kind, b"".join(self._chunks))
        self._chunks = []
        return whole

    def _start(self, doc_id: DocId, kind: int, count: int) -> None:
        self._chunks = []
        if kind not in _KINDS or kind == PayloadKind.PART or not 1 <= count <= PARTS_MAX:
            raise WireError("part of an unknown kind or of too many")
        self._doc_id, self._kind, self._count = doc_id, _KINDS[kind], count

    def dump(self) -> list[object]:
        """For `LogState`: [doc_id, kind, count, [chunks]], or nothing."""
        return [self._doc_id, int(self._kind), self._count, list(self._chunks)] if self._chunks else []

    @classmethod
    def load(cls, dumped: list[cbor.Value]) -> PartBuffer:
        """Undo `dump`."""
        buffer = cls()
        if not dumped:
            return buffer
        fields = Fields(dict(enumerate(dumped)), "open parts")
        buffer._start(fields.id(0, DocId), fields.uint(1), fields.uint(2))
        buffer._chunks = fields.octets_list(3, maximum=PARTS_MAX)
        fields.done()
        return buffer


def documents_of(payload: Payload) -> tuple[DocId, ...]:
    """The documents a payload touches, parts included."""
    if len(payload.items) == 1:
        return (payload.items[0].doc_id,) if payload.items[0].kind is not PayloadKind.PAD else ()
    return tuple(dict.fromkeys(item.doc_id for item in payload.items if item.kind is not PayloadKind.PAD))


def visible_items(
    parts: PartBuffer | None, payload: Payload
) -> tuple[tuple[PayloadItem, ...], PartBuffer | None]:
    """What a payload brings after the open `parts` of its log, and the parts open afterwards.

    Raises:
        WireError: parts out of order, or something else between them.
    """
    if parts is None and all(item.kind is PayloadKind.UPDATE for item in payload.items):
        return payload.items, None
    found: list[PayloadItem] = []
    for item in payload.items:
        if item.kind is PayloadKind.PART:
            parts = PartBuffer() if parts is None else parts
            whole = parts.take(item)
            if whole is not None:
                found.append(whole)
                parts = None
        elif item.kind is not PayloadKind.PAD:
            if parts is not None:
                raise WireError("something else between parts")
            found.append(item)
    return tuple(found), parts
