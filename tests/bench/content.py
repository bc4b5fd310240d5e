"""Long texts written, read and compared by a daemon; how long everybody else waits meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx

from tests.bench.bench import Bench
from tests.bench.processes import memory_mib
from tests.support.daemon import Daemon
from tests.support.long_texts import changelog, edited, paragraphs, signs, stars
from tests.support.world import make_document, make_space

PART = "content"
WAIT_MS_AIM = 100.0
PAUSE_S = 0.005
IDLE_S = 5.0
FORMS = ("markdown", "html", "text", "json", "yjs")


@dataclass
class Waits:
    """How long `/healthz` took, again and again."""

    http: httpx.AsyncClient
    taken_ms: list[float] = field(default_factory=list)

    async def during(self, work: Awaitable[None]) -> float:
        """The longest wait while `work` is done."""
        first = len(self.taken_ms)
        task = asyncio.ensure_future(work)
        while not task.done():
            began = time.perf_counter()
            await self.http.get("/healthz")
            self.taken_ms.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE_S)
        await task
        return max(self.taken_ms[first:], default=0.0)


async def measure(bench: Bench) -> None:
    """The five texts, one after the other; each is written, read in every form and written changed."""
    daemon = Daemon(bench.scratch / "content", arguments=["--no-mdns", "--lan=127.0.0.1:0"])
    bench.stack.callback(daemon.stop)
    await asyncio.to_thread(daemon.start)
    space = make_space(daemon, "Content")
    texts: dict[str, Callable[[], tuple[str, str]]] = {
        "40,000 #": lambda: (signs(), edited(signs())),
        "a**b × 20,000": lambda: (stars(), edited(stars())),
        "1,500 paragraphs, rewritten": lambda: (paragraphs(1), paragraphs(2)),
        "a changelog of 456 KB": lambda: (changelog(), edited(changelog())),
    }
    token = (daemon.data_dir / "api-token").read_text().strip()
    address = f"http://127.0.0.1:{daemon.port}"
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(base_url=address, headers=headers, timeout=120, trust_env=False) as http,
        httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as other,
    ):
        waits = Waits(other)
        idle = await waits.during(asyncio.sleep(IDLE_S / 5 if bench.is_quick else IDLE_S))
        for name, make in texts.items():
            old, new = make()
            page = f"/api/v1/documents/{make_document(daemon, space, kind='page')}/content"
            steps = Steps(http, page)
            longest = await waits.during(steps.run(old, new))
            bench.report.add(
                PART,
                f"{name}: longest wait for /healthz, ms",
                f"{longest:.0f}",
                against=f"{steps.said()}; at rest {idle:.0f} ms",
                aim=f"< {WAIT_MS_AIM:.0f}",
                met=longest < WAIT_MS_AIM,
            )
    assert daemon.process is not None
    bench.report.add(
        PART, "RSS of the daemon afterwards, MiB", f"{memory_mib(daemon.process.pid)['rss']:.0f}"
    )


@dataclass
class Steps:
    """What is done with one text, and how long each step took."""

    http: httpx.AsyncClient
    page: str
    taken_s: dict[str, float] = field(default_factory=dict)

    async def run(self, old: str, new: str) -> None:
        """Write, read in every form, write changed."""
        await self._step("written", self.http.put(self.page, content=old))
        for form in FORMS:
            await self._step(form, self.http.get(self.page, params={"format": form}))
        await self._step("compared", self.http.put(self.page, content=new))

    async def _step(self, name: str, request: Awaitable[httpx.Response]) -> None:
        began = time.perf_counter()
        answer = await request
        answer.raise_for_status()
        self.taken_s[name] = time.perf_counter() - began

    def said(self) -> str:
        """The slowest kinds of step."""
        names = ("written", "markdown", "compared")
        return ", ".join(
            f"{'read' if name == 'markdown' else name} in {self.taken_s[name]:.2f} s" for name in names
        )
