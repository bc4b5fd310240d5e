"""FAULTS S1: kill -9 of either daemon at random moments under load.

Two people type marked words, each through their own daemon; daemons are killed and started
again. Nothing that was acknowledged may be missing, nothing doubled, no log forked.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.database_copy import database_copy
from tests.support.typist import Typist, verdict
from tests.support.world import Town, shared_document, text, until_equal, until_live

pytestmark = [pytest.mark.e2e]

Position = tuple[bytes, int]


@pytest.mark.timeout(240)
async def test_s1_nothing_acknowledged_is_lost_when_either_daemon_is_killed(
    here: Town, seeded_random: random.Random
) -> None:
    await kill_again_and_again(here, seeded_random, times=int(os.environ.get("SHEAF_KILLS", "10")))


@pytest.mark.netns  # needs no namespace: marked for where there is time, next to the other long ones
@pytest.mark.timeout(900)
async def test_s1_fifty_kills(here: Town, seeded_random: random.Random) -> None:
    await kill_again_and_again(here, seeded_random, times=50)


async def kill_again_and_again(here: Town, choice: random.Random, *, times: int) -> None:
    ada, ben = here.start("ada", "ben")
    document_id = shared_document(ada, ben)
    typists = [Typist(d.data_dir.name, d, document_id, choice=choice) for d in (ada, ben)]
    starts = dict.fromkeys((ada, ben), 1)
    restarts_s: list[float] = []
    async with asyncio.TaskGroup() as group:
        for typist in typists:
            group.create_task(typist.run())
        for _ in range(times):
            if choice.random() < 0.4:  # else while they are still apart
                await asyncio.to_thread(until_live, ada, ben)
            victim = choice.choice(typists)
            await kill_at_a_random_moment(victim, choice)
            starts[victim.daemon] += 1
            restarts_s.append(victim.daemon.started_after_s)
        for typist in typists:
            typist.is_typing = False
    until_live(ada, ben)
    until_equal(ada, ben, document_id=document_id)
    result = verdict(text(ada, document_id), *typists)
    print(
        f"S1: {times} kills, {result['typed']} words typed, {result['acknowledged']} acknowledged, "
        f"{len(result['lost'])} lost, {len(result['doubled'])} doubled, {result['unknown']} unknown; "
        f"restart to first answer: median {statistics.median(restarts_s):.2f} s, "
        f"slowest {max(restarts_s):.2f} s"
    )
    assert result["lost"] == []
    assert result["doubled"] == []
    assert result["foreign"] == []
    assert result["unknown"] == 0
    assert [daemon.stop() for daemon in (ada, ben)] == [0, 0]
    check_logs(ada, ben, incarnations=sum(starts.values()))


async def kill_at_a_random_moment(victim: Typist, choice: random.Random) -> None:
    """Once something was acknowledged on the present connection, then after 0 to 150 ms more."""
    before = len(victim.acknowledged)
    await victim.until(lambda: victim.is_connected and len(victim.acknowledged) > before)
    await asyncio.sleep(choice.random() * 0.15)
    await asyncio.to_thread(victim.daemon.kill)
    await asyncio.to_thread(victim.daemon.start)


def check_logs(*daemons: Daemon, incarnations: int) -> None:
    """No position of a log is taken twice, no gap, one log for each run that wrote, both sides alike."""
    copies = [positions(daemon.data_dir) for daemon in daemons]
    for found in copies:
        assert all(len(ids) == 1 for ids in found.values()), "a log is forked"
        by_log: dict[bytes, list[int]] = defaultdict(list)
        for log_id, seq in sorted(found):
            by_log[log_id].append(seq)
        for log_id, seqs in by_log.items():
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"a gap in log {log_id.hex()}"
        print(f"S1: {len(found)} envelopes in {len(by_log)} logs of {incarnations} runs")
        assert len(by_log) <= incarnations
    assert all(found == copies[0] for found in copies), "the logs differ"


def positions(data_dir: Path) -> dict[Position, set[bytes]]:
    """The envelope ids at every position, read from a copy of a stopped daemon's database."""
    with database_copy(data_dir) as connection:
        rows = connection.execute(
            "SELECT space_id, log_id, seq, env_id FROM envelopes JOIN logs USING (log)"
            " JOIN spaces USING (space)"
        ).fetchall()
        (quarantined,) = connection.execute("SELECT count(*) FROM quarantine").fetchone()
    assert quarantined == 0
    found: dict[Position, set[bytes]] = defaultdict(set)
    for space_id, log_id, seq, env_id in rows:
        found[space_id + log_id, seq].add(env_id)
    return dict(found)
