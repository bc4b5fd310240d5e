"""Runs of envelopes as they travel, and what ingesting one came to (PROTOCOL §3, §5).

Plain data between the session, the space and the store.
"""

from __future__ import annotations

from dataclasses import dataclass

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DeviceId, DocId, EnvId, LogId, UserId
from sheaf.core.base.limits import ENVELOPE_BYTES_MAX, MESSAGE_BYTES_MAX
from sheaf.core.space.log_genesis import GENESIS_BYTES_MAX
from sheaf.core.space.payload import PayloadItem
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields

RUN_ENVELOPES_MAX = 8192


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive envelopes of one log from `first_seq` on; `genesis` when the receiver may lack it."""

    log_id: LogId
    first_seq: int
    genesis: bytes | None
    envelopes: tuple[bytes, ...]

    @property
    def next_seq(self) -> int:
        """The seq after the last envelope."""
        return self.first_seq + len(self.envelopes)

    @property
    def size_bytes(self) -> int:
        """Bytes of the envelopes."""
        return sum(map(len, self.envelopes))

    def encode(self) -> bytes:
        """CBOR {0: log_id, 1: first_seq, 2: genesis?, 3: [envelope…]}."""
        fields: dict[int, object] = {0: self.log_id, 1: self.first_seq, 3: self.envelopes}
        if self.genesis is not None:
            fields[2] = self.genesis
        return cbor.encode(fields)

    @classmethod
    def decode(cls, data: bytes) -> Run:
        """Undo `encode`; the envelopes are only checked for size.

        Raises:
            WireError: not a run.
        """
        fields = Fields(cbor.decode(data, bytes_max=MESSAGE_BYTES_MAX), "run")
        log_id, first_seq = fields.id(0, LogId), fields.uint(1)
        genesis = fields.octets_or_none(2, maximum=GENESIS_BYTES_MAX)
        envelopes = fields.octets_list(3, maximum=RUN_ENVELOPES_MAX, item_max=ENVELOPE_BYTES_MAX)
        fields.done()
        if first_seq < 1:
            raise WireError("run: logs begin at 1")
        return cls(log_id, first_seq, genesis, tuple(envelopes))


@dataclass(frozen=True, slots=True)
class IngestedEnvelope:
    """One verified envelope to store.

    `items` is None while its epoch secret or something it depends on is missing: store it
    with `is_opened=False`; it comes again in `opened`. Pads and parts are not among the
    items; the envelope that completes a chain of parts carries the whole item. `documents`
    names the documents touched, parts included: store it in the row. `problem` says why a
    readable envelope brought nothing (its author's fault).
    """

    log_id: LogId
    seq: int
    env_id: EnvId
    raw: bytes
    device_id: DeviceId
    user_id: UserId
    hlc_ms: int
    items: tuple[PayloadItem, ...] | None
    documents: tuple[DocId, ...]
    agent: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LogState:
    """What to store of a log so that it can be continued after a restart (maps to `ports.LogRow`)."""

    log_id: LogId
    genesis: bytes
    next_seq: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Fork:
    """Proof that a log's author signed two envelopes for one position: `raw` verifies after
    the same predecessor as the envelope that is stored."""

    log_id: LogId
    seq: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What a run came to.

    Attributes:
        accepted: store all, in this order.
        opened: stored earlier without items, readable now; mark them opened in the same batch.
        released: those of `accepted` and `opened` that have items, in an order that respects
            every dependency: apply them to documents in this order.
        new_logs: logs heard of for the first time.
        log_states: logs that changed; store in the same batch.
        held: envelopes kept in memory only (gap, or unknown control heads).
        want: (log, next seq) to ask for again.
        need_ops: control ops are missing here: sync the control plane, then `retry_held`.
        refused: why the rest of the run was refused; the sender's fault.
        frozen: logs that take no more envelopes, for good.
        forks: proofs of equivocation.
        reopen: call `Space.reopen_sealed` with the stored unopened envelopes.
    """

    accepted: tuple[IngestedEnvelope, ...] = ()
    opened: tuple[IngestedEnvelope, ...] = ()
    released: tuple[IngestedEnvelope, ...] = ()
    new_logs: tuple[LogId, ...] = ()
    log_states: tuple[LogState, ...] = ()
    held: int = 0
    want: tuple[tuple[LogId, int], ...] = ()
    need_ops: bool = False
    refused: str | None = None
    frozen: tuple[LogId, ...] = ()
    forks: tuple[Fork, ...] = ()
    reopen: bool = False


NOTHING = IngestResult()
