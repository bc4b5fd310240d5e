"""The pictures of the editor in docs/images: light, dark and narrow; who has a page; a spoken code.

Two people, two daemons, one page, and a relay for the last two. With SHEAF_UPDATE_IMAGES=1 the pictures go
where the documentation shows them; otherwise into a folder of the test, to see that they can be taken and
show something.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.support.daemon import Daemon
from tests.support.editor import Editor, browsers
from tests.support.relay import RelayProcess
from tests.support.repository import ROOT
from tests.support.world import Town, join, make_document, make_space, until_live

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(180)]

PAGE = """\
# Three weeks in the Hebrides

We take the **night train** to Inverness on the 4th and pick up the bikes there. Everything below is a \
plan, not a promise: the weather decides.

## Before we go

- [x] Book the sleeper, two berths
- [x] Borrow the tent from Ines
- [ ] New brake pads for Ben's bike
- [ ] Ask about the boat to *Mingulay*

> It rained for nine days and nobody minded, because the evenings were so long.\\
> — Nan, on the summer of 1961

## The route

1. Barra and Vatersay, four days, beaches
2. South Uist by the machair road
3. Harris, as slowly as possible

The track as a file, for the phone:

```json
{ "name": "Hebrides", "days": 21, "distance_km": 460 }
```
"""
OTHER_PAGES = (
    ("Packing list", "page"),
    ("Ferry times", "text"),
    ("Books for the tent", "page"),
    ("What it cost", "text"),
)
DESK = {"width": 1280, "height": 860}
PHONE = {"width": 360, "height": 740}
SEEN_S_MAX = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the pictures go."""
    path = ROOT / "docs" / "images" if os.environ.get("SHEAF_UPDATE_IMAGES") else tmp_path / "images"
    path.mkdir(parents=True, exist_ok=True)
    return path


async def test_the_pictures_in_the_documentation(here: Town, folder: Path) -> None:
    ada, ben = here.start("Ada", "Ben")
    document_id = prepare(ada, ben)
    async with browsers(device_scale_factor=2, reduced_motion="reduce") as open_browser:
        theirs = await open_browser(ben)
        await theirs.open(document_id)
        await theirs.until_shown("as slowly as possible")
        for name, size, scheme in (
            ("editor-light", DESK, "light"),
            ("editor-dark", DESK, "dark"),
            ("editor-narrow", PHONE, "light"),
        ):
            ours = await open_browser(ada, viewport=size, color_scheme=scheme)
            await ours.open(document_id)
            await ours.until_shown("as slowly as possible")
            await show_a_second_person(theirs, ours)
            await take(ours, folder / f"{name}.png", size)
            await ours.page.close()


async def test_the_pictures_of_a_relay_and_a_spoken_code(
    here: Town, relay: RelayProcess, folder: Path
) -> None:
    url = relay.url.replace("127.0.0.1", "localhost")
    ada, ben = here.start("Ada", "Ben", arguments=[f"--relay={url}"])
    document_id = prepare(ada, ben)
    async with browsers(device_scale_factor=2, reduced_motion="reduce", viewport=DESK) as open_browser:
        ours, theirs = await open_browser(ada), await open_browser(ben)
        for editor in (theirs, ours):
            await editor.open(document_id)
        line = ours.page.get_by_test_id("save-state")
        await expect(line).to_have_attribute("data-delivery", "seen", timeout=SEEN_S_MAX * 1000)
        await show_a_second_person(theirs, ours)
        await line.click()
        await expect(ours.page.get_by_test_id("delivery-person")).to_contain_text("Seen")
        await take(ours, folder / "delivery.png", DESK)
        await ours.page.keyboard.press("Escape")

        await ours.page.get_by_test_id("share-button").click()
        await ours.page.get_by_text("Read it out loud").click()
        await ours.page.get_by_test_id("share-create").click()
        await ours.page.get_by_test_id("spoken-code").wait_for()
        await take(ours, folder / "code.png", DESK)
        assert theirs.problems == []


async def take(editor: Editor, picture: Path, size: dict[str, int]) -> None:
    """Take a picture of the window."""
    await editor.page.screenshot(path=picture, animations="disabled", caret="hide")
    check_picture(picture, size)
    assert editor.problems == []


def prepare(ada: Daemon, ben: Daemon) -> str:
    """A space of two people with a page worth looking at."""
    space_id = make_space(ada, "Summer on the islands")
    document_id = make_document(ada, space_id, "Three weeks in the Hebrides", kind="page")
    for title, kind in OTHER_PAGES:
        make_document(ada, space_id, title, kind=kind)
    make_space(ada, "Household")
    join(ada, ben, space_id)
    until_live(ada, ben)
    body = PAGE.split("\n", 2)[2]  # the title is the document's own
    answer = ada.request(
        "PUT",
        f"/documents/{document_id}/content",
        params={"format": "markdown"},
        content=body.encode(),
        headers={"Content-Type": "text/markdown"},
    )
    assert answer.status_code == 204, answer.text
    return document_id


async def show_a_second_person(theirs: Editor, ours: Editor) -> None:
    """Ben selects a word, and Ada sees it."""
    line = theirs.page.get_by_test_id("page-editor").get_by_text("New brake pads for")
    await line.scroll_into_view_if_needed()
    await line.click()
    await theirs.page.keyboard.press("End")
    await theirs.page.keyboard.press("Shift+Control+ArrowLeft")
    await ours.page.locator(".remote-cursor").first.wait_for(state="attached")
    await ours.page.locator(".remote-selection").first.wait_for(state="attached")


def check_picture(path: Path, size: dict[str, int]) -> None:
    """It has the size asked for, and is no empty sheet."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (size["width"] * 2, size["height"] * 2)
    assert len(data) > 40_000
