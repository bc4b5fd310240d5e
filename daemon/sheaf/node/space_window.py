"""What a session may know of a space (`core.protocol.effects.SpaceView`), from memory.

Content only as far as it is durable here; so a peer never learns of what this machine could
still forget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sheaf.core.base.ids import DeviceId, LogId, OpId, SpaceId
from sheaf.core.space.space import Space
from sheaf.node.document_loading import decode_covers, encode_covers


class SpaceWindow:
    """The view of one space. `durable` is shared with, and moved by, the space's host."""

    def __init__(self, *, space: Space, durable: Mapping[LogId, int], agreed: dict[DeviceId, bytes]) -> None:
        self._space = space
        self._durable = durable
        self._agreed = agreed

    @property
    def space_id(self) -> SpaceId:
        """Which space."""
        return self._space.space_id

    def control_heads(self) -> Sequence[OpId]:
        """Heads of the control plane."""
        return self._space.control.heads()

    def ops_missing_for(self, heads: Iterable[OpId]) -> Sequence[bytes]:
        """Ops a peer with these heads lacks, parents first."""
        return self._space.control.missing_for(heads)

    def knows_ops(self, ids: Iterable[OpId]) -> Iterable[OpId]:
        """Those of `ids` that are here."""
        return [op_id for op_id in ids if op_id in self._space.control]

    def is_member(self, device_id: DeviceId) -> bool:
        """Whether the device belongs to an active member."""
        return self._space.membership.is_active(device_id)

    def durable_version(self) -> Mapping[LogId, int]:
        """By log, the first seq that is not on this disk."""
        return self._durable

    def psi_key(self) -> bytes | None:
        """Tests 'do we share this space' after authentication; None before the first secret came."""
        keys = self._space.first_keys()
        return None if keys is None else keys.psi_key

    def genesis_of(self, log_id: LogId) -> bytes:
        """The signed genesis of a log in the version vector."""
        head = self._space.logs.get(log_id)
        assert head is not None, "asked for a log that is not in the version vector"
        return head.genesis

    def agreed_version(self, device_id: DeviceId) -> Mapping[LogId, int] | None:
        """What this device and we both had when we last agreed; shortens the next greeting."""
        stored = self._agreed.get(device_id)
        return None if stored is None else decode_covers(stored)

    def agree(self, device_id: DeviceId, version: Mapping[LogId, int]) -> bytes | None:
        """Remember an agreed version; returns it encoded for the store, None if it is known."""
        encoded = encode_covers(dict(version))
        if self._agreed.get(device_id) == encoded:
            return None
        self._agreed[device_id] = encoded
        return encoded
