"""Every decoder of the space is total: a whole value or a ProtocolViolation."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import DeviceId, DocId, EpochId, LogId, OpId, SpaceId
from sheaf.core.crypto.hashing import domain_bytes
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.crypto.sealing import encrypt
from sheaf.core.space.control_op import decode_op, encode_op, op_id_of
from sheaf.core.space.envelope import Dep, build_envelope, open_envelope, parse_envelope, position_prefix
from sheaf.core.space.log_genesis import decode_log_genesis, make_log_genesis
from sheaf.core.space.log_set import LogHead
from sheaf.core.space.op_bodies import (
    BODY_TYPES,
    OP_TYPES,
    Accept,
    Admit,
    Body,
    ChangeRole,
    DevAdd,
    DevRevoke,
    Epoch,
    Genesis,
    Invite,
    InviteKind,
    InviteRevoke,
    Keybox,
    OpType,
    Prefs,
    Remove,
)
from sheaf.core.space.payload import (
    PART_BYTES,
    PartBuffer,
    Payload,
    PayloadItem,
    PayloadKind,
    decode_payload,
    encode_payload,
    split_into_parts,
)
from sheaf.core.space.preferences import Preferences, open_preferences, seal_preferences
from sheaf.core.space.roles import Role
from sheaf.core.space.run import LogState, Run
from sheaf.core.wire import cbor

entropy = random.Random(7).randbytes
USER, DEVICE = UserKeys.generate(entropy), DeviceKeys.generate(entropy)
CERTIFICATE = DeviceCertificate.issue(USER, DEVICE, name="laptop", user_name="Alice", created_ms=1)
SPACE, LOG, OP = SpaceId(b"s" * 32), LogId(b"l" * 16), OpId(b"o" * 32)
EPOCH, DOC = EpochId(b"e" * 16), DocId(b"d" * 16)
KEYS = SpaceKeys(b"E" * 32, SPACE)
GENESIS = make_log_genesis(
    DEVICE, CERTIFICATE, space_id=SPACE, auth=[OP, OpId(b"p" * 32)], created_ms=5, entropy=entropy
)

BODIES: list[Body] = [
    Genesis(CERTIFICATE, b"r" * 16),
    Admit(USER.user_id, Role.EDITOR, (CERTIFICATE,)),
    Admit(USER.user_id, Role.OWNER, (CERTIFICATE,), OP, b"p" * 64),
    Remove(OP, ((LOG, 5), (LogId(b"m" * 16), 0))),
    ChangeRole(OP, Role.READER, ((LOG, 1),)),
    DevAdd(CERTIFICATE),
    DevRevoke(OP, DeviceId(b"d" * 32), ()),
    DevRevoke(OP, DeviceId(b"d" * 32), ((LOG, 9),), b"u" * 64),
    Epoch(3, b"c" * 32, ((b"hinthint", b"b" * 80),), ((EPOCH, b"w" * 48),)),
    Keybox(EPOCH, DeviceId(b"d" * 32), b"b" * 80),
    Invite(b"i" * 32, InviteKind.MEMBER, Role.EDITOR, 3, None),
    Invite(b"i" * 32, InviteKind.DEVICE, Role.OWNER, 1, 99),
    InviteRevoke(OP),
    Accept(LOG, 7),
    Prefs(EPOCH, b"sealed"),
]


def op_of(body: Body) -> bytes:
    is_genesis = isinstance(body, Genesis)
    return encode_op(
        DEVICE,
        body,
        space_id=None if is_genesis else SPACE,
        parents=() if is_genesis else (OpId(b"b" * 32), OpId(b"a" * 32)),
        admission=None if is_genesis else OP,
        hlc_ms=42,
    )


def an_envelope() -> bytes:
    return build_envelope(
        DEVICE,
        KEYS.log_cipher(LOG),
        prefix=position_prefix(SPACE, LOG),
        seq=1,
        previous=bytes(32),
        auth=(OpId(b"a" * 32), OpId(b"b" * 32)),
        epoch=EPOCH,
        deps=[Dep(LogId(b"z" * 16), 300, b"12345678"), Dep(LogId(b"a" * 16), 1, b"abcdefgh")],
        salt=b"salt",
        plaintext=b"text",
    )


def a_state() -> LogState:
    head = LogHead(GENESIS)
    head.append([b"1" * 32, b"2" * 32])
    head.epoch = EPOCH
    head.parts = PartBuffer()
    head.parts.take(split_into_parts(PayloadItem(DOC, PayloadKind.UPDATE, bytes(PART_BYTES + 1)))[0])
    return head.state()


SAMPLES: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    **{f"op {type(body).__name__} {n}": (op_of(body), decode_op) for n, body in enumerate(BODIES)},
    "log genesis": (GENESIS.raw, decode_log_genesis),
    "envelope": (an_envelope(), parse_envelope),
    "payload": (
        encode_payload(Payload(5, (PayloadItem(DOC, PayloadKind.UPDATE, b"u"),), "guest")),
        decode_payload,
    ),
    "run": (Run(LOG, 3, GENESIS.raw, (b"one", b"two")).encode(), Run.decode),
    "log state": (a_state().state, lambda raw: LogHead.restore(LogState(LOG, GENESIS.raw, 3, raw))),
}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_every_op_survives_a_round_trip(body: Body) -> None:
    op = decode_op(op_of(body))
    assert op.body == body or isinstance(body, Remove)
    assert op.type is OP_TYPES[type(body)]
    assert op.op_id == op_id_of(op.raw)
    assert op.device_id == DEVICE.device_id
    assert op.hlc_ms == 42
    assert list(op.parents) == sorted(op.parents)
    assert decode_op(op.raw, is_trusted=True) == op


def test_there_is_a_body_for_every_type() -> None:
    assert set(BODY_TYPES) == set(OpType)
    assert {type(body) for body in BODIES} == set(BODY_TYPES.values())


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_decode(name: str) -> None:
    raw, decode = SAMPLES[name]
    decode(raw)


@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_damaged_messages_give_a_value_or_a_protocol_violation(name: str, data: st.DataObject) -> None:
    raw, decode = SAMPLES[name]
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for candidate in (bytes(damaged), bytes(damaged[:cut]), bytes(damaged) + bytes(damaged[:cut])):
        try:
            decode(candidate)
        except ProtocolViolation:
            continue


@pytest.mark.parametrize("name", SAMPLES)
@given(raw=st.binary(max_size=400))
@settings(max_examples=40, deadline=None)
def test_arbitrary_bytes_give_a_value_or_a_protocol_violation(name: str, raw: bytes) -> None:
    try:
        SAMPLES[name][1](raw)
    except ProtocolViolation:
        return


@given(
    kind=st.sampled_from(list(OpType)),
    body=st.dictionaries(
        st.integers(0, 5),
        st.integers(0, 3)
        | st.binary(max_size=2)
        | st.sampled_from([b"o" * 32, b"l" * 16, CERTIFICATE.raw, b"p" * 64])
        | st.lists(st.sampled_from([[b"l" * 16, 1], [b"l" * 16], 5, CERTIFICATE.raw]), max_size=2),
        max_size=5,
    ),
)
@settings(max_examples=200, deadline=None)
def test_signed_nonsense_is_an_op_or_a_wire_error(kind: OpType, body: dict[int, object]) -> None:
    fields = {0: int(kind), 1: SPACE, 2: [OP], 3: OP, 4: body, 5: 0, 6: DEVICE.device_id}
    if kind is OpType.GENESIS:
        fields = {0: 0, 2: [], 4: body, 5: 0, 6: DEVICE.device_id}
    signed = cbor.encode(fields)
    raw = signed + DEVICE.sign(domain_bytes("op", signed))
    try:
        op = decode_op(raw)
    except WireError:
        return
    assert op.type is kind


# --------------------------------------------------------------------------- single rules


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(ChangeRole(OP, Role.OWNER, ()), id="promotion to owner"),
        pytest.param(Invite(b"i" * 32, InviteKind.MEMBER, Role.OWNER, 1, None), id="owners by invitation"),
        pytest.param(Invite(b"i" * 32, InviteKind.MEMBER, Role.READER, 0, None), id="invitation for nobody"),
        pytest.param(Admit(USER.user_id, Role.READER, ()), id="admission without device"),
        pytest.param(Admit(USER.user_id, Role.READER, (CERTIFICATE, CERTIFICATE)), id="one device twice"),
        pytest.param(
            Admit(UserKeys(b"x" * 32).user_id, Role.READER, (CERTIFICATE,)), id="somebody else's device"
        ),
        pytest.param(Genesis(CERTIFICATE, b"r" * 16, 2), id="unknown suite"),
        pytest.param(Remove(OP, ((LOG, 1), (LOG, 2))), id="one log cut twice"),
    ],
)
def test_ops_that_mean_nothing_are_refused(body: Body) -> None:
    with pytest.raises(WireError):
        decode_op(op_of(body))


def test_a_genesis_is_by_the_device_it_names() -> None:
    other = DeviceKeys.generate(entropy)
    raw = encode_op(
        other, Genesis(CERTIFICATE, b"r" * 16), space_id=None, parents=(), admission=None, hlc_ms=0
    )
    with pytest.raises(WireError, match="founder"):
        decode_op(raw)


def test_an_envelope_opens_at_its_position_only() -> None:
    raw = an_envelope()
    envelope = parse_envelope(raw)
    assert [dep.seq for dep in envelope.deps] == [1, 300]
    prefix = position_prefix(SPACE, LOG)
    assert open_envelope(envelope, KEYS.log_cipher(LOG), prefix=prefix, seq=1) == b"text"
    elsewhere = position_prefix(SPACE, LogId(b"m" * 16))
    for where, seq in ((prefix, 2), (elsewhere, 1)):
        with pytest.raises(ProtocolViolation):
            open_envelope(envelope, KEYS.log_cipher(LOG), prefix=where, seq=seq)


def test_an_envelope_with_unknown_flags_is_refused() -> None:
    raw = bytearray(an_envelope())
    raw[0] |= 8
    with pytest.raises(WireError, match="flags"):
        parse_envelope(bytes(raw))


def test_a_log_genesis_by_another_device_or_without_heads_is_refused() -> None:
    other = DeviceKeys.generate(entropy)
    signed = GENESIS.raw[:-64]
    with pytest.raises(ProtocolViolation):
        decode_log_genesis(signed + other.sign(domain_bytes("log genesis", signed)))
    with pytest.raises(WireError):
        make_log_genesis(DEVICE, CERTIFICATE, space_id=SPACE, auth=[], created_ms=1, entropy=entropy)


def test_runs_begin_at_one() -> None:
    with pytest.raises(WireError):
        Run.decode(Run(LOG, 0, None, ()).encode())


# --------------------------------------------------------------------------- parts


@given(st.integers(PART_BYTES + 1, 4 * PART_BYTES))
@settings(max_examples=10, deadline=None)
def test_parts_come_together_again(size: int) -> None:
    item = PayloadItem(DOC, PayloadKind.CHECKPOINT, random.Random(size).randbytes(size))
    buffer = PartBuffer()
    whole = [buffer.take(part) for part in split_into_parts(item)]
    assert whole[-1] == item
    assert whole[:-1] == [None] * (len(whole) - 1)
    assert not buffer.is_open


def test_parts_out_of_order_are_refused_and_the_chain_dropped() -> None:
    parts = split_into_parts(PayloadItem(DOC, PayloadKind.UPDATE, bytes(3 * PART_BYTES)))
    buffer = PartBuffer()
    buffer.take(parts[0])
    with pytest.raises(WireError):
        buffer.take(parts[2])
    assert not buffer.is_open
    with pytest.raises(WireError):
        buffer.take(parts[1])


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_arbitrary_parts_are_taken_or_refused(datas: list[bytes]) -> None:
    buffer = PartBuffer()
    for data in datas:
        try:
            buffer.take(PayloadItem(DOC, PayloadKind.PART, data))
        except WireError:
            assert not buffer.is_open


def test_parts_inside_parts_and_bombs_are_refused() -> None:
    for head in (b"\x03\x00\x02", b"\x09\x00\x02", b"\x00\x00\x00", b"\x00\x00\xff\x7f"):
        with pytest.raises(WireError):
            PartBuffer().take(PayloadItem(DOC, PayloadKind.PART, head + b"x"))


# --------------------------------------------------------------------------- preferences


def test_preferences_survive_a_round_trip_and_open_with_their_key_only() -> None:
    wanted = Preferences("Garden", ("wss://relay.example",), 30)
    sealed = seal_preferences(wanted, EPOCH, KEYS, entropy)
    assert open_preferences(sealed, KEYS) == wanted
    with pytest.raises(ProtocolViolation):
        open_preferences(sealed, SpaceKeys(b"F" * 32, SPACE))


@given(st.binary(max_size=60))
def test_arbitrary_preferences_are_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        open_preferences(Prefs(EPOCH, raw), KEYS)


@given(
    st.dictionaries(
        st.integers(0, 3),
        st.integers(-9, 9) | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=9),
    )
)
@settings(deadline=None)
def test_sealed_nonsense_is_preferences_or_a_wire_error(fields: dict[int, object]) -> None:

    nonce = bytes(12)
    sealed = Prefs(EPOCH, nonce + encrypt(KEYS.prefs_key, nonce, _encoded(fields), EPOCH))
    try:
        open_preferences(sealed, KEYS)
    except WireError:
        return


def _encoded(fields: dict[int, object]) -> bytes:
    try:
        return cbor.encode(fields)
    except UnicodeEncodeError:
        return b""
