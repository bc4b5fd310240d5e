"""The web editor in a real Chromium, driven as a person drives it.

    async with browsers() as open_browser:
        editor = await open_browser(daemon)
        await editor.open(document_id)
        await editor.type("hello")
        await editor.until_saved()

The browser may run inside the daemon's network namespace.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright, expect

from tests.support.browser import launch_options
from tests.support.daemon import Daemon

SAVED_S_MAX = 20.0
OpenBrowser = Callable[..., Awaitable["Editor"]]


class Editor:
    """One window of the editor, signed in to its daemon."""

    def __init__(self, page: Page, daemon: Daemon) -> None:
        self.page = page
        self.daemon = daemon
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    async def sign_in(self) -> None:
        """Follow a one-time link."""
        link = self.daemon.post("/launch", {})["link"]
        await self.page.goto(link)
        await self.page.get_by_test_id("new-space").wait_for(state="attached")  # a drawer on a phone

    async def open(self, document_id: str) -> None:
        """Go to a document and wait until it can be written in."""
        await self.page.goto(f"{self.daemon.url}/d/{document_id}")
        await self.writable().wait_for()
        await self.until_saved()

    def writable(self) -> Any:
        """The element that words go into."""
        return self.page.locator('[data-testid="page-editor"], [data-testid="text-editor"]')

    async def focus_end(self) -> None:
        """Put the cursor behind everything."""
        await self.writable().click()
        await self.page.keyboard.press("Control+End")

    async def type(self, words: str, *, delay_ms: float = 0) -> None:
        """Type where the cursor is."""
        await self.page.keyboard.type(words, delay=delay_ms)

    async def until_saved(self, timeout_s: float = SAVED_S_MAX) -> None:
        """Wait until the editor says that everything is saved."""
        await self.until_state("saved", timeout_s)

    async def until_state(self, state: str, timeout_s: float = SAVED_S_MAX) -> None:
        """Wait until the save indicator shows `state`."""
        indicator = self.page.get_by_test_id("save-state")
        await expect(indicator).to_have_attribute("data-state", state, timeout=timeout_s * 1000)

    async def until_kept(self) -> None:
        """Wait until the service worker is active: then a reload opens the editor without the daemon."""
        async with asyncio.timeout(SAVED_S_MAX):
            await self.page.evaluate(_KEPT)

    async def shown(self) -> str:
        """The words on the screen, a line each, without other people's cursors."""
        return str(await self.writable().evaluate(_WORDS))

    async def until_shown(self, words: str, timeout_s: float = SAVED_S_MAX) -> None:
        """Wait until `words` are on the screen."""
        await expect(self.writable()).to_contain_text(words, timeout=timeout_s * 1000)


@asynccontextmanager
async def browsers(**context_options: Any) -> AsyncIterator[OpenBrowser]:
    """Yields a function that opens a fresh browser at a daemon and signs in."""
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        numbers = itertools.count()

        async def open_browser(daemon: Daemon, **more: Any) -> Editor:
            options = launch_options()
            if daemon.prefix:
                options["executable_path"] = str(
                    _wrapper(folder / f"browser{next(numbers)}", daemon, options)
                )
            browser = await playwright.chromium.launch(**options)
            stack.push_async_callback(browser.close)
            context = await browser.new_context(**{"viewport": _DESK, **context_options, **more})
            editor = Editor(await context.new_page(), daemon)
            await editor.sign_in()
            return editor

        yield open_browser


_KEPT = "() => navigator.serviceWorker.ready.then(() => true)"
"""One evaluation; Playwright's own polling evaluates text later on, which the page's rules forbid."""

_WORDS = r"""surface => {
    const words = surface.cloneNode(true)
    for (const cursor of words.querySelectorAll('.remote-cursor, .ProseMirror-widget')) cursor.remove()
    return [...words.children].map(line => line.textContent.replaceAll('\u2060', '')).join('\n')
}"""
_DESK = {"width": 1280, "height": 800}


def _wrapper(path: Path, daemon: Daemon, options: dict[str, Any]) -> Path:
    """A program that starts the browser where the daemon lives; Playwright talks to it over pipes."""
    path.write_text(f'#!/bin/sh\nexec {" ".join(daemon.prefix)} {options["executable_path"]} "$@"\n')
    path.chmod(0o755)
    return path


async def type_at_once(*typing: tuple[Editor, str]) -> None:
    """Everybody types, at the same time."""
    async with asyncio.TaskGroup() as group:
        for editor, words in typing:
            group.create_task(editor.type(words, delay_ms=5))
