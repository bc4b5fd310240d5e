"""Real writing sessions replayed character by character, each agent through its own daemon.

The tabs are Node processes with the stock y-websocket provider (js/agent.mjs, which also explains how
positions and parents are respected). Live, and again with the connection cut in the middle: there one
daemon is killed while both sides go on typing as far as causality lets them. (The same with a real cable
is in test_lan.py.) Real traces where the shared data is present, otherwise stand-ins of the same form.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support import editing_trace
from tests.support.editing_trace import Recorded
from tests.support.trace_replay import check_result, replaying
from tests.support.world import Town, shared_document, until_live

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

EVERYDAY_TXNS = 3000
"""The beginning of a trace takes a few seconds; whole ones are replayed where there is time."""

SESSIONS = [("friendsforever", 2), ("clownschool", 3)]
NAMES = ("ada", "ben", "cleo")


@pytest.mark.parametrize(("name", "agents"), SESSIONS)
async def test_the_beginning_of_a_session_live(here: Town, name: str, agents: int) -> None:
    await replay(here, editing_trace.load(name, agents=agents, txns_max=EVERYDAY_TXNS), is_cut=False)


async def test_the_beginning_of_a_session_with_a_daemon_killed_in_the_middle(here: Town) -> None:
    await replay(here, editing_trace.load("friendsforever", agents=2, txns_max=EVERYDAY_TXNS), is_cut=True)


@pytest.mark.netns  # needs no namespace: it is long, and belongs where there is time
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "agents", "is_cut"),
    [("friendsforever", 2, False), ("friendsforever", 2, True), ("clownschool", 3, False)],
    ids=["friendsforever-live", "friendsforever-cut", "clownschool-live"],
)
async def test_a_whole_session(here: Town, name: str, agents: int, is_cut: bool) -> None:
    await replay(here, editing_trace.load(name, agents=agents), is_cut=is_cut)


async def replay(here: Town, recorded: Recorded, *, is_cut: bool) -> None:
    daemons = here.start(*NAMES[: recorded.trace["numAgents"]])
    document_id = shared_document(*daemons)
    until_live(*daemons)
    milestone, alone = editing_trace.widest_gap(recorded.trace)
    async with replaying(
        here.directory, recorded, daemons, document_id, milestone=milestone if is_cut else None
    ) as agents:
        for agent in agents:
            await agent.go()
        if is_cut:
            for agent in agents:
                await agent.until("milestone")
            # the one who has most to say meanwhile loses its daemon, and types on without
            victim = daemons[alone.index(max(alone))]
            victim.kill()
            for agent in agents:
                await agent.go()
            for agent in agents:
                await agent.until("waiting", "done")
            await asyncio.to_thread(victim.start)
        results = [await agent.until("done") for agent in agents]
        check_result(recorded, daemons, document_id, results)
