"""What the editor does with words that are not stored yet: it keeps them, says so, and hands them over.

Real daemons and a real browser. Words are counted: none is lost, none comes twice.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.support.daemon import Daemon, eventually
from tests.support.editor import Editor, browsers
from tests.support.world import Town, join, make_document, make_space, text, until_live

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(180)]

SOON_MS = 30_000


def words(name: str, count: int) -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def assert_all_once(found: str, expected: list[str]) -> None:
    assert Counter(found.split()) == Counter(expected)


async def until_text(daemon: Daemon, document_id: str, expected: list[str]) -> None:
    """Wait until the daemon has the words, and see that it has each of them once."""

    def has_all() -> bool:
        path = f"/documents/{document_id}/content"
        is_read = daemon.request("GET", path, params={"format": "yjs"}).status_code == 200
        return is_read and set(text(daemon, document_id).split()) >= set(expected)

    await eventually(has_all, timeout_s=30, what=f"the daemon has the {len(expected)} words")
    assert_all_once(text(daemon, document_id), expected)


async def another_window(editor: Editor, path: str = "/") -> Page:
    """A second window of the same browser."""
    page = await editor.page.context.new_page()
    await page.goto(editor.daemon.url + path)
    return page


# ---------------------------------------------------------------------- handing over


async def test_words_of_closed_tabs_are_named_on_the_start_page_and_handed_over_from_there(
    here: Town,
) -> None:
    (ada,) = here.start("ada")
    space_id = make_space(ada)
    titles = ("Ferries", "Recipes", "שלום לכולם")
    ids = [make_document(ada, space_id, title) for title in titles]
    expected = [words(f"w{index}_", 20 + index) for index in range(len(ids))]
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        context = editor.page.context
        await editor.open(ids[0])
        await editor.until_kept()
        pages = [editor.page, *[await another_window(editor, f"/d/{each}") for each in ids[1:]]]
        for page in pages:
            await expect(page.get_by_test_id("save-state")).to_have_attribute("data-state", "saved")
        ada.kill()
        for page, typed in zip(pages, expected, strict=True):
            await page.bring_to_front()
            await page.get_by_test_id("text-editor").click()
            await page.keyboard.type(" ".join(typed))
        start = await context.new_page()
        for page in pages:
            await page.close()
        await start.goto(ada.url + "/")
        rows = start.get_by_test_id("waiting-document")
        await expect(rows).to_have_count(len(ids))
        for title, typed in zip(titles, expected, strict=True):
            row = rows.filter(has_text=title)
            await expect(row).to_contain_text(f"{len(typed)} words")
        await expect(start.get_by_test_id("waiting")).to_contain_text("need not open")

        await asyncio.to_thread(ada.start)
        for document_id, typed in zip(ids, expected, strict=True):
            await until_text(ada, document_id, typed)
        await expect(rows).to_have_count(0, timeout=SOON_MS)
        assert await start.evaluate("Object.keys(localStorage).filter(key => key.includes('unsaved'))") == []


async def test_a_title_typed_and_the_tab_closed_at_once_arrives(here: Town) -> None:
    (ada,) = here.start("ada")
    space_id = make_space(ada)
    closed, left, down = (make_document(ada, space_id, "Before") for _ in range(3))

    def title_of(document_id: str) -> str:
        return str(ada.get(f"/documents/{document_id}")["title"])

    async with browsers() as open_browser:
        editor = await open_browser(ada)
        await editor.open(closed)
        page = await another_window(editor, f"/d/{left}")
        await page.get_by_test_id("doc-title").fill("Typed and left")
        await page.goto("about:blank")
        await eventually(lambda: title_of(left) == "Typed and left", what="the title of the page left")

        await editor.page.get_by_test_id("doc-title").fill("Typed and closed")
        await editor.page.close()
        await eventually(lambda: title_of(closed) == "Typed and closed", what="the title of the tab closed")

        await page.goto(f"{ada.url}/d/{down}")
        await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        await expect(page.get_by_test_id("save-state")).to_have_attribute("data-state", "saved")
        ada.kill()
        await page.get_by_test_id("doc-title").fill("Typed without a daemon")
        start = await page.context.new_page()
        await page.close()
        await start.goto(ada.url + "/")
        waiting = start.get_by_test_id("waiting-title")
        await expect(waiting.filter(has_text="Typed without a daemon")).to_have_count(1)
        await asyncio.to_thread(ada.start)
        await expect(waiting).to_have_count(0, timeout=SOON_MS)
        assert title_of(down) == "Typed without a daemon"


# ---------------------------------------------------------------------- trouble is not an end


async def test_a_daemon_in_trouble_is_no_reason_to_offer_removing_what_it_has_not_saved(here: Town) -> None:
    (ada,) = here.start("ada")
    document_id = make_document(ada, make_space(ada))
    expected = words("w", 300)
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        page = editor.page
        await editor.open(document_id)
        await editor.until_kept()
        await editor.focus_end()
        ada.kill()
        await page.keyboard.insert_text(" ".join(expected))
        await editor.until_state("unsaved")
        await page.goto("about:blank")
        await asyncio.to_thread(ada.start)
        await page.goto(ada.url + "/icon.svg")
        await page.evaluate("localStorage.removeItem('sheaf.library')")  # a browser that remembers no list
        await page.route_web_socket("**/sync/**", lambda socket: socket.close(code=1013))
        for trouble in ("errors", "nothing is listed"):
            await page.route("**/api/v1/**", in_trouble(trouble))
            await page.goto(f"{ada.url}/d/{document_id}")
            await page.get_by_text("This is this browser's copy").wait_for()
            await expect(page.get_by_test_id("unsaved-words")).to_contain_text("300 words")
            for destructive in (".button-danger", '[data-testid="remove-open"]'):
                await expect(page.locator(destructive)).to_have_count(0)
            await page.unroute("**/api/v1/**")
        well = await another_window(editor)
        await page.close()
        await until_text(ada, document_id, expected)
        await expect(well.get_by_test_id("waiting-document")).to_have_count(0, timeout=SOON_MS)


def in_trouble(trouble: str) -> Any:
    """The daemon answers, but with errors; or it lists nothing while its storage has failed."""
    problem = {"type": "about:blank", "title": "Not saved", "status": 503, "detail": "The disk is full."}

    async def answer(route: Route) -> None:
        path = route.request.url.split("/api/v1", 1)[1]
        if trouble == "errors" and path.startswith(("/spaces", "/documents")):
            await route.fulfill(status=503, json=problem)
        elif path == "/status":
            response = await route.fetch()
            body = await response.json()
            body["storage"] = {"state": "failed", "detail": "The disk is full.", "unsent_edits": 0}
            body["spaces"] = []
            await route.fulfill(response=response, json=body)
        elif path == "/spaces":
            await route.fulfill(json={"spaces": []})
        elif path.startswith(("/spaces/", "/documents/")):
            await route.fulfill(status=404, json=problem | {"title": "Not here", "status": 404})
        else:
            await route.continue_()

    return answer


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)], check=True, timeout=10)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True, timeout=10)


@pytest.mark.netns
async def test_words_typed_on_a_full_disk_are_kept_said_to_be_unsaved_and_saved_by_themselves(
    small_disk: Path,
) -> None:
    ada = Daemon(small_disk / "ada", environment={"SHEAF_USER_NAME": "ada"}, arguments=["--no-mdns"])
    ada.log_path = small_disk.parent / "ada.log"
    ada.start()
    try:
        document_id = make_document(ada, make_space(ada))
        first, second = words("a", 10), words("b", 300)
        async with browsers() as open_browser:
            editor = await open_browser(ada)
            page = editor.page
            await editor.open(document_id)
            await editor.until_kept()
            await editor.focus_end()
            await editor.type(" ".join(first) + " ")
            await editor.until_saved()
            filler = fill(small_disk)
            await page.keyboard.insert_text(" ".join(second))
            await editor.until_state("held")
            warning = page.get_by_test_id("storage-warning")
            await expect(warning).to_contain_text("not saved on this laptop")
            await expect(warning).to_contain_text("kept in this browser and saved by itself")
            await page.reload()
            await editor.until_shown("b299")
            await expect(page.locator(".button-danger")).to_have_count(0)
            start = await another_window(editor)
            await page.close()
            await expect(start.get_by_test_id("waiting-document")).to_contain_text("300 words")
            await expect(start.locator(".button-danger")).to_have_count(0)
            filler.unlink()
            await until_text(ada, document_id, first + second)
            await expect(start.get_by_test_id("waiting-document")).to_have_count(0, timeout=SOON_MS)
            await expect(start.get_by_text("not saved on this laptop")).to_have_count(0)
    finally:
        ada.kill()


def fill(folder: Path) -> Path:
    """Take all the room there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 9, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return filler


# ---------------------------------------------------------------------- the trash


async def test_a_page_put_into_the_trash_while_somebody_types_keeps_every_word(here: Town) -> None:
    (ada,) = here.start("ada")
    document_id = make_document(ada, make_space(ada))
    expected = words("w", 60)
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        page = editor.page
        await editor.open(document_id)
        await editor.focus_end()
        for number, word in enumerate(expected):
            if number == 20:
                assert ada.request("DELETE", f"/documents/{document_id}").status_code == 204
            if number == 40:
                await expect(page.get_by_test_id("banner")).to_contain_text("in the trash")
                await editor.focus_end()
            await editor.type(word + " ")
        await until_text(ada, document_id, expected)
        await page.get_by_test_id("put-back").click()
        await expect(page.get_by_test_id("banner")).to_have_count(0)
        assert ada.get(f"/documents/{document_id}")["trashed"] is False
        assert_all_once(text(ada, document_id), expected)
        assert editor.problems == []


async def test_unsent_words_reach_a_page_that_another_device_has_put_into_the_trash(here: Town) -> None:
    ada, ben = here.start("ada", "ben")
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    join(ada, ben, space_id)
    until_live(ada, ben)
    expected = words("w", 40)
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        await editor.open(document_id)
        await editor.until_kept()
        await editor.focus_end()
        ada.kill()
        await editor.type(" ".join(expected))
        await editor.until_state("unsaved")
        start = await another_window(editor)
        await editor.page.close()
        await expect(start.get_by_test_id("waiting-document")).to_contain_text("40 words")
        assert ben.request("DELETE", f"/documents/{document_id}").status_code == 204
        await asyncio.to_thread(ada.start)
        await until_text(ada, document_id, expected)
        await until_text(ben, document_id, expected)
        await start.goto(f"{ada.url}/d/{document_id}")
        await expect(start.get_by_test_id("banner")).to_contain_text("in the trash")
        await start.get_by_test_id("put-back").click()
        await expect(start.get_by_test_id("banner")).to_have_count(0)
        await eventually(
            lambda: ben.get(f"/documents/{document_id}")["trashed"] is False, what="Ben has it back"
        )
        assert_all_once(text(ben, document_id), expected)


# ---------------------------------------------------------------------- removing


async def test_unsaved_words_of_a_space_that_was_left_can_be_saved_and_go_only_when_told_twice(
    here: Town, tmp_path: Path
) -> None:
    (ada,) = here.start("ada")
    space_id = make_space(ada)
    document_id = make_document(ada, space_id, "Diary")
    expected = words("w", 25)
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        page = editor.page
        await editor.open(document_id)
        await editor.until_kept()
        await editor.focus_end()
        ada.kill()
        await editor.type(" ".join(expected))
        await editor.until_state("unsaved")
        await page.goto("about:blank")
        await asyncio.to_thread(ada.start)
        ada.request("DELETE", f"/spaces/{space_id}")
        await page.goto(ada.url + "/")
        row = page.get_by_test_id("waiting-document")
        await expect(row).to_have_attribute("data-state", "unknown", timeout=SOON_MS)
        await expect(row).to_contain_text("Diary")
        await row.get_by_role("button", name="Save or remove the words").click()
        await expect(page.get_by_test_id("remove-says")).to_contain_text("25 words")
        async with page.expect_download() as saving:
            await page.get_by_role("button", name="Download as Markdown").click()
        download = await saving.value
        assert download.suggested_filename == "Diary.md"
        await download.save_as(tmp_path / "saved.md")
        assert_all_once((tmp_path / "saved.md").read_text(), expected)
        remove = page.get_by_test_id("remove-copy")
        await expect(remove).to_be_disabled()
        await page.keyboard.press("Escape")
        await expect(row).to_contain_text("25 words")

        await row.get_by_role("button", name="Save or remove the words").click()
        await page.get_by_test_id("remove-sure").check()
        await expect(remove).to_have_text("Remove 25 words for good")
        await remove.click()
        await expect(row).to_have_count(0)
        names = await page.evaluate("indexedDB.databases().then(all => all.map(one => one.name))")
        assert f"sheaf.document.{document_id}" not in names
        assert editor.problems == []


async def test_a_browser_that_cannot_keep_words_says_that_they_are_only_in_this_window(here: Town) -> None:
    (ada,) = here.start("ada")
    document_id = make_document(ada, make_space(ada))
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        page = editor.page
        await page.add_init_script("IDBObjectStore.prototype.put = () => { throw new DOMException('full') }")
        await editor.open(document_id)
        await editor.focus_end()
        ada.kill()
        await editor.type("nowhere else")
        await editor.until_state("window")
        await expect(page.get_by_test_id("banner")).to_contain_text("only in this window")
        await asyncio.to_thread(ada.start)
        await editor.until_saved()
        await expect(page.get_by_test_id("banner")).to_have_count(0)
        assert text(ada, document_id) == "nowhere else"
