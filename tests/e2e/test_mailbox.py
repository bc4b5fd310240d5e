"""Two daemons that are never online together, and a real relay that reads, keeps and promises nothing.

Issue 3, scenes 2 and 3; FAULTS A9, A10. The two can meet at the relay only: no multicast, no addresses.
"""

from __future__ import annotations

import base64
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from sheaf.core.base.ids import DeviceId, DocId, SpaceId, UserId
from tests.support import couple as couple_support
from tests.support.couple import ARRIVED_S_MAX, STORED_S_MAX
from tests.support.daemon import Daemon, wait_until
from tests.support.relay import RelayProcess
from tests.support.world import Town

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SPACE_NAME = "Sommerplanung-Wolkenkuckucksheim"
TITLE = "Geheimtitel-Papageientaucher"
WORDS = "Zwetschgendatschi um Mitternacht"


class Couple(couple_support.Couple):
    """Ann and Ben, and the relay they have."""

    def __init__(self, here: Town, relay: RelayProcess) -> None:
        super().__init__(here, relay.url, space_name=SPACE_NAME, title=TITLE)
        self.relay = relay


@pytest.fixture
def couple(here: Town, relay: RelayProcess) -> Couple:
    """Both online."""
    return Couple(here, relay)


def test_what_ann_wrote_alone_is_with_ben_who_comes_when_she_is_gone(couple: Couple) -> None:
    couple.ben.stop()
    couple.write(WORDS)
    couple.until_stored()
    couple.ann.kill()
    couple.ben.start()
    couple.until_ben_has(WORDS)
    time_for_receipt(couple)
    couple.ben.stop()
    couple.ann.start()
    wait_until(
        lambda: couple.state() == "delivered",
        timeout_s=ARRIVED_S_MAX,
        what="Ben's own receipt says delivered",
    )
    told = couple.ann.cli("doc", "delivery", couple.document_id)
    assert "ben" in told
    assert "delivered" in told


def time_for_receipt(couple: Couple) -> None:
    """Ben, who is alone, says what he has; his daemon's counters show when it was put."""
    wait_until(
        lambda: metric(couple.ben, "sheaf_mailbox_items_put_total") > 0,
        timeout_s=STORED_S_MAX,
        what="Ben said what he has",
    )


def metric(daemon: Daemon, name: str) -> float:
    with daemon.enter():
        body = daemon.client().get(f"{daemon.url}/metrics").text
    return float(next(line.split()[1] for line in body.splitlines() if line.startswith(f"{name} ")))


def test_the_relays_files_hold_no_word_name_title_or_id_of_anybody(couple: Couple) -> None:
    couple.ben.stop()
    couple.write(WORDS)
    couple.until_stored()
    status = couple.ann.get("/status")
    needles = forms_of_texts(SPACE_NAME, TITLE, WORDS, "ann's laptop", "ben's laptop")
    needles |= forms_of_ids(couple, status)
    couple.relay.kill()
    stored = b"".join(path.read_bytes() for path in couple.relay.directory.glob("relay.sqlite3*"))
    log = couple.relay.log_path.read_bytes()
    assert len(stored) > 4096
    assert [name for name, needle in needles.items() if needle in stored or needle in log] == []


def forms_of_texts(*texts: str) -> dict[str, bytes]:
    found = {}
    for each in texts:
        raw = each.encode()
        found |= {
            f"{each} raw": raw,
            f"{each} utf-16": each.encode("utf-16-le"),
            f"{each} hex": raw.hex().encode(),
        }
    return found


def forms_of_ids(couple: Couple, status: dict[str, Any]) -> dict[str, bytes]:
    """Every id of people, devices, space and document: raw, hex, base32 in both cases, and base64."""
    ids: dict[str, bytes] = {
        "space": SpaceId.parse(couple.space_id),
        "document": DocId.parse(couple.document_id),
        "user": UserId.parse(status["user_id"]),
        "device": DeviceId.parse(status["device_id"]),
    }
    for peer in status["peers"]:
        ids["other user"] = UserId.parse(peer["user_id"])
        ids["other device"] = DeviceId.parse(peer["device_id"])
    assert len(ids) == 6
    found: dict[str, bytes] = {}
    for name, raw in ids.items():
        encoded = base64.b32encode(raw).rstrip(b"=")
        forms = (bytes(raw), raw.hex().encode(), raw.hex().upper().encode(), encoded, encoded.lower())
        found |= {
            f"{name} {number}": form for number, form in enumerate((*forms, base64.b64encode(raw)[:20]))
        }
    return found


def test_a_relay_that_lost_its_whole_store_is_filled_again_and_ann_is_told(couple: Couple) -> None:
    couple.ben.stop()
    couple.write(WORDS)
    couple.until_stored()
    couple.relay.kill()
    for path in couple.relay.directory.glob("relay.sqlite3*"):
        path.unlink()
    couple.relay.start()
    wait_until(lambda: "lost what it kept" in couple.warning(), timeout_s=60, what="Ann is told")
    couple.until_stored()
    assert "lost" in couple.ann.cli("status")
    couple.ann.kill()
    couple.ben.start()
    couple.until_ben_has(WORDS)


@pytest.mark.parametrize("turn", [0, *(pytest.param(turn, marks=pytest.mark.long) for turn in (1, 2))])
def test_a10_a_relay_put_back_to_an_old_copy_is_noticed_and_loses_nothing(couple: Couple, turn: int) -> None:
    couple.ben.stop()
    couple.write("the old copy has this")
    couple.until_stored()
    couple.relay.stop()
    backup = couple.relay.directory.parent / f"backup{turn}"
    shutil.copytree(couple.relay.directory, backup)
    couple.relay.start()
    couple.write(WORDS)
    couple.until_stored()
    couple.relay.kill()
    put_back(backup, couple.relay.directory)
    couple.relay.start()
    wait_until(lambda: "older copy" in couple.warning(), timeout_s=60, what="Ann is told")
    couple.until_stored()
    couple.ann.kill()
    couple.ben.start()
    couple.until_ben_has(WORDS)


def put_back(backup: Path, directory: Path) -> None:
    for path in directory.glob("relay.sqlite3*"):
        path.unlink()
    for path in backup.glob("relay.sqlite3*"):
        shutil.copy(path, directory)


@pytest.mark.long
def test_a9_a_relay_killed_twenty_times_under_load_loses_nothing(couple: Couple) -> None:
    couple.ben.stop()
    written: list[str] = []
    for turn in range(20):
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            written.append(f"line {turn}.{len(written)}")
            couple.write("\n".join(written))
        couple.relay.kill()
        couple.relay.start()
    couple.until_stored()
    couple.ann.kill()
    couple.ben.start()
    couple.until_ben_has("\n".join(written))
