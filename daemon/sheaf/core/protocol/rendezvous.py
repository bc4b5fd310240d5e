"""Tags in mDNS announcements: members recognise each other, nobody else learns who is there (PROTOCOL §6).

A tag is the first 6 bytes of an HMAC under a key that only members (or holders of a ticket) have,
over a nonce that is new in each announcement. Tags are hints for dialling; identity is proved in
the session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sheaf.core.base.ids import DeviceId
from sheaf.core.crypto.hashing import domain_hmac

TAG_BYTES: Final = 6
NONCE_BYTES: Final = 12

TargetT = TypeVar("TargetT")


def device_tag(mdns_key: bytes, nonce: bytes, device_id: DeviceId) -> bytes:
    """The tag of a device in one space and epoch (`SpaceKeys.mdns_key`)."""
    return domain_hmac(mdns_key, "mdns device", nonce, device_id)[:TAG_BYTES]


def invite_tag(mdns_key: bytes, nonce: bytes) -> bytes:
    """The tag by which the inviter answers for an open invitation (`InviteKeys.mdns_key`)."""
    return domain_hmac(mdns_key, "mdns invite", nonce)[:TAG_BYTES]


@dataclass(frozen=True, slots=True)
class TagCandidate(Generic[TargetT]):
    """Somebody we would like to meet: `target` is whatever the caller finds it by again.

    `device_id` None stands for whoever answers for an invitation.
    """

    mdns_key: bytes
    device_id: DeviceId | None
    target: TargetT


def match(
    nonce: bytes, tags: Collection[bytes], candidates: Iterable[TagCandidate[TargetT]]
) -> list[TargetT]:
    """Which candidates an announcement with this nonce and these tags names."""
    return [candidate.target for candidate in candidates if _tag_of(candidate, nonce) in tags]


def _tag_of(candidate: TagCandidate[TargetT], nonce: bytes) -> bytes:
    if candidate.device_id is None:
        return invite_tag(candidate.mdns_key, nonce)
    return device_tag(candidate.mdns_key, nonce, candidate.device_id)
