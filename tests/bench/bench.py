"""What the parts of one run share: where to write, how thorough to be, and daemons with a long history."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sheaf.core.base.ids import DocId, SpaceId
from tests.bench.history import history, write_documents, write_text
from tests.bench.report import Report
from tests.support.daemon import Daemon, eventually
from tests.support.world import Town, free_ports, join, make_document, make_space, town

DOCUMENTS = 9_900
"""A space holds 10,000; the rest is made through the API, to see how fast that goes."""
BIG_ENVELOPE_BYTES = 64 * 1024
STEP_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class InStep:
    """What a daemon's log says of one catch-up, since the handshake."""

    seconds: float
    sent_bytes: int
    received_bytes: int
    turns: int


@dataclass
class Houses:
    """Ada with three spaces, and people who joined them while they were empty.

    `library`: 9,900 documents, two small envelopes for each. `big`: one text in large envelopes,
    and `typed`, an empty text. `eight`: 8 MiB in large envelopes, nobody but Ada in it yet.
    """

    ada: Daemon
    library_readers: list[Daemon]
    big_readers: list[Daemon]
    library: str
    big: str
    eight: str
    typed: str
    document: str
    library_envelopes: int
    history_s: float


@dataclass
class Bench:
    """One run."""

    report: Report
    scratch: Path
    is_quick: bool
    stack: ExitStack
    _houses: Houses | None = field(default=None)

    async def houses(self) -> Houses:
        """The daemons with a history; made when first asked for. Ada runs, the others do not."""
        if self._houses is None:
            self._houses = await self._build()
            self.report.facts["library"] = {
                "documents": self.document_count,
                "envelopes": self._houses.library_envelopes,
                "written_in_s": round(self._houses.history_s, 1),
            }
        return self._houses

    @property
    def document_count(self) -> int:
        """How many documents the library has before any is made through the API."""
        return 500 if self.is_quick else DOCUMENTS

    @property
    def big_bytes(self) -> int:
        """How much history the big space has."""
        return (4 if self.is_quick else 24) * 1024 * 1024

    async def _build(self) -> Houses:
        folder = self.scratch / "houses"
        folder.mkdir()
        people = _neighbours(self.stack.enter_context(town(folder)), "ada", "ben", "cleo", "dora", "emil")
        ada, ben, cleo, dora, emil = people
        library, big, eight = make_space(ada, "Library"), make_space(ada, "Big"), make_space(ada, "Eight")
        big_text, eight_text = make_document(ada, big, "Big"), make_document(ada, eight, "Eight")
        typed = make_document(ada, big, "Typed")
        for reader, space in ((ben, library), (cleo, library), (dora, big), (emil, big)):
            await asyncio.to_thread(join, ada, reader, space)
        for daemon in people:
            daemon.stop()
        began = time.monotonic()
        async with history(ada.data_dir, library) as writer:
            documents = await write_documents(writer, self.document_count)
            envelopes = writer.envelopes
        for space, text, size in ((big, big_text, self.big_bytes), (eight, eight_text, 8 * 1024 * 1024)):
            async with history(ada.data_dir, space) as writer:
                count = size // BIG_ENVELOPE_BYTES
                document = DocId.parse(text)
                await write_text(writer, document, envelopes=count, envelope_bytes=BIG_ENVELOPE_BYTES)
        history_s = time.monotonic() - began
        ada.start()
        return Houses(
            ada,
            [ben, cleo],
            [dora, emil],
            library,
            big,
            eight,
            typed,
            documents[0].text,
            envelopes,
            history_s,
        )


def _neighbours(place: Town, first: str, *others: str) -> list[Daemon]:
    """Daemons that know where the first one listens, and nobody else."""
    (port,) = free_ports(1)
    made = [place.daemon(first, arguments=["--no-mdns", f"--lan=127.0.0.1:{port}"])]
    for name in others:
        arguments = ["--no-mdns", "--lan=127.0.0.1:0", f"--peer=127.0.0.1:{port}"]
        made.append(place.daemon(name, arguments=arguments))
    for daemon in made:
        daemon.spawn()
    for daemon in made:
        daemon.wait_ready()
    return made


class LogReader:
    """Follows a daemon's log from here on."""

    def __init__(self, daemon: Daemon) -> None:
        self._path = daemon.log_path
        self._position = self._path.stat().st_size if self._path.exists() else 0

    def entries(self) -> list[dict[str, Any]]:
        """Everything said since."""
        with self._path.open("rb") as log:
            log.seek(self._position)
            lines = log.read().decode(errors="replace").splitlines()
        found = []
        for line in lines:
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:  # a line that is still being written
                    continue
        return found

    async def in_step(self, space_id: str) -> InStep:
        """Wait until the space is in step with a peer; what that took since the handshake."""
        short = SpaceId.parse(space_id).short
        found: list[InStep] = []

        def look() -> bool:
            began = None
            for entry in self.entries():
                if entry["event"] == "connected":
                    began = entry
                if entry["event"] == "in step" and entry["space"] == short and began is not None:
                    seconds = (_when(entry) - _when(began)).total_seconds()
                    found.append(
                        InStep(seconds, entry["sent_bytes"], entry["received_bytes"], entry["turns"])
                    )
                    return True
            return False

        try:
            await eventually(look, timeout_s=STEP_S_MAX, what="the daemon is in step")
        except TimeoutError:
            said = "\n".join(json.dumps(entry) for entry in self.entries()[-20:])
            raise AssertionError(f"not in step after {STEP_S_MAX} s; its log:\n{said}") from None
        return found[0]


def _when(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["timestamp"])


async def caught_up(reader: Daemon, space_id: str) -> InStep:
    """Start a daemon and wait until its space is in step."""
    log = LogReader(reader)
    await asyncio.to_thread(reader.start)
    return await log.in_step(space_id)


Part = Callable[[Bench], Awaitable[None]]
