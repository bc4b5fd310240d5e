"""Calls: who dials, back-off with jitter, caps, one connection per pair (FAULTS N3, N18, N20)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.ids import DeviceId
from sheaf.core.protocol.dialer import (
    ADDRESSES_MAX,
    BACKOFF_MAX_S,
    CALL_PATIENCE_S,
    DEVICES_MAX,
    DIALS_MAX,
    POKE_PATIENCE_S,
    REDIAL_MIN_S,
    Dial,
    DialEffect,
    Dialer,
    Poke,
)

LOW, OWN, HIGH = (DeviceId(bytes([number]) * 32) for number in (1, 5, 9))
ADDRESS = "10.0.0.2:7412"


def make_dialer(*static: str, own: DeviceId = OWN) -> Dialer:
    return Dialer(own=own, entropy=random.Random(1).randbytes, static_addresses=static)


def test_the_smaller_id_dials_and_the_larger_pokes() -> None:
    dialer = make_dialer()
    assert dialer.set_wanted([LOW, HIGH, OWN], 0) == []
    assert dialer.sighted(HIGH, (ADDRESS,), 0) == [Dial(HIGH, ADDRESS)]
    assert dialer.sighted(LOW, (ADDRESS,), 0) == [Poke(LOW, ADDRESS)]


def test_addresses_of_a_link_are_tried_last() -> None:
    """Of a computer on several links, some are of another one than ours."""
    dialer = make_dialer()
    dialer.set_wanted([HIGH], 0)
    link = "[fe80::1%eth0]:7412"
    effects = dialer.sighted(HIGH, (ADDRESS, link), 0)
    assert effects == [Dial(HIGH, ADDRESS)]
    assert dialer.failed(HIGH, ADDRESS, 1) == [Dial(HIGH, link)]


def test_strangers_are_not_called() -> None:
    assert make_dialer().sighted(HIGH, (ADDRESS,), 0) == []


def test_a_device_is_called_once_at_a_time_and_not_while_connected() -> None:
    dialer = make_dialer()
    dialer.set_wanted([HIGH], 0)
    assert len(dialer.sighted(HIGH, (ADDRESS,), 0)) == 1
    assert dialer.sighted(HIGH, ("10.0.0.3:1",), 5) == []
    assert dialer.is_dialling(HIGH)
    dialer.connected(HIGH, 6)
    assert dialer.sighted(HIGH, (ADDRESS,), 7) == []
    assert dialer.wake(1000) == []
    assert not dialer.is_dialling(HIGH)


def fail_often(dialer: Dialer, effects: list[DialEffect], times: int) -> list[float]:
    now, pauses = 0.0, []
    for _ in range(times):
        (call,) = effects
        assert dialer.failed(HIGH, call.address, now) == []
        due = dialer.next_wake()
        assert due is not None
        pauses.append(due - now)
        now = due
        effects = dialer.wake(now)
    return pauses


def test_failures_back_off_up_to_a_minute_with_jitter() -> None:
    dialer = make_dialer(ADDRESS)
    pauses = fail_often(dialer, dialer.set_wanted([HIGH], 0), 30)
    for number, pause in enumerate(pauses):
        middle = min(BACKOFF_MAX_S, 1.5**number)
        assert 0.75 * middle <= pause <= 1.25 * middle
    assert len({round(pause, 3) for pause in pauses[-10:]}) > 5


def test_on_the_lan_the_first_retry_is_quick() -> None:
    dialer = make_dialer()
    dialer.set_wanted([HIGH], 0)
    assert fail_often(dialer, dialer.sighted(HIGH, (ADDRESS,), 0), 1)[0] <= 0.625


def test_a_new_sighting_makes_the_next_try_immediate() -> None:
    dialer = make_dialer(ADDRESS)
    fail_often(dialer, dialer.set_wanted([HIGH], 0), 20)
    dialer.failed(HIGH, ADDRESS, 1000.0)
    assert dialer.sighted(HIGH, ("10.0.0.9:1",), 1001.0) == [Dial(HIGH, "10.0.0.9:1")]


def test_changed_interfaces_make_everybody_due() -> None:
    dialer = make_dialer(ADDRESS)
    fail_often(dialer, dialer.set_wanted([HIGH], 0), 20)
    dialer.failed(HIGH, ADDRESS, 1000.0)
    assert dialer.wake(1001.0) == []
    assert dialer.network_changed(1001.0) == [Dial(HIGH, ADDRESS)]


def test_addresses_take_turns_the_newest_first() -> None:
    dialer = make_dialer("static:1")
    dialer.set_wanted([HIGH], 0)
    dialer.failed(HIGH, "static:1", 0)
    (first,) = dialer.sighted(HIGH, ("old:1", "new:1"), 10)
    addresses, now = [first.address], 10.0
    for _ in range(3):
        dialer.failed(HIGH, addresses[-1], now)
        now = dialer.next_wake() or 0.0
        addresses += [call.address for call in dialer.wake(now)]
    assert addresses == ["new:1", "old:1", "static:1", "new:1"]


def test_every_address_is_tried_before_there_is_a_pause() -> None:
    addresses = ("a:1", "b:1", "c:1", "d:1")
    dialer = make_dialer(*addresses)
    (call,) = dialer.set_wanted([HIGH], 0)
    tried, now = [call.address], 0.0
    while len(tried) < len(addresses):
        assert dialer.failed(HIGH, tried[-1], now) == []
        now = dialer.next_wake() or 0.0
        tried += [call.address for call in dialer.wake(now)]
    assert tried == list(addresses)
    assert now <= REDIAL_MIN_S * len(addresses)
    dialer.failed(HIGH, tried[-1], now)
    assert (dialer.next_wake() or 0.0) > now + REDIAL_MIN_S


def test_an_unanswered_poke_counts_as_failed() -> None:
    dialer = make_dialer(ADDRESS)
    dialer.set_wanted([LOW], 0)
    assert dialer.next_wake() == POKE_PATIENCE_S
    assert dialer.wake(POKE_PATIENCE_S) == []
    assert not dialer.is_dialling(LOW)
    assert dialer.wake(POKE_PATIENCE_S + 2) == [Poke(LOW, ADDRESS)]


def test_a_call_that_nobody_reports_about_does_not_block_a_device_for_ever() -> None:
    dialer = make_dialer(ADDRESS)
    assert dialer.set_wanted([HIGH], 0) == [Dial(HIGH, ADDRESS)]
    assert dialer.wake(CALL_PATIENCE_S - 1) == []
    dialer.wake(CALL_PATIENCE_S)
    assert dialer.wake(CALL_PATIENCE_S + 2) == [Dial(HIGH, ADDRESS)]


def test_after_a_fault_of_the_peers_we_do_not_hurry_back() -> None:
    dialer = make_dialer(ADDRESS)
    dialer.set_wanted([HIGH], 0)
    dialer.connected(HIGH, 0)
    dialer.closed(HIGH, 10, is_peer_fault=True)
    assert (dialer.next_wake() or 0) >= 10 + 0.75 * BACKOFF_MAX_S


def test_a_poke_is_answered_once() -> None:
    dialer = make_dialer()
    dialer.set_wanted([HIGH], 0)
    assert dialer.poked(HIGH, 0)
    assert not dialer.poked(HIGH, 0)
    dialer.failed(HIGH, None, 1)
    assert dialer.poked(HIGH, 2)
    assert not dialer.poked(LOW, 2)


def test_a_poke_in_return_makes_the_larger_id_call_after_all() -> None:
    dialer = make_dialer("given:1", own=HIGH)
    assert dialer.set_wanted([LOW], 0) == [Poke(LOW, "given:1")]
    assert dialer.poked(LOW, 0.1)
    assert not dialer.poked(LOW, 0.2)


def test_both_sides_keep_the_same_of_two_sessions() -> None:
    low, high = make_dialer(own=LOW), make_dialer(own=HIGH)
    for newcomer_is_lows in (True, False):
        kept_by_low = low.keeps_newcomer(HIGH, newcomer_is_mine=newcomer_is_lows)
        assert kept_by_low == high.keeps_newcomer(LOW, newcomer_is_mine=not newcomer_is_lows)


def test_calls_devices_and_addresses_are_capped() -> None:
    dialer = make_dialer()
    devices = [DeviceId(number.to_bytes(32, "big")) for number in range(1, 2 * DEVICES_MAX)]
    dialer.set_wanted(devices, 0)
    calls: list[DialEffect] = []
    for device in devices:
        calls += dialer.sighted(device, [f"10.0.0.{n}:1" for n in range(1, 50)], 0)
    assert len(calls) == DIALS_MAX
    assert len(dialer._devices) == DEVICES_MAX
    assert all(len(entry.addresses) <= ADDRESSES_MAX for entry in dialer._devices.values())


def test_who_is_not_wanted_any_more_is_forgotten() -> None:
    dialer = make_dialer(ADDRESS)
    dialer.set_wanted([HIGH], 0)
    dialer.failed(HIGH, ADDRESS, 0)
    dialer.set_wanted([], 1)
    assert dialer.next_wake() is None
    assert dialer.wake(1000) == []


events = st.lists(
    st.tuples(
        st.sampled_from(["sighted", "connected", "failed", "closed", "wake", "poked", "lost"]),
        st.sampled_from([LOW, HIGH]),
        st.floats(0, 30),
    ),
    max_size=60,
)


@given(events)
def test_whatever_happens_nobody_is_called_twice_at_once(script: list[tuple[str, DeviceId, float]]) -> None:
    dialer = make_dialer("static:1")
    now = 0.0
    calling: dict[DeviceId, tuple[str, float]] = {}

    def note(effects: list[DialEffect]) -> None:
        for effect in effects:
            if effect.device_id in calling:
                assert now >= calling[effect.device_id][1] + CALL_PATIENCE_S
            if isinstance(effect, Dial):
                calling[effect.device_id] = (effect.address, now)

    note(dialer.set_wanted([LOW, HIGH], now))
    for name, device, pause in script:
        now += pause
        match name:
            case "sighted":
                note(dialer.sighted(device, (ADDRESS,), now))
            case "connected":
                calling.pop(device, None)
                note(dialer.connected(device, now))
            case "failed" if device in calling:
                address, _ = calling.pop(device)
                note(dialer.failed(device, address, now))
            case "closed":
                note(dialer.closed(device, now))
            case "poked":
                if dialer.poked(device, now):
                    assert device not in calling or now >= calling[device][1] + CALL_PATIENCE_S
                    dialer.failed(device, dialer.address_of(device), now)
            case "lost":
                dialer.lost_sight(device, ADDRESS)
            case _:
                note(dialer.wake(now))
        due = dialer.next_wake()
        assert due is None or due == pytest.approx(due)
