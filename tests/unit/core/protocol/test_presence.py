"""Awareness: decoded strictly, capped, owned by its source, forgotten after silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.protocol.presence import (
    DOCUMENT_CLIENTS_MAX,
    SOURCE_CLIENTS_MAX,
    STATE_BYTES_MAX,
    AwarenessEntry,
    Presence,
    decode_awareness,
    encode_awareness,
)

STATE = '{"user":{"name":"Ada"}}'
ENTRIES = st.lists(
    st.builds(
        AwarenessEntry,
        st.integers(0, 2**53 - 1),
        st.integers(0, 2**53 - 1),
        st.sampled_from([None, "{}", STATE, '{"a":[1,2,{"b":"ü🙂"}]}']),
    ),
    max_size=8,
)


def update(*entries: tuple[int, int, str | None]) -> bytes:
    return encode_awareness(AwarenessEntry(*entry) for entry in entries)


def decoded(data: bytes | None) -> list[AwarenessEntry]:
    assert data is not None
    return decode_awareness(data, bytes_max=1 << 20, clients_max=1000)


@given(ENTRIES)
def test_entries_survive_the_wire(entries: list[AwarenessEntry]) -> None:
    assert decoded(encode_awareness(entries)) == entries


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        entries = decode_awareness(data, bytes_max=150, clients_max=4)
    except WireError:
        return
    assert len(data) <= 150
    assert len(entries) <= 4
    assert encode_awareness(entries) == data


@given(ENTRIES, st.data())
def test_a_cut_message_is_refused(entries: list[AwarenessEntry], data: st.DataObject) -> None:
    whole = encode_awareness(entries)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(WireError):
        decode_awareness(whole[:cut], bytes_max=1 << 20, clients_max=1000)


@pytest.mark.parametrize(
    "state",
    [
        "[]",
        "1",
        '"x"',
        "{",
        "{}x",
        "{}{}",
        '{"a":NaN}',
        '{"a":1e999}',
        '{"a":"\\ud800"}',
        '{"a":' + "[" * 17 + "]" * 17 + "}",
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":"' + "x" * STATE_BYTES_MAX + '"}',
        '{"a":"' + "ü" * (STATE_BYTES_MAX // 2) + '"}',
    ],
    ids=lambda state: state[:12],
)
def test_a_state_that_is_not_a_small_flat_object_is_refused(state: str) -> None:
    with pytest.raises(WireError):
        decode_awareness(update((1, 1, state)), bytes_max=1 << 20, clients_max=4)


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 9, b"\x80\x00", b"\x01\x01\x01\x05nul", b"\x00\x00", b"\x01\x01\x01\x02\xff\xfe"]
)
def test_malformed_framing_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_awareness(data, bytes_max=1000, clients_max=4)


def test_two_hundred_thousand_clients_are_refused_before_they_are_read() -> None:
    with pytest.raises(WireError):
        Presence().apply("tab", b"\xc0\x9a\x0c" + b"\x01\x01\x02{}" * 200_000, 0.0, bytes_max=1 << 24)


def test_news_is_forwarded_and_repetition_is_not() -> None:
    presence = Presence()
    assert decoded(presence.apply("a", update((1, 1, STATE)), 0.0)) == [AwarenessEntry(1, 1, STATE)]
    assert presence.apply("a", update((1, 1, STATE)), 1.0) is None
    assert presence.apply("a", update((1, 0, "{}")), 1.0) is None
    assert decoded(presence.apply("a", update((1, 2, "{}")), 1.0)) == [AwarenessEntry(1, 2, "{}")]


def test_a_source_cannot_speak_for_the_client_of_another() -> None:
    presence = Presence()
    presence.apply("a", update((1, 1, STATE)), 0.0)
    assert presence.apply("b", update((1, 9, "{}"), (1, 9, None)), 0.0) is None
    assert decoded(presence.apply("b", update((1, 9, "{}"), (2, 1, "{}")), 0.0)) == [
        AwarenessEntry(2, 1, "{}")
    ]


def test_leaving_removes_the_clients_of_that_source_only() -> None:
    presence = Presence()
    presence.apply("a", update((1, 5, STATE)), 0.0)
    presence.apply("b", update((2, 7, "{}")), 0.0)
    assert decoded(presence.leave("a", 1.0)) == [AwarenessEntry(1, 5, None)]
    assert presence.leave("a", 1.0) is None
    assert decoded(presence.states()) == [AwarenessEntry(2, 7, "{}")]


def test_an_echo_of_somebody_who_has_left_brings_no_ghost() -> None:
    presence = Presence()
    presence.apply("a", update((1, 5, STATE)), 0.0)
    presence.leave("a", 1.0)
    assert presence.apply("b", update((1, 5, STATE)), 1.1) is None
    assert presence.states() is None
    assert presence.apply("c", update((1, 6, STATE)), 1.2) is not None


def test_a_client_can_take_its_own_state_back() -> None:
    presence = Presence()
    presence.apply("a", update((1, 5, STATE)), 0.0)
    assert decoded(presence.apply("a", update((1, 5, None)), 0.0)) == [AwarenessEntry(1, 5, None)]
    assert presence.states() is None


def test_silence_expires_by_monotonic_time() -> None:
    presence = Presence()
    presence.apply("a", update((1, 1, STATE)), 100.0)
    presence.apply("b", update((2, 1, STATE)), 110.0)
    assert presence.expire(129.9) is None
    assert decoded(presence.expire(130.0)) == [AwarenessEntry(1, 1, None)]
    assert decoded(presence.states()) == [AwarenessEntry(2, 1, STATE)]
    presence.expire(300.0)
    presence.expire(400.0)
    assert presence.states() is None


def test_clients_per_source_are_capped() -> None:
    presence = Presence()
    many = update(*((number, 1, "{}") for number in range(20)))
    assert len(decoded(presence.apply("a", many, 0.0))) == SOURCE_CLIENTS_MAX


def test_clients_per_document_are_capped() -> None:
    presence = Presence()
    for source in range(DOCUMENT_CLIENTS_MAX):
        presence.apply(source, update((2 * source, 1, "{}"), (2 * source + 1, 1, "{}")), 0.0)
    assert len(decoded(presence.states())) == DOCUMENT_CLIENTS_MAX


def test_clients_that_come_and_go_do_not_pile_up() -> None:
    presence = Presence()
    for number in range(3000):
        presence.apply(number, update((number, 1, "{}")), 0.0)
        presence.leave(number, 0.0)
    assert len(presence._clients) <= DOCUMENT_CLIENTS_MAX + 2


def test_a_remote_message_above_four_kibibytes_is_refused_and_a_tab_may_send_more() -> None:
    states = update(*((number, 1, '{"a":"' + "x" * 2000 + '"}') for number in range(4)))
    with pytest.raises(WireError):
        Presence().apply("device", states, 0.0)
    assert Presence().apply("tab", states, 0.0, bytes_max=1 << 18) is not None


def test_states_of_names_only_the_sources_asked_for() -> None:
    presence = Presence()
    presence.apply("tab", update((1, 1, STATE)), 0.0)
    presence.apply("device", update((2, 1, STATE)), 0.0)
    assert decoded(presence.states_of(["tab"])) == [AwarenessEntry(1, 1, STATE)]
    assert presence.states_of(["nobody"]) is None
