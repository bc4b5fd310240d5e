"""The web editor in a real browser at a real daemon: the first minute, and some bad moments."""

from __future__ import annotations

import asyncio
import random
import re

import pytest
from playwright.async_api import Page, expect

from tests.support.daemon import Daemon, eventually
from tests.support.editor import browsers
from tests.support.world import Town, make_document, make_space, text

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(180)]


async def test_sign_in_make_a_space_a_page_and_a_text_write_and_reload(here: Town) -> None:
    (ada,) = here.start("ada")
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        page = editor.page
        assert "token" not in page.url  # the one-time link is spent, and not left in the history
        await page.get_by_test_id("new-space").click()
        await page.get_by_test_id("name-input").fill("Kitchen")
        await page.get_by_test_id("name-submit").click()
        await expect(page.get_by_test_id("space-list")).to_contain_text("Kitchen")

        await page.get_by_test_id("new-page").click()
        await editor.writable().wait_for()
        await page.get_by_test_id("doc-title").fill("Bread")
        await page.keyboard.press("Enter")
        await editor.focus_end()
        await editor.type("# What it takes\nFlour and water.\n[] buy salt")
        await editor.until_saved()
        page_id = document_in(page.url)
        await expect(page.get_by_test_id("doc-tree")).to_contain_text("Bread")

        await page.get_by_test_id("new-text").click()
        await expect(page.get_by_test_id("text-editor")).to_be_visible()
        await editor.focus_end()
        await editor.type("plain words")
        await editor.until_saved()
        text_id = document_in(page.url)
        assert text(ada, text_id) == "plain words"

        assert markdown(ada, page_id).split("\n\n") == [
            "# What it takes",
            "Flour and water.",
            "- [ ] buy salt\n",
        ]
        await page.reload()
        await editor.until_shown("plain words")
        await editor.open(page_id)
        await editor.until_shown("Flour and water.")
        await expect(page.get_by_test_id("page-editor").locator("h1")).to_have_text("What it takes")
        assert "## yjs - " in await licences_shown(page)
        assert editor.problems == []


async def test_two_tabs_of_one_daemon_show_each_others_words(here: Town) -> None:
    (ada,) = here.start("ada")
    document_id = make_document(ada, make_space(ada), kind="page")
    async with browsers() as open_browser:
        one, two = await open_browser(ada), await open_browser(ada)
        for editor in (one, two):
            await editor.open(document_id)
        await one.focus_end()
        await one.type("first words")
        await two.until_shown("first words")
        await two.focus_end()
        await two.type(" and second")
        await one.until_shown("first words and second")
        assert one.problems + two.problems == []


async def test_a_daemon_killed_while_somebody_types_loses_no_word(
    here: Town, seeded_random: random.Random
) -> None:
    (ada,) = here.start("ada")
    document_id = make_document(ada, make_space(ada))
    words = [f"word{number}" for number in range(60)]
    kill_at, start_at = sorted(seeded_random.sample(range(5, 55), 2))
    print(f"killed after word {kill_at}, started again after word {start_at}")
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        await editor.open(document_id)
        await editor.focus_end()
        for number, word in enumerate(words):
            await editor.type(word + " ")
            if number == kill_at:
                ada.kill()
            if number == start_at:
                await asyncio.to_thread(ada.start)
        await editor.until_saved()
        assert text(ada, document_id).split() == words
        assert editor.problems == []


async def test_a_reload_while_the_daemon_is_down_opens_the_known_document(here: Town) -> None:
    (ada,) = here.start("ada")
    document_id = make_document(ada, make_space(ada), kind="page")
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        await editor.open(document_id)
        await editor.focus_end()
        await editor.type("written before the power went")
        await editor.until_saved()
        await editor.until_kept()
        ada.kill()
        await editor.page.reload()
        await editor.until_shown("written before the power went")
        await editor.until_state("offline")
        await editor.focus_end()
        await editor.type(", and after")
        await asyncio.to_thread(ada.start)
        await editor.until_saved()

        async def has_all() -> bool:
            return "before the power went, and after" in text(ada, document_id)

        await eventually(has_all, what="the daemon has what was typed without it")


async def licences_shown(page: Page) -> str:
    """Follow the link in the dialog *You* and return what the new tab shows."""
    await page.locator(".profile-button").click()
    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="npm packages and their licences").click()
    tab = await opened.value
    words = await tab.locator("body").inner_text()
    await tab.close()
    return words


def document_in(url: str) -> str:
    match = re.search(r"/d/(d_\w+)", url)
    assert match is not None, url
    return match[1]


def markdown(daemon: Daemon, document_id: str) -> str:
    response = daemon.request("GET", f"/documents/{document_id}/content", params={"format": "markdown"})
    assert response.status_code == 200, response.text
    return response.text
