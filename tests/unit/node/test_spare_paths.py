"""A worse path that comes while there is a better one waits, in case the better one proves dead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sheaf.core.base.ids import DeviceId
from sheaf.core.protocol.dial_lines import PathRank
from sheaf.core.protocol.messages import CLONED
from sheaf.node import peer_links
from sheaf.node.clones import Clones
from sheaf.node.events import EventBus
from sheaf.node.peer_link import PeerLink
from sheaf.node.peer_links import TURN_S, PeerLinks
from sheaf.ports import PathKind
from sheaf.task_set import TaskSet
from tests.support.nodes import until

OWN, PEER = DeviceId(b"\1" * 32), DeviceId(b"\2" * 32)


class Link:
    """A session's link as far as `PeerLinks` looks at it."""

    def __init__(self, links: PeerLinks, path: PathKind, process: bytes | None = None) -> None:
        self.links = links
        self.process = process
        self.is_cloned = False
        self.reasons: list[str] = []
        self.device_id = PEER
        self.channel = SimpleNamespace(path=path)
        self.session = SimpleNamespace(probe=lambda now: [])
        self.is_offerer = True
        self.is_peer_fault = False
        self.is_closed = False
        self.probed = 0

    def perform(self, _effects: object) -> None:
        self.probed += 1

    def close(self, reason: str) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.reasons.append(reason)
            self.links.link_closed(cast(PeerLink, self), reason)

    def come(self) -> Link:
        self.links.link_authenticated(cast(PeerLink, self))
        return self


@pytest.fixture
def now() -> list[float]:
    """The time, to be changed."""
    return [0.0]


@pytest.fixture
async def links(monkeypatch: pytest.MonkeyPatch, now: list[float]) -> AsyncIterator[PeerLinks]:
    monkeypatch.setattr(peer_links, "PEER_PROBE_S", 0.05)
    monkeypatch.setattr(peer_links, "SPARE_S", 0.0)
    tasks = TaskSet("test")
    library = SimpleNamespace(hosts=lambda: [], find=lambda _: None)
    unused = cast(Any, None)
    clock = cast(Any, SimpleNamespace(now=lambda: now[0], wall_ms=lambda: 0))
    yield PeerLinks(
        identity=cast(Any, SimpleNamespace(device=SimpleNamespace(device_id=OWN))),
        library=cast(Any, library),
        invitations=unused,
        store=unused,
        clock=clock,
        entropy=bytes,
        events=EventBus(),
        tasks=tasks,
        keeps_newcomer=lambda _device, _mine, newcomer, older: newcomer >= older,
        on_connected=lambda _device, _rank: None,
        on_closed=lambda _device, _link: None,
        clones=Clones(own=OWN, clock=clock, on_news=lambda: None),
    )
    await tasks.close()


def make(links: PeerLinks, path: PathKind, process: bytes | None = None) -> Link:
    return Link(links, path, process).come()


async def test_it_takes_the_place_of_one_that_proves_dead(links: PeerLinks) -> None:
    direct, relayed = make(links, PathKind.WEBRTC), make(links, PathKind.RELAY)
    assert links.rank(PEER) is PathRank.DIRECT
    assert direct.probed == 1
    direct.close("nothing heard from the other side")
    assert links.rank(PEER) is PathRank.RELAY
    assert not relayed.is_closed


async def test_it_is_let_go_when_the_better_one_lives(links: PeerLinks) -> None:
    direct, relayed = make(links, PathKind.WEBRTC), make(links, PathKind.RELAY)
    await until(lambda: relayed.is_closed)
    assert not direct.is_closed
    assert links.rank(PEER) is PathRank.DIRECT


async def test_there_is_one_at_a_time(links: PeerLinks) -> None:
    direct, first, second = (make(links, p) for p in (PathKind.WEBRTC, PathKind.RELAY, PathKind.TUNNEL))
    assert (direct.is_closed, first.is_closed, second.is_closed) == (False, True, False)


async def test_after_a_fault_of_the_other_side_it_is_not_used(links: PeerLinks) -> None:
    direct, relayed = make(links, PathKind.WEBRTC), make(links, PathKind.RELAY)
    direct.is_peer_fault = True
    direct.close("it broke the rules")
    assert relayed.is_closed
    assert links.rank(PEER) is None


async def test_one_that_ends_by_itself_is_forgotten(links: PeerLinks) -> None:
    direct, relayed = make(links, PathKind.WEBRTC), make(links, PathKind.RELAY)
    relayed.close("the relay is gone")
    direct.close("nothing heard from the other side")
    assert links.rank(PEER) is None


async def test_a_stop_ends_it_too(links: PeerLinks) -> None:
    direct, relayed = make(links, PathKind.WEBRTC), make(links, PathKind.RELAY)
    links.close()
    assert (direct.is_closed, relayed.is_closed) == (True, True)
    assert links.rank(PEER) is None


# ------------------------------------------------------------------ two daemons with one identity


async def test_both_are_told_at_once_and_then_take_turns(links: PeerLinks, now: list[float]) -> None:
    first = make(links, PathKind.WEBRTC, b"one")
    second = make(links, PathKind.WEBRTC, b"two")
    assert first.reasons == ["replaced by a newer connection"], "it could be a restart"
    again = make(links, PathKind.WEBRTC, b"one")
    assert again.reasons == second.reasons == [CLONED]
    assert links.rank(PEER) is None

    first = make(links, PathKind.WEBRTC, b"one")
    too_early = make(links, PathKind.WEBRTC, b"two")
    assert too_early.reasons == [CLONED]
    assert not first.is_closed
    now[0] += TURN_S
    second = make(links, PathKind.WEBRTC, b"two")
    assert first.reasons == [CLONED]
    assert not second.is_closed


async def test_one_process_that_calls_again_is_no_clone(links: PeerLinks) -> None:
    for _ in range(5):
        last = make(links, PathKind.WEBRTC, b"one")
    restarted = make(links, PathKind.WEBRTC, b"two")
    assert CLONED not in last.reasons
    assert not restarted.is_closed


async def test_who_lives_beside_the_other_is_a_clone_also_when_it_never_gave_way(links: PeerLinks) -> None:
    direct = make(links, PathKind.WEBRTC, b"one")
    make(links, PathKind.RELAY, b"two")
    await until(lambda: links._clones.is_cloned(PEER))
    assert not direct.is_closed


async def test_what_a_member_noticed_is_known_here(links: PeerLinks, monkeypatch: pytest.MonkeyPatch) -> None:
    link = make(links, PathKind.WEBRTC, b"one")
    documents = SimpleNamespace(device_left=lambda _: None)
    space = SimpleNamespace(is_member=lambda device_id: device_id == PEER, documents=documents)
    monkeypatch.setattr(links._library, "hosts", lambda: [space])
    link.is_cloned = True
    link.close("the other side left")
    assert links._clones.is_cloned(OWN)


async def test_what_a_stranger_says_it_noticed_is_not_believed(links: PeerLinks) -> None:
    link = make(links, PathKind.WEBRTC, b"one")
    link.is_cloned = True
    link.close("the other side left")
    assert not links._clones.is_cloned(OWN)
