"""Which device writes under which Yjs client id, in one space (PROTOCOL §3 "Inspector").

A client id belongs to the device that first wrote under it; nobody else may add to it.
Otherwise a member could suppress what another is about to type (TRAPS, forged clocks).
"""

from __future__ import annotations

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.base.ids import DeviceId, SpaceId
from sheaf.core.crdt.inspector import UpdateSummary
from sheaf.core.crdt.replica import Replica
from sheaf.ports import ClientClaimRow, WriteBatch


class ClientClaims:
    """The claims of one space; `owners` by client id, as stored."""

    def __init__(self, *, space_id: SpaceId, owners: dict[int, DeviceId]) -> None:
        self._space_id = space_id
        self._owners = owners

    def require(self, summary: UpdateSummary, device_id: DeviceId, replica: Replica | None) -> None:
        """Check that `device_id` may write what `summary` describes.

        Args:
            replica: where the update would go, if that is loaded: what it has already may come
                again from anybody.

        Raises:
            UpdateRefused: it adds to what another device wrote.
        """
        for client_id, span in summary.clients.items():
            if self._owners.get(client_id, device_id) == device_id:
                continue
            if replica is not None and span.end <= replica.clock_of(client_id):
                continue
            raise UpdateRefused("the update writes in the name of another device")

    def take(self, summary: UpdateSummary, device_id: DeviceId, batch: WriteBatch) -> None:
        """The client ids that are nobody's yet are this device's from now on."""
        for client_id in summary.clients:
            if client_id not in self._owners:
                self._owners[client_id] = device_id
                batch.claims.append(ClientClaimRow(self._space_id, client_id, device_id))
