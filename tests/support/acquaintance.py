"""Two people who joined earlier, at the same table, and whose data is carried to where a test plays.

What a scene measures is how they meet again; joining has tests of its own.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.netns import Computer
from tests.support.world import Town, shared_document, text, town, until_equal, until_live

NAMES = ("ada", "ben")


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """The data of two stopped daemons, and the text they share."""

    directory: Path
    document_id: str

    def move_in(self, here: Town, name: str, computer: Computer, *arguments: str) -> Daemon:
        """The daemon of 'ada' or 'ben' on a computer, with all it had; not started."""
        shutil.copytree(self.directory / name, here.directory / name)
        return here.daemon(name, prefix=computer.command([]), enter=computer.entered, arguments=arguments)


def make_acquaintance(directory: Path) -> Acquaintance:
    """Let two daemons join over loopback, and stop them."""
    with town(directory) as table:
        ada, ben = table.start(*NAMES)
        document_id = shared_document(ada, ben)
        until_live(ada, ben)
        for daemon in (ada, ben):
            assert daemon.stop() == 0
    return Acquaintance(directory, document_id)


def start_together(*daemons: Daemon) -> None:
    """Start them at once and wait until all serve."""
    for daemon in daemons:
        daemon.spawn()
    for daemon in daemons:
        daemon.wait_ready()


def append(daemon: Daemon, document_id: str, words: str) -> None:
    """Add a line to the text; it is saved on return."""
    headers = {"Content-Type": "text/markdown"}
    answer = daemon.request("POST", f"/documents/{document_id}/append", content=words, headers=headers)
    assert answer.status_code == 204, answer.text


def write_on_both_sides(*daemons: Daemon, document_id: str, what: str, timeout_s: float) -> None:
    """Each adds a line; returns when all have all of them, byte for byte."""
    for daemon in daemons:
        append(daemon, document_id, f"{daemon.data_dir.name}: {what}")
    until_equal(*daemons, document_id=document_id, timeout_s=timeout_s)
    for reader in daemons:
        for writer in daemons:
            assert f"{writer.data_dir.name}: {what}" in text(reader, document_id)


def path(daemon: Daemon) -> str | None:
    """How the only peer is connected; None unless in step."""
    (peer,) = daemon.get("/peers")["peers"]
    return str(peer["path"]) if peer["state"] == "live" else None


def connections(daemon: Daemon) -> float:
    """How many connections it had since its start."""
    with daemon.enter():
        lines = daemon.client().get(daemon.url + "/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("sheaf_connections_made"))
