"""A hostile member: whatever it sends, only `Closed` comes of it, in bounded memory (FAULTS N7, N9)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DocId, LogId, OpId, SpaceId
from sheaf.core.base.limits import CREDIT_LIVE_BYTES, LOGS_MAX
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol import messages as ms
from sheaf.core.protocol.effects import Phase
from sheaf.core.protocol.handshake import ANSWERER, make_hello, space_tag
from sheaf.core.protocol.message_codec import decode_message, encode_message
from sheaf.core.protocol.messages import AnyMessage
from sheaf.core.protocol.mux import Message, Mux
from sheaf.core.protocol.version_vector import version_digest
from sheaf.core.space.run import Run
from sheaf.core.wire.frames import Stream, decode_frame, encode_frame
from tests.unit.core.protocol.pretend_wire import (
    ALICE,
    BOB,
    SPACE,
    TRANSCRIPT,
    Side,
    log_named,
    make_op,
    op_id_of,
    pair,
    shared_space,
)

HOME = {
    ms.Hello: Stream.SESSION,
    ms.Spaces: Stream.SESSION,
    ms.Ping: Stream.SESSION,
    ms.Pong: Stream.SESSION,
    ms.Bye: Stream.SESSION,
    ms.Err: Stream.SESSION,
    ms.RunOf: Stream.LIVE,
    ms.Done: Stream.CATCH_UP,
    ms.Eph: Stream.AWARENESS,
}


class Attacker:
    """Bob's keys with a will of their own: talks to a real session of Alice's."""

    def __init__(self, *, is_greeting: bool = True) -> None:
        space = shared_space(ALICE, BOB)
        space.write(log_named("a"), b"alice's")
        self.alice = Side(ALICE, is_offerer=True, spaces=[space], expected=BOB.device_id)
        self.now = 50.0
        self.mux = Mux()
        self.alice.perform(self.alice.session.start(self.now), self.now)
        if is_greeting:
            hello = make_hello(
                role=ANSWERER, device=BOB.device, certificate=BOB.certificate, transcript=TRANSCRIPT
            )
            self.say(hello)
            tag = space_tag(b"k" * 32, TRANSCRIPT, ANSWERER, SPACE)
            self.say(ms.Spaces((tag,)))
            self.say(ms.Open(0, tag))

    def say(self, message: AnyMessage) -> None:
        self.mux.queue(HOME.get(type(message), Stream.CONTROL), encode_message(message))
        self.flush()

    def flush(self) -> None:
        for frame in self.mux.next_frames(1 << 30):
            self.deliver(frame)

    def deliver(self, frame: bytes) -> None:
        self.alice.perform(self.alice.session.receive(frame, self.now), self.now)
        for answer in self.alice.session.next_frames(1 << 30):
            self.mux.receive(answer)
        self.now += 0.001

    @property
    def closed(self) -> fx.Closed | None:
        return self.alice.closed


def go_live(attacker: Attacker) -> None:
    attacker.say(ms.CtlHeads(0, tuple(attacker.alice.spaces[SPACE].control_heads()), True))
    attacker.say(ms.VersionIs(0, version_digest({}), {}, None))
    attacker.say(ms.Plan(0, 0, 0))
    attacker.say(ms.Done(0))
    assert attacker.alice.phase() is Phase.LIVE


def run_of(name: str, first: int, *envelopes: bytes) -> ms.RunOf:
    genesis = b"genesis " + log_named(name) if first == 1 else None
    return ms.RunOf(0, Run(log_named(name), first, genesis, envelopes))


def test_the_attackers_harness_can_behave() -> None:
    attacker = Attacker()
    go_live(attacker)
    attacker.say(run_of("b", 1, b"fine"))
    assert attacker.alice.spaces[SPACE].logs[log_named("b")] == [b"fine"]
    assert attacker.closed is None


# --------------------------------------------------------------------------- out of turn


@pytest.mark.parametrize(
    "message",
    [
        ms.CtlHeads(1, (), True),
        ms.Open(0, b"t" * 16),
        ms.VersionWant(0),
        ms.VersionIs(0, b"d" * 16, {log_named("x"): 2}, None),
        ms.Agree(0, b"d" * 16, is_reply=False),
        ms.Pong(99),
        ms.JoinAnswer(SPACE, True, (), False, ""),
        ms.Join(b"junk"),
        ms.Hello((1,), b"c", 1, bytes(32), bytes(64), {}),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_that_is_illegal_here_is_fatal(message: AnyMessage) -> None:
    attacker = Attacker()
    attacker.say(message)
    assert attacker.closed is not None
    assert attacker.closed.is_peer_fault


@pytest.mark.parametrize(
    "message", [ms.Plan(0, 0, 0), ms.Done(0), ms.VersionIs(0, version_digest({}), {}, None)]
)
def test_what_is_said_once_may_not_be_said_twice(message: AnyMessage) -> None:
    attacker = Attacker()
    go_live(attacker)
    attacker.say(message)
    assert attacker.closed is not None
    assert attacker.closed.is_peer_fault


def test_content_from_somebody_who_was_told_nothing_is_fatal() -> None:
    attacker = Attacker(is_greeting=False)
    attacker.alice.spaces[SPACE].members.discard(BOB.device_id)
    hello = make_hello(role=ANSWERER, device=BOB.device, certificate=BOB.certificate, transcript=TRANSCRIPT)
    tag = space_tag(b"k" * 32, TRANSCRIPT, ANSWERER, SPACE)
    for message in (hello, ms.Spaces((tag,)), ms.Open(0, tag), run_of("b", 1, b"x")):
        attacker.say(message)
    assert attacker.closed is not None
    assert attacker.closed.is_peer_fault


def test_a_message_on_the_wrong_stream_is_fatal() -> None:
    attacker = Attacker()
    encoded = encode_message(ms.Done(0))
    attacker.deliver(encode_frame(encoded.kind, Stream.BULK, encoded.payload))
    assert attacker.closed is not None


def test_a_refused_run_or_op_ends_the_session_as_the_peers_fault() -> None:
    attacker = Attacker()
    attacker.alice.is_slow = True
    attacker.say(ms.CtlOps(0, (b"|bad",)))
    store = attacker.alice.busy.pop()
    assert isinstance(store, fx.StoreOps)
    effects = attacker.alice.session.ops_stored(store.token, attacker.now, refused="not signed")
    assert effects == [fx.Closed("not signed", is_peer_fault=True)]


# --------------------------------------------------------------------------- too much


def test_more_logs_than_a_space_may_have_are_refused() -> None:
    attacker = Attacker()
    go_live(attacker)
    for start in range(0, LOGS_MAX + 8192, 8192):
        names = {LogId(number.to_bytes(16, "big")): 2 for number in range(start, start + 8192)}
        attacker.say(ms.Ack(0, names))
    assert attacker.closed is not None
    assert attacker.closed.is_peer_fault


def test_runs_beyond_credit_are_refused_while_the_disk_is_slow() -> None:
    attacker = Attacker()
    go_live(attacker)
    attacker.alice.is_slow = True
    encoded = encode_message(run_of("b", 1, bytes(15_000)))
    frame = encode_frame(encoded.kind, Stream.LIVE, encoded.payload)
    for _ in range(CREDIT_LIVE_BYTES // 15_000 + 2):
        attacker.deliver(frame)
    assert attacker.closed is not None
    assert "credit" in attacker.closed.reason
    assert len(attacker.alice.busy) <= CREDIT_LIVE_BYTES // 15_000


def test_pings_without_end_leave_one_pong_queued() -> None:
    attacker = Attacker()
    encoded = encode_message(ms.Ping(7))
    for _ in range(5000):
        frame = encode_frame(encoded.kind, Stream.SESSION, encoded.payload)
        attacker.alice.perform(attacker.alice.session.receive(frame, attacker.now), attacker.now)
    assert attacker.alice.session._mux.queued_bytes(Stream.SESSION) < 200


def test_a_flood_of_awareness_is_thinned() -> None:
    attacker = Attacker()
    go_live(attacker)
    for number in range(20_000):
        doc_id = DocId((number % 5000).to_bytes(16, "big"))
        attacker.say(ms.Eph(0, doc_id, number + 1, b"x"))
        attacker.now -= 0.001
    assert len(attacker.alice.seen(fx.Ephemeral)) <= 200


def test_old_awareness_is_not_shown_again() -> None:
    attacker = Attacker()
    go_live(attacker)
    doc_id = DocId(bytes(16))
    for counter in (5, 5, 4, 6):
        attacker.say(ms.Eph(0, doc_id, counter, b"%d" % counter))
    assert [effect.data for effect in attacker.alice.seen(fx.Ephemeral)] == [b"5", b"6"]


def test_asking_again_and_again_for_runs_is_not_obeyed_for_ever() -> None:
    attacker = Attacker()
    go_live(attacker)
    for _ in range(3000):
        attacker.say(ms.RunWant(0, {log_named("a"): 1}))
    assert attacker.closed is None
    assert len(attacker.alice.seen(fx.ReadRun)) < 100


# --------------------------------------------------------------------------- anything at all

handles = st.integers(0, 2)
names = st.sampled_from([log_named(name) for name in "abc"])
versions = st.dictionaries(names, st.integers(0, 6), max_size=3)
op_raws = st.sampled_from([make_op("genesis"), make_op("one", make_op("genesis"))])
op_ids = st.lists(op_raws.map(op_id_of) | st.just(OpId(bytes(32))), max_size=3).map(tuple)
reasons = st.text(st.characters(categories=["L"]), max_size=5)
tags = st.sampled_from([space_tag(b"k" * 32, TRANSCRIPT, ANSWERER, SPACE), bytes(16)])


def honest_version(handle: int, version: dict[LogId, int], *, with_base: bool) -> ms.VersionIs:
    version = {log_id: seq for log_id, seq in version.items() if seq}
    return ms.VersionIs(handle, version_digest(version), version, b"b" * 16 if with_base else None)


any_message: st.SearchStrategy[AnyMessage] = st.one_of(
    st.builds(ms.Ping, st.integers(0, 9)),
    st.builds(ms.Pong, st.integers(0, 2)),
    st.builds(ms.Spaces, st.lists(tags, max_size=3).map(tuple)),
    st.builds(ms.Open, handles, tags),
    st.builds(ms.Close, handles),
    st.builds(ms.CtlHeads, handles, op_ids, st.booleans()),
    st.builds(ms.CtlWant, handles, op_ids),
    st.builds(ms.CtlOps, handles, st.just((make_op("one", make_op("genesis")),))),
    st.builds(honest_version, handles, versions, with_base=st.booleans()),
    st.builds(ms.VersionWant, handles),
    st.builds(ms.Plan, handles, st.integers(0, 9), st.integers(0, 9)),
    st.builds(
        lambda handle, log_id, first, count: ms.RunOf(
            handle,
            Run(log_id, first, b"genesis " + log_id if first == 1 else None, tuple([b"e"] * count)),
        ),
        handles,
        names,
        st.integers(1, 4),
        st.integers(1, 3),
    ),
    st.builds(ms.RunWant, handles, versions),
    st.builds(ms.Done, handles),
    st.builds(ms.Ack, handles, versions),
    st.builds(ms.Agree, handles, st.binary(min_size=16, max_size=16), st.booleans()),
    st.builds(ms.Eph, handles, st.just(DocId(bytes(16))), st.integers(0, 5), st.binary(max_size=9)),
    st.builds(ms.Join, st.binary(min_size=1, max_size=30)),
    st.builds(ms.JoinAnswer, st.just(SPACE), st.booleans(), st.just(()), st.booleans(), reasons),
    st.builds(ms.Bye, reasons),
    st.builds(ms.Err, st.integers(0, 9), reasons),
)


@settings(max_examples=400)
@given(st.lists(any_message, max_size=25), st.booleans(), st.booleans())
def test_legal_messages_in_any_order_only_ever_close_the_session(
    script: list[AnyMessage], is_live: bool, is_slow: bool
) -> None:
    attacker = Attacker()
    if is_live:
        go_live(attacker)
    attacker.alice.is_slow = is_slow
    for message in script:
        attacker.say(message)
        if attacker.closed is not None:
            break
    attacker.alice.commit(attacker.now)
    attacker.alice.perform(attacker.alice.session.wake(attacker.now + 5), attacker.now + 5)
    due = attacker.alice.session.next_wake()
    assert attacker.closed is not None or due is not None
    assert attacker.alice.spaces[SPACE].logs[log_named("a")][0] == b"alice's"


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=300), max_size=15), st.booleans())
def test_random_bytes_only_ever_close_the_session(frames: list[bytes], is_greeted: bool) -> None:
    attacker = Attacker(is_greeting=is_greeted)
    for frame in frames:
        attacker.alice.perform(attacker.alice.session.receive(frame, attacker.now), attacker.now)
    assert attacker.closed is None or attacker.closed.is_peer_fault


@settings(max_examples=300)
@given(st.sampled_from(list(ms.Kind)), st.sampled_from(list(Stream)), st.binary(max_size=120))
def test_random_payloads_of_every_type_only_ever_close_the_session(
    kind: ms.Kind, stream: Stream, payload: bytes
) -> None:
    attacker = Attacker()
    attacker.deliver(encode_frame(kind, stream, payload))
    if attacker.closed is not None and kind not in (ms.Kind.BYE, ms.Kind.ERR):
        assert attacker.closed.is_peer_fault


@settings(max_examples=150)
@given(st.randoms(use_true_random=False))
def test_honest_frames_mutated_on_the_way_only_ever_close_the_session(chance: random.Random) -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    left.write(log_named("a"), *(b"%d" % number for number in range(50)))
    left.add_op(make_op("more", make_op("genesis")))
    wire, alice, bob = pair(left, right)
    target = chance.randint(0, 20)
    seen = 0

    def tamper(sender: int, frame: bytes) -> list[bytes]:
        nonlocal seen
        if sender == 1:
            return [frame]
        seen += 1
        if seen != target:
            return [frame]
        match chance.randint(0, 4):
            case 0:
                return []
            case 1:
                return [frame, frame]
            case 2:
                return [frame[: chance.randint(0, len(frame))]]
            case 3:
                return [chance.randbytes(len(frame))]
        place = chance.randrange(len(frame))
        return [frame[:place] + bytes([frame[place] ^ 1 << chance.randrange(8)]) + frame[place + 1 :]]

    wire.tamper = tamper
    wire.start().run(30)
    for side in (alice, bob):
        assert side.closed is None or side.closed.reason


# --------------------------------------------------------------------------- decoders


@given(any_message)
def test_every_message_is_read_back_as_it_was_written(message: AnyMessage) -> None:
    stream = HOME.get(type(message), Stream.CONTROL)
    assert decode_message(stream, encode_message(message)) == message


@settings(max_examples=500)
@given(st.sampled_from(list(ms.Kind)), st.sampled_from(list(Stream)), any_message, st.data())
def test_the_decoder_is_total(
    kind: ms.Kind, stream: Stream, message: AnyMessage, data: st.DataObject
) -> None:
    payload = bytearray(encode_message(message).payload)
    for _ in range(data.draw(st.integers(0, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_message(stream, Message(kind, bytes(payload)))
    except WireError:
        return


def test_ten_thousand_mutated_messages_are_refused_or_read_whole(seeded_random: random.Random) -> None:
    left, right = shared_space(ALICE, BOB), shared_space(ALICE, BOB)
    left.write(log_named("a"), *(b"%d" % number for number in range(50)))
    left.add_op(make_op("more", make_op("genesis")))
    wire, _, _ = pair(left, right)
    wire.start().run(30)
    corpus = [decode_frame(frame) for _, frame in wire.frames]
    read = 0
    for _ in range(10_000):
        frame = seeded_random.choice(corpus)
        payload = bytearray(frame.payload)
        for _ in range(seeded_random.randint(1, 3)):
            match seeded_random.randint(0, 3):
                case 0 if payload:
                    payload[seeded_random.randrange(len(payload))] ^= 1 << seeded_random.randrange(8)
                case 1:
                    del payload[seeded_random.randint(0, len(payload)) :]
                case 2:
                    place = seeded_random.randint(0, len(payload))
                    payload[place:place] = seeded_random.randbytes(seeded_random.randint(1, 9))
                case _ if payload:
                    payload[seeded_random.randrange(len(payload))] = seeded_random.randrange(256)
        try:
            message = decode_message(frame.stream, Message(frame.kind, bytes(payload)))
        except WireError:
            continue
        read += 1
        assert encode_message(message).payload == bytes(payload)
    assert 0 < read < 5000


def test_space_ids_are_not_told_to_strangers() -> None:
    attacker = Attacker(is_greeting=False)
    sent = b"".join(attacker.alice.session.next_frames(1 << 20))
    assert bytes(SpaceId(SPACE)) not in sent
