"""FAULTS N4: interfaces and addresses change, laptops sleep; everybody is met again within 10 s.

`SHEAF_MOVES=20` changes the address so many times; the usual run does it a few times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.support import netns
from tests.support.acquaintance import Acquaintance, append, path, start_together
from tests.support.daemon import Daemon, wait_until
from tests.support.netns import Lan
from tests.support.world import Town, text, until_equal, until_live

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(240)]

MOVES = int(os.environ.get("SHEAF_MOVES") or 4)
BACK_S_MAX = 10.0
SILENCE_S_MAX = 15.0


@pytest.fixture
def room(here: Town) -> Iterator[Lan]:
    """Two computers on a switch. (Asks for the town first, so that daemons end before their network.)"""
    del here
    with netns.lan(2) as made:
        yield made


@pytest.fixture
def pair(here: Town, room: Lan, acquaintance: Acquaintance) -> tuple[Daemon, Daemon]:
    """Ada on the first computer and Ben on the second, in step."""
    ada, ben = (acquaintance.move_in(here, name, room[at]) for at, name in enumerate(("ada", "ben")))
    start_together(ada, ben)
    until_live(ada, ben)
    return ada, ben


def meet_again(ada: Daemon, ben: Daemon, document_id: str, words: str) -> float:
    """Write on one side; returns the seconds until the other has it."""
    began = time.monotonic()
    append(ben, document_id, words)
    until_equal(ada, ben, document_id=document_id, timeout_s=BACK_S_MAX)
    assert words in text(ada, document_id)
    return time.monotonic() - began


def test_n4_one_address_after_the_other(
    pair: tuple[Daemon, Daemon], room: Lan, acquaintance: Acquaintance
) -> None:
    ada, ben = pair
    address, taken = "10.77.0.2", []
    for number in range(MOVES):
        address, before = f"10.77.0.{20 + number}", address
        room[1].readdress(f"{before}/24", f"{address}/24")
        taken.append(meet_again(ada, ben, acquaintance.document_id, f"I moved {number} times"))
    print(f"N4: {MOVES} new addresses, in step again after {max(taken):.1f} s at most")


def test_n4_from_the_cable_to_wifi(
    pair: tuple[Daemon, Daemon], room: Lan, acquaintance: Acquaintance
) -> None:
    ada, ben = pair
    room.replace_interface(1, "wlan0", "10.77.0.102")
    took_s = meet_again(ada, ben, acquaintance.document_id, "no cable any more")
    print(f"N4: another interface, in step again after {took_s:.1f} s")


def test_n4_a_laptop_that_slept_and_wakes_up_with_another_address(
    pair: tuple[Daemon, Daemon], room: Lan, acquaintance: Acquaintance
) -> None:
    ada, ben = pair
    ben.pause()
    try:
        wait_until(lambda: path(ada) is None, timeout_s=SILENCE_S_MAX, what="ada sees that ben sleeps")
        append(ada, acquaintance.document_id, "said while ben slept")
        room[1].readdress("10.77.0.2/24", "10.77.0.202/24")
    finally:
        ben.go_on()
    took_s = meet_again(ada, ben, acquaintance.document_id, "good morning")
    assert "said while ben slept" in text(ben, acquaintance.document_id)
    print(f"N4: awake, in step again after {took_s:.1f} s")
