"""The frames of relays beyond signalling: mailboxes, nameplates, the connection itself (PROTOCOL §7)."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import RendezvousId
from sheaf.core.base.limits import INTEGER_MAX
from sheaf.core.wire import cbor
from sheaf.core.wire.frame_fields import (
    FLAG,
    ITEM_BYTES_MAX,
    ITEMS,
    PAGE_ITEMS_MAX,
    RID,
    RIDS,
    RIDS_MAX,
    UINT,
    FieldCodec,
    code,
    octets,
    octets_max,
    text,
    uint,
)
from sheaf.core.wire.relay_frames import Frame, TunnelElsewhere, Welcome, decode_frame, encode_frame
from sheaf.core.wire.relay_requests import (
    MailboxGet,
    MailboxItems,
    MailboxPut,
    NameplateClaim,
    NameplateClosed,
    NameplateSay,
)
from sheaf.core.wire.relay_words import (
    CODECS,
    NAMEPLATE_MAX,
    PAGE_BYTES_MAX,
    RELAY_FRAME_BYTES_MAX,
    SAYING_BYTES_MAX,
    TYPES,
    FrameType,
    RefusalCode,
    RelayRefused,
)

BOX, TOKEN = b"m" * 16, b"t" * 32


def values_of(cls: type[Any], name: str) -> st.SearchStrategy[Any]:
    """Good values of one field, by its name; each of them is read and written by the field's codec."""
    small = st.binary(max_size=40)
    by_name: dict[str, st.SearchStrategy[Any]] = {
        "rid": st.binary(min_size=16, max_size=16).map(RendezvousId),
        "rids": st.lists(st.binary(min_size=16, max_size=16).map(RendezvousId), max_size=4).map(tuple),
        "payload": small,
        "item": small,
        "mailbox_id": st.binary(min_size=16, max_size=16),
        "incarnation": st.binary(min_size=8, max_size=8),
        "items": st.integers(0, INTEGER_MAX),
        "url": st.text("abcdefgh:/.", max_size=40),
        "needs_token": st.booleans(),
        "number": st.integers(0, NAMEPLATE_MAX),
        "version": st.integers(0, 255),
        "item_bytes_max": st.integers(0, ITEM_BYTES_MAX),
        "rids_max": st.integers(0, RIDS_MAX),
        "stun_port": st.integers(0, 65_535),
        "bytes_max": st.integers(0, PAGE_BYTES_MAX),
    }
    if name == "code":
        kind = CODECS[cls][1][[each.name for each in fields(cls)].index("code")][1]
        return st.integers(1, 20).filter(lambda number: _is_read(kind, number)).map(kind.read)
    if name == "token":
        return {"Auth": small, "TunnelJoin": st.binary(min_size=16, max_size=16)}.get(
            cls.__name__, st.binary(min_size=32, max_size=32)
        )
    if name == "items" and cls is MailboxItems:
        return st.lists(st.tuples(st.integers(0, INTEGER_MAX), small), max_size=4).map(tuple)
    return by_name.get(name, st.integers(0, INTEGER_MAX))


def _is_read(kind: FieldCodec, number: int) -> bool:
    try:
        kind.read(number)
    except ValueError:
        return False
    return True


frames: st.SearchStrategy[Frame] = st.one_of(
    *[
        st.builds(cls, **{name: values_of(cls, name) for name, _ in codecs})
        for cls, (_, codecs) in CODECS.items()
    ]
)


@given(frames)
def test_every_frame_of_a_relay_reads_back(frame: Frame) -> None:
    encoded = encode_frame(frame)
    assert decode_frame(encoded, bytes_max=RELAY_FRAME_BYTES_MAX) == frame
    assert cbor.decode(encoded, bytes_max=RELAY_FRAME_BYTES_MAX)[0] == CODECS[type(frame)][0]  # type: ignore[index]


@given(frames, st.data())
def test_n7_a_frame_cut_off_or_prolonged_is_a_wire_error(frame: Frame, data: st.DataObject) -> None:
    encoded = encode_frame(frame)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    for broken in (encoded[:cut], encoded + b"\0"):
        with pytest.raises(WireError):
            decode_frame(broken, bytes_max=RELAY_FRAME_BYTES_MAX)


@given(frames, st.data())
def test_n7_a_frame_with_a_byte_changed_is_canonical_or_a_wire_error(
    frame: Frame, data: st.DataObject
) -> None:
    encoded = bytearray(encode_frame(frame))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_frame(bytes(encoded), bytes_max=RELAY_FRAME_BYTES_MAX)
    except WireError:
        return
    assert encode_frame(read) == bytes(encoded)


def test_every_type_has_its_own_number_and_class() -> None:
    assert set(TYPES) == {kind.value for kind in FrameType}
    assert len({cls.__name__ for cls in TYPES.values()}) == len(FrameType)


def test_the_largest_frames_fit_into_what_a_relay_takes() -> None:
    page = tuple((INTEGER_MAX - n, b"x" * (PAGE_BYTES_MAX // PAGE_ITEMS_MAX)) for n in range(PAGE_ITEMS_MAX))
    items = MailboxItems(INTEGER_MAX, b"i" * 8, INTEGER_MAX, page)
    put = MailboxPut(INTEGER_MAX, BOX, TOKEN, b"x" * ITEM_BYTES_MAX)
    for frame in (items, put):
        encoded = encode_frame(frame)
        assert len(encoded) <= RELAY_FRAME_BYTES_MAX
        assert decode_frame(encoded, bytes_max=RELAY_FRAME_BYTES_MAX) == frame


def test_a_lan_listener_takes_no_frame_as_large_as_a_relay_does() -> None:
    encoded = encode_frame(MailboxPut(1, BOX, TOKEN, b"x" * 100_000))
    with pytest.raises(WireError):
        decode_frame(encoded)


@pytest.mark.parametrize(
    "frame",
    [
        MailboxPut(1, BOX, TOKEN, b"x" * (ITEM_BYTES_MAX + 1)),
        MailboxPut(1, BOX[:-1], TOKEN, b""),
        MailboxPut(1, BOX, TOKEN + b"t", b""),
        MailboxPut(-1, BOX, TOKEN, b""),
        MailboxGet(1, BOX, TOKEN, 0, PAGE_BYTES_MAX + 1),
        MailboxItems(1, b"i" * 8, 0, tuple((n, b"") for n in range(PAGE_ITEMS_MAX + 1))),
        MailboxItems(1, b"i" * 7, 0, ()),
        NameplateClaim(1, NAMEPLATE_MAX + 1),
        NameplateSay(1, b"x" * (SAYING_BYTES_MAX + 1)),
        TunnelElsewhere("x" * 513),
        Welcome(256, False, 1, 1, 1, 0),
        Welcome(1, False, 1, 1, 1, 65_536),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_what_is_out_of_bounds_is_not_read(frame: Frame) -> None:
    with pytest.raises(WireError):
        decode_frame(encode_frame(frame), bytes_max=2 * RELAY_FRAME_BYTES_MAX)


@pytest.mark.parametrize(
    ("codec", "good", "bad"),
    [
        (UINT, [0, 7, INTEGER_MAX], [-1, INTEGER_MAX + 1, True, 1.0, b"", None, "1"]),
        (uint(9), [0, 9], [10]),
        (FLAG, [0, 1], [2, -1, True, None]),
        (octets(2), [b"ab"], [b"a", b"abc", "ab", None, 2]),
        (octets_max(2), [b"", b"ab"], [b"abc", []]),
        (text(3), [b"", b"abc"], [b"abcd", b"\xff", "abc"]),
        (code(RefusalCode), [1, 8], [0, 9, 255, 256, b"\1", True]),
        (RID, [b"r" * 16], [b"r" * 15, b"", 1]),
        (RIDS, [[], [b"r" * 16] * RIDS_MAX], [[b"r" * 16] * (RIDS_MAX + 1), [b"r"], [1], b"", {}]),
        (ITEMS, [[], [[1, b"x"]]], [[[1]], [[1, b"x", 2]], [[b"x", 1]], [1], [[-1, b""]], {}, None]),
    ],
    ids=["UINT", "uint", "FLAG", "octets", "octets_max", "text", "code", "RID", "RIDS", "ITEMS"],
)
def test_fields_take_what_is_in_their_bounds_and_nothing_else(
    codec: FieldCodec, good: list[object], bad: list[object]
) -> None:
    for value in good:
        assert codec.write(codec.read(value)) == value
    for value in bad:
        with pytest.raises(ValueError, match=r"."):
            codec.read(value)


@pytest.mark.parametrize("refusal", list(RefusalCode))
def test_every_refusal_is_a_sentence_for_people(refusal: RefusalCode) -> None:
    error = RelayRefused(refusal)
    assert error.code is refusal
    assert len(str(error)) > 10


def test_tokens_and_payloads_of_rights_are_not_shown() -> None:
    assert "tttt" not in repr(MailboxPut(1, BOX, TOKEN, b""))
    assert "tttt" not in repr(MailboxGet(1, BOX, TOKEN, 0, 1))
    assert NameplateClosed(1, RefusalCode.GONE).code is RefusalCode.GONE
