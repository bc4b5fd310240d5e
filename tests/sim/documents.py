"""What the edits of a simulation are: opaque marks, or text in a real CRDT."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from sheaf.core.base.ids import DocId
from sheaf.core.crdt.replica import Replica
from sheaf.core.space.payload import PayloadItem, PayloadKind


class Documents(Protocol):
    """One device's documents in memory."""

    def edit(self, mark: str, chance: random.Random) -> PayloadItem:
        """A local edit that carries `mark`, applied here."""
        ...

    def load(self, items: Iterable[PayloadItem]) -> None:
        """Start again from what is stored, in the order it was released."""
        ...

    def apply(self, item: PayloadItem) -> None:
        """Something released by the space."""
        ...

    def marks(self) -> Counter[str]:
        """How often each mark is there."""
        ...

    def content(self) -> object:
        """Equal on two devices exactly when their documents are."""
        ...


DOCS = [DocId(bytes([number]) * 16) for number in range(1, 6)]


class OpaqueDocuments:
    """Bags of marks."""

    def __init__(self) -> None:
        self._bags: Counter[tuple[DocId, str]] = Counter()

    def edit(self, mark: str, chance: random.Random) -> PayloadItem:
        size = chance.choice([0, 0, 0, 200, 5000, 400_000 if chance.random() < 0.05 else 10])
        data = mark.encode() + b"\0" + bytes(size)
        item = PayloadItem(chance.choice(DOCS), PayloadKind.UPDATE, data)
        self.apply(item)
        return item

    def load(self, items: Iterable[PayloadItem]) -> None:
        self._bags.clear()
        for item in items:
            self.apply(item)

    def apply(self, item: PayloadItem) -> None:
        self._bags[item.doc_id, item.data.partition(b"\0")[0].decode()] += 1

    def marks(self) -> Counter[str]:
        return Counter({mark: count for (_, mark), count in self._bags.items()})

    def content(self) -> object:
        return sorted(self._bags.items())


class TextDocuments:
    """Text documents in real replicas; a mark is a word at a random place."""

    def __init__(self, chance: random.Random) -> None:
        self._entropy = chance.randbytes
        self._replicas: dict[DocId, Replica] = {}

    def edit(self, mark: str, chance: random.Random) -> PayloadItem:
        doc_id = chance.choice(DOCS[:2])
        replica = self._replica(doc_id)
        words = replica.text().split(" ")
        place = len(" ".join(words[: chance.randint(0, len(words))]))
        update = replica.apply_splices([(place, 0, f" {mark} ")])
        assert update is not None
        return PayloadItem(doc_id, PayloadKind.UPDATE, update)

    def load(self, items: Iterable[PayloadItem]) -> None:
        stored: dict[DocId, list[bytes]] = {}
        for item in items:
            stored.setdefault(item.doc_id, []).append(item.data)
        self._replicas = {
            doc_id: Replica.load(updates, entropy=self._entropy) for doc_id, updates in stored.items()
        }

    def apply(self, item: PayloadItem) -> None:
        self._replica(item.doc_id).apply(item.data)

    def marks(self) -> Counter[str]:
        return Counter(word for replica in self._replicas.values() for word in replica.text().split())

    def content(self) -> object:
        return {doc_id: (replica.text(), replica.digest()) for doc_id, replica in self._replicas.items()}

    def _replica(self, doc_id: DocId) -> Replica:
        if doc_id not in self._replicas:
            self._replicas[doc_id] = Replica(entropy=self._entropy)
        return self._replicas[doc_id]
