"""docs/network-scenes.md: what the network scenes came out as, written by the test that played them.

`SHEAF_UPDATE_SCENES=1 make netns ARGS="tests/e2e/test_scenes.py"` writes it anew; tests/meta compares its
scenes and paths with what the test asks for, so that it cannot describe something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.repository import ROOT
from tests.support.scenes import SCENES

TABLE = ROOT / "docs" / "network-scenes.md"
_COLUMNS = ("Scene", "In step after", "first by", "stays on", "after", "Incident: in step again after")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one scene went; times in seconds from both daemons ready, or from the incident."""

    scene: str
    live_s: float
    first_path: str
    path: str
    settled_s: float
    again_s: float | None = None


def row(outcome: Outcome) -> tuple[str, ...]:
    """Its line of the table."""
    again = "" if outcome.again_s is None else f"{outcome.again_s:.1f} s"
    return (
        outcome.scene,
        f"{outcome.live_s:.1f} s",
        outcome.first_path,
        outcome.path,
        f"{outcome.settled_s:.1f} s",
        again,
    )


def write(outcomes: Iterable[Outcome], path: Path = TABLE) -> None:
    """The whole page."""
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS), *(row(each) for each in outcomes)]
    path.write_text(_HEAD + "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n" + _FOOT)


def described() -> Sequence[tuple[str, str]]:
    """(scene, path it stays on) of every line of the page."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(line[0], line[3]) for line in cells]


def expected() -> Sequence[tuple[str, str]]:
    """(scene, path it stays on) of every scene that is played."""
    return [(scene.name, scene.path) for scene in SCENES]


_HEAD = """# Network scenes

Two people who joined earlier meet again in every kind of network: two daemons in network namespaces, behind
routers that translate by nftables, with a `sheaf relay` on a public address where the scene has one. No two
homes share a LAN; all IPv4 homes use the same addresses inside. The clock runs from both daemons ready to
both in step; then both write, and the scene ends when their documents are equal, byte for byte.

`webrtc` is a direct connection by UDP, `tunnel` a direct one by TCP, `relay` one through the relay; each is
encrypted from end to end. A connection that begins through the relay moves to a direct path as soon as one
opens.

"""
_FOOT = """
An incident is something that happens while both are connected. For a restart the clock runs from the relay's
being ready again; a direct connection does not notice it.

Measured on two cores shared with other work. The test (tests/e2e/test_scenes.py) asks for less than 5 s until
both are in step, for the path named here, and for equal documents; it writes this page with
`SHEAF_UPDATE_SCENES=1`.
"""
