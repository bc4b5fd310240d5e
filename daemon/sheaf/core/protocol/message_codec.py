"""The bytes of session messages (PROTOCOL §5).

`encode_message` gives type and payload; `decode_message` is total: a whole message on a stream
it may use, or `WireError`. CBOR with integer keys, but for RUN: `handle u16 ‖ run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final, TypeVar

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DeviceId, DocId, LogId, OpId, SpaceId
from sheaf.core.base.limits import AWARENESS_BYTES_MAX, CONTROL_OP_BYTES_MAX, HELLO_BYTES_MAX
from sheaf.core.protocol.messages import (
    HEADS_MAX,
    JOIN_REQUEST_BYTES_MAX,
    OPS_PER_MESSAGE_MAX,
    REASON_BYTES_MAX,
    RECEIPT_HEADS_MAX,
    RECEIPTS_PER_MESSAGE_MAX,
    SPACES_MAX,
    TAG_BYTES,
    Ack,
    Agree,
    AnyMessage,
    Bye,
    Close,
    CtlHeads,
    CtlOps,
    CtlWant,
    Done,
    Eph,
    Err,
    Hello,
    Join,
    JoinAnswer,
    Kind,
    Open,
    Ping,
    Plan,
    Pong,
    ReceiptHeads,
    Receipts,
    RunOf,
    RunWant,
    Spaces,
    VersionIs,
    VersionWant,
)
from sheaf.core.protocol.mux import STREAM_MESSAGE_BYTES_MAX, Message
from sheaf.core.protocol.receipt import RECEIPT_BYTES_MAX
from sheaf.core.protocol.version_vector import VERSION_DIGEST_BYTES, decode_entries, encode_entries
from sheaf.core.space.run import Run
from sheaf.core.wire import cbor
from sheaf.core.wire.frames import Stream
from sheaf.core.wire.shape import Fields, as_bytes, as_uint

# --------------------------------------------------------------------------- encoding


def encode_message(message: AnyMessage) -> Message:
    """The type and payload of a message."""
    if isinstance(message, RunOf):
        return Message(Kind.RUN, message.handle.to_bytes(2, "big") + message.run.encode())
    kind, body = _body(message)
    return Message(kind, cbor.encode(body))


def _body(message: AnyMessage) -> tuple[Kind, dict[int, object]]:
    match message:
        case Hello(versions, certificate, role, transcript, signature, limits):
            return Kind.HELLO, {
                0: list(versions),
                1: certificate,
                2: transcript,
                3: signature,
                4: dict(limits),
                5: role,
            }
        case Spaces(tags):
            return Kind.SPACES, {0: b"".join(tags)}
        case Ping(number):
            return Kind.PING, {0: number}
        case Pong(number):
            return Kind.PONG, {0: number}
        case Bye(reason):
            return Kind.BYE, {0: reason}
        case Err(code, reason):
            return Kind.ERR, {0: code, 1: reason}
        case Open(handle, tag):
            return Kind.OPEN, {0: handle, 1: tag}
        case Close(handle):
            return Kind.CLOSE, {0: handle}
        case CtlHeads(handle, heads, is_member):
            return Kind.CTL_HEADS, {0: handle, 1: b"".join(heads), 2: is_member}
        case CtlWant(handle, known):
            return Kind.CTL_WANT, {0: handle, 1: b"".join(known)}
        case CtlOps(handle, ops):
            return Kind.CTL_OPS, {0: handle, 1: list(ops)}
        case VersionIs(handle, digest, entries, base):
            body: dict[int, object] = {0: handle, 1: digest, 2: encode_entries(entries)}
            return Kind.VV, body if base is None else {**body, 3: base}
        case VersionWant(handle):
            return Kind.VV_WANT, {0: handle}
        case Plan(handle, envelopes, payload_bytes):
            return Kind.PLAN, {0: handle, 1: envelopes, 2: payload_bytes}
        case RunWant(handle, entries):
            return Kind.RUN_WANT, {0: handle, 1: encode_entries(entries)}
        case Done(handle):
            return Kind.DONE, {0: handle}
        case Ack(handle, entries):
            return Kind.ACK, {0: handle, 1: encode_entries(entries)}
        case Agree(handle, digest, is_reply):
            return Kind.AGREE, {0: handle, 1: digest, 2: is_reply}
        case Eph(handle, doc_id, counter, data):
            return Kind.EPH, {0: handle, 1: bytes(doc_id), 2: counter, 3: data}
        case ReceiptHeads(handle, counters):
            return Kind.RECEIPT_HEADS, {0: handle, 1: [[each, counters[each]] for each in sorted(counters)]}
        case Receipts(handle, receipts):
            return Kind.RECEIPTS, {0: handle, 1: list(receipts)}
        case Join(request):
            return Kind.JOIN, {0: request}
        case JoinAnswer(space_id, is_accepted, ops, has_more, reason):
            return Kind.JOIN_ANSWER, {
                0: bytes(space_id),
                1: is_accepted,
                2: list(ops),
                3: has_more,
                4: reason,
            }
    raise AssertionError(message)  # RUN is encoded by the caller


# --------------------------------------------------------------------------- decoding


def decode_message(stream: Stream, message: Message) -> AnyMessage:
    """Read a message that came whole over `stream`.

    Raises:
        WireError: unknown type, not on this stream, or not exactly its fields.
    """
    entry = _DECODERS.get(message.kind)
    if entry is None or stream not in entry[0]:
        raise WireError(f"message type {message.kind} does not belong on stream {int(stream)}")
    return entry[1](message.payload)


def _fields(payload: bytes, stream: Stream = Stream.CONTROL) -> Fields:
    return Fields(cbor.decode(payload, bytes_max=STREAM_MESSAGE_BYTES_MAX[stream]), "message")


_T = TypeVar("_T")


def _whole(fields: Fields, message: _T) -> _T:
    fields.done()
    return message


def _handle(fields: Fields) -> int:
    return fields.uint(0, SPACES_MAX - 1)


def _chunks(fields: Fields, key: int, size: int, count_max: int) -> tuple[bytes, ...]:
    data = fields.octets(key, maximum=size * count_max)
    if len(data) % size:
        raise WireError("bytes that do not divide")
    return tuple(data[start : start + size] for start in range(0, len(data), size))


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise WireError("not a number")
    return value


def _limits(fields: Fields, key: int) -> dict[int, int]:
    value = fields.take(key)
    if not isinstance(value, dict):
        raise WireError("limits that are no map")
    return {name: _number(number) for name, number in value.items()}


def _hello(payload: bytes) -> Hello:
    fields = Fields(cbor.decode(payload, bytes_max=HELLO_BYTES_MAX), "HELLO")
    return _whole(
        fields,
        Hello(
            versions=tuple(_number(item) for item in fields.array(0, maximum=8)),
            certificate=fields.octets(1, maximum=HELLO_BYTES_MAX),
            transcript=fields.octets(2, size=32),
            signature=fields.octets(3, size=64),
            limits=_limits(fields, 4),
            role=fields.uint(5, 1),
        ),
    )


def _spaces(payload: bytes) -> Spaces:
    fields = _fields(payload, Stream.SESSION)
    return _whole(fields, Spaces(_chunks(fields, 0, TAG_BYTES, SPACES_MAX)))


def _numbered(make: Callable[[int], AnyMessage]) -> Callable[[bytes], AnyMessage]:
    def decode(payload: bytes) -> AnyMessage:
        fields = _fields(payload, Stream.SESSION)
        return _whole(fields, make(fields.uint(0)))

    return decode


def _handle_only(make: Callable[[int], AnyMessage]) -> Callable[[bytes], AnyMessage]:
    def decode(payload: bytes) -> AnyMessage:
        fields = _fields(payload)
        return _whole(fields, make(_handle(fields)))

    return decode


def _bye(payload: bytes) -> Bye:
    fields = _fields(payload, Stream.SESSION)
    return _whole(fields, Bye(fields.text(0, bytes_max=REASON_BYTES_MAX)))


def _err(payload: bytes) -> Err:
    fields = _fields(payload, Stream.SESSION)
    return _whole(fields, Err(fields.uint(0, 255), fields.text(1, bytes_max=REASON_BYTES_MAX)))


def _open(payload: bytes) -> Open:
    fields = _fields(payload)
    return _whole(fields, Open(_handle(fields), fields.octets(1, size=TAG_BYTES)))


def _op_ids(fields: Fields, key: int) -> tuple[OpId, ...]:
    return tuple(OpId(chunk) for chunk in _chunks(fields, key, OpId.SIZE, HEADS_MAX))


def _ctl_heads(payload: bytes) -> CtlHeads:
    fields = _fields(payload)
    return _whole(fields, CtlHeads(_handle(fields), _op_ids(fields, 1), fields.flag(2)))


def _ctl_want(payload: bytes) -> CtlWant:
    fields = _fields(payload)
    return _whole(fields, CtlWant(_handle(fields), _op_ids(fields, 1)))


def _ops(fields: Fields, key: int) -> tuple[bytes, ...]:
    ops = fields.octets_list(key, maximum=OPS_PER_MESSAGE_MAX, item_max=CONTROL_OP_BYTES_MAX)
    return tuple(ops)


def _ctl_ops(payload: bytes) -> CtlOps:
    fields = _fields(payload)
    message = CtlOps(_handle(fields), _ops(fields, 1))
    if not message.ops:
        raise WireError("CTL_OPS without ops")
    return _whole(fields, message)


def _version_is(payload: bytes) -> VersionIs:
    fields = _fields(payload)
    return _whole(
        fields,
        VersionIs(
            handle=_handle(fields),
            digest=fields.octets(1, size=VERSION_DIGEST_BYTES),
            entries=_entries(fields, 2),
            base=fields.octets_or_none(3, size=VERSION_DIGEST_BYTES),
        ),
    )


def _entries(fields: Fields, key: int) -> dict[LogId, int]:
    return decode_entries(fields.octets(key))


def _plan(payload: bytes) -> Plan:
    fields = _fields(payload)
    return _whole(fields, Plan(_handle(fields), fields.uint(1), fields.uint(2)))


def _run(payload: bytes) -> RunOf:
    handle = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or handle >= SPACES_MAX:
        raise WireError("a RUN without a handle")
    run = Run.decode(payload[2:])
    if not run.envelopes:
        raise WireError("a RUN without envelopes")
    return RunOf(handle, run)


def _run_want(payload: bytes) -> RunWant:
    fields = _fields(payload)
    return _whole(fields, RunWant(_handle(fields), _entries(fields, 1)))


def _ack(payload: bytes) -> Ack:
    fields = _fields(payload)
    return _whole(fields, Ack(_handle(fields), _entries(fields, 1)))


def _agree(payload: bytes) -> Agree:
    fields = _fields(payload)
    return _whole(fields, Agree(_handle(fields), fields.octets(1, size=VERSION_DIGEST_BYTES), fields.flag(2)))


def _eph(payload: bytes) -> Eph:
    fields = _fields(payload, Stream.AWARENESS)
    return _whole(
        fields,
        Eph(
            handle=_handle(fields),
            doc_id=fields.id(1, DocId),
            counter=fields.uint(2),
            data=fields.octets(3, maximum=AWARENESS_BYTES_MAX),
        ),
    )


def _receipt_heads(payload: bytes) -> ReceiptHeads:
    fields = _fields(payload)
    handle = _handle(fields)
    pairs = fields.pairs(1, _device_id, as_uint, maximum=RECEIPT_HEADS_MAX)
    if any(a[0] >= b[0] for a, b in pairwise(pairs)):
        raise WireError("devices out of order")
    return _whole(fields, ReceiptHeads(handle, {device: _number(counter) for device, counter in pairs}))


def _device_id(value: cbor.Value) -> DeviceId:
    return DeviceId(as_bytes(value, size=DeviceId.SIZE))


def _receipts(payload: bytes) -> Receipts:
    fields = _fields(payload)
    handle = _handle(fields)
    receipts = fields.octets_list(1, maximum=RECEIPTS_PER_MESSAGE_MAX, item_max=RECEIPT_BYTES_MAX)
    if not receipts:
        raise WireError("RECEIPTS without receipts")
    return _whole(fields, Receipts(handle, tuple(receipts)))


def _join(payload: bytes) -> Join:
    fields = _fields(payload)
    return _whole(fields, Join(fields.octets(0, maximum=JOIN_REQUEST_BYTES_MAX)))


def _join_answer(payload: bytes) -> JoinAnswer:
    fields = _fields(payload)
    return _whole(
        fields,
        JoinAnswer(
            space_id=fields.id(0, SpaceId),
            is_accepted=fields.flag(1),
            ops=_ops(fields, 2),
            has_more=fields.flag(3),
            reason=fields.text(4, bytes_max=REASON_BYTES_MAX),
        ),
    )


_SESSION: Final = frozenset({Stream.SESSION})
_CONTROL: Final = frozenset({Stream.CONTROL})
_CATCH_UP: Final = frozenset({Stream.CATCH_UP})

_DECODERS: Final[Mapping[int, tuple[frozenset[Stream], Callable[[bytes], AnyMessage]]]] = {
    Kind.HELLO: (_SESSION, _hello),
    Kind.SPACES: (_SESSION, _spaces),
    Kind.PING: (_SESSION, _numbered(Ping)),
    Kind.PONG: (_SESSION, _numbered(Pong)),
    Kind.BYE: (_SESSION, _bye),
    Kind.ERR: (_SESSION, _err),
    Kind.OPEN: (_CONTROL, _open),
    Kind.CLOSE: (_CONTROL, _handle_only(Close)),
    Kind.CTL_HEADS: (_CONTROL, _ctl_heads),
    Kind.CTL_WANT: (_CONTROL, _ctl_want),
    Kind.CTL_OPS: (_CONTROL, _ctl_ops),
    Kind.VV: (_CONTROL, _version_is),
    Kind.VV_WANT: (_CONTROL, _handle_only(VersionWant)),
    Kind.PLAN: (_CONTROL, _plan),
    Kind.RUN: (frozenset({Stream.LIVE, Stream.CATCH_UP}), _run),
    Kind.RUN_WANT: (_CONTROL, _run_want),
    Kind.DONE: (_CATCH_UP, _handle_only(Done)),
    Kind.ACK: (_CONTROL, _ack),
    Kind.AGREE: (_CONTROL, _agree),
    Kind.EPH: (frozenset({Stream.AWARENESS}), _eph),
    Kind.RECEIPT_HEADS: (_CONTROL, _receipt_heads),
    Kind.RECEIPTS: (_CONTROL, _receipts),
    Kind.JOIN: (_CONTROL, _join),
    Kind.JOIN_ANSWER: (_CONTROL, _join_answer),
}
