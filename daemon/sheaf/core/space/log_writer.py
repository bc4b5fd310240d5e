"""Writing: this process's own log of a space (PROTOCOL §3).

The log is opened by the first write after every start and never continued after a
restart. Everything sealed changes the Space at once; the caller commits the result before
anybody sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sheaf.core.base.errors import NotAllowed
from sheaf.core.base.ids import EnvId, EpochId, LogId, OpId
from sheaf.core.base.limits import AUTH_HEADS_MAX, DEPS_MAX
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys
from sheaf.core.space.envelope import DEP_CHECK_BYTES, SALT_BYTES, Dep, build_envelope, envelope_id
from sheaf.core.space.log_genesis import make_log_genesis
from sheaf.core.space.log_set import LogHead
from sheaf.core.space.payload import (
    ITEMS_MAX,
    PART_BYTES,
    Payload,
    PayloadItem,
    PayloadKind,
    documents_of,
    encode_payload,
    split_into_parts,
)
from sheaf.core.space.run import IngestedEnvelope, LogState
from sheaf.core.space.space import Space

_ITEM_OVERHEAD = 64


@dataclass(frozen=True, slots=True)
class SealResult:
    """Commit all of it in one batch: `envelopes` (opened), `log_states` (the own log first,
    then logs whose heads are depended upon now)."""

    envelopes: tuple[IngestedEnvelope, ...]
    log_state: LogState
    genesis_new: bool
    log_states: tuple[LogState, ...]


class LogWriter:
    """Seals this device's edits of one space.

    Args:
        space: changed by `seal`.
        device: signs.
        certificate: of `device`, goes into the log genesis.
        entropy: for the log's random and the nonce salts.
    """

    def __init__(
        self, space: Space, device: DeviceKeys, certificate: DeviceCertificate, *, entropy: Entropy
    ) -> None:
        self._space = space
        self._device = device
        self._certificate = certificate
        self._entropy = entropy
        self._head: LogHead | None = None

    @property
    def log_id(self) -> LogId | None:
        """The own log, None before the first write."""
        return None if self._head is None else self._head.log_id

    def seal(self, items: Sequence[PayloadItem], *, hlc_ms: int, agent: str | None = None) -> SealResult:
        """Encrypt and sign `items` as the next envelopes of the own log.

        Args:
            items: in order; larger than one envelope becomes consecutive parts.
            hlc_ms: hybrid clock, for display only.
            agent: label of the guest or API client this was written for.

        Raises:
            NotAllowed: reader, removed, or the current epoch's key is not here yet.
        """
        epoch_id = self._writable_epoch()
        is_new = self._head is None or bool(self._head.frozen)
        head = self._begin(hlc_ms) if self._head is None or self._head.frozen else self._head
        sealed: list[IngestedEnvelope] = []
        covered: dict[LogId, None] = {}
        for group in [*[()] * self._extra_for_deps(head), *_grouped(items)]:
            payload = Payload(hlc_ms, tuple(group), agent)
            sealed.append(self._seal_one(head, payload, epoch_id, covered))
        states = [head.state()]
        for log_id in covered:
            other = self._space.logs.get(log_id)
            if other is not None:
                states.append(other.state())
        return SealResult(tuple(sealed), states[0], is_new, tuple(states))

    # ------------------------------------------------------------ inside

    def _writable_epoch(self) -> EpochId:
        if not self._space.can_write(self._device.device_id):
            raise NotAllowed("You can read this space but not write in it. Ask an owner for the editor role.")
        epoch_id = self._space.current_epoch()
        if epoch_id is None:
            raise NotAllowed("The key of this space has not arrived yet. It comes from any other member.")
        return epoch_id

    def _begin(self, created_ms: int) -> LogHead:
        auth = self._auth_heads(())
        genesis = make_log_genesis(
            self._device,
            self._certificate,
            space_id=self._space.space_id,
            auth=auth,
            created_ms=created_ms,
            entropy=self._entropy,
        )
        self._head = LogHead(genesis)
        self._space.logs.add(self._head)
        return self._head

    def _auth_heads(self, current: tuple[OpId, ...]) -> tuple[OpId, ...]:
        """The control heads to name: all, or, when they are too many for an envelope, those in
        force (a later op joins them), or at the start one that grants the right to write."""
        heads = self._space.control.heads()
        if len(heads) <= AUTH_HEADS_MAX:
            return heads
        if current:
            return current
        for head in heads:
            if self._space.membership_at((head,)).can_write(self._device.device_id):
                return (head,)
        raise NotAllowed("Too many changes of the member list are in flight; try again in a moment.")

    def _extra_for_deps(self, head: LogHead) -> int:
        """Envelopes without content needed before the first, to name all dependencies."""
        others = len(self._space.logs.frontier - {head.log_id})
        return max(0, -(-others // DEPS_MAX) - 1)

    def _deps(self, head: LogHead) -> list[Dep]:
        deps = []
        for log_id in sorted(self._space.logs.frontier - {head.log_id})[:DEPS_MAX]:
            other = self._space.logs.get(log_id)
            assert other is not None
            deps.append(Dep(log_id, other.released - 1, other.released_id[:DEP_CHECK_BYTES]))
        return deps

    def _seal_one(
        self, head: LogHead, payload: Payload, epoch_id: EpochId, covered: dict[LogId, None]
    ) -> IngestedEnvelope:
        logs = self._space.logs
        auth, deps = self._auth_heads(head.auth), self._deps(head)
        seq, previous = head.next_seq, head.head
        raw = build_envelope(
            self._device,
            self._space.keys(epoch_id).log_cipher(head.log_id),
            prefix=head.prefix,
            seq=seq,
            previous=previous,
            auth=None if auth == head.auth else auth,
            epoch=None if epoch_id == head.epoch else epoch_id,
            deps=deps,
            salt=self._entropy(SALT_BYTES),
            plaintext=encode_payload(payload),
        )
        env_id = envelope_id(head.prefix, seq, previous, raw)
        head.append([env_id])
        head.auth, head.epoch = logs.intern(auth), epoch_id
        head.released, head.released_id, head.released_epoch = seq + 1, env_id, epoch_id
        for dep in deps:
            logs.cover(dep.log_id)
            covered[dep.log_id] = None
        logs.advance(head)
        return IngestedEnvelope(
            log_id=head.log_id,
            seq=seq,
            env_id=EnvId(env_id),
            raw=raw,
            device_id=head.device_id,
            user_id=head.user_id,
            hlc_ms=payload.hlc_ms,
            items=tuple(item for item in payload.items if item.kind is not PayloadKind.PART),
            documents=documents_of(payload),
            agent=payload.agent,
        )


def _grouped(items: Sequence[PayloadItem]) -> list[Sequence[PayloadItem]]:
    """Items per envelope: as many as fit, parts alone."""
    groups: list[Sequence[PayloadItem]] = []
    group: list[PayloadItem] = []
    room = PART_BYTES
    for item in items:
        cost = len(item.data) + _ITEM_OVERHEAD
        if group and (cost > room or len(group) >= ITEMS_MAX):
            groups.append(group)
            group, room = [], PART_BYTES
        if cost > PART_BYTES:
            groups += [(part,) for part in split_into_parts(item)]
        else:
            group.append(item)
            room -= cost
    return [*groups, group] if group else groups
