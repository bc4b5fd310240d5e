"""Control frames and fragments beyond what proxies send end a WebSocket, at the frame that is too many."""

from __future__ import annotations

import pytest
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from sheaf.relay.flood_guard import CONTROLS_BURST, CONTROLS_PER_S, FRAGMENTS_MAX, guard_frames
from tests.support.raw_websocket import BINARY, masked

PING, PONG, CONTINUATION = 9, 10, 0


class Guarded:
    """A server's side of a WebSocket after its handshake."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stopped = 0
        self.protocol = ServerProtocol(state=OPEN, max_size=1000)
        guard_frames(self.protocol, now=lambda: self.now, stop=self._stop)

    def _stop(self) -> None:
        self.stopped += 1

    def feed(self, data: bytes) -> int:
        """How many frames came of it."""
        self.protocol.receive_data(data)
        return len(self.protocol.events_received())

    @property
    def is_open(self) -> bool:
        return self.protocol.state is OPEN


def fragment(opcode: int, payload: bytes = b"", *, is_last: bool = False) -> bytes:
    return (masked(payload, opcode) if is_last else bytes([opcode])) + (
        b"" if is_last else masked(payload)[1:]
    )


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_a5_a_flood_of_control_frames_ends_at_the_first_that_is_too_many(opcode: int) -> None:
    guarded = Guarded()
    assert guarded.feed(masked(b"", opcode) * 5000) == CONTROLS_BURST
    assert not guarded.is_open
    assert guarded.stopped == 1
    assert guarded.protocol.close_sent is not None
    assert guarded.protocol.close_sent.code == 1002


def test_control_frames_at_a_proxys_pace_are_answered_for_ever() -> None:
    guarded = Guarded()
    for _ in range(200):
        guarded.now += 1 / CONTROLS_PER_S
        assert guarded.feed(masked(b"alive?", PING)) == 1
    assert guarded.is_open
    assert b"".join(guarded.protocol.data_to_send()).count(b"alive?") == 200


def test_a5_fragments_without_end_do_not_pile_up() -> None:
    guarded = Guarded()
    assert guarded.feed(fragment(BINARY) + fragment(CONTINUATION) * 5000) == 1 + FRAGMENTS_MAX
    assert not guarded.is_open
    assert guarded.stopped == 1


def test_messages_cut_up_by_a_proxy_come_through() -> None:
    guarded = Guarded()
    message = fragment(BINARY, b"a") + fragment(CONTINUATION, b"b") * 10
    message += fragment(CONTINUATION, b"c", is_last=True)
    for _ in range(100):
        assert guarded.feed(message) == 12
    assert guarded.is_open


def test_whole_messages_are_not_counted() -> None:
    guarded = Guarded()
    assert guarded.feed(masked(b"frame") * 5000) == 5000
    assert guarded.is_open
