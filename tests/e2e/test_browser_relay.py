"""The editor of two people who share no network: a spoken code, a relay, and who has what."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.daemon import Daemon
from tests.support.editor import Editor, browsers
from tests.support.relay import RelayProcess
from tests.support.world import Town, join, make_document, make_space

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(240)]

DELIVERED_S_MAX = 30.0
"""FAULTS: everything is with everybody within 30 s after faults stop."""
PHONE = {"width": 360, "height": 740}


def strangers(here: Town, *names: str, relay: RelayProcess | None = None) -> list[Daemon]:
    """Daemons that know nothing of each other but, perhaps, one relay."""
    arguments = ["--lan=127.0.0.1:0", "--no-mdns"]
    if relay is not None:
        arguments.append(f"--relay={relay.url}")
    started = [here.daemon(name, arguments=arguments) for name in names]
    for daemon in started:
        daemon.spawn()
    for daemon in started:
        daemon.wait_ready()
    return started


async def until_delivery(editor: Editor, state: str, words: str = "") -> None:
    """Wait until the line above the page says how far it has come."""
    line = editor.page.get_by_test_id("save-state")
    await expect(line).to_have_attribute("data-delivery", state, timeout=DELIVERED_S_MAX * 1000)
    await expect(line).to_contain_text(words)


async def make_code(page: Page) -> Locator:
    """Make a code in the share dialog; returns where it is shown."""
    await page.get_by_test_id("share-button").click()
    await page.get_by_text("Read it out loud").click()
    await page.get_by_test_id("share-create").click()
    code = page.get_by_test_id("spoken-code")
    await expect(code).to_be_visible(timeout=DELIVERED_S_MAX * 1000)
    return code


async def said(code: Locator) -> str:
    """The code, as it is said."""
    return (await code.inner_text()).replace("The code to read out: ", "").strip()


async def type_code(page: Page, code: str) -> None:
    """Type a code in the join dialog."""
    await page.get_by_test_id("join-open").click()
    await page.get_by_test_id("join-input").fill(code)
    await page.get_by_test_id("join-submit").click()


async def words_of(page: Page) -> list[str]:
    """The words to compare, when they are there."""
    words = page.get_by_test_id("safety-words").get_by_role("listitem")
    await expect(words).to_have_count(4, timeout=DELIVERED_S_MAX * 1000)
    return await words.all_inner_texts()


async def test_a_code_brings_two_together_and_the_page_says_who_has_it(
    here: Town, relay: RelayProcess
) -> None:
    ada, ben = strangers(here, "Ada", "Ben", relay=relay)
    space_id = make_space(ada, "Island trip")
    document_id = make_document(ada, space_id, "The week", kind="page")
    async with browsers() as open_browser:
        ours, theirs = await open_browser(ada), await open_browser(ben)
        await ours.open(document_id)
        await until_delivery(ours, "saved_here", "Saved here")

        code = await said(await make_code(ours.page))
        await type_code(theirs.page, code.replace("-", " ").upper())
        assert await words_of(ours.page) == await words_of(theirs.page)
        spoken = ours.page.get_by_test_id("spoken")
        await expect(spoken).to_have_attribute("data-state", "used", timeout=DELIVERED_S_MAX * 1000)
        await expect(spoken).to_contain_text("Ben joined")
        await theirs.page.get_by_role("button", name="Open Island trip").click()
        await ours.page.keyboard.press("Escape")

        await ours.focus_end()
        await ours.type("We leave on Friday.")
        await ours.until_saved()
        await until_delivery(ours, "delivered", "Delivered to Ben")
        await theirs.open(document_id)
        await theirs.until_shown("We leave on Friday.")
        await until_delivery(ours, "seen", "Seen by Ben")
        assert ours.problems + theirs.problems == []


async def test_what_is_written_for_somebody_away_is_on_the_relay_then_delivered_then_seen(
    here: Town, relay: RelayProcess
) -> None:
    ada, ben = strangers(here, "Ada", "Ben", relay=relay)
    space_id = make_space(ada, "Island trip")
    document_id = make_document(ada, space_id, "The week", kind="page")
    join(ada, ben, space_id)
    await asyncio.to_thread(ben.stop)
    async with browsers() as open_browser:
        ours = await open_browser(ada)
        await ours.open(document_id)
        await ours.focus_end()
        await ours.type("The ferry is at nine.")
        await ours.until_saved()
        await until_delivery(ours, "on_relay", "On the relay")
        await ours.page.get_by_test_id("save-state").click()
        person = ours.page.get_by_test_id("delivery-person")
        await expect(person).to_have_attribute("data-state", "on_relay")
        await expect(ours.page.get_by_test_id("delivery-relay")).to_have_attribute("data-state", "stored")

        await asyncio.to_thread(ben.start)
        await expect(person).to_have_attribute("data-state", "delivered", timeout=DELIVERED_S_MAX * 1000)
        theirs = await open_browser(ben)
        await theirs.open(document_id)
        await theirs.until_shown("The ferry is at nine.")
        await expect(person).to_have_attribute("data-state", "seen", timeout=DELIVERED_S_MAX * 1000)
        assert ours.problems + theirs.problems == []


@pytest.mark.long
async def test_who_would_rather_not_say_is_never_shown_as_having_seen(
    here: Town, relay: RelayProcess
) -> None:
    ada, ben = strangers(here, "Ada", "Ben", relay=relay)
    space_id = make_space(ada, "Island trip")
    document_id = make_document(ada, space_id, "The week", kind="page")
    join(ada, ben, space_id)
    async with browsers() as open_browser:
        ours, theirs = await open_browser(ada), await open_browser(ben)
        await theirs.page.locator(".profile-button").click()
        await theirs.page.get_by_test_id("share-seen").uncheck()
        await theirs.page.get_by_role("button", name="Save").click()
        await expect(theirs.page.get_by_test_id("share-seen")).to_have_count(0)
        told: list[str] = []
        theirs.page.on("request", lambda request: told.append(request.url))
        for editor in (theirs, ours):
            await editor.open(document_id)
        for number in range(3):
            await ours.focus_end()
            await ours.type(f"line {number} ")
            await ours.until_saved()
            await theirs.until_shown(f"line {number}")
            await until_delivery(ours, "delivered", "Delivered to Ben")
        assert told, "the page did ask its daemon for things"
        assert not [url for url in told if url.endswith("/seen")]
        assert ours.problems + theirs.problems == []


async def test_a_wrong_word_is_noticed_before_and_a_wrong_code_is_spent(
    here: Town, relay: RelayProcess
) -> None:
    ada, ben = strangers(here, "Ada", "Ben", relay=relay)
    space_id = make_space(ada, "Island trip")
    document_id = make_document(ada, space_id, "The week", kind="page")
    async with browsers() as open_browser:
        ours, theirs = await open_browser(ada), await open_browser(ben)
        await ours.open(document_id)
        number, *words = (await said(await make_code(ours.page))).split("-")

        await type_code(theirs.page, f"{number}-{words[0]}-xqzzy")
        problem = theirs.page.get_by_test_id("join-problem")
        await expect(problem).to_contain_text("xqzzy")
        spoken = ours.page.get_by_test_id("spoken")
        await expect(spoken).to_have_attribute("data-state", "waiting")

        others = [word for word in ("velvet", "orbit", "lamp") if word not in words]
        await theirs.page.get_by_test_id("join-input").fill(f"{number} {others[0]} {others[1]}")
        await theirs.page.get_by_test_id("join-submit").click()
        await expect(problem).to_contain_text("new one", timeout=DELIVERED_S_MAX * 1000)
        await expect(spoken).to_have_attribute("data-state", "burned", timeout=DELIVERED_S_MAX * 1000)
        await spoken.get_by_role("button", name="Make another code").click()
        await expect(spoken).to_have_attribute("data-state", "waiting", timeout=DELIVERED_S_MAX * 1000)
        assert ours.problems + theirs.problems == []


async def test_owners_choose_the_relays_and_everybody_sees_how_they_do(
    here: Town, relay: RelayProcess
) -> None:
    (ada,) = strangers(here, "Ada")
    make_space(ada, "Island trip")
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        page = editor.page
        await page.get_by_test_id("space-menu").click()
        await page.get_by_role("menuitem", name="Relays").click()
        await expect(page.get_by_test_id("no-relays")).to_be_visible()
        field, add = page.get_by_test_id("relay-input"), page.get_by_test_id("relay-add")
        await field.fill("https://relay.example.org")
        await add.click()
        await expect(page.get_by_role("alert")).to_contain_text("wss://relay.example.org")

        await field.fill(relay.url)
        await field.press("Enter")
        entry = page.get_by_test_id("relay-list").get_by_role("listitem")
        await expect(entry).to_have_attribute("data-state", "connected", timeout=DELIVERED_S_MAX * 1000)
        await page.keyboard.press("Escape")
        await page.get_by_test_id("peers-button").click()
        await expect(page.get_by_test_id("relay-state")).to_have_attribute("data-state", "connected")
        await page.keyboard.press("Escape")

        await page.get_by_test_id("space-menu").click()
        await page.get_by_role("menuitem", name="Relays").click()
        await entry.get_by_role("button", name="Remove").click()
        await expect(page.get_by_test_id("no-relays")).to_be_visible()
        assert editor.problems == []


async def test_nothing_is_claimed_about_others_while_the_daemon_is_away_and_the_keyboard_is_enough(
    here: Town, relay: RelayProcess
) -> None:
    ada, ben = strangers(here, "Ada", "Ben", relay=relay)
    space_id = make_space(ada, "Island trip")
    document_id = make_document(ada, space_id, "The week", kind="page")
    join(ada, ben, space_id)
    async with browsers(viewport=PHONE) as open_browser:
        editor = await open_browser(ada)
        await editor.open(document_id)
        await until_delivery(editor, "delivered")
        line = editor.page.get_by_test_id("save-state")
        await line.focus()
        await editor.page.keyboard.press("Enter")
        panel = editor.page.get_by_role("dialog", name="Where it is")
        await expect(panel).to_contain_text("Ben has it")
        width = await panel.evaluate("panel => panel.getBoundingClientRect().right")
        assert width <= PHONE["width"]
        await editor.page.keyboard.press("Escape")
        await expect(line).to_be_focused()

        ada.kill()
        await editor.until_state("offline")
        await expect(line).to_have_attribute("data-delivery", "unknown")
        await line.click()
        await expect(panel).to_contain_text("nothing is said about the others")
        await expect(panel.get_by_test_id("delivery-person")).to_have_count(0)
        await asyncio.to_thread(ada.start)
        await until_delivery(editor, "delivered")
        assert editor.problems == []


@pytest.mark.long
async def test_a_relay_that_lost_what_it_kept_is_told_at_the_space_and_behind_the_line(
    here: Town, relay: RelayProcess
) -> None:
    ada, ben = strangers(here, "Ada", "Ben", relay=relay)
    space_id = make_space(ada, "Island trip")
    document_id = make_document(ada, space_id, "The week", kind="page")
    join(ada, ben, space_id)
    await asyncio.to_thread(ben.stop)
    async with browsers() as open_browser:
        ours = await open_browser(ada)
        await ours.open(document_id)
        await ours.focus_end()
        await ours.type("The ferry is at nine.")
        await ours.until_saved()
        await until_delivery(ours, "on_relay")
        mark = ours.page.get_by_test_id("space-warning")
        await expect(mark).to_have_count(0)

        await asyncio.to_thread(relay.kill)
        for file in relay.directory.glob("relay.sqlite3*"):
            file.unlink()
        await asyncio.to_thread(relay.start)
        await expect(mark).to_be_visible(timeout=DELIVERED_S_MAX * 1000)
        line = ours.page.get_by_test_id("save-state")
        await expect(line).to_have_attribute("data-warning", "true")
        await line.click()
        warning = ours.page.get_by_test_id("delivery-warning")
        await expect(warning).to_contain_text("lost what it kept")

        # what the relay lost is given to it again, and Ben has it in the end
        await until_delivery(ours, "on_relay")
        await asyncio.to_thread(ben.start)
        await until_delivery(ours, "delivered", "Delivered to Ben")
        assert ours.problems == []
