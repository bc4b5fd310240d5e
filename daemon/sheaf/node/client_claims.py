"""Which device writes under which Yjs client id, in one space (PROTOCOL §3 "Inspector").

A client id belongs to the device that first wrote under it; nobody else may add to it.
Otherwise a member could suppress what another is about to type.
The id of a tab of ours is ours from the moment its presence shows it to others.
"""

from __future__ import annotations

from typing import Final

from sheaf.core.base.errors import UpdateRefused
from sheaf.core.base.ids import DeviceId, SpaceId
from sheaf.core.crdt.inspector import UpdateSummary
from sheaf.core.crdt.replica import Replica
from sheaf.ports import ClientClaimRow, WriteBatch

SHOWN_MAX: Final = 4096
"""Client ids of others remembered from presence alone."""


class ForeignChange(UpdateRefused):
    """The update adds to what another device wrote; only that device's envelopes may."""


class ClientClaims:
    """The claims of one space; `owners` by client id, as stored; `own` is this device."""

    def __init__(self, *, space_id: SpaceId, owners: dict[int, DeviceId], own: DeviceId) -> None:
        self._space_id = space_id
        self._owners = owners
        self._own = own
        self._shown_here: set[int] = set()
        self._shown_elsewhere: dict[int, None] = {}

    def require(self, summary: UpdateSummary, device_id: DeviceId, replica: Replica | None) -> None:
        """Check that `device_id` may write what `summary` describes.

        Args:
            replica: where the update would go, if that is loaded: what it has already may come
                again from anybody.

        Raises:
            ForeignChange: it adds to what another device wrote.
        """
        for client_id, span in summary.clients.items():
            if (self._owner_of(client_id) or device_id) == device_id:
                continue
            if replica is not None and span.end <= replica.clock_of(client_id):
                continue
            raise ForeignChange("the update writes in the name of another device")

    def is_foreign(self, client_id: int) -> bool:
        """Whether only another device may add to what this id wrote."""
        return (self._owner_of(client_id) or self._own) != self._own

    def _owner_of(self, client_id: int) -> DeviceId | None:
        owner = self._owners.get(client_id)
        return self._own if owner is None and client_id in self._shown_here else owner

    def shown_here(self, client_id: int) -> None:
        """A tab of ours has this id, or it echoes what another device showed before."""
        if client_id not in self._shown_elsewhere:
            self._shown_here.add(client_id)

    def shown_elsewhere(self, client_id: int) -> None:
        """Another device's presence named this id; a tab of ours that does so is an echo."""
        self._shown_elsewhere[client_id] = None
        if len(self._shown_elsewhere) > SHOWN_MAX:
            del self._shown_elsewhere[next(iter(self._shown_elsewhere))]

    def take(self, summary: UpdateSummary, device_id: DeviceId, batch: WriteBatch) -> None:
        """The client ids that are nobody's yet are this device's from now on."""
        for client_id in summary.clients:
            if client_id not in self._owners:
                self._owners[client_id] = device_id
                batch.claims.append(ClientClaimRow(self._space_id, client_id, device_id))
