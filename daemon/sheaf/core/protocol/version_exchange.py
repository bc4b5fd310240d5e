"""VV and AGREE: telling what we have, shortly when possible (PROTOCOL §5 "VV").

After a while of quiet equality the offerer proposes to keep the common version as a base
(AGREE); both persist it. The next VV then says only what changed since, with the digest of the
whole. A base that the other side does not share costs one more message, never correctness.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import LogId
from sheaf.core.base.machine import Seconds
from sheaf.core.protocol.effects import AgreedVersion
from sheaf.core.protocol.messages import Agree, VersionIs, VersionWant
from sheaf.core.protocol.space_link import Lane, Ledger
from sheaf.core.protocol.version_vector import Version, apply_changes, changes_since, version_digest
from sheaf.core.wire.frames import Stream

AGREE_AFTER_S: Final = 2.0
"""Quiet needed before a version is proposed as base."""
AGREE_AGAIN_S: Final = 15.0


class VersionExchange:
    """Our VV, the peer's VV and the common base of one space."""

    def __init__(self, *, lane: Lane, ledger: Ledger, leads: bool) -> None:
        self._lane = lane
        self._ledger = ledger
        self._leads = leads
        self.is_sent = False
        self.is_received = False
        self._is_short_sent = False
        self._is_full_asked = False
        self._agreed_digest: bytes | None = None
        self._proposed: Mapping[LogId, int] | None = None
        self._propose_due: Seconds | None = None

    def send(self) -> None:
        """Tell our durable version, as changes since the agreed one when that is shorter."""
        durable = self._ledger.durable
        base = self._lane.view.agreed_version(self._lane.peer)
        self.is_sent = True
        if base:
            changes = changes_since(base, durable)
            if len(changes) < len(durable):
                self._is_short_sent = True
                self._send(changes, version_digest(base))
                return
        self._send(durable, None)

    def wanted(self) -> None:
        """VV_WANT came: the base is not shared.

        Raises:
            ProtocolViolation: the whole version was sent already.
        """
        if not self._is_short_sent:
            raise ProtocolViolation("VV_WANT without a short VV")
        self._is_short_sent = False
        self._send(self._ledger.durable, None)

    def received(self, message: VersionIs) -> Version | None:
        """VV came; returns the peer's version, or None when the whole one had to be asked for.

        Raises:
            ProtocolViolation: a second VV that nobody asked for, or a false digest.
        """
        if self.is_received or (self._is_full_asked and message.base is not None):
            raise ProtocolViolation("a VV that nobody asked for")
        version = self._resolve(message)
        if version is None:
            self._is_full_asked = True
            self._lane.send(Stream.CONTROL, VersionWant(self._lane.handle))
            return None
        self.is_received = True
        return version

    def _resolve(self, message: VersionIs) -> Version | None:
        base: Version = {}
        if message.base is not None:
            base = self._lane.view.agreed_version(self._lane.peer) or {}
            if version_digest(base) != message.base:
                return None
        version = apply_changes(base, message.entries)
        if version_digest(version) != message.digest:
            raise ProtocolViolation("a VV that does not match its digest")
        return version

    def _send(self, entries: Version, base: bytes | None) -> None:
        digest = version_digest(self._ledger.durable)
        self._lane.send(Stream.CONTROL, VersionIs(self._lane.handle, digest, entries, base))

    # ------------------------------------------------------------------ the common base

    def changed(self, now: Seconds) -> None:
        """Something was committed or acknowledged: wait for quiet before proposing."""
        if self._leads and self.is_received:
            self._propose_due = now + AGREE_AFTER_S

    def wake(self, now: Seconds) -> None:
        """Propose the common version when both have been equal and quiet."""
        if self._propose_due is None or now < self._propose_due:
            return
        self._propose_due = None
        if not self._is_equal():
            return
        digest = version_digest(self._ledger.durable)
        if digest != self._agreed_digest:
            self._proposed = dict(self._ledger.durable)
            self._propose_due = now + AGREE_AGAIN_S
            self._lane.send(Stream.CONTROL, Agree(self._lane.handle, digest, is_reply=False), slot="agree")

    def next_wake(self) -> Seconds | None:
        """When to look again."""
        return self._propose_due

    def agree_came(self, message: Agree) -> None:
        """AGREE: keep the version if it is ours; as the leader, only after the reply."""
        if message.is_reply != self._leads:
            raise ProtocolViolation("AGREE from the wrong side")
        if self._leads:
            if self._proposed is not None and version_digest(self._proposed) == message.digest:
                self._keep(self._proposed, message.digest)
                self._proposed = self._propose_due = None
        elif version_digest(self._ledger.durable) == message.digest:
            self._keep(self._ledger.durable, message.digest)
            self._lane.send(
                Stream.CONTROL, Agree(self._lane.handle, message.digest, is_reply=True), slot="agree"
            )

    def _keep(self, version: Version, digest: bytes) -> None:
        if digest != self._agreed_digest:
            self._agreed_digest = digest
            self._lane.emit(AgreedVersion(self._lane.space_id, dict(version)))

    def _is_equal(self) -> bool:
        return changes_since(self._ledger.durable, self._ledger.peer) == {}
