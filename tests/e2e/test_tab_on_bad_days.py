"""The editor's own tab in a real browser: a large backlog, and a thin line (decisions 0068 and 0069)."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from sheaf.core.base.limits import KIB
from tests.support.editor import browsers
from tests.support.slow_line import slow_line
from tests.support.world import Town, make_document, make_space, text

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(240)]

LINES = ("words " * 200 + "\n") * 4_000
"""What is pasted: 4.8 MB."""
_PASTE = """(surface, words) => {
    const data = new DataTransfer()
    data.setData('text/plain', words)
    const options = { clipboardData: data, bubbles: true, cancelable: true }
    surface.dispatchEvent(new ClipboardEvent('paste', options))
}"""


async def test_large_texts_pasted_while_the_daemon_is_down_are_all_saved(here: Town) -> None:
    """9.6 MB in two edits; the tab brings them back in one message."""
    (ada,) = here.start("ada")
    document_id = make_document(ada, make_space(ada))
    async with browsers() as open_browser:
        editor = await open_browser(ada)
        await editor.open(document_id)
        await editor.focus_end()
        assert ada.stop() == 0
        await editor.until_state("offline")
        surface = editor.writable()
        if await surface.get_attribute("contenteditable") is None:
            surface = surface.locator("[contenteditable=true]")
        for number in range(2):
            await surface.evaluate(_PASTE, f"w{number:04} {LINES}")
        await editor.until_state("unsaved")
        await asyncio.to_thread(ada.start)
        await editor.until_saved(timeout_s=90)
        counts = Counter(text(ada, document_id).split())
        assert counts == {"words": 2 * 200 * 4_000} | {f"w{number:04}": 1 for number in range(2)}
        assert editor.problems == []


@pytest.mark.long
async def test_a_large_document_reaches_the_editor_on_a_thin_line_while_somebody_types(here: Town) -> None:
    """6 MB at 128 KB a second: longer than the 30 s after which a silent line is given up."""
    (ada,) = here.start("ada")
    document_id = make_document(ada, make_space(ada))
    words = "".join(f"line {number:06}\n" for number in range(500_000))
    answer = ada.request("PUT", f"/documents/{document_id}/content", params={"format": "text"}, content=words)
    assert answer.status_code == 204, answer.text
    async with browsers() as open_browser, slow_line(ada.port, None) as line, ada.tab(document_id) as other:
        editor = await open_browser(ada)
        await editor.page.goto(ada.post("/launch", {})["link"].replace(ada.url, line.origin))
        await editor.page.get_by_test_id("new-space").wait_for(state="attached")
        await editor.page.goto(f"{line.origin}/d/{make_document(ada, make_space(ada))}")
        await editor.writable().wait_for()
        sockets: list[str] = []
        editor.page.on("websocket", lambda opened: sockets.append(opened.url))
        line.bytes_per_s = 128 * KIB
        await editor.page.goto(f"{line.origin}/d/{document_id}")
        before = line.received_bytes
        while line.received_bytes < before + 5_000_000:  # drawing keystrokes in so much text takes seconds
            await other.append("k")
            await asyncio.sleep(0.05)
        await editor.writable().wait_for(timeout=120_000)
        await other.append("the end")
        line.bytes_per_s = None
        await editor.focus_end()
        await editor.until_shown("the end")
        assert [url for url in sockets if document_id in url] == sockets
        assert len(sockets) == 1
        assert text(ada, document_id).startswith(words)
