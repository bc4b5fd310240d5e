"""Somebody who types marked words into a document and remembers which were shown as saved.

Behaves like an editor tab: keeps its document over disconnections, comes back by itself, and the
stock y-websocket handshake brings the daemon what it lacks. A word counts as acknowledged once
the daemon said (message 101) that the frame which carried it is durable.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pycrdt
from websockets.exceptions import WebSocketException

from tests.support.daemon import Daemon
from tests.support.tab import Tab

RETRY_S = 0.02


class Typist:
    """One tab at one daemon. Words are `‹name.number›`; they go to either end, so none is split."""

    def __init__(
        self, name: str, daemon: Daemon, document_id: str, *, choice: random.Random, pause_s: float = 0.01
    ) -> None:
        self.name = name
        self.daemon = daemon
        self.document_id = document_id
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        self.typed: list[str] = []
        self.acknowledged: set[str] = set()
        self.connections = 0
        self.is_typing = True
        self.is_connected = False
        self._choice = choice
        self._pause_s = pause_s
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._in_flight: list[tuple[int, str]] = []

    async def run(self) -> None:
        """Type until `is_typing` is off, then stay until everything typed is acknowledged."""
        while self.is_typing or len(self.acknowledged) < len(self.typed):
            try:
                async with self.daemon.tab(self.document_id, doc=self.doc) as tab:
                    await self._sit(tab)
            except (OSError, WebSocketException, TimeoutError):
                await asyncio.sleep(RETRY_S)
            finally:
                self.is_connected = False

    async def _sit(self, tab: Tab) -> None:
        self.connections += 1
        # whatever was not acknowledged goes along in the answer to the daemon's state vector
        unsaved = [word for word in self.typed if word not in self.acknowledged]
        self._in_flight = [(1, word) for word in unsaved]
        tab.acks = self._acknowledge
        await tab.until(lambda: tab.sent >= 1)
        self._acknowledge(tab.acked)
        self.is_connected = True
        while self.is_typing:
            word = f"‹{self.name}.{next(self._numbers)}›"
            self.typed.append(word)
            self._in_flight.append((tab.sent + 1, word))
            await tab.edit(partial(self._insert, word))
            await asyncio.sleep(self._pause_s)
        await tab.until(lambda: len(self.acknowledged) == len(self.typed), timeout_s=30)

    def _insert(self, word: str, text: pycrdt.Text) -> None:
        if self._choice.random() < 0.2:
            text.insert(0, word)
        else:
            text += word

    def _acknowledge(self, frames: int) -> None:
        durable = [word for number, word in self._in_flight if number <= frames]
        self._in_flight = self._in_flight[len(durable) :]
        self.acknowledged.update(durable)
        self._changed.set()

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Wait until an acknowledgement made `condition` true."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def counts(text: str) -> Counter[str]:
    """How often each word is there. Fails if anything but whole words is there."""
    words = text.replace("›", "› ").split()
    assert all(word.startswith("‹") and word.endswith("›") for word in words), "a word was torn"
    return Counter(words)


def verdict(text: str, *typists: Typist) -> dict[str, Any]:
    """What became of everything typed: acknowledged, lost, doubled, unknown (typed, never confirmed)."""
    there = counts(text)
    acknowledged = {word for typist in typists for word in typist.acknowledged}
    typed = {word for typist in typists for word in typist.typed}
    return {
        "typed": len(typed),
        "acknowledged": len(acknowledged),
        "lost": sorted(acknowledged - there.keys()),
        "unknown": len(typed - acknowledged),
        "doubled": sorted(word for word, count in there.items() if count > 1),
        "foreign": sorted(there.keys() - typed),
    }
