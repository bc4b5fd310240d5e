"""The heads of all logs of a space (PROTOCOL §3).

One `LogHead` per log, about one KiB with its genesis; no envelopes. Invariants:

1. `released` ≤ `next_seq`: everything below `next_seq` is verified and stored, everything
   below `released` was also handed out to documents, in causal order.
2. `frontier` = logs whose last released envelope no released envelope of another log
   depends on. So a new envelope that depends on the frontier depends on everything.
3. `recent` holds the ids of the last ≤ 8 stored envelopes: enough to notice forks and
   dependencies on another branch early; older references are taken by seq (decision 0024).
"""

from __future__ import annotations

from collections.abc import Iterator

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DeviceId, EpochId, LogId, OpId, SpaceId, UserId
from sheaf.core.base.limits import AUTH_HEADS_MAX, UPDATE_BYTES_MAX
from sheaf.core.space.envelope import position_prefix
from sheaf.core.space.log_genesis import LogGenesis, decode_log_genesis
from sheaf.core.space.payload import PartBuffer
from sheaf.core.space.run import LogState
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields

RECENT_IDS = 8
_ID = 32
_STATE_BYTES_MAX = UPDATE_BYTES_MAX + 4096


class LogHead:
    """Where one log stands. Mutable; changed only by ingest, release and the log's own writer."""

    __slots__ = (
        "auth",
        "device_id",
        "epoch",
        "frozen",
        "genesis",
        "head",
        "is_covered",
        "is_spilled",
        "log_id",
        "next_seq",
        "parts",
        "prefix",
        "recent",
        "released",
        "released_epoch",
        "released_id",
        "user_id",
    )

    def __init__(self, genesis: LogGenesis) -> None:
        self.log_id: LogId = genesis.log_id
        self.genesis: bytes = genesis.raw
        self.device_id: DeviceId = genesis.certificate.device
        self.user_id: UserId = genesis.certificate.user
        self.prefix: bytes = position_prefix(genesis.space_id, genesis.log_id)
        self.next_seq = 1
        self.head: bytes = genesis.anchor
        self.auth: tuple[OpId, ...] = genesis.auth
        self.epoch: EpochId | None = None
        self.recent = b""
        self.released = 1
        self.released_id: bytes = genesis.anchor
        self.released_epoch: EpochId | None = None
        self.parts: PartBuffer | None = None
        self.frozen = ""
        self.is_covered = False
        self.is_spilled = False

    def append(self, env_ids: list[bytes]) -> None:
        """Envelopes with these ids were verified and are stored now."""
        self.next_seq += len(env_ids)
        self.head = env_ids[-1]
        self.recent = (self.recent + b"".join(env_ids[-RECENT_IDS:]))[-RECENT_IDS * _ID :]

    def recent_id(self, seq: int) -> bytes | None:
        """The id of a stored envelope, if it is among the last few."""
        back = self.next_seq - seq
        if not 1 <= back <= len(self.recent) // _ID:
            return None
        start = len(self.recent) - back * _ID
        return self.recent[start : start + _ID]

    def previous_of(self, seq: int) -> bytes | None:
        """The id that envelope `seq` is chained to, if it is still known here."""
        if seq == self.next_seq:
            return self.head
        return self.recent_id(seq - 1)

    @property
    def applied(self) -> int:
        """First seq not wholly handed to documents: `released`, less the open parts before it.
        What a snapshot of a document may claim to cover."""
        return self.released - (0 if self.parts is None else len(self.parts))

    def state(self) -> LogState:
        """For the store."""
        encoded = cbor.encode(
            {
                0: self.head,
                1: self.auth,
                2: self.epoch,
                3: self.frozen,
                4: self.recent,
                5: self.released,
                6: self.released_id,
                7: self.released_epoch,
                8: [] if self.parts is None else self.parts.dump(),
                9: self.is_covered,
            }
        )
        return LogState(self.log_id, self.genesis, self.next_seq, encoded)

    @classmethod
    def restore(cls, stored: LogState) -> LogHead:
        """Undo `state`, trusting our own store for signatures.

        Raises:
            WireError: damaged.
        """
        head = cls(decode_log_genesis(stored.genesis, is_trusted=True))
        fields = Fields(cbor.decode(stored.state, bytes_max=_STATE_BYTES_MAX), "log state")
        head.next_seq = stored.next_seq
        head.head = fields.octets(0, size=_ID)
        head.auth = fields.id_list(1, OpId, maximum=AUTH_HEADS_MAX)
        head.epoch = _epoch_or_none(fields.take(2))
        head.frozen = fields.text(3, bytes_max=200)
        head.recent = fields.octets(4, maximum=RECENT_IDS * _ID)
        head.released = fields.uint(5, maximum=stored.next_seq)
        head.released_id = fields.octets(6, size=_ID)
        head.released_epoch = _epoch_or_none(fields.take(7))
        parts = PartBuffer.load(fields.array(8, maximum=4))
        head.parts = parts if parts.is_open else None
        head.is_covered = fields.flag(9)
        fields.done()
        head.is_spilled = head.released < head.next_seq
        return head


class LogSet:
    """All logs of one space by id."""

    def __init__(self, space_id: SpaceId) -> None:
        self.space_id = space_id
        self._heads: dict[LogId, LogHead] = {}
        self._interned: dict[tuple[OpId, ...], tuple[OpId, ...]] = {}
        self.frontier: set[LogId] = set()

    def __len__(self) -> int:
        return len(self._heads)

    def __contains__(self, log_id: object) -> bool:
        return log_id in self._heads

    def __iter__(self) -> Iterator[LogHead]:
        return iter(self._heads.values())

    def get(self, log_id: LogId) -> LogHead | None:
        """The log's head, or None."""
        return self._heads.get(log_id)

    def add(self, head: LogHead) -> None:
        """A log begins, or comes back from the store."""
        assert head.log_id not in self._heads
        head.auth = self.intern(head.auth)
        self._heads[head.log_id] = head
        if head.released > 1 and not head.is_covered:
            self.frontier.add(head.log_id)

    def intern(self, auth: tuple[OpId, ...]) -> tuple[OpId, ...]:
        """One shared tuple per distinct set of heads: 16k logs name few."""
        return self._interned.setdefault(auth, auth)

    def cover(self, log_id: LogId) -> None:
        """A released envelope of another log depends on this log's last released one."""
        self._heads[log_id].is_covered = True
        self.frontier.discard(log_id)

    def advance(self, head: LogHead) -> None:
        """An envelope of this log was released: nothing depends on it yet."""
        head.is_covered = False
        self.frontier.add(head.log_id)

    def version_vector(self) -> dict[LogId, int]:
        """Next seq of every log."""
        return {log_id: head.next_seq for log_id, head in self._heads.items()}


def _epoch_or_none(value: cbor.Value) -> EpochId | None:
    if value is None:
        return None
    if not isinstance(value, bytes) or len(value) != EpochId.SIZE:
        raise WireError("log state: epoch")
    return EpochId(value)
