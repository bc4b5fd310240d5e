"""Describes a peer for people: connected how, how far behind (PROTOCOL §5)."""

from __future__ import annotations

from collections.abc import Sequence

from sheaf.core.base.ids import DeviceId, LogId
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol.effects import Phase
from sheaf.core.space.membership import Member
from sheaf.node.path_reasons import path_reason
from sheaf.node.peer_link import PeerLink, SpaceProgress
from sheaf.node.space_host import SpaceHost
from sheaf.node.views import CloneView, PeerSpaceView, PeerState, PeerView
from sheaf.ports import StunReport


def peer_view(
    member: Member,
    certificate: DeviceCertificate,
    *,
    link: PeerLink | None,
    hosts: Sequence[SpaceHost],
    last_seen_ms: int | None,
    is_dialling: bool,
    stun: StunReport,
) -> PeerView:
    """One device as people see it; `hosts` are the spaces we share with it."""
    return PeerView(
        device_id=certificate.device,
        user_id=member.user_id,
        user_name=member.name,
        device_name=certificate.name,
        state=_state(link, is_dialling),
        path=None if link is None else link.channel.path.value,
        description=None if link is None else link.channel.description,
        rtt_ms=None if link is None else link.rtt_ms,
        spaces=tuple(_space(host, certificate, link) for host in hosts),
        last_seen_ms=last_seen_ms,
        path_reason=None if link is None else path_reason(link.channel, stun),
    )


def clone_view(certificate: DeviceCertificate, noticed_ms: int, *, is_self: bool) -> CloneView:
    """A device whose identity two daemons use, in words."""
    if is_self:
        what = (
            "Another computer uses this device's identity: one of the two has a copy of the other's data "
            "folder."
        )
        do = (
            "Use only one of them. Stop Sheaf on the other for good, or give it an empty data folder and "
            "invite it like a new device. What both wrote so far is kept; others hear one of them at a time."
        )
    else:
        what = (
            f"Two computers use the identity of {certificate.user_name} ({certificate.name}): one has a copy "
            "of the other's data folder. They are heard in turn, so their changes come late."
        )
        do = (
            "Ask them to use only one of the two, and to give the other an empty data folder and a new "
            "invitation. What both wrote so far is kept."
        )
    return CloneView(certificate.device, is_self, noticed_ms, what, do)


def _state(link: PeerLink | None, is_dialling: bool) -> PeerState:
    if link is None:
        return PeerState.CONNECTING if is_dialling else PeerState.OFFLINE
    phases = [progress.phase for progress in link.spaces.values()]
    if phases and all(phase is Phase.LIVE for phase in phases):
        return PeerState.LIVE
    return PeerState.SYNCING


def _space(host: SpaceHost, certificate: DeviceCertificate, link: PeerLink | None) -> PeerSpaceView:
    progress = SpaceProgress() if link is None else link.spaces.get(host.space_id, SpaceProgress())
    known = progress.peer_has or _known_to_hold(host, certificate.device)
    behind = sum(max(0, next_seq - known.get(log_id, 1)) for log_id, next_seq in host.durable.items())
    return PeerSpaceView(
        space_id=host.space_id,
        behind=behind + host.unsent_count,
        done_bytes=progress.done_bytes,
        total_bytes=progress.total_bytes,
    )


def _known_to_hold(host: SpaceHost, device_id: DeviceId) -> dict[LogId, int]:
    """What a device that is away said, itself or by a mailbox, that it has."""
    known = dict(host.view.agreed_version(device_id) or {})
    word = host.delivery.book.of(device_id)
    for log_id, next_seq in word.holds.items() if word is not None else ():
        known[log_id] = max(known.get(log_id, 1), next_seq)
    return known
