"""Updates and replicas for the tests of this folder. Everything is seeded."""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycrdt

from sheaf.core.crdt.lib0 import read_string, read_uvar, skip_any
from sheaf.core.crdt.replica import Replica
from sheaf.core.crdt.state_vector import encode_uvar

REPOSITORY = Path(__file__).parents[4]


def seeded(seed: int) -> Callable[[int], bytes]:
    """Entropy that repeats."""
    return random.Random(seed).randbytes


def replica(seed: int = 0) -> Replica:
    """An empty replica with a repeatable client id."""
    return Replica(entropy=seeded(seed))


class Writer:
    """A replica with all root types, that makes random changes."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.replica = Replica(entropy=rng.randbytes)
        doc = self.replica.doc
        self.text: pycrdt.Text = doc.get("text", type=pycrdt.Text)
        self.map: pycrdt.Map[Any] = doc.get("map", type=pycrdt.Map)
        self.array: pycrdt.Array[Any] = doc.get("array", type=pycrdt.Array)
        self.body: pycrdt.XmlFragment = doc.get("body", type=pycrdt.XmlFragment)

    def step(self) -> bytes | None:
        """One random change; its update, if it changed anything."""
        change = self.rng.choice(
            [
                self._type,
                self._type,
                self._erase,
                self._format,
                self._put,
                self._append,
                self._add_block,
                self._remove_block,
            ]
        )
        return self.replica.edit(change)

    def content(self) -> tuple[Any, ...]:
        return (self.text.diff(), self.map.to_py(), self.array.to_py(), str(self.body))

    def _type(self) -> None:
        whole = str(self.text)
        at = len(whole[: self.rng.randint(0, len(whole))].encode())
        self.text.insert(at, self.rng.choice(["abc", "é", "😀", "hello world"]))

    def _erase(self) -> None:
        whole = str(self.text)
        if whole:
            start = self.rng.randrange(len(whole))
            end = min(len(whole), start + self.rng.randint(1, 4))
            del self.text[len(whole[:start].encode()) : len(whole[:end].encode())]

    def _format(self) -> None:
        if len(self.text):
            whole = str(self.text)
            end = len(whole[: self.rng.randint(1, len(whole))].encode())
            self.text.format(0, end, {"bold": self.rng.choice([{"x": 1, "y": 2, "z": "ü"}, None])})

    def _put(self) -> None:
        value = self.rng.choice(
            [1, "x", None, [1, {"a": [2], "b": 1, "c": {"d": 1, "e": 2}}], 2.5, pycrdt.Map({"a": 1})]
        )
        self.map[self.rng.choice("abc")] = value

    def _append(self) -> None:
        if len(self.array) > 5:
            del self.array[0]
        else:
            self.array.append(self.rng.choice([1, "x", None, b"bin", True, pycrdt.Array([1])]))

    def _add_block(self) -> None:
        element = pycrdt.XmlElement("block", {"kind": "h1"})
        self.body.children.append(element)
        text = pycrdt.XmlText("hi there")
        element.children.append(text)
        text.format(0, 2, {"bold": {}})

    def _remove_block(self) -> None:
        if len(self.body.children):
            del self.body.children[self.rng.randrange(len(self.body.children))]


def history(
    seed: int, *, writers: int = 2, steps: int = 40, lag: float = 0.3
) -> tuple[list[Writer], list[bytes]]:
    """Writers that edited concurrently and then caught up; and the updates, in a causal order."""
    rng = random.Random(seed)
    group = [Writer(rng) for _ in range(writers)]
    seen = [0] * writers
    log: list[bytes] = []
    for _ in range(steps):
        number = rng.randrange(writers)
        update = group[number].step()
        if update is not None:
            log.append(update)
        if rng.random() > lag:
            _catch_up(group, seen, number, log)
    for number in range(writers):
        _catch_up(group, seen, number, log)
    return group, log


def _catch_up(group: list[Writer], seen: list[int], number: int, log: list[bytes]) -> None:
    for update in log[seen[number] :]:
        group[number].replica.apply(update)
    seen[number] = len(log)


def documents_of_yjs() -> list[tuple[list[bytes], str]]:
    """Documents that Yjs has edited: their updates and their text; tests/vectors/yjs_texts.mjs wrote them."""
    found = json.loads((REPOSITORY / "tests" / "vectors" / "yjs_texts.json").read_text())
    return [
        ([base64.b64decode(update) for update in document["updates"]], document["text"])
        for document in found["documents"]
    ]


def larger_set() -> list[tuple[list[bytes], str]]:
    """The same from Yjs' own compatibility set, where $SHEAF_SHARED_DATA says where it is; else none."""
    folder = os.environ.get("SHEAF_SHARED_DATA")
    return read_compatibility_set((Path(folder) / "small-test-dataset.bin").read_bytes()) if folder else []


def read_compatibility_set(data: bytes) -> list[tuple[list[bytes], str]]:
    """The updates and the expected text of every document in `small-test-dataset.bin`."""
    count, pos = read_uvar(data, 0)
    documents: list[tuple[list[bytes], str]] = []
    for _ in range(count):
        updates_count, pos = read_uvar(data, pos)
        updates: list[bytes] = []
        for _ in range(updates_count):
            length, pos = read_uvar(data, pos)
            updates.append(data[pos : pos + length])
            pos += length
        text, pos = read_string(data, pos)
        pos = skip_any(data, skip_any(data, pos, 64), 64)
        documents.append((updates, text))
    assert pos == len(data)
    return documents


_BYTES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x21, 0x27, 0x28, 0x44, 0x80, 0x81, 0x84, 0xC4, 0xFF]
_NUMBERS = [2**28, 2**31 - 1, 2**31, 2**32, 2**40, 2**53 - 1, 2**53, 2**63]


def mutate(rng: random.Random, update: bytes, others: list[bytes]) -> bytes:
    """An update with one to three things wrong: bits, bytes, huge numbers, cuts, splices."""
    data = bytearray(update)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if not data:
            break
        at = rng.randrange(len(data))
        match rng.randrange(8):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.randrange(256)
            case 2:
                data[at : at + 1] = encode_uvar(rng.choice([*_NUMBERS, rng.randrange(300)]))
            case 3:
                del data[at : at + rng.randint(1, 3)]
            case 4:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                data[at:at] = other[start : start + rng.randint(1, 20)]
            case 5:
                data[at] = rng.choice(_BYTES)
            case 6:
                del data[at:]
            case _:
                data[at] = (data[at] + rng.choice([-1, 1])) % 256
    return bytes(data)
