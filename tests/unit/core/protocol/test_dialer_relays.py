"""Calls over relays and the search for better paths (PROTOCOL §5 "Paths", §6)."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.ids import DeviceId
from sheaf.core.protocol.dial_lines import PathRank
from sheaf.core.protocol.dialer import (
    ABSENT_FIRST_S,
    ABSENT_MAX_S,
    BACKOFF_MAX_S,
    CALL_PATIENCE_S,
    DIALS_MAX,
    EXPECTED_S,
    REDIAL_MIN_S,
    RELAY_HEAD_START_S,
    RELAY_POKE_PATIENCE_S,
    SETTLED_S,
    UPGRADE_FIRST_S,
    UPGRADE_MAX_S,
    Dial,
    DialEffect,
    Dialer,
    Poke,
)

LOW, OWN, HIGH = (DeviceId(bytes([number]) * 32) for number in (1, 5, 9))
LAN, RELAY, OTHER = "10.0.0.2:7412", "wss://relay.example", "wss://other.example"


def make_dialer(*static: str, own: DeviceId = OWN) -> Dialer:
    return Dialer(own=own, entropy=random.Random(1).randbytes, static_addresses=static)


def at_relay(dialer: Dialer, device: DeviceId = HIGH, *urls: str, now: float = 0) -> list[DialEffect]:
    """`device` is wanted and may be met at these relays, which have just been connected."""
    dialer.set_wanted([device], now)
    return dialer.set_relays({device: urls or (RELAY,)}, now)


# ------------------------------------------------------------------ calling


@pytest.mark.parametrize("device", [LOW, HIGH])
def test_when_a_relay_comes_everybody_missed_is_poked_there_once(device: DeviceId) -> None:
    dialer = make_dialer()
    assert at_relay(dialer, device) == [Poke(device, RELAY)]
    assert dialer.set_relays({device: (RELAY,)}, 1) == []
    dialer.failed(device, RELAY, 1, is_absent=True)
    assert dialer.wake(20) == []


def test_a_relay_that_comes_back_is_asked_at_once_again() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    dialer.failed(HIGH, RELAY, 1, is_absent=True)
    dialer.set_relays({}, 2)
    assert dialer.set_relays({HIGH: (RELAY,)}, 3) == [Poke(HIGH, RELAY)]


def test_the_smaller_id_dials_when_it_is_poked_over_a_relay() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    assert dialer.poked(HIGH, 0.1, RELAY) == Dial(HIGH, RELAY)
    assert dialer.poked(HIGH, 0.2, RELAY) is None


def test_who_pokes_while_our_call_is_lost_is_called_once_more() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    assert dialer.poked(HIGH, 0.1, RELAY) == Dial(HIGH, RELAY)
    assert dialer.poked(HIGH, 0.9, RELAY) is None
    assert dialer.poked(HIGH, 1.5, RELAY) == Dial(HIGH, RELAY)
    assert dialer.poked(HIGH, 4, RELAY) is None


def test_who_is_not_at_the_relay_is_asked_for_rarely() -> None:
    dialer = make_dialer()
    effects, now, pauses = at_relay(dialer), 0.0, []
    for _ in range(12):
        assert effects == [Poke(HIGH, RELAY)]
        dialer.failed(HIGH, RELAY, now, is_absent=True)
        due = dialer.next_wake()
        assert due is not None
        pauses.append(due - now)
        now, effects = due, dialer.wake(due)
    assert 0.75 * ABSENT_FIRST_S <= pauses[0] <= 1.25 * ABSENT_FIRST_S
    assert max(pauses) <= 1.25 * ABSENT_MAX_S


def test_who_is_there_and_cannot_be_connected_is_tried_up_to_every_minute() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    now = 0.0
    for _ in range(30):
        dialer.failed(HIGH, RELAY, now)
        due = dialer.next_wake()
        assert due is not None
        assert due - now <= 1.25 * BACKOFF_MAX_S
        now = due
        assert dialer.wake(now) == [Poke(HIGH, RELAY)]


def test_an_unanswered_poke_is_sent_again() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    assert dialer.wake(RELAY_POKE_PATIENCE_S) == []
    assert dialer.wake(RELAY_POKE_PATIENCE_S + 2) == [Poke(HIGH, RELAY)]


def test_a_call_over_a_relay_never_delays_one_on_the_lan() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    assert dialer.sighted(HIGH, (LAN,), 0.1) == [Dial(HIGH, LAN)]


def test_a_call_on_the_lan_has_a_head_start() -> None:
    dialer = make_dialer()
    dialer.set_wanted([HIGH], 0)
    assert dialer.sighted(HIGH, (LAN,), 0) == [Dial(HIGH, LAN)]
    assert dialer.set_relays({HIGH: (RELAY,)}, 0.1) == []
    assert dialer.next_wake() == RELAY_HEAD_START_S
    assert dialer.wake(RELAY_HEAD_START_S) == [Poke(HIGH, RELAY)]


def test_a_relay_that_answers_nothing_takes_no_room_from_the_lan() -> None:
    dialer = make_dialer()
    devices = [DeviceId(number.to_bytes(32, "big")) for number in range(1, 40)]
    dialer.set_wanted(devices, 0)
    assert len(dialer.set_relays(dict.fromkeys(devices, (RELAY,)), 0)) == DIALS_MAX
    assert len(dialer.sighted(devices[-1], (LAN,), 1)) == 1


def test_several_relays_take_turns_before_there_is_a_pause() -> None:
    dialer = make_dialer()
    (first,) = at_relay(dialer, HIGH, RELAY, OTHER)
    dialer.failed(HIGH, first.address, 0, is_absent=True)
    (second,) = dialer.wake(REDIAL_MIN_S)
    assert {first.address, second.address} == {RELAY, OTHER}
    dialer.failed(HIGH, second.address, REDIAL_MIN_S, is_absent=True)
    assert dialer.wake(ABSENT_FIRST_S / 2) == []


def test_after_a_break_the_relay_is_asked_soon() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    dialer.connected(HIGH, 1)
    assert dialer.wake(100) == []
    dialer.closed(HIGH, 100)
    assert dialer.wake(101.5) == [Poke(HIGH, RELAY)]


@pytest.mark.parametrize("why", ["we moved", "it called"])
def test_a_break_that_was_expected_is_followed_by_a_call_at_once(why: str) -> None:
    dialer = make_dialer()
    at_relay(dialer)
    dialer.connected(HIGH, 1)
    if why == "we moved":
        dialer.network_changed(2)
    else:
        assert dialer.poked(HIGH, 1.5, RELAY) is None  # it may have asked before it knew
    assert dialer.closed(HIGH, 5) == [Poke(HIGH, RELAY)]
    dialer.connected(HIGH, 6)
    assert dialer.closed(HIGH, 6 + EXPECTED_S) == []


def test_who_asks_for_a_call_has_lost_the_connection_that_we_still_have() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    dialer.connected(HIGH, 1)
    assert dialer.poked(HIGH, 100, RELAY) == Dial(HIGH, RELAY, None, is_replacing=True)
    assert dialer.poked(HIGH, 100.1, RELAY) is None
    assert dialer.closed(HIGH, 101) == []  # it is being called
    dialer.connected(HIGH, 102)
    assert not dialer.is_dialling(HIGH)
    assert dialer.closed(HIGH, 200) == []


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_call_to_replace_a_connection_that_fails_is_followed_by_others(is_closed: bool) -> None:
    dialer = make_dialer()
    at_relay(dialer)
    dialer.connected(HIGH, 1)
    dialer.poked(HIGH, 100, RELAY)
    if is_closed:
        dialer.closed(HIGH, 101)
    dialer.failed(HIGH, RELAY, 102)
    assert not dialer.is_dialling(HIGH)
    assert bool(dialer.wake(110)) == is_closed


def test_a_poke_from_before_the_connection_does_not_count_when_it_ends() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    dialer.poked(HIGH, 0.1, RELAY)
    dialer.connected(HIGH, 0.5)
    assert dialer.closed(HIGH, 1) == []


def test_after_a_fault_of_the_peers_there_is_no_hurry_over_relays_either() -> None:
    dialer = make_dialer()
    at_relay(dialer)
    dialer.connected(HIGH, 1)
    dialer.poked(HIGH, 1.5, RELAY)
    dialer.closed(HIGH, 10, is_peer_fault=True)
    assert (dialer.next_wake() or 0) >= 10 + 0.75 * BACKOFF_MAX_S


# ------------------------------------------------------------------ better paths


def relayed(own: DeviceId = OWN) -> Dialer:
    """Connected with the other side through a relay, at 0."""
    dialer = make_dialer(own=own)
    at_relay(dialer, HIGH if own != HIGH else LOW)
    dialer.connected(HIGH if own != HIGH else LOW, 0, PathRank.RELAY)
    return dialer


def test_from_a_relay_the_smaller_id_seeks_a_better_path_ever_more_rarely() -> None:
    dialer, pauses, now = relayed(), [], 0.0
    for _ in range(10):
        due = dialer.next_wake()
        assert due is not None
        pauses.append(due - now)
        now = due
        assert dialer.wake(now) == [Dial(HIGH, RELAY, PathRank.RELAY)]
        assert dialer.failed(HIGH, RELAY, now) == []
    assert 0.75 * UPGRADE_FIRST_S <= pauses[0] <= 1.25 * UPGRADE_FIRST_S
    assert pauses[1] > pauses[0]
    assert max(pauses) <= 1.25 * UPGRADE_MAX_S


def test_the_larger_id_waits_to_be_called() -> None:
    assert relayed(HIGH).next_wake() is None


def test_a_sighting_makes_both_sides_seek_at_once() -> None:
    assert relayed().sighted(HIGH, (LAN,), 1) == [Dial(HIGH, LAN, PathRank.RELAY)]
    larger = relayed(HIGH)
    assert larger.sighted(LOW, (LAN,), 1) == [Poke(LOW, LAN)]
    assert larger.failed(LOW, LAN, 2) == [Poke(LOW, RELAY)]
    larger.failed(LOW, RELAY, 3)
    assert larger.next_wake() is None


def test_a_changed_network_makes_both_sides_seek_at_once() -> None:
    assert relayed().network_changed(1) == [Dial(HIGH, RELAY, PathRank.RELAY)]
    assert relayed(HIGH).network_changed(1) == [Poke(LOW, RELAY)]


def test_a_poke_over_a_bad_path_is_answered_by_seeking_a_better_one() -> None:
    dialer = relayed()
    assert dialer.poked(HIGH, 1, RELAY) == Dial(HIGH, RELAY, PathRank.RELAY)
    assert dialer.poked(HIGH, 2, RELAY) is None
    dialer.connected(HIGH, 3, PathRank.DIRECT)
    assert dialer.poked(HIGH, 3.5, RELAY) is None


def test_at_the_best_path_nothing_is_sought() -> None:
    dialer = relayed()
    dialer.connected(HIGH, 1, PathRank.DIRECT)
    assert dialer.next_wake() is None
    assert dialer.sighted(HIGH, (LAN,), 2) == []
    assert dialer.network_changed(3) == []


def test_a_better_path_that_does_not_last_is_sought_ever_more_rarely() -> None:
    dialer, now, pauses = relayed(), 0.0, []
    for _ in range(8):
        due = dialer.next_wake()
        assert due is not None
        pauses.append(due - now)
        dialer.wake(due)
        dialer.connected(HIGH, due + 1, PathRank.DIRECT)
        dialer.closed(HIGH, due + 15)
        now = due + 20
        dialer.connected(HIGH, now, PathRank.RELAY)
    assert pauses[-1] > 100
    dialer.connected(HIGH, now + 1, PathRank.DIRECT)
    dialer.closed(HIGH, now + 1 + SETTLED_S)
    dialer.connected(HIGH, now + 100, PathRank.RELAY)
    assert (dialer.next_wake() or 0) - (now + 100) <= 1.25 * UPGRADE_FIRST_S


@pytest.mark.parametrize(("newcomer", "older"), list(product(PathRank, repeat=2)))
@pytest.mark.parametrize("newcomer_is_lows", [True, False])
def test_both_sides_keep_the_same_of_two_paths(
    newcomer: PathRank, older: PathRank, newcomer_is_lows: bool
) -> None:
    """In whatever order the two came up on each side."""
    low, high = make_dialer(own=LOW), make_dialer(own=HIGH)
    of_low = low.keeps_newcomer(HIGH, newcomer_is_mine=newcomer_is_lows, newcomer=newcomer, older=older)
    of_high = high.keeps_newcomer(LOW, newcomer_is_mine=not newcomer_is_lows, newcomer=newcomer, older=older)
    assert of_low == of_high
    if newcomer is not older:
        swapped = low.keeps_newcomer(
            HIGH, newcomer_is_mine=not newcomer_is_lows, newcomer=older, older=newcomer
        )
        assert swapped != of_low
        assert of_low == (newcomer > older)


# ------------------------------------------------------------------ anything at any time

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "sighted",
                "connected",
                "failed",
                "absent",
                "closed",
                "wake",
                "poked",
                "relays",
                "network",
                "lost",
            ]
        ),
        st.sampled_from([LOW, HIGH]),
        st.sampled_from([LAN, RELAY, OTHER, None]),
        st.sampled_from(list(PathRank)),
        st.floats(0, 40),
    ),
    max_size=60,
)


@given(EVENTS)
def test_whatever_happens_calls_stay_bounded_and_go_on(
    history: list[tuple[str, DeviceId, str | None, PathRank, float]],
) -> None:
    dialer, now = make_dialer("static:1"), 0.0
    open_calls: dict[tuple[DeviceId, str], float] = {}
    connected: dict[DeviceId, PathRank] = {}

    def take(effects: list[DialEffect]) -> None:
        for effect in effects:
            assert effect.device_id != OWN
            is_replacing = isinstance(effect, Dial) and effect.is_replacing
            if isinstance(effect, Dial) and effect.better_than is None and not is_replacing:
                assert effect.device_id not in connected
            assert (connected.get(effect.device_id) is PathRank.DIRECT) == is_replacing
            open_calls[effect.device_id, effect.address] = now

    take(dialer.set_wanted([LOW, HIGH], now))
    take(dialer.set_relays({LOW: (RELAY,), HIGH: (RELAY, OTHER)}, now))
    for event, device, address, rank, pause in history:
        now += pause
        match event:
            case "sighted":
                take(dialer.sighted(device, (LAN,), now))
            case "connected":
                connected[device] = rank
                take(dialer.connected(device, now, rank))
            case "failed" | "absent":
                take(dialer.failed(device, address, now, is_absent=event == "absent"))
            case "closed":
                connected.pop(device, None)
                take(dialer.closed(device, now))
            case "poked":
                call = dialer.poked(device, now, address)
                take([] if call is None else [call])
            case "relays":
                take(dialer.set_relays({device: (RELAY,)}, now))
            case "network":
                take(dialer.network_changed(now))
            case "lost":
                dialer.lost_sight(device, LAN)
            case _:
                take(dialer.wake(now))
        due = dialer.next_wake()
        assert due is None or due >= 0
    for _ in range(200):  # left alone, everybody who is missed is called again and again
        due = dialer.next_wake()
        if due is None:
            break
        now = max(now, due)
        take(dialer.wake(now))
        assert (dialer.next_wake() or now + 1) > now
    for device in {LOW, HIGH} - connected.keys():
        assert (
            max(at for (who, _), at in open_calls.items() if who == device) > now - 2 * CALL_PATIENCE_S - 70
        )
