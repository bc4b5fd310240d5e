"""Two people whose daemons can only meet at a relay (PROTOCOL §5 "Paths", §6; issue 3).

Each stands behind a router of his own. The scenes of test_scenes.py show every kind of router; here is what
the daemon makes of a relay: joining over it, the ways up to a better path and back, and what it tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.acquaintance import append, start_together, write_on_both_sides
from tests.support.daemon import Daemon, wait_until
from tests.support.nat import Home, Internet, Nat, internet
from tests.support.relay import RelayProcess
from tests.support.world import Town, join, make_document, make_space, text, until_equal

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(240)]

IN_SYNC_S_MAX = 30.0


@contextmanager
def relay_at(world: Internet, directory: Path, *arguments: str) -> Iterator[RelayProcess]:
    """A relay on the first server."""
    server = world.servers[0]
    relay = RelayProcess(
        directory / "relay",
        arguments=arguments,
        prefix=server.command([]),
        enter=server.entered,
        host=str(server.address),
        port=7412,
    ).start()
    try:
        yield relay
    finally:
        relay.kill()


@pytest.fixture
def world(here: Town) -> Iterator[Internet]:
    """Two homes whose routers let only in what was asked for. (After the town: daemons end before it.)"""
    del here
    with internet(Nat.PORT_RESTRICTED, Nat.PORT_RESTRICTED) as made:
        yield made


@pytest.fixture
def outside(world: Internet, tmp_path: Path) -> Iterator[RelayProcess]:
    """The relay both can reach."""
    with relay_at(world, tmp_path) as relay:
        yield relay


def resident(here: Town, home: Home, name: str, *arguments: str) -> Daemon:
    """A daemon at the first computer of a home, not started."""
    computer = home[0]
    return here.daemon(
        name, prefix=computer.command([]), enter=computer.entered, arguments=("--no-mdns", *arguments)
    )


def both(here: Town, world: Internet, *arguments: str) -> tuple[Daemon, Daemon]:
    ada, ben = (
        resident(here, home, name, *arguments) for home, name in zip(world.homes, ("ada", "ben"), strict=True)
    )
    start_together(ada, ben)
    return ada, ben


def peer(daemon: Daemon) -> dict[str, Any]:
    (found,) = daemon.get("/peers")["peers"]
    return dict(found)


def path(daemon: Daemon) -> str | None:
    """How the only peer is connected, once in sync."""
    found = peer(daemon)
    return found["path"] if found["state"] == "live" else None


def until_path(wanted: str, *daemons: Daemon, timeout_s: float = IN_SYNC_S_MAX) -> None:
    for daemon in daemons:
        wait_until(lambda d=daemon: path(d) == wanted, timeout_s=timeout_s, what=f"the path is {wanted}")


def test_a_ticket_names_the_relay_and_the_guest_joins_over_it(
    here: Town, world: Internet, outside: RelayProcess
) -> None:
    ada = resident(here, world.homes[0], "ada", f"--relay={outside.url}")
    ben = resident(here, world.homes[1], "ben")  # knows no relay but the ticket's
    start_together(ada, ben)
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    append(ada, document_id, "written before")
    took_s = join(ada, ben, space_id)
    assert took_s < 10
    until_equal(ada, ben, document_id=document_id)
    assert "written before" in text(ben, document_id)
    wait_until(lambda: path(ben) is not None, what="ben is in sync")
    write_on_both_sides(ada, ben, document_id=document_id, what="together", timeout_s=IN_SYNC_S_MAX)
