"""WebRTC descriptions between the transport and the sealed messages that carry them (PROTOCOL §5)."""

from __future__ import annotations

from sheaf.core.protocol.signaling import CandidateWire, WebRtcWire
from sheaf.ports import Candidate, WebRtcDescription


def to_wire(description: WebRtcDescription) -> WebRtcWire:
    """As it is sent."""
    return WebRtcWire(
        ufrag=description.ufrag,
        pwd=description.pwd,
        setup=description.setup,
        sctp_port=description.sctp_port,
        message_bytes_max=description.message_bytes_max,
        fingerprint=description.fingerprint,
        candidates=tuple(
            CandidateWire(c.foundation, c.component, c.protocol, c.priority, c.address, c.port, c.kind)
            for c in description.candidates
        ),
    )


def from_wire(wire: WebRtcWire) -> WebRtcDescription:
    """As the transport takes it."""
    return WebRtcDescription(
        ufrag=wire.ufrag,
        pwd=wire.pwd,
        setup=wire.setup,
        sctp_port=wire.sctp_port,
        message_bytes_max=wire.message_bytes_max,
        fingerprint=wire.fingerprint,
        candidates=tuple(
            Candidate(c.foundation, c.component, c.protocol, c.priority, c.address, c.port, c.kind)
            for c in wire.candidates
        ),
    )
