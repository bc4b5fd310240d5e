"""The contract of `Discovery`, for mDNS on the loopback interface."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import pytest
from zeroconf import DNSOutgoing

from sheaf.discovery.mdns import MdnsDiscovery
from sheaf.discovery.network import InterfaceAddress, InterfacePolicy, NetworkWatch
from sheaf.ports import Announcement, Sighting

LOOPBACK = InterfaceAddress("lo", 1, "127.0.0.1")
TAG, NEW_TAG = b"tagtag", b"newtag"


class Lookout:
    """A discovery on interfaces that the test controls, and what it saw."""

    def __init__(self, *present: InterfaceAddress) -> None:
        self.present = list(present)
        self.wall = 0.0
        self.watch = NetworkWatch(
            policy=InterfacePolicy(), read=lambda: tuple(self.present), poll_s=0.02, wall=lambda: self.wall
        )
        self.discovery = MdnsDiscovery(watch=self.watch, entropy=os.urandom)
        self.seen: list[Sighting] = []
        self._changed = asyncio.Event()

    async def start(self) -> None:
        await self.watch.start()
        await self.discovery.start(self._saw)

    async def close(self) -> None:
        await self.discovery.close()
        await self.watch.close()

    async def announce(self, *tags: bytes, port: int = 4000) -> None:
        await self.discovery.announce(Announcement(port=port, tags_for=lambda nonce: list(tags)))

    async def until(self, condition: Callable[[Sighting], bool], *, seconds: float = 3.0) -> Sighting:
        async with asyncio.timeout(seconds):
            while not any(map(condition, self.seen)):
                self._changed.clear()
                await self._changed.wait()
        return next(filter(condition, self.seen))

    async def until_state(self, state: str) -> None:
        async with asyncio.timeout(5):
            while self.discovery.state != state:  # noqa: ASYNC110  # a state has no event
                await asyncio.sleep(0.005)

    def _saw(self, sighting: Sighting) -> None:
        self.seen.append(sighting)
        self._changed.set()


@pytest.fixture
async def lookouts() -> AsyncIterator[tuple[Lookout, Lookout]]:
    pair = Lookout(LOOPBACK), Lookout(LOOPBACK)
    for lookout in pair:
        await lookout.start()
    yield pair
    for lookout in pair:
        await lookout.close()


def has(tag: bytes) -> Callable[[Sighting], bool]:
    return lambda sighting: tag in sighting.tags and not sighting.is_gone


async def test_an_announcement_is_seen_with_its_address(lookouts: tuple[Lookout, Lookout]) -> None:
    here, there = lookouts
    tag = os.urandom(6)
    await there.announce(tag, port=4567)
    sighting = await here.until(has(tag))
    assert sighting.addresses == ("127.0.0.1:4567",)
    assert len(sighting.nonce) == 12
    assert len(sighting.tags) == 8


async def test_the_tags_are_made_for_the_nonce_that_is_announced(lookouts: tuple[Lookout, Lookout]) -> None:
    here, there = lookouts
    nonces: list[bytes] = []
    tag = os.urandom(6)

    def tags_for(nonce: bytes) -> list[bytes]:
        nonces.append(nonce)
        return [tag]

    await there.discovery.announce(Announcement(port=4000, tags_for=tags_for))
    sighting = await here.until(has(tag))
    assert set(nonces) == {sighting.nonce}


async def test_new_tags_reach_others_within_a_second(lookouts: tuple[Lookout, Lookout]) -> None:
    here, there = lookouts
    first, second = os.urandom(6), os.urandom(6)
    await there.announce(first)
    await here.until(has(first))
    await there.announce(first, second)
    await here.until(has(second), seconds=1.0)


async def test_what_goes_out_and_what_comes_in_is_told(lookouts: tuple[Lookout, Lookout]) -> None:
    here, there = lookouts
    await here.until_state("on")
    assert here.discovery.multicast.state == "on"
    assert not here.discovery.multicast.is_announcing
    await here.announce(TAG)
    await there.until(has(TAG))
    async with asyncio.timeout(3):
        while not here.discovery.multicast.hears_itself:  # noqa: ASYNC110  # an echo has no event
            await asyncio.sleep(0.005)
    assert here.discovery.multicast.is_announcing
    assert there.discovery.multicast.others_now >= 1
    assert there.discovery.multicast.others_ever >= 1
    assert not there.discovery.multicast.hears_itself


async def test_one_who_comes_later_finds_who_was_there_before(lookouts: tuple[Lookout, Lookout]) -> None:
    tag = os.urandom(6)
    await lookouts[0].announce(tag)
    await lookouts[1].until(has(tag))
    late = Lookout(LOOPBACK)
    await late.start()
    await late.until(has(tag))
    await late.close()


async def test_one_who_comes_between_two_announcements_believes_the_newer() -> None:
    first, second = os.urandom(6), os.urandom(6)
    there, late = Lookout(LOOPBACK), Lookout(LOOPBACK)
    await there.start()
    await there.announce(first)
    await asyncio.sleep(0.3)  # two of the three broadcasts of an announcement; the third comes at 0.45 s
    await late.start()
    await late.until_state("on")
    await there.announce(second)
    await late.until(has(second))
    await asyncio.sleep(0.5)
    assert has(second)(late.seen[-1])
    await there.close()
    await late.close()


async def test_after_a_newer_announcement_the_older_is_not_said_again(
    lookouts: tuple[Lookout, Lookout], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = lookouts
    first, second = os.urandom(6), os.urandom(6)
    said: list[bytes] = []
    await there.until_state("on")
    speaking = there.discovery._zeroconf
    assert speaking is not None
    send = speaking.zeroconf.async_send

    def overhear(out: DNSOutgoing, *arguments: object, **more: object) -> None:
        said.extend(tag for tag in (first, second) for packet in out.packets() if tag in packet)
        send(out, *arguments, **more)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(speaking.zeroconf, "async_send", overhear)
    await there.announce(first)
    await here.until(has(first))
    await there.announce(second)
    await here.until(has(second))
    await asyncio.sleep(0.6)
    assert first in said
    assert first not in said[said.index(second) :]
    assert said.count(second) >= 3


async def test_an_old_announcement_that_comes_late_is_believed_for_a_moment_only(
    lookouts: tuple[Lookout, Lookout],
) -> None:
    here, there = lookouts
    first, second = os.urandom(6), os.urandom(6)
    await there.announce(first)
    await here.until(has(first))
    old, speaking = there.discovery._announced, there.discovery._zeroconf
    assert old is not None
    assert speaking is not None
    await there.announce(second)
    await here.until(has(second))
    before = len(here.seen)
    another_ttl = 119  # the very same datagram would be passed over for a second
    speaking.zeroconf.async_send(speaking.zeroconf.generate_service_broadcast(old, another_ttl))
    async with asyncio.timeout(10):
        while not any(map(has(first), here.seen[before:])):  # noqa: ASYNC110  # sightings have no event
            await asyncio.sleep(0.005)
    async with asyncio.timeout(30):
        while not has(second)(here.seen[-1]):  # noqa: ASYNC110  # the last sighting has no event
            await asyncio.sleep(0.005)


async def test_a_goodbye_is_told(lookouts: tuple[Lookout, Lookout]) -> None:
    here, there = lookouts
    tag = os.urandom(6)
    await there.announce(tag)
    seen = await here.until(has(tag))
    await there.discovery.close()
    await here.until(lambda s: s.is_gone and s.instance == seen.instance)


async def test_the_own_announcement_is_not_a_sighting(lookouts: tuple[Lookout, Lookout]) -> None:
    here, there = lookouts
    mine, theirs = os.urandom(6), os.urandom(6)
    await here.announce(mine)
    await there.until(has(mine))
    await there.announce(theirs)
    await here.until(has(theirs))
    assert not any(mine in sighting.tags for sighting in here.seen)


async def test_starting_without_an_interface_waits_for_one() -> None:
    tag = os.urandom(6)
    here, there = Lookout(), Lookout(LOOPBACK)
    await here.start()
    await there.start()
    await here.announce(tag)
    assert here.discovery.state == "no interface"
    here.present.append(LOOPBACK)
    await there.until(has(tag))
    assert here.discovery.state == "on"
    await here.close()
    await there.close()
    assert here.discovery.state == "off"


async def test_losing_the_interface_and_getting_it_back_is_survived(
    lookouts: tuple[Lookout, Lookout],
) -> None:
    here, there = lookouts
    tag, new_tag = os.urandom(6), os.urandom(6)
    await there.announce(tag)
    await here.until(has(tag))
    there.present.clear()
    await there.until_state("no interface")
    await there.announce(new_tag)
    there.present.append(LOOPBACK)
    await here.until(has(new_tag))
    assert there.discovery.state == "on"


async def test_n4_after_a_sleep_it_announces_and_asks_again(
    lookouts: tuple[Lookout, Lookout], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = lookouts
    tag = os.urandom(6)
    await there.announce(tag)
    await here.until(has(tag))
    await asyncio.sleep(0.6)  # the three broadcasts of an announcement take 0.45 s
    asleep = here.discovery._zeroconf
    assert asleep is not None
    sent: list[bool] = []
    send = asleep.zeroconf.async_send

    def overhear(out: DNSOutgoing, *arguments: object, **more: object) -> None:
        sent.append(out.is_query())
        send(out, *arguments, **more)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(asleep.zeroconf, "async_send", overhear)
    await here.announce(b"my tag")
    await there.until(has(b"my tag"))
    await asyncio.sleep(0.6)
    sent.clear()
    here.wall += 3600
    async with asyncio.timeout(3):
        while set(sent) != {True, False}:  # noqa: ASYNC110  # both a question and an announcement
            await asyncio.sleep(0.005)


async def test_an_interface_that_cannot_be_used_is_not_fatal() -> None:
    lookout = Lookout(InterfaceAddress("ghost0", 77, "203.0.113.200"))
    await lookout.start()
    await lookout.announce(TAG)
    lookout.present[:] = [LOOPBACK]
    await lookout.until_state("on")
    await lookout.close()


async def test_closing_at_any_moment_leaves_nothing_behind() -> None:
    before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    for turns in range(6):
        lookout = Lookout(LOOPBACK)
        await lookout.start()
        await lookout.announce(TAG)
        for _ in range(turns * turns):
            await asyncio.sleep(0)
        await asyncio.gather(lookout.close(), lookout.close())
    await asyncio.sleep(0.05)
    assert (len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())) == before
