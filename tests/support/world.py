"""A few daemons that know each other, for end-to-end tests.

`Town` starts daemons, each with a fixed LAN port and the others given by `--peer`, without
multicast: what a test finds does not depend on the network it runs in (discovery has tests of
its own, in namespaces). Whatever was started is ended with the town.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sheaf.core.crdt.replica import Replica
from tests.support.daemon import Daemon, wait_until

JOIN_S_MAX = 30.0
EQUAL_S_MAX = 30.0
"""FAULTS: all honest replicas are equal within 30 s after faults stop."""


class Town:
    """The daemons of one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.daemons: list[Daemon] = []

    def start(self, *names: str, arguments: Sequence[str] = ()) -> list[Daemon]:
        """Start one daemon per name, all at once; each knows where the others listen."""
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        started = []
        for name, port in ports.items():
            peers = [f"--peer=127.0.0.1:{other}" for key, other in ports.items() if key != name]
            daemon = self.daemon(name, arguments=[f"--lan=127.0.0.1:{port}", "--no-mdns", *peers, *arguments])
            daemon.spawn()
            started.append(daemon)
        for daemon in started:
            daemon.wait_ready()
        return started

    def daemon(self, name: str, **options: Any) -> Daemon:
        """A daemon that is not started yet."""
        environment = {"SHEAF_USER_NAME": name, "SHEAF_DEVICE_NAME": f"{name}'s laptop"}
        environment |= options.pop("environment", {})
        made = Daemon(self.directory / name, environment=environment, **options)
        self.daemons.append(made)
        return made

    def close(self) -> None:
        """End everything, however it is doing."""
        for daemon in self.daemons:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()


@contextmanager
def town(directory: Path) -> Iterator[Town]:
    """A town; when something fails inside, the daemons' logs are printed.

    (Not as a fixture: those are not told of failures. There tests/e2e/conftest.py sees to it.)
    """
    made = Town(directory)
    try:
        yield made
    except BaseException:
        for daemon in made.daemons:
            print(f"--- log of {daemon.data_dir.name}\n{daemon.log()}")
        raise
    finally:
        made.close()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [bound.getsockname()[1] for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports


def make_space(owner: Daemon, name: str = "Home") -> str:
    return str(owner.post("/spaces", {"name": name})["space_id"])


def make_document(owner: Daemon, space_id: str, title: str = "Notes", kind: str = "text") -> str:
    body = {"title": title, "type": kind}
    return str(owner.post(f"/spaces/{space_id}/documents", body)["document_id"])


def join(owner: Daemon, joiner: Daemon, space_id: str, *, role: str = "editor", suffix: str = "") -> float:
    """Invite and join; returns the seconds from handing over the ticket to the whole first catch-up."""
    ticket = owner.post(f"/spaces/{space_id}/invitations", {"role": role})["ticket"]
    began = time.monotonic()
    view = joiner.post("/join", {"ticket": ticket + suffix}, status=202)

    def progress() -> Any:
        return joiner.get(f"/join/{view['join_id']}")

    def is_over() -> bool:
        state = progress()
        assert state["state"] != "failed", state
        return bool(state["state"] == "done")

    try:
        wait_until(is_over, timeout_s=JOIN_S_MAX, what="the join is done")
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {progress()}") from None
    return time.monotonic() - began


def shared_document(owner: Daemon, *others: Daemon, kind: str = "text") -> str:
    """A space that all of them are in, with one document; returns the document's id."""
    space_id = make_space(owner)
    document_id = make_document(owner, space_id, kind=kind)
    for other in others:
        join(owner, other, space_id)
    return document_id


def text(daemon: Daemon, document_id: str) -> str:
    """The text, as the daemon has it."""
    response = daemon.request("GET", f"/documents/{document_id}/content", params={"format": "text"})
    assert response.status_code == 200, response.text
    return response.text


def digest(daemon: Daemon, document_id: str) -> bytes:
    """Of the document's whole state, the same for equal replicas (Yjs bytes themselves are not)."""
    response = daemon.request("GET", f"/documents/{document_id}/content", params={"format": "yjs"})
    assert response.status_code == 200, response.text
    return Replica.load([response.content], entropy=os.urandom).digest()


def until_equal(*daemons: Daemon, document_id: str, timeout_s: float = EQUAL_S_MAX) -> None:
    """Wait until all hold the same state, byte for byte."""
    wait_until(
        lambda: len({digest(daemon, document_id) for daemon in daemons}) == 1,
        timeout_s=timeout_s,
        what="the replicas are equal",
    )


def peer_states(daemon: Daemon) -> list[str]:
    """The state of every other device, as the daemon sees it."""
    return [str(peer["state"]) for peer in daemon.get("/peers")["peers"]]


def until_live(*daemons: Daemon, timeout_s: float = 30.0) -> None:
    """Wait until every daemon is in step with all devices it knows."""
    for daemon in daemons:
        wait_until(
            lambda daemon=daemon: (states := peer_states(daemon)) != [] and set(states) == {"live"},  # type: ignore[misc]
            timeout_s=timeout_s,
            what=f"{daemon.data_dir.name} is connected with everybody",
        )
