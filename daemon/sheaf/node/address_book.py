"""Who may be met, under which names: rendezvous ids, mDNS tags, keys to seal to (PROTOCOL §2, §6).

Derived afresh from the spaces and the open invitations at each question, so it can never be
out of date. Knows no sockets and makes no calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sheaf.core.base.ids import DeviceId, RendezvousId
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol.rendezvous import TagCandidate, device_tag, invite_tag, match
from sheaf.node.connector import DialTarget
from sheaf.node.invitations import Invitations
from sheaf.node.library import Library
from sheaf.node.space_host import SpaceHost
from sheaf.ports import Sighting


class AddressBook:
    """The devices of my spaces; `own` is this one."""

    def __init__(self, *, own: DeviceId, library: Library, invitations: Invitations) -> None:
        self._own = own
        self._library = library
        self._invitations = invitations

    def wanted(self) -> frozenset[DeviceId]:
        """Every other device in my spaces."""
        members = (host.space.membership.devices() for host in self._library.hosts())
        return frozenset(device_id for devices in members for device_id in devices) - {self._own}

    def own_rendezvous_ids(self) -> list[RendezvousId]:
        """Where signals for this device, or for its open invitations, may be left."""
        rids = [rid for host in self._library.hosts() for rid in host.space.rendezvous_ids(self._own)]
        invited = [each.keys.rendezvous_id for each in self._invitations.open_invitations()]
        return [*rids, *invited]

    def tags_for(self, nonce: bytes) -> list[bytes]:
        """What to announce: a tag per open invitation, and one per space and epoch."""
        tags = [invite_tag(i.keys.mdns_key, nonce) for i in self._invitations.open_invitations()]
        return tags + [
            device_tag(keys.mdns_key, nonce, self._own)
            for host in self._library.hosts()
            for keys in host.space.recent_keys()
        ]

    def recognise(self, sighting: Sighting) -> list[DeviceId]:
        """The devices of my spaces an announcement is by; normally one or none."""
        candidates = (
            TagCandidate(keys.mdns_key, device_id, device_id)
            for host in self._library.hosts()
            for keys in host.space.recent_keys()
            for device_id in host.space.membership.devices()
            if device_id != self._own
        )
        return list(dict.fromkeys(match(sighting.nonce, sighting.tags, candidates)))

    def is_my_tag(self, sighting: Sighting) -> bool:
        """Whether an announcement that is not ours carries the tag of this very device."""
        keys = (keys for host in self._library.hosts() for keys in host.space.recent_keys())
        return any(device_tag(each.mdns_key, sighting.nonce, self._own) in sighting.tags for each in keys)

    def certificate_of(self, device_id: DeviceId) -> DeviceCertificate | None:
        """The certificate of a device of my spaces."""
        for host in self._library.hosts():
            known = host.space.membership.device(device_id)
            if known is not None:
                return known[1]
        return None

    def targets(
        self, device_id: DeviceId, *, among: Callable[[SpaceHost], bool] | None = None
    ) -> Iterator[DialTarget]:
        """How a device can be called, once for each space and epoch we share (`among`: only in those)."""
        for host in self._library.hosts():
            known = host.space.membership.device(device_id)
            if known is None or (among is not None and not among(host)):
                continue
            _, certificate = known
            for rid in host.space.rendezvous_ids(device_id):
                yield DialTarget(rid, certificate.kem, device_id)
