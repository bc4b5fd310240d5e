"""Stock y-websocket providers at a real daemon, on their bad days (decisions 0068 and 0069).

Version 3.1 takes close codes 4400 to 4499 as final; version 2.1 comes back at once after every code.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pycrdt
import pytest

from sheaf.core.base.limits import MIB
from tests.support.daemon import Daemon, eventually, wait_until
from tests.support.slow_line import slow_line
from tests.support.stock_tab import stock_tab
from tests.support.world import (
    Town,
    digest,
    join,
    make_document,
    make_space,
    text,
    town,
    until_equal,
    until_live,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests that do not end it."""
    with town(tmp_path_factory.mktemp("stock")) as made:
        yield made.start("ada")[0]


@pytest.fixture
def document_id(ada: Daemon) -> str:
    return make_document(ada, make_space(ada))


@pytest.mark.parametrize("version", [2, 3])
async def test_edits_made_offline_and_keystrokes_while_coming_back_all_arrive(
    ada: Daemon, document_id: str, version: int
) -> None:
    """Forty keystrokes reach the daemon before the five edits they build on do."""
    words = "five edits made on a train, a few words each. "
    async with stock_tab(ada, document_id, version=version) as tab:
        await tab.tell("connect")
        await tab.tell("disconnect")
        await tab.tell("type", words=words, each=10)
        seen = await tab.tell("type_at_once", words="and forty keystrokes at the reconnection.")
        assert len(seen["text"]) == len(words) + 41
        await eventually(lambda: text(ada, document_id) == seen["text"])
        assert (await tab.tell("look"))["gave_up"] is None
        assert tab.closes == []


async def test_many_offline_edits_that_add_up_to_more_than_a_message_arrive(
    ada: Daemon, document_id: str
) -> None:
    """100 edits of 100 KiB; the provider sends them as one message of 10 MB."""
    async with slow_line(ada.port, None) as line, stock_tab(ada, document_id, origin=line.origin) as tab:
        await tab.tell("connect")
        await tab.tell("disconnect")
        await tab.tell("repeat", words="words " * 17_067, times=100)
        await tab.tell("connect")
        await eventually(lambda: len(text(ada, document_id)) == 100 * 6 * 17_067, timeout_s=60)
        seen = await tab.tell("look")
        assert seen["text"] == text(ada, document_id)
        assert line.sent_bytes < 12 * MIB  # it went over the line once


@pytest.mark.parametrize("version", [pytest.param(2, marks=pytest.mark.long), 3])
async def test_what_is_too_much_at_once_is_said_and_not_sent_over_and_over(
    ada: Daemon, document_id: str, version: int
) -> None:
    async with (
        slow_line(ada.port, None) as line,
        stock_tab(ada, document_id, version=version, origin=line.origin, connect=False) as tab,
    ):
        await tab.tell("repeat", words="words " * 200_000, times=30)
        await tab.tell("connect")
        await tab.until_closed(1 if version == 3 else 3)
        assert set(tab.closes) <= {4413, 1006}
        assert line.sent_bytes < 50 * MIB
        assert text(ada, document_id) == ""
        if version == 3:
            seen = await tab.tell("look")
            assert seen["gave_up"]["code"] == 4413
            assert "32 MiB" in seen["gave_up"]["reason"]


@pytest.mark.parametrize("version", [2, 3])
async def test_pending_structs_in_a_tab_do_not_keep_its_own_words_out(
    ada: Daemon, document_id: str, version: int
) -> None:
    """The tab has half of what somebody wrote elsewhere; Yjs sends that half along with everything."""
    first, second, third = three_updates()
    async with stock_tab(ada, document_id, version=version, connect=False) as tab:
        await tab.apply(pycrdt.merge_updates(first, third))
        seen = await tab.tell("type", words=" and my own words", each=1)
        assert seen["pending"]
        seen = await tab.tell("connect")
        await eventually(lambda: text(ada, document_id) == "one and my own words")
        await tab.tell("type", words=", still typed", each=1)
        await eventually(lambda: text(ada, document_id) == "one and my own words, still typed")
        assert tab.closes == []
        async with ada.tab(document_id) as other:
            await other.socket.send(b"\x00\x02" + bytes((len(second),)) + second)
            await tab.tell("until", words="three")
        await eventually(lambda: "three" in text(ada, document_id))
        assert sorted(text(ada, document_id).split()) == sorted(
            ["one", "two", "three", "and", "my", "own", "words,", "still", "typed"]
        )


async def test_a_stock_tab_logs_no_error_for_messages_it_does_not_know(ada: Daemon, document_id: str) -> None:
    async with stock_tab(ada, document_id) as tab:
        await tab.tell("connect")
        await tab.tell("type", words="twenty keystrokes...", each=1)
        await eventually(lambda: text(ada, document_id) == "twenty keystrokes...")
        async with ada.tab(document_id) as other:
            await other.append(" seen")
            await other.saved()
        seen = await tab.tell("until", words="seen")
        assert seen["errors"] == 0


async def test_another_devices_words_brought_back_after_a_crash_wait_for_its_envelope(here: Town) -> None:
    """Ada's disk goes back by a day. Her tab still shows what Ben wrote since, and goes on writing."""
    ada, ben = here.start("ada", "ben")
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    join(ada, ben, space_id)
    until_live(ada, ben)
    async with stock_tab(ada, document_id, version=2) as tab, ben.tab(document_id) as bens:
        await tab.tell("connect")
        await tab.tell("type", words="Ada's morning. ")
        await bens.until(lambda: "morning" in bens.text)
        await bens.append("Ben's morning. ")
        await tab.tell("until", words="Ben's morning.")
        until_equal(ada, ben, document_id=document_id)
        assert ada.stop() == 0
        kept = ada.data_dir.with_name("kept")
        shutil.copytree(ada.data_dir, kept)
        ada.start()
        until_live(ada, ben)
        await bens.append("Ben's evening.")
        await tab.tell("until", words="Ben's evening.")
        assert ada.stop() == 0
        assert ben.stop() == 0

        shutil.rmtree(ada.data_dir)
        kept.rename(ada.data_dir)
        ada.start()
        await tab.tell("type", words="Ada writes on. ", at=0)
        expected = "Ada writes on. Ada's morning. Ben's morning. "
        await eventually(lambda: text(ada, document_id) == expected, timeout_s=30)
        assert ada.get("/status")["held_changes"] > 0
        closes_before = len(tab.closes)
        await tab.tell("type", words="And on. ", at=0)
        await eventually(lambda: text(ada, document_id) == "And on. " + expected)
        assert len(tab.closes) == closes_before

        ben.start()
        until_live(ada, ben)
        until_equal(ada, ben, document_id=document_id)
        wait_until(lambda: not ada.get("/status")["held_changes"], what="nothing is held")
        assert text(ben, document_id) == "And on. " + expected + "Ben's evening."
        assert (await tab.tell("look"))["text"] == text(ben, document_id)
        assert digest(ada, document_id) == digest(ben, document_id)


def three_updates() -> tuple[bytes, bytes, bytes]:
    """What somebody wrote elsewhere: "one", " two" and " three", an update each."""
    doc = pycrdt.Doc()
    words = doc.get("text", type=pycrdt.Text)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    for word in ("one", " two", " three"):
        words.insert(len(str(words)), word)
    doc.unobserve(subscription)
    first, second, third = updates
    return first, second, third
