"""Headers and orders in NATS: what is written is read, and nothing else is."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.wire import cbor
from sheaf.core.wire.relay_words import NAMEPLATE_MAX, SAYING_BYTES_MAX, RefusalCode
from sheaf.relay.nats_orders import (
    Order,
    OrderKind,
    decode_here,
    decode_order,
    decode_verdict,
    encode_here,
    encode_order,
    encode_verdict,
)
from sheaf.relay.nats_words import Label, mailbox_of, read_label, shard_of, tunnel_subject

HASHES = st.binary(min_size=32, max_size=32)
LIVES = st.binary(min_size=8, max_size=8)
NAMES = st.text(max_size=64)
ORDERS = st.builds(
    Order,
    kind=st.sampled_from(OrderKind),
    node=NAMES,
    side=NAMES,
    number=st.integers(0, NAMEPLATE_MAX),
    payload=st.binary(max_size=64),
)
LABELS = st.one_of(
    st.builds(Label, token_hash=HASHES, incarnation=LIVES, digest=HASHES),
    st.builds(
        Label, token_hash=HASHES, incarnation=LIVES, digest=st.just(b""), last=st.integers(0, 2**63 - 1)
    ),
)


@given(LABELS)
def test_a_label_survives_the_headers(label: Label) -> None:
    assert read_label(label.headers()) == label


@given(LABELS, st.data())
def test_a_label_with_a_broken_header_is_refused(label: Label, data: st.DataObject) -> None:
    headers = label.headers()
    name = data.draw(st.sampled_from(sorted(headers)))
    headers[name] = data.draw(st.text(max_size=70).filter(lambda text: text != headers[name]))
    with contextlib.suppress(WireError):
        assert read_label(headers) != label


@given(st.dictionaries(st.sampled_from(["Sheaf-Token", "Sheaf-Life", "Sheaf-Item", "Sheaf-Last"]), st.text()))
def test_any_headers_are_a_label_or_a_wire_error(headers: dict[str, str]) -> None:
    try:
        label = read_label(headers)
    except WireError:
        return
    assert read_label(label.headers()) == label


def test_a_message_without_headers_is_no_label() -> None:
    with pytest.raises(WireError):
        read_label(None)


@given(st.binary(min_size=16, max_size=16), st.integers(1, 256))
def test_a_mailbox_is_found_again_in_its_subject(mailbox_id: bytes, shards: int) -> None:
    shard = shard_of(mailbox_id, shards)
    assert shard.number < shards
    assert mailbox_of(shard.subject_of(mailbox_id)) == mailbox_id
    assert mailbox_of(shard.news_of(mailbox_id)) == mailbox_id


@given(st.text())
def test_a_subject_that_names_no_mailbox_is_refused(text: str) -> None:
    with contextlib.suppress(WireError):
        assert len(mailbox_of(text)) == 16


def test_the_subject_of_a_tunnel_does_not_give_its_token_away() -> None:
    token = bytes(range(16))
    assert token.hex() not in tunnel_subject(token)
    assert tunnel_subject(token) != tunnel_subject(bytes(16))


@given(ORDERS)
def test_an_order_survives_the_bus(order: Order) -> None:
    assert decode_order(encode_order(order)) == order


@given(st.binary(max_size=200))
def test_any_bytes_are_an_order_or_a_wire_error(data: bytes) -> None:
    try:
        order = decode_order(data)
    except WireError:
        return
    assert encode_order(order) == data


@pytest.mark.parametrize(
    "fields",
    [
        [1, "n", "s", 1],
        [9, "n", "s", 1, b""],
        [True, "n", "s", 1, b""],
        [1, "n" * 65, "s", 1, b""],
        [1, "n", "s" * 65, 1, b""],
        [1, "n", "s", NAMEPLATE_MAX + 1, b""],
        [1, "n", "s", -1, b""],
        [1, "n", "s", 1, "text"],
        [2, "n", "s", 1, bytes(SAYING_BYTES_MAX + 300)],
    ],
)
def test_an_order_that_does_not_fit_is_refused(fields: list[object]) -> None:
    with pytest.raises(WireError):
        decode_order(cbor.encode(fields))


@pytest.mark.parametrize("code", [None, *RefusalCode])
def test_a_verdict_survives_the_bus(code: RefusalCode | None) -> None:
    assert decode_verdict(encode_verdict(code)) is code


@given(st.binary(max_size=3))
def test_any_bytes_are_a_verdict_or_a_wire_error(data: bytes) -> None:
    try:
        code = decode_verdict(data)
    except WireError:
        return
    assert encode_verdict(code) == data


@given(NAMES, st.text(max_size=100))
def test_where_a_side_waits_survives_the_bus(node: str, url: str) -> None:
    assert decode_here(encode_here(node, url)) == (node, url)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_place_or_a_wire_error(data: bytes) -> None:
    try:
        node, url = decode_here(data)
    except WireError:
        return
    assert encode_here(node, url) == data
