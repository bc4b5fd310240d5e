"""aiortc's SCTP association with bounds, and with one ordinary binary stream on it.

aiortc 1.16 reassembles whatever it is sent (8 MiB cost 3.7 s of the event loop), opens
channels on request, and asserts on what a hostile member may send (FAULTS N9).
Sheaf uses stream 0, ordered, reliable, binary, negotiated beforehand; anything else ends the
connection before it costs anything. Imported lazily. Knows nothing of Sheaf's frames.
"""

from __future__ import annotations

import inspect
from typing import Final, Protocol

from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcsctptransport import (
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    USERDATA_MAX_LENGTH,
    WEBRTC_BINARY,
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    RTCSctpTransport,
    SackChunk,
)

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.limits import KIB, MIB

STREAM_ID: Final = 0
MESSAGE_BYTES_MAX: Final = 64 * KIB
"""Advertised in the description; a peer that exceeds it is cut off while it does."""
REASSEMBLY_BYTES_MAX: Final = 4 * MIB
"""Held out of order. An honest peer's whole flight is below 1.2 MiB (`FLIGHT_FREE_BYTES_MAX`)."""
MISORDERED_MAX: Final = 1536
"""Chunks behind a gap. Every packet costs a sort of them; an honest flight is below 1,000."""
GAP_SPAN_MAX: Final = 16_384
RTO_MIN_S: Final = 0.2
"""RFC 9260 advises 1 s for delayed acknowledgements; aiortc acknowledges every packet at
once. A keystroke lost as the last packet would otherwise wait a second (decision 0015)."""
RTO_INITIAL_S: Final = 0.5
WINDOW_KEPT: Final = 0.75
"""What is left of the congestion window after a loss; RFC 9260 says half. See `_behave_like_two`."""
_FRAGMENTS_UNSUSPICIOUS: Final = MESSAGE_BYTES_MAX // USERDATA_MAX_LENGTH


class AssociationReceiver(Protocol):
    """Told by the association, synchronously. Must not raise."""

    def message_received(self, message: bytes) -> None: ...
    def acknowledged(self) -> None:
        """The peer took data, or the queue moved."""
        ...

    def violated(self, reason: str) -> None:
        """The peer left the rules; nothing more of it is looked at."""
        ...


class GuardedSctp(RTCSctpTransport):
    """One association carrying one ordered binary stream.

    Invariants:
    1. Nothing but stream 0, ordered, binary, is accepted.
    2. A message growing past 64 KiB, or too much out of order, ends the association.
    3. After `violated` no input is processed.
    """

    def __init__(self, transport: RTCDtlsTransport, *, receiver: AssociationReceiver) -> None:
        super().__init__(transport)
        self._receiver = receiver
        self._is_violated = False
        self._rto = RTO_INITIAL_S
        self._round_trip_s_min = 1.0

    @property
    def queued_bytes(self) -> int:
        """Bytes cut into chunks that were not sent even once (an upper bound by chunks)."""
        return len(self._outbound_queue) * USERDATA_MAX_LENGTH

    @property
    def flight_bytes(self) -> int:
        """Bytes sent and not acknowledged."""
        return self._flight_size

    @property
    def is_drained(self) -> bool:
        """Everything accepted was acknowledged by the peer's association."""
        return not (self._data_channel_queue or self._outbound_queue or self._sent_queue)

    @property
    def round_trip_s(self) -> float | None:
        """Smoothed round-trip time, None before the first measurement."""
        return self._srtt

    @property
    def round_trip_s_min(self) -> float:
        """The shortest round trip seen, at most a second; 0 before the first."""
        return self._round_trip_s_min if self._srtt is not None else 0.0

    async def _receive_chunk(self, chunk: Chunk) -> None:
        if self._is_violated:
            return
        if isinstance(chunk, ForwardTsnChunk):
            self._refuse("it skipped data on a reliable stream")
        elif isinstance(chunk, SackChunk) and _gap_span(chunk) > GAP_SPAN_MAX:
            self._refuse("it acknowledged more than was sent")
        else:
            await super()._receive_chunk(chunk)

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        if chunk.stream_id != STREAM_ID or chunk.flags & SCTP_DATA_UNORDERED:
            self._refuse("it used a stream that does not exist")  # (1)
            return
        await super()._receive_data_chunk(chunk)
        self._watch_reassembly()

    async def _receive_sack_chunk(self, chunk: SackChunk) -> None:
        window, was_recovering = self._cwnd, self._fast_recovery_exit is not None
        await super()._receive_sack_chunk(chunk)
        self._behave_like_two(window, was_recovering)
        self._receiver.acknowledged()

    def _behave_like_two(self, window: int, was_recovering: bool) -> None:
        """React to loss and its absence as two connections together would.

        A single one by the book gets 1.2 chunks per round trip and root of the loss rate: 0.29 MB/s
        with 50 ms and 1 %, which is below what FAULTS N1 asks for. This association carries what
        other programs spread over several connections, so it may do as two: a loss takes a quarter of
        the window instead of half, and the window grows by two chunks in a round trip instead of one.

        Args:
            window: the congestion window before this acknowledgement, bytes.
            was_recovering: whether a loss was being repaired already.
        """
        is_recovering = self._fast_recovery_exit is not None
        if is_recovering and not was_recovering:
            self._cwnd = self._ssthresh = max(int(window * WINDOW_KEPT), self._cwnd)
        elif self._cwnd > window and window > self._ssthresh:
            self._cwnd += USERDATA_MAX_LENGTH

    async def _data_channel_receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        if self._is_violated:
            return
        if pp_id != WEBRTC_BINARY:
            self._refuse("it sent something else than binary messages")
            return
        self._receiver.message_received(data)

    def _update_rto(self, R: float) -> None:
        sample_s = max(0.0, R)  # aiortc uses the wall clock, which may step back
        super()._update_rto(sample_s)
        self._round_trip_s_min = min(self._round_trip_s_min, sample_s)
        assert self._srtt is not None
        assert self._rttvar is not None
        self._rto = max(RTO_MIN_S, self._srtt + 4 * self._rttvar)

    def _watch_reassembly(self) -> None:
        """Compare what is held for reassembly with the bounds (2); cheap when little is held."""
        if self._advertised_rwnd < -REASSEMBLY_BYTES_MAX or len(self._sack_misordered) > MISORDERED_MAX:
            self._refuse("it sent too much out of order")
            return
        stream = self._inbound_streams.get(STREAM_ID)
        if stream is None or len(stream.reassembly) <= _FRAGMENTS_UNSUSPICIOUS:
            return
        if _head_message_bytes(stream.reassembly) > MESSAGE_BYTES_MAX:
            self._refuse("it sent a message that does not end")
            stream.reassembly.clear()

    def _refuse(self, reason: str) -> None:
        self._is_violated = True  # (3)
        self._receiver.violated(reason)


def _gap_span(chunk: SackChunk) -> int:
    return sum(max(0, end - start + 1) for start, end in chunk.gaps)


def _head_message_bytes(chunks: list[DataChunk]) -> int:
    """Bytes of the contiguous, unfinished message at the head of a reassembly list."""
    total = 0
    expected_tsn = chunks[0].tsn
    for chunk in chunks:
        if chunk.tsn != expected_tsn:
            break
        total += len(chunk.user_data)
        if chunk.flags & SCTP_DATA_LAST_FRAG or total > MESSAGE_BYTES_MAX:
            break
        expected_tsn = (expected_tsn + 1) % (1 << 32)
    return total


def check_shape() -> None:
    """Make sure that aiortc still has the shape these guards were written for.

    Raises:
        TransportFailure: it has not; without the guards nothing may run.
    """
    signatures = {
        "_receive_chunk": ["self", "chunk"],
        "_receive_data_chunk": ["self", "chunk"],
        "_receive_sack_chunk": ["self", "chunk"],
        "_data_channel_receive": ["self", "stream_id", "pp_id", "data"],
        "_update_rto": ["self", "R"],
    }
    changed = [
        name
        for name, parameters in signatures.items()
        if not hasattr(RTCSctpTransport, name)
        or list(inspect.signature(getattr(RTCSctpTransport, name)).parameters) != parameters
    ]
    source_names = set(RTCSctpTransport.__init__.__code__.co_names)
    changed += [
        name
        for name in (
            "_outbound_queue",
            "_sent_queue",
            "_data_channel_queue",
            "_flight_size",
            "_inbound_streams",
            "_sack_misordered",
            "_advertised_rwnd",
            "_rto",
            "_srtt",
            "_cwnd",
            "_fast_recovery_exit",
        )
        if name not in source_names
    ]
    if changed:
        raise TransportFailure(f"aiortc changed ({', '.join(changed)}); the safety guards do not fit it")
