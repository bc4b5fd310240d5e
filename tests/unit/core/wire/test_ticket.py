"""Tickets: round trip, forgiving of people, unforgiving of damage."""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import SpaceId, UserId
from sheaf.core.wire import cbor
from sheaf.core.wire.ticket import Ticket, TicketKind, is_host_and_port

TICKET = Ticket(
    space_id=SpaceId(bytes(range(32))),
    secret=bytes(range(16)),
    issuer=UserId(bytes(range(32, 64))),
    name_hint="Büro",
    expires_ms=1_800_000_000_000,
)

hosts = st.sampled_from(["192.168.1.4:7412", "[fe80::1]:1", "[fe80::1%eth0]:7412", "laptop.local:65535"])
tickets = st.builds(
    Ticket,
    space_id=st.binary(min_size=32, max_size=32).map(SpaceId),
    secret=st.binary(min_size=16, max_size=16),
    issuer=st.binary(min_size=32, max_size=32).map(UserId),
    kind=st.sampled_from(TicketKind),
    relay_urls=st.lists(st.just("wss://relay.example/r"), max_size=4).map(tuple),
    expires_ms=st.none() | st.integers(0, 2**53 - 1),
    name_hint=st.text(st.characters(categories=["L", "N", "S", "P"]), max_size=24),
    hosts=st.lists(hosts, max_size=8).map(tuple),
)


@given(tickets)
def test_a_ticket_is_read_back_as_it_was_made(ticket: Ticket) -> None:
    assert Ticket.decode(ticket.encode()) == ticket


def test_a_usual_ticket_is_short_enough_for_a_qr_code() -> None:
    assert len(TICKET.encode()) < 200


def test_people_may_paste_links_capitals_and_line_breaks() -> None:
    text = TICKET.encode()
    assert Ticket.decode("https://sheaf.example/join#" + text) == TICKET
    assert Ticket.decode(f"  {text[:40].upper()}\n{text[40:]} ") == TICKET


def test_hosts_follow_the_at_sign() -> None:
    ticket = Ticket.decode(TICKET.encode() + "@10.0.0.2:7412,[fe80::1]:7412")
    assert ticket.hosts == ("10.0.0.2:7412", "[fe80::1]:7412")


def test_the_secret_does_not_show_in_a_log_line() -> None:
    assert "secret" not in repr(TICKET)
    assert repr(TICKET.secret) not in repr(TICKET)


@given(st.data())
def test_any_single_changed_character_is_noticed(data: st.DataObject) -> None:
    text = TICKET.encode()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567").filter(lambda c: c != text[place]))
    with pytest.raises(WireError):
        Ticket.decode(text[:place] + letter + text[place + 1 :])


@given(st.text(max_size=300))
def test_any_text_is_a_ticket_or_a_wire_error(text: str) -> None:
    for candidate in (text, "sheaf1" + text, TICKET.encode() + text):
        try:
            Ticket.decode(candidate)
        except WireError:
            continue


values = st.recursive(
    st.integers(-5, 2**53 - 1) | st.binary(max_size=40) | st.text(max_size=10) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.integers(0, 9), values, max_size=9))
def test_any_well_formed_body_is_a_ticket_or_a_wire_error(changes: dict[int, cbor.Value]) -> None:
    good: dict[int, cbor.Value] = {0: 1, 1: 0, 2: bytes(32), 3: bytes(16), 7: bytes(32)}
    raw = cbor.encode(good | changes)
    raw += binascii.crc32(raw).to_bytes(4, "big")
    text = "sheaf1" + base64.b32encode(raw).decode().rstrip("=").lower()
    try:
        ticket = Ticket.decode(text)
    except WireError:
        return
    assert Ticket.decode(ticket.encode()) == ticket


@pytest.mark.parametrize(
    "suffix",
    [
        "@",
        "@host",
        "@host:0",
        "@host:65536",
        "@:1",
        "@a b",
        "@http://x:1",
        "@h:1,",
        "@" + ",".join(["h:1"] * 9),
    ],
)
def test_a_suffix_that_is_no_address_is_refused(suffix: str) -> None:
    with pytest.raises(WireError):
        Ticket.decode(TICKET.encode() + suffix)


def test_host_and_port_forms() -> None:
    assert is_host_and_port("a:1")
    assert not is_host_and_port("-a:1")
    assert not is_host_and_port("[::1]")
