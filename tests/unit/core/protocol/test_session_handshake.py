"""Who is there: HELLO bound to channel, direction and device; nothing before it (FAULTS N12, S12)."""

from __future__ import annotations

import hashlib

import pytest

from sheaf.core.base.ids import DeviceId
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.effects import Phase
from sheaf.core.protocol.handshake import (
    ANSWERER,
    OFFERER,
    make_hello,
    pad_and_shuffle,
    space_tag,
)
from sheaf.core.protocol.message_codec import decode_message, encode_message
from sheaf.core.protocol.messages import AnyMessage, Hello, Kind, Ping, Spaces
from sheaf.core.protocol.mux import Message, Mux
from sheaf.core.wire.frames import Stream, encode_frame
from tests.unit.core.protocol.pretend_wire import (
    ALICE,
    BOB,
    CAROL,
    TRANSCRIPT,
    Person,
    Side,
    Wire,
    pair,
    shared_space,
)

OTHER_TRANSCRIPT = hashlib.sha256(b"another channel").digest()


def frame_of(message: AnyMessage, stream: Stream = Stream.SESSION) -> bytes:
    encoded = encode_message(message)
    return encode_frame(encoded.kind, stream, encoded.payload)


def hello_of(person: Person, *, role: int = ANSWERER, transcript: bytes = TRANSCRIPT) -> Hello:
    return make_hello(role=role, device=person.device, certificate=person.certificate, transcript=transcript)


def waiting_alice(expected: DeviceId | None = BOB.device_id) -> Side:
    alice = Side(ALICE, is_offerer=True, expected=expected)
    alice.perform(alice.session.start(0.0), 0.0)
    return alice


def tell(side: Side, frame: bytes, now: float = 0.0) -> fx.Closed | None:
    side.perform(side.session.receive(frame, now), now)
    return side.closed


def test_the_expected_device_is_let_in() -> None:
    alice = waiting_alice()
    assert tell(alice, frame_of(hello_of(BOB))) is None
    assert alice.effects[0] == fx.Authenticated(BOB.certificate)
    assert alice.session.peer == BOB.certificate


def test_anybody_may_come_when_an_invitation_brought_us_together() -> None:
    assert tell(waiting_alice(expected=None), frame_of(hello_of(CAROL))) is None


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        (hello_of(CAROL), "another device"),
        (hello_of(BOB, transcript=OTHER_TRANSCRIPT), "another channel"),
        (hello_of(BOB, role=OFFERER), "another channel"),
        (
            Hello((1,), BOB.certificate.raw, ANSWERER, TRANSCRIPT, hello_of(CAROL).signature, {0: 1 << 20}),
            "not signed",
        ),
        (
            Hello(
                (1,),
                BOB.certificate.raw,
                ANSWERER,
                TRANSCRIPT,
                hello_of(BOB, transcript=OTHER_TRANSCRIPT).signature,
                {},
            ),
            "not signed",
        ),
        (
            Hello((1,), BOB.certificate.raw[:-1] + b"x", ANSWERER, TRANSCRIPT, hello_of(BOB).signature, {}),
            "certificate",
        ),
    ],
)
def test_a_hello_that_does_not_fit_ends_the_session(hello: Hello, why: str) -> None:
    alice = waiting_alice()
    closed = tell(alice, frame_of(hello))
    assert closed is not None
    assert why in closed.reason
    assert closed.is_peer_fault
    assert not alice.seen(fx.Authenticated)


def test_an_unknown_stranger_is_told_a_number_and_no_reason() -> None:
    alice = waiting_alice()
    alice.session.next_frames(1 << 20)
    tell(alice, frame_of(hello_of(CAROL)))
    (frame,) = alice.session.next_frames(1 << 20)
    received = Mux().receive(frame)
    assert received is not None
    assert decode_message(received.stream, received.message).reason == ""  # type: ignore[union-attr]


def test_my_own_device_at_the_other_end_is_a_cloned_machine() -> None:
    alice = waiting_alice(expected=None)
    closed = tell(alice, frame_of(hello_of(ALICE)))
    assert closed is not None
    assert "cloned" in closed.reason
    assert not closed.is_peer_fault


def test_versions_and_limits_that_do_not_meet_end_without_fault() -> None:
    for hello in (
        Hello((2, 9), BOB.certificate.raw, ANSWERER, TRANSCRIPT, hello_of(BOB).signature, {}),
        Hello((1,), BOB.certificate.raw, ANSWERER, TRANSCRIPT, hello_of(BOB).signature, {0: 1024}),
    ):
        closed = tell(waiting_alice(), frame_of(hello))
        assert closed is not None
        assert not closed.is_peer_fault


def test_our_own_hello_reflected_is_refused() -> None:
    alice = waiting_alice()
    (mine,) = alice.session.next_frames(1 << 20)
    closed = tell(alice, mine)
    assert closed is not None
    assert closed.is_peer_fault


def test_the_frames_of_an_earlier_session_are_worth_nothing() -> None:
    old, alice, bob = pair(shared_space(ALICE, BOB), shared_space(ALICE, BOB))
    old.start().until(lambda: alice.phase() is bob.phase() is Phase.LIVE)
    replayed = [frame for sender, frame in old.frames if sender == 1]
    fresh = Side(ALICE, is_offerer=True, expected=BOB.device_id, transcript=OTHER_TRANSCRIPT)
    fresh.perform(fresh.session.start(0.0), 0.0)
    for frame in replayed:
        tell(fresh, frame)
    assert fresh.closed is not None
    assert not fresh.seen(fx.Authenticated)
    assert [type(effect) for effect in fresh.effects] == [fx.Closed]


def test_frames_repeated_inside_a_session_end_it_or_change_nothing() -> None:
    wire, alice, bob = pair(shared_space(ALICE, BOB), shared_space(ALICE, BOB))
    wire.start().until(lambda: alice.phase() is bob.phase() is Phase.LIVE)
    alice.write("a", b"once", now=wire.now)
    wire.run(1)
    before = dict(bob.spaces[next(iter(bob.spaces))].logs)
    for sender, frame in list(wire.frames):
        if sender == 0 and bob.closed is None:
            tell(bob, frame, wire.now)
    assert bob.spaces[next(iter(bob.spaces))].logs == before


def test_nothing_is_read_before_hello() -> None:
    for message in (Ping(1), Spaces(())):
        closed = tell(waiting_alice(), frame_of(message))
        assert closed is not None
        assert closed.is_peer_fault


def test_a_second_hello_is_refused() -> None:
    alice = waiting_alice()
    tell(alice, frame_of(hello_of(BOB)))
    assert tell(alice, frame_of(hello_of(BOB))) is not None


def test_who_says_nothing_is_dropped_after_ten_seconds() -> None:
    alice = waiting_alice()
    assert alice.session.next_wake() == 10.0
    alice.perform(alice.session.wake(9.9), 9.9)
    assert alice.closed is None
    alice.perform(alice.session.wake(10.0), 10.0)
    assert alice.closed is not None


def test_a_stranger_may_send_eight_kibibytes_and_no_more() -> None:
    alice = waiting_alice()
    fragment = encode_frame(Kind.HELLO, Stream.SESSION, bytes(4000), has_more=True)
    assert tell(alice, fragment) is None
    assert tell(alice, fragment) is None
    closed = tell(alice, fragment)
    assert closed is not None
    assert closed.is_peer_fault


def test_a_hello_over_its_limit_is_refused() -> None:
    message = Message(Kind.HELLO, encode_message(hello_of(BOB)).payload + bytes(4096))
    frame = encode_frame(message.kind, Stream.SESSION, message.payload)
    assert tell(waiting_alice(), frame) is not None


def test_tags_say_nothing_outside_their_session_direction_and_space() -> None:
    key, space = b"k" * 32, shared_space(ALICE).space_id
    tags = {
        space_tag(key, TRANSCRIPT, OFFERER, space),
        space_tag(key, TRANSCRIPT, ANSWERER, space),
        space_tag(key, OTHER_TRANSCRIPT, OFFERER, space),
        space_tag(b"x" * 32, TRANSCRIPT, OFFERER, space),
        space_tag(key, TRANSCRIPT, OFFERER, type(space)(bytes(32))),
    }
    assert len(tags) == 5


@pytest.mark.parametrize(("count", "padded"), [(0, 4), (4, 4), (5, 8), (100, 128), (5000, 1024)])
def test_the_number_of_spaces_shows_only_as_a_power_of_two(count: int, padded: int) -> None:
    counter = iter(range(1 << 20))
    real = [hashlib.sha256(b"%d" % n).digest()[:16] for n in range(count)]
    out = pad_and_shuffle(real, lambda n: hashlib.shake_256(next(counter).to_bytes(4, "big")).digest(n))
    assert len(out) == padded
    assert len(set(real) & set(out)) == min(count, 1024)
    if count > 8:
        assert [tag for tag in out if tag in set(real)] != real[: len(out)]


def test_two_sessions_with_one_person_in_the_middle_do_not_open() -> None:
    """Unknown key-share: Mallory relays HELLOs between two channels of her own."""
    alice = Side(ALICE, is_offerer=True, expected=None, transcript=TRANSCRIPT)
    bob = Side(BOB, is_offerer=False, expected=None, transcript=OTHER_TRANSCRIPT)
    Wire(alice, bob).start().run(1)
    assert alice.closed is not None
    assert bob.closed is not None
    assert alice.seen(fx.Authenticated) == bob.seen(fx.Authenticated) == []
