"""Content that takes long to work on, through a real daemon: everybody else is served meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.long_texts import changelog, edited, paragraphs, signs, stars
from tests.support.world import make_document, make_space

pytestmark = [pytest.mark.e2e]

ANSWERS_MIN = 40
"""So often `/healthz` must answer while a text goes through; when each step stops the loop, twice a step."""
TEXTS = {
    "signs": (signs(), edited(signs())),
    "stars": (stars(6_000), edited(stars(6_000))),
    "paragraphs": (paragraphs(1), paragraphs(2)),
    "changelog": (changelog(150_000), edited(changelog(150_000))),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all tests here that leave it alive."""
    running = Daemon(tmp_path_factory.mktemp("content") / "ann", arguments=["--no-mdns", "--lan=127.0.0.1:0"])
    running.start()
    yield running
    running.stop()


@asynccontextmanager
async def client(daemon: Daemon) -> AsyncIterator[httpx.AsyncClient]:
    token = (daemon.data_dir / "api-token").read_text().strip()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{daemon.port}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
    ) as made:
        yield made


def new_page(daemon: Daemon) -> str:
    return f"/api/v1/documents/{make_document(daemon, make_space(daemon, 'Home'), kind='page')}/content"


async def answers_during(work: asyncio.Task[httpx.Response], http: httpx.AsyncClient) -> int:
    """How often `/healthz` answered before `work` was done."""
    count = 0
    while not work.done():
        assert (await http.get("/healthz")).status_code in (200, 503)
        count += not work.done()
    return count


@pytest.mark.parametrize("name", TEXTS)
async def test_the_daemon_answers_while_a_long_text_is_written_read_and_compared(
    daemon: Daemon, name: str
) -> None:
    old, new = TEXTS[name]
    page = new_page(daemon)
    async with client(daemon) as http:
        writing = asyncio.ensure_future(http.put(page, content=old))
        answers = await answers_during(writing, http)
        assert (await writing).status_code == 204
        for form in ("html", "text", "json", "yjs", "markdown"):
            reading = asyncio.ensure_future(http.get(page, params={"format": form}))
            answers += await answers_during(reading, http)
            assert (await reading).status_code == 200
        again = asyncio.ensure_future(http.put(page, content=(await reading).text))
        answers += await answers_during(again, http)
        comparing = asyncio.ensure_future(http.put(page, content=new))
        answers += await answers_during(comparing, http)
        assert (await comparing).status_code == 204
        assert answers >= ANSWERS_MIN
        words = (await http.get(page, params={"format": "text"})).text
        fresh = new_page(daemon)
        await http.put(fresh, content=new)
        expected = (await http.get(fresh, params={"format": "text"})).text
        assert Counter(words.split()) == Counter(expected.split())


def children_of(pid: int) -> list[int]:
    """Processes that were started by one of its threads."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found


async def test_a_worker_ends_with_a_daemon_that_was_killed(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "ann", arguments=["--no-mdns", "--lan=127.0.0.1:0"])
    await asyncio.to_thread(daemon.start)
    page = new_page(daemon)
    assert daemon.process is not None
    pid = daemon.process.pid
    async with client(daemon) as http:
        writing = asyncio.ensure_future(http.put(page, content=changelog()))
        await eventually(lambda: bool(children_of(pid)), what="a worker is started")
        (worker,) = children_of(pid)
        daemon.kill()
        with pytest.raises(httpx.TransportError):
            await writing
    await eventually(lambda: not Path(f"/proc/{worker}").exists(), timeout_s=60, what="the worker has ended")
    await asyncio.to_thread(daemon.start)
    async with client(daemon) as http:
        assert (await http.get(page)).text == ""
    daemon.stop()
