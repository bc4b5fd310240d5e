"""A copied data folder: two daemons with one device's identity meet a third device (decision 0073)."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sheaf.core.base.ids import DeviceId
from tests.support import netns
from tests.support.acquaintance import append, connections, start_together
from tests.support.daemon import Daemon, wait_until
from tests.support.world import Town, free_ports, shared_document, text, town, until_equal, until_live

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TURNS_S_MAX = 180.0
"""Each clone comes to its turn several times in this."""
CONNECTIONS_PER_MINUTE_MAX = 15
"""Without turns it was 129."""
COPY, OTHER, THIRD = "one", "other", "third"


@dataclass(frozen=True, slots=True)
class Couple:
    """The data of two stopped daemons, that of the smaller device id first, and the text they share."""

    folders: tuple[Path, Path]
    document_id: str


@pytest.fixture(scope="module")
def couple(tmp_path_factory: pytest.TempPathFactory) -> Couple:
    with town(tmp_path_factory.mktemp("couple")) as table:
        daemons = table.start("ada", "ben")
        document_id = shared_document(*daemons)
        until_live(*daemons)
        daemons.sort(key=lambda daemon: DeviceId.parse(daemon.get("/status")["device_id"]))
        for daemon in daemons:
            assert daemon.stop() == 0
    return Couple((daemons[0].data_dir, daemons[1].data_dir), document_id)


@pytest.mark.long
@pytest.mark.parametrize("is_smaller_copied", [False, True], ids=["larger id", "smaller id"])
def test_a_copied_folder_costs_few_connections_loses_nothing_and_is_told_to_all_three(
    is_smaller_copied: bool, couple: Couple, here: Town
) -> None:
    copied, alone = couple.folders if is_smaller_copied else reversed(couple.folders)
    for name, source in ((COPY, copied), (OTHER, copied), (THIRD, alone)):
        shutil.copytree(source, here.directory / name)
    ports = dict(zip((COPY, OTHER, THIRD), free_ports(3), strict=True))

    def daemon(name: str, *known: str) -> Daemon:
        peers = [f"--peer=127.0.0.1:{ports[each]}" for each in known]
        return here.daemon(name, arguments=[f"--lan=127.0.0.1:{ports[name]}", "--no-mdns", *peers])

    one, other, third = everybody = daemon(COPY, THIRD), daemon(OTHER, THIRD), daemon(THIRD, COPY, OTHER)
    start_together(*everybody)
    began = time.monotonic()
    for each in everybody:
        append(each, couple.document_id, f"{each.data_dir.name} was here")
    wait_until(lambda: words_in(third, couple) == [1, 1, 1], timeout_s=TURNS_S_MAX, what="the third has all")
    for each in everybody:
        wait_until(lambda each=each: clones(each) != [], what=f"{each.data_dir.name} is told")  # type: ignore[misc]
    for each in (one, other):
        check_told(each, is_self=True, words="Another computer uses this device's identity")
    for command in ("status", "doctor"):
        assert "Another computer uses this device's identity" in one.cli(command, check=False)
    check_told(
        third,
        is_self=False,
        words=f"Two computers use the identity of {copied.name} ({copied.name}'s laptop)",
    )
    if is_smaller_copied:  # takes several turns
        until_equal(*everybody, document_id=couple.document_id, timeout_s=TURNS_S_MAX)
        assert [words_in(each, couple) for each in everybody] == [[1, 1, 1]] * 3
    print(f"CLONES: {[connections(each) for each in everybody]} in {time.monotonic() - began:.0f} s")
    minutes = (time.monotonic() - began) / 60
    assert max(connections(each) for each in everybody) <= 3 + CONNECTIONS_PER_MINUTE_MAX * minutes


@pytest.mark.netns
def test_two_copies_on_one_lan_notice_each_other_without_a_third(couple: Couple, here: Town) -> None:
    with netns.lan(2) as room:
        try:
            copies = []
            for name, computer in (("here", room[0]), ("there", room[1])):
                shutil.copytree(couple.folders[0], here.directory / name)
                copies.append(here.daemon(name, prefix=computer.command([]), enter=computer.entered))
            start_together(*copies)
            for each in copies:
                wait_until(lambda each=each: clones(each) != [], what=f"{each.data_dir.name} is told")  # type: ignore[misc]
                check_told(each, is_self=True, words="Another computer uses this device's identity")
        finally:
            here.close()


def words_in(daemon: Daemon, couple: Couple) -> list[int]:
    """How often each of the three is in the text."""
    found = text(daemon, couple.document_id)
    return [found.count(f"{name} was here") for name in (COPY, OTHER, THIRD)]


def clones(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.get("/status")["clones"]
    return found


def check_told(daemon: Daemon, *, is_self: bool, words: str) -> None:
    """The status, the doctor and the log say it; the log once."""
    (clone,) = clones(daemon)
    assert clone["is_self"] is is_self
    assert clone["what"].startswith(words)
    findings = daemon.get("/network")["findings"]
    assert words in str([each["what"] for each in findings if each["level"] == "problem"])
    assert daemon.log().count("data folder") == 1
