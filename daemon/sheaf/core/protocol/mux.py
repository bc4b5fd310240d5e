"""The mux: many streams over one ordered channel, with priorities and credit (PROTOCOL §5).

One FIFO serves everything below us and the transport gives no back-pressure, so order and
restraint are made here: messages are cut into frames of at most 16 KiB, the most urgent
stream always goes next, and a message starts only when the receiver has granted credit for
all of it. Knows nothing of what the messages say.

Invariants:
1. Strict priority: between any two frames the most urgent sendable stream is chosen, so a
   keystroke waits behind at most one frame handed out here.
2. Credit is reserved for a whole message before its first frame. A message never gets stuck
   half-sent, so what the receiver holds is always either complete or completing, and granting
   back complete messages is enough to keep things moving (no deadlock).
3. A class without credit for its head blocks the less urgent streams of the same class (live
   messages never starve control); other classes go on.
4. A message in a slot replaces an unsent one in the same slot, in place (awareness, ACK).
5. Memory on the receiving side is bounded: per class by the credit window, on the uncredited
   streams by one message in assembly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.limits import (
    CREDIT_BULK_BYTES,
    CREDIT_CATCH_UP_BYTES,
    CREDIT_LIVE_BYTES,
    KIB,
)
from sheaf.core.wire.frames import FRAME_PAYLOAD_MAX, Frame, Stream, decode_frame, encode_frame

PRIORITY: Final = (
    Stream.SESSION,
    Stream.CONTROL,
    Stream.LIVE,
    Stream.AWARENESS,
    Stream.CATCH_UP,
    Stream.BULK,
)

MESSAGE_OVERHEAD: Final = 16
"""Charged per message besides its payload, so that empty messages are not free."""

STREAM_MESSAGE_BYTES_MAX: Final = {
    Stream.SESSION: 64 * KIB,
    Stream.CONTROL: 380 * KIB,
    Stream.LIVE: 380 * KIB,
    Stream.AWARENESS: 8 * KIB,
    Stream.CATCH_UP: 704 * KIB,
    Stream.BULK: 1024 * KIB,
}
"""Each below three quarters of its class window: a grant is sent at a quarter, so there is
always a moment at which the largest message fits."""

CREDIT_KIND: Final = 6
"""The message type the mux keeps to itself."""


class CreditClass(IntEnum):
    """What shares a credit window; numbered as on the wire."""

    LIVE = 1
    CATCH_UP = 3
    BULK = 4


WINDOW_BYTES: Final = {
    CreditClass.LIVE: CREDIT_LIVE_BYTES,
    CreditClass.CATCH_UP: CREDIT_CATCH_UP_BYTES,
    CreditClass.BULK: CREDIT_BULK_BYTES,
}

CLASS_OF: Final = {
    Stream.CONTROL: CreditClass.LIVE,
    Stream.LIVE: CreditClass.LIVE,
    Stream.CATCH_UP: CreditClass.CATCH_UP,
    Stream.BULK: CreditClass.BULK,
}
"""SESSION and AWARENESS are not here: they are small and bounded otherwise."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message: its type (1..127) and payload."""

    kind: int
    payload: bytes

    @property
    def cost(self) -> int:
        """What it takes from a credit window, bytes."""
        return len(self.payload) + MESSAGE_OVERHEAD


@dataclass(frozen=True, slots=True)
class Received:
    """A message that arrived whole; hand `message.cost` to `Mux.release` when it is dealt with."""

    stream: Stream
    message: Message


@dataclass(slots=True)
class _Outgoing:
    message: Message
    slot: Hashable | None
    marker: Hashable | None
    offset: int = 0
    has_started: bool = False


@dataclass(slots=True)
class _Incoming:
    kind: int
    chunks: list[bytes]
    size: int


class Mux:
    """Both directions of one channel; see the module's invariants."""

    def __init__(self) -> None:
        self._queues: dict[Stream, deque[_Outgoing]] = {stream: deque() for stream in Stream}
        self._queued: dict[Stream, int] = dict.fromkeys(Stream, 0)
        self._slots: dict[Hashable, _Outgoing] = {}
        self._credit: dict[CreditClass, int] = dict(WINDOW_BYTES)
        self._completed: list[Hashable] = []
        self._assembling: dict[Stream, _Incoming] = {}
        self._held: dict[CreditClass, int] = dict.fromkeys(CreditClass, 0)
        self._owed: dict[CreditClass, int] = dict.fromkeys(CreditClass, 0)

    # ------------------------------------------------------------------ sending

    def queue(
        self,
        stream: Stream,
        message: Message,
        *,
        slot: Hashable | None = None,
        marker: Hashable | None = None,
    ) -> None:
        """Append a message to a stream.

        Args:
            slot: an unsent message with the same slot is replaced where it stands.
            marker: reported by `take_completed` once the last frame has been handed out.
        """
        assert len(message.payload) <= STREAM_MESSAGE_BYTES_MAX[stream], "message too large for its stream"
        if slot is not None and (waiting := self._slots.get(slot)) is not None:
            self._queued[stream] += message.cost - waiting.message.cost
            waiting.message, waiting.marker = message, marker
            return
        outgoing = _Outgoing(message, slot, marker)
        if slot is not None:
            self._slots[slot] = outgoing
        self._queues[stream].append(outgoing)
        self._queued[stream] += message.cost

    def has_slot(self, slot: Hashable) -> bool:
        """Whether a message with this slot is waiting and could still be replaced."""
        return slot in self._slots

    def queued_bytes(self, stream: Stream) -> int:
        """Cost of the messages on `stream` that are not completely handed out."""
        return self._queued[stream]

    def has_room(self, stream: Stream, payload_bytes: int) -> bool:
        """Whether a message of this size, queued now, has credit at once."""
        credit_class = CLASS_OF.get(stream)
        if credit_class is None:
            return True
        waiting = sum(
            item.message.cost
            for other, shared in CLASS_OF.items()
            if shared is credit_class
            for item in self._queues[other]
            if not item.has_started
        )
        return waiting + payload_bytes + MESSAGE_OVERHEAD <= self._credit[credit_class]

    @property
    def has_frames(self) -> bool:
        """Whether `next_frames` would return something."""
        return self._grant_due() or self._next_stream() is not None

    def next_frames(self, budget_bytes: int) -> list[bytes]:
        """Frames to send now, most urgent first, until `budget_bytes` is used up.

        The last frame may exceed the budget by less than one frame.
        """
        frames: list[bytes] = []
        used = 0
        while used < budget_bytes:
            if self._grant_due():
                self._queue_grant()
            stream = self._next_stream()
            if stream is None:
                break
            frame = self._take_frame(stream)
            frames.append(frame)
            used += len(frame)
        return frames

    def take_completed(self) -> list[Hashable]:
        """Markers of messages completely handed out since the last call."""
        completed, self._completed = self._completed, []
        return completed

    def drop_queued(self) -> None:
        """Forget what has not been handed out (before a farewell), but for a session message begun."""
        begun = [item for item in self._queues[Stream.SESSION] if item.has_started]
        for queue in self._queues.values():
            queue.clear()
        self._slots.clear()
        self._queued = dict.fromkeys(Stream, 0)
        self._queues[Stream.SESSION].extend(begun)
        self._queued[Stream.SESSION] = sum(item.message.cost for item in begun)

    def _next_stream(self) -> Stream | None:
        blocked: set[CreditClass] = set()
        for stream in PRIORITY:
            queue = self._queues[stream]
            credit_class = CLASS_OF.get(stream)
            if not queue or credit_class in blocked:
                continue
            head = queue[0]
            if credit_class is None or head.has_started or head.message.cost <= self._credit[credit_class]:
                return stream
            blocked.add(credit_class)
        return None

    def _take_frame(self, stream: Stream) -> bytes:
        head = self._queues[stream][0]
        message = head.message
        if not head.has_started:
            self._start(stream, head)
        chunk = message.payload[head.offset : head.offset + FRAME_PAYLOAD_MAX]
        head.offset += len(chunk)
        has_more = head.offset < len(message.payload)
        if not has_more:
            self._queues[stream].popleft()
            self._queued[stream] -= message.cost
            if head.marker is not None:
                self._completed.append(head.marker)
        return encode_frame(message.kind, stream, chunk, has_more=has_more)

    def _start(self, stream: Stream, head: _Outgoing) -> None:
        head.has_started = True
        if head.slot is not None:
            del self._slots[head.slot]
        credit_class = CLASS_OF.get(stream)
        if credit_class is not None:
            self._credit[credit_class] -= head.message.cost

    # ------------------------------------------------------------------ receiving

    def receive(self, data: bytes) -> Received | None:
        """Take one frame; returns the message it completes, if any.

        Raises:
            ProtocolViolation: malformed, interleaved wrongly, too large, or beyond the credit
                granted; the session ends.
        """
        frame = decode_frame(data)
        self._charge(frame)
        message = self._assemble(frame)
        if message is None:
            return None
        if message.kind == CREDIT_KIND:
            self._take_grant(frame.stream, message.payload)
            return None
        return Received(frame.stream, message)

    def release(self, stream: Stream, cost: int) -> None:
        """The session has dealt with a received message of this cost; the credit goes back."""
        credit_class = CLASS_OF.get(stream)
        if credit_class is None:
            return
        assert 0 <= cost <= self._held[credit_class], "released more than was received"
        self._held[credit_class] -= cost
        self._owed[credit_class] += cost

    def _charge(self, frame: Frame) -> None:
        credit_class = CLASS_OF.get(frame.stream)
        if credit_class is None:
            return
        overhead = 0 if frame.stream in self._assembling else MESSAGE_OVERHEAD
        held = self._held[credit_class] + len(frame.payload) + overhead
        if held + self._owed[credit_class] > WINDOW_BYTES[credit_class]:
            raise ProtocolViolation("more was sent than credit allows")
        self._held[credit_class] = held

    def _assemble(self, frame: Frame) -> Message | None:
        partial = self._assembling.get(frame.stream)
        if partial is None:
            if not frame.has_more:
                self._check_size(frame.stream, len(frame.payload))
                return Message(frame.kind, frame.payload)
            partial = self._assembling[frame.stream] = _Incoming(frame.kind, [], 0)
        if partial.kind != frame.kind:
            raise WireError("a message of another type inside a message")
        partial.chunks.append(frame.payload)
        partial.size += len(frame.payload)
        self._check_size(frame.stream, partial.size)
        if frame.has_more:
            return None
        del self._assembling[frame.stream]
        return Message(partial.kind, b"".join(partial.chunks))

    @staticmethod
    def _check_size(stream: Stream, size: int) -> None:
        if size > STREAM_MESSAGE_BYTES_MAX[stream]:
            raise WireError("a message beyond its stream's limit")

    # ------------------------------------------------------------------ grants

    def _grant_due(self) -> bool:
        return any(owed >= WINDOW_BYTES[kind] // 4 for kind, owed in self._owed.items())

    def _queue_grant(self) -> None:
        payload = b"".join(
            bytes((kind,)) + owed.to_bytes(4, "big") for kind, owed in self._owed.items() if owed
        )
        self._owed = dict.fromkeys(CreditClass, 0)
        self.queue(Stream.SESSION, Message(CREDIT_KIND, payload))

    def _take_grant(self, stream: Stream, payload: bytes) -> None:
        if stream is not Stream.SESSION or not payload or len(payload) % 5:
            raise WireError("a malformed CREDIT")
        for start in range(0, len(payload), 5):
            kind = payload[start]
            if kind not in WINDOW_BYTES:
                raise WireError("credit for no known class")
            credit_class = CreditClass(kind)
            grant = int.from_bytes(payload[start + 1 : start + 5], "big")
            self._credit[credit_class] += grant
            if grant == 0 or self._credit[credit_class] > WINDOW_BYTES[credit_class]:
                raise ProtocolViolation("credit beyond the window")
