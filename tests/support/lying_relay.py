"""A relay that loses, withholds, replays, swaps, reorders, doubles, rolls back and invents (FAULTS N13)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from sheaf.core.base.errors import TransportFailure
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.ports.relay import MailboxAccess, MailboxItem, MailboxPage, StoredItem
from tests.support.memory_relay import MailboxState, RelayBox


class LyingBox(RelayBox):
    """Lies in `share` of all requests while `is_lying`; `lies` says how often in which way."""

    def __init__(self, url: str, chance: random.Random, *, share: float = 0.4) -> None:
        super().__init__(url)
        self._chance = chance
        self._share = share
        self._older: list[dict[bytes, MailboxState]] = []
        self._foreign: list[bytes] = [chance.randbytes(size) for size in (0, 40, 600, 5000)]
        self.is_lying = False
        self.operations = 0
        self.lies: Counter[str] = Counter()

    def _lies(self) -> bool:
        self.operations += 1
        return self.is_lying and self._chance.random() < self._share

    def _note(self, lie: str) -> None:
        self.lies[lie] += 1

    # ------------------------------------------------------------------ what it answers

    def get(self, access: MailboxAccess, after: int, bytes_max: int) -> MailboxPage:
        page = super().get(access, after, bytes_max)
        if not self._lies():
            return page
        lie = self._chance.choice(
            [
                "withhold",
                "shorten",
                "stale",
                "reorder",
                "double",
                "garble",
                "swap",
                "rename",
                "break",
                "jumble",
            ]
        )
        self._note(lie)
        items = list(page.items)
        match lie:
            case "withhold":
                items = [item for item in items if self._chance.random() < 0.5]
            case "shorten":
                items = items[: len(items) // 2]
                return MailboxPage(tuple(items), items[-1].position if items else after, page.incarnation)
            case "stale" if self._older:
                box = self._chance.choice(self._older).get(access.mailbox_id)
                if box is not None:
                    found = tuple(item for item in box.items if item.position > after)
                    return MailboxPage(found, box.last, box.incarnation)
            case "reorder":
                items = self._with(items, self._shuffled([item.data for item in items]))
            case "double":
                items = self._with(items, [self._chance.choice(items).data for _ in items])
            case "garble":
                items = self._with(items, [self._garbled(item.data) for item in items])
            case "swap":
                items = self._with(items, [self._chance.choice(self._all(items)) for _ in items])
            case "rename":
                return MailboxPage(page.items, page.last, self._chance.randbytes(8))
            case "jumble":
                return MailboxPage(tuple(reversed(page.items)), page.last, page.incarnation)
            case "break":
                raise TransportFailure("cut")
        return MailboxPage(tuple(items), page.last, page.incarnation)

    def put(self, access: MailboxAccess, item: bytes) -> StoredItem:
        if not self._lies():
            return super().put(access, item)
        lie = self._chance.choice(["drop", "break after", "double put", "refuse", "break"])
        self._note(lie)
        last, incarnation = self.news(access.mailbox_id)
        match lie:
            case "drop":
                return StoredItem(last + 1, incarnation)
            case "double put":
                super().put(access, item)
                box = self.mailboxes[access.mailbox_id]
                return self._append(access.mailbox_id, box, item)
            case "refuse":
                raise RelayRefused(self._chance.choice([RefusalCode.FULL, RefusalCode.RATE]))
            case "break after":
                super().put(access, item)
        raise TransportFailure("cut")

    def compact(self, access: MailboxAccess, expect_last: int, item: bytes) -> StoredItem:
        if self._lies():
            self._note("compact")
            if self._chance.random() < 0.5:
                raise RelayRefused(RefusalCode.CHANGED)
            box = self.mailboxes.get(access.mailbox_id)
            if box is not None:
                box.items.clear()
        return super().compact(access, expect_last, item)

    # ------------------------------------------------------------------ what happens to it

    def mishap(self) -> None:
        """It loses everything, or a disk comes back as it was, or it is away for a while."""
        match self._chance.choice(["wipe", "roll back", "remember", "remember", "away", "back", "back"]):
            case "wipe":
                self._note("wipe")
                self.wipe()
            case "roll back" if self._older:
                self._note("roll back")
                self.restore(self._chance.choice(self._older))
            case "away":
                self.switch(is_up=False)
            case "back":
                self.switch(is_up=True)
            case _:
                self._older.append(self.copy())

    def reform(self) -> None:
        """From now on it is honest about what it has."""
        self.is_lying = False
        self.switch(is_up=False)
        self.switch(is_up=True)

    # ------------------------------------------------------------------ helpers

    def _all(self, items: Sequence[MailboxItem]) -> list[bytes]:
        others = [item.data for box in self.mailboxes.values() for item in box.items]
        return [*self._foreign, *others, *(item.data for item in items)]

    def _shuffled(self, data: list[bytes]) -> list[bytes]:
        return self._chance.sample(data, len(data))

    def _garbled(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self._chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self._chance.randrange(8)]) + data[at + 1 :]

    @staticmethod
    def _with(items: Sequence[MailboxItem], data: Sequence[bytes]) -> list[MailboxItem]:
        return [MailboxItem(item.position, each) for item, each in zip(items, data, strict=True)]
