"""The mailboxes of one space on one relay: read when there is news, filled while somebody is away.

Nothing happens while everybody is there, or nothing changes. An upload waits two seconds for more to
come (less when much waits), longer for what another live member will most likely upload himself. What
goes wrong is tried again; what people should know becomes a warning (PROTOCOL §7).

Invariants:
1. Edits are sealed for the mailbox only when a device is away and the relay is there (decision 0040).
2. Whatever the relay says or does, only our own store and signed receipts decide what others have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import structlog

from sheaf.core.base.errors import StorageFailure, TransportFailure
from sheaf.core.base.ids import DeviceId
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.protocol.coverage import Coverage
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.node.mailbox import Mailbox
from sheaf.node.mailbox_compaction import Compaction
from sheaf.node.mailbox_doubt import DOUBLINGS_MAX, Doubts
from sheaf.node.mailbox_memory import MailboxMemory, Trouble
from sheaf.node.mailbox_needs import Need, absent, doubted, floors, lacking_ops, needed, needed_in_old
from sheaf.node.mailbox_timing import UPLOAD_AT_BYTES, UploadTiming
from sheaf.node.mailbox_words import FULL, WHAT_HAPPENED, RelayWarning
from sheaf.node.mailbox_writer import MailboxWriter
from sheaf.node.space_host import SpaceHost
from sheaf.ports import Clock, Relay, RelayState, Store

RETRY_S: Final = 5.0
RETRY_S_MAX: Final = 60.0
PAUSE_S: Final = 0.1
"""Between two turns: somebody who types changes something many times a second."""
ANCHOR_S: Final = 3600.0
QUIET_MS_MAX: Final = 30 * 86_400_000
"""A mailbox nobody used for so long may have expired; that it is gone is no news."""

logger = structlog.get_logger("sheaf.mailbox")


class MailboxState(StrEnum):
    """How it goes with one relay."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    FULL = "full"


class MailboxWorker:
    """See the module. `run` until cancelled."""

    def __init__(
        self,
        *,
        host: SpaceHost,
        relay: Relay,
        own: DeviceId,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        memories: dict[bytes, MailboxMemory],
        counts: dict[str, float],
        on_change: Callable[[], None],
        on_warning: Callable[[RelayWarning], None],
    ) -> None:
        self.relay = relay
        self._host = host
        self._own = own
        self._store = store
        self._clock = clock
        self._memories = memories
        self._counts = counts
        self._on_change = on_change
        self._on_warning = on_warning
        self._boxes: dict[bytes, tuple[Mailbox, Callable[[], None]]] = {}
        self._wakeup = asyncio.Event()
        self._wakeup.set()
        self._rested = asyncio.Event()
        self._timing = UploadTiming(jitter=entropy(1)[0] / 255)
        self._due: float | None = None
        self._retry_s = RETRY_S
        self._compaction = Compaction(
            host=host,
            own=own,
            store=store,
            clock=clock,
            entropy=entropy,
            counts=counts,
            wake_at=self._wake_at,
        )
        self._doubts = Doubts()
        self._again = 0
        self._anchor_due = 0.0
        self._quiet_looks = 0
        self._was_connected = False
        self.state = MailboxState.OK
        self.detail: str | None = None

    # ------------------------------------------------------------------ for people

    @property
    def url(self) -> str:
        """The relay's, without any token."""
        return self.relay.url

    @property
    def current(self) -> Mailbox | None:
        """The mailbox of the current epoch."""
        epoch_id = self._host.space.current_epoch()
        if epoch_id is None:
            return None
        entry = self._boxes.get(self._host.space.keys(epoch_id).mailbox_id)
        return None if entry is None else entry[0]

    @property
    def coverage(self) -> Coverage:
        """What stands in the mailbox of the current epoch."""
        current = self.current
        return Coverage() if current is None else current.memory.coverage

    @property
    def warning(self) -> str | None:
        """What was wrong lately; a whole sentence."""
        now_ms = self._clock.wall_ms()
        told = [(box.memory.warned_ms, box.memory.warning) for box, _ in self._boxes.values()]
        lately = [warning for at_ms, warning in sorted(told) if warning and now_ms - at_ms < 86_400_000]
        return lately[-1] if lately else self.detail if self.state is MailboxState.FULL else None

    # ------------------------------------------------------------------ life

    def poke(self) -> None:
        """Something changed: here, with the peers, or with the relay."""
        if self.relay.status.state is not RelayState.CONNECTED:
            self._was_connected = False  # also when it is back before we look
        self._wakeup.set()

    async def hurry(self) -> None:
        """We are leaving: upload now what would have waited a little. Ends after one try."""
        self._timing.is_hurried = True
        self._wakeup.set()
        await self._rested.wait()

    async def run(self) -> None:
        """Work for ever; ends when the space's disk failed (it is opened anew then)."""
        try:
            while True:
                self._wakeup.clear()
                is_last = self._timing.is_hurried  # from its beginning: what came meanwhile goes too
                await self._guarded_turn()
                if is_last:
                    self._rested.set()
                await asyncio.sleep(0.0 if self._timing.is_hurried else PAUSE_S)
                await self._sleep()
        except StorageFailure as failure:
            logger.warning("mailbox stopped", reason=str(failure))
        finally:
            self._rested.set()
            for _, unwatch in self._boxes.values():
                unwatch()
            self._boxes.clear()

    async def _sleep(self) -> None:
        pause_s = None if self._due is None else max(0.0, self._due - self._clock.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._wakeup.wait()

    async def _guarded_turn(self) -> None:
        """A defect must not end delivery for as long as the daemon runs."""
        try:
            await self._turn()
        except StorageFailure:
            raise
        except Exception:
            logger.exception("a turn of a mailbox failed by a defect")
            self._try_again()

    async def _turn(self) -> None:
        self._due = None
        if self.relay.status.state is not RelayState.CONNECTED:
            self._was_connected = False
            self._say(MailboxState.UNREACHABLE, self.relay.status.problem)
            return
        try:
            self._settle_boxes()
            await self._read()
            await self._write()
        except RelayRefused as refused:
            self._refused(refused)
        except TransportFailure as failure:
            self._say(MailboxState.UNREACHABLE, f"The relay does not answer: {failure}.")
            self._try_again()
        else:
            self._retry_s = RETRY_S

    def _settle_boxes(self) -> None:
        """The mailboxes of the current and the previous epoch."""
        wanted = {keys.mailbox_id: keys for keys in self._host.space.recent_keys()}
        for mailbox_id in [known for known in self._boxes if known not in wanted]:
            self._boxes.pop(mailbox_id)[1]()
        for mailbox_id, keys in wanted.items():
            if mailbox_id not in self._boxes:
                self._boxes[mailbox_id] = self._open(keys)
        if not self._was_connected:
            self._was_connected = True
            self._quiet_looks = 0
            self._lift_anchors()

    def _lift_anchors(self) -> None:
        """Let the relay show again what we read last: one item, now and then ever less often."""
        for box, _ in self._boxes.values():
            box.is_anchored = False
        self._anchor_due = self._clock.now() + ANCHOR_S * 2 ** min(self._quiet_looks, DOUBLINGS_MAX)
        self._quiet_looks += 1

    def _open(self, keys: SpaceKeys) -> tuple[Mailbox, Callable[[], None]]:
        box = Mailbox(
            relay=self.relay,
            keys=keys,
            host=self._host,
            memory=self._memories.setdefault(keys.mailbox_id, MailboxMemory()),
            store=self._store,
            clock=self._clock,
            counts=self._counts,
        )

        def on_news(last: int, incarnation: bytes) -> None:
            box.news = (last, incarnation)
            self._quiet_looks = 0
            self._wakeup.set()

        return box, self.relay.watch(box.access, on_news)

    # ------------------------------------------------------------------ reading

    async def _read(self) -> None:
        if self._clock.now() >= self._anchor_due:
            self._lift_anchors()
        self._wake_at(self._anchor_due)
        for box, _ in list(self._boxes.values()):
            if not box.wants_reading:
                continue
            try:
                trouble, earlier = await box.catch_up()
            except RelayRefused as refused:
                self._put_off(box, refused)
                continue
            if self.state is MailboxState.UNREACHABLE:
                self._say(MailboxState.OK, None)
            self._look_at(box, trouble, earlier)
            self._on_change()

    def _look_at(self, box: Mailbox, trouble: Trouble | None, earlier: Coverage) -> None:
        """Tell people when the relay's story changed to somebody's harm."""
        if trouble is None:
            return
        space = self._host.space
        here = {self._own}
        devices = absent(space, self._host.delivery.book, here, self._clock.wall_ms())
        levels = floors(self._host.delivery.book, devices, self._host.durable)
        gone = box.memory.coverage.shrunk_since(earlier, levels) if devices else 0
        if trouble is Trouble.REPLACED and not gone:
            return
        is_stale = self._clock.wall_ms() - box.memory.touched_ms > QUIET_MS_MAX
        if trouble is Trouble.LOST and is_stale and not gone:
            return
        logger.warning("a relay's story changed", trouble=trouble.value, gone=gone)
        kind = Trouble.LOST if trouble is Trouble.REPLACED else trouble
        self._warn(box, kind.value, WHAT_HAPPENED[kind].format(url=self.relay.url))
        self._counts[f"mailbox_{kind.value}_total"] += 1

    def _warn(self, box: Mailbox, kind: str, detail: str) -> None:
        box.memory.warning = detail
        box.memory.warned_ms = self._clock.wall_ms()
        self._host.put_mailbox(box.row())
        self._on_warning(RelayWarning(kind, detail))

    # ------------------------------------------------------------------ writing

    async def _write(self) -> None:
        devices = self._absent()
        current = self.current
        if not devices or current is None:
            self._timing.clear()
            if self.state is not MailboxState.OK:
                self._say(MailboxState.OK, None)
            return
        await self._write_current(current, devices)
        for box, _ in list(self._boxes.values()):
            if box is not current:
                need = needed_in_old(self._host.space, self._host.delivery.book, devices, box.memory.coverage)
                if not need.is_empty:
                    await self._host.flush()
                    try:
                        await MailboxWriter(mailbox=box, store=self._store, counts=self._counts).upload(need)
                    except RelayRefused as refused:
                        self._put_off(box, refused)

    def _absent(self) -> list[DeviceId]:
        here = self._host.live_devices() | {self._own}
        return absent(self._host.space, self._host.delivery.book, here, self._clock.wall_ms())

    def _need(self, box: Mailbox, devices: list[DeviceId]) -> Need:
        host = self._host
        return needed(host.space, host.delivery.book, devices, host.durable, box.memory.coverage)

    async def _write_current(self, box: Mailbox, devices: list[DeviceId]) -> None:
        host = self._host
        await box.settle()
        await self._compaction.when_urgent(box)
        if (typed := self._timing.own_due(self._clock.now(), host.unsent_bytes)) is not None:
            self._wake_at(typed)  # what is needed is found out when it is due
            return
        can_seal = host.unsent_count > 0 and host.can_write()
        due = self._upload_due(self._need(box, devices), can_seal=can_seal)
        if due is None:
            self._say(MailboxState.OK, None)
        elif due > self._clock.now():
            self._wake_at(due)
        else:
            if can_seal:
                host.seal_now()
                await host.flush()
            host.delivery.speak()
            await host.flush()
            writer = MailboxWriter(mailbox=box, store=self._store, counts=self._counts, again=self._again)
            await writer.upload(self._need(box, devices))
            self._timing.clear()
            self._doubts.changed()
            self._again = 0
            box.memory.told.update(self._counters(devices))
            host.put_mailbox(box.row())
            if writer.too_large:
                self._say(MailboxState.FULL, "A change is larger than this relay takes.")
            else:
                self._say(MailboxState.OK, None)
            self._on_change()
        await self._look_again_when_due(box, devices)
        await self._compaction.when_due(box)

    def _counters(self, devices: list[DeviceId]) -> dict[DeviceId, int]:
        counters = self._host.delivery.book.counters()
        return {device_id: counters.get(device_id, 0) for device_id in devices}

    def _upload_due(self, need: Need, *, can_seal: bool) -> float | None:
        own = {head.log_id for head in self._host.space.logs if head.device_id == self._own}
        return self._timing.due(
            need,
            self._clock.now(),
            has_own=can_seal or any(log_id in own for log_id, _, _ in need.spans),
            is_much=can_seal and self._host.unsent_bytes >= UPLOAD_AT_BYTES,
            others_live=bool(self._host.live_devices()),
        )

    # ------------------------------------------------------------------ doubt

    async def _look_again_when_due(self, box: Mailbox, devices: list[DeviceId]) -> None:
        """Read everything again now and then; put again what somebody lacks who should have read it."""
        host, memory, book = self._host, box.memory, self._host.delivery.book
        doubts = doubted(host.space, book, devices, host.durable, memory.coverage, memory.told)
        is_doubtful = bool(doubts) or box.is_incomplete or host.delivery.incomplete() is not None
        levels = floors(book, devices, host.durable)
        is_owed = any(level < host.durable[log_id] for log_id, level in levels.items())
        now = self._clock.now()
        due = self._doubts.due(now, is_doubtful=is_doubtful, is_owed=is_owed)
        if due is None or now < due:
            if due is not None:
                self._wake_at(due)
            return
        self._doubts.looked(now)
        trouble, earlier = await box.catch_up(from_start=True)
        self._look_at(box, trouble or Trouble.REPLACED, earlier)
        for device_id, counter in doubts.items():
            for log_id, level in floors(book, [device_id], host.durable).items():
                memory.coverage.forget_from(log_id, level)
            for op in lacking_ops(host.space, book, [device_id]):
                memory.coverage.ops.discard(op.op_id)
            memory.told[device_id] = counter
            self._again = max(self._again, counter)
        host.put_mailbox(box.row())
        self._wake_at(now)

    # ------------------------------------------------------------------ what goes wrong

    def _put_off(self, box: Mailbox, refused: RelayRefused) -> None:
        """Who was removed can fill the old mailbox, or take it; that must not stop the current one."""
        if box is self.current:
            raise refused
        logger.info("the mailbox of the epoch before cannot be used", reason=str(refused))
        self._wake_at(self._clock.now() + RETRY_S_MAX)

    def _refused(self, refused: RelayRefused) -> None:
        if refused.code is RefusalCode.FULL:
            was_full = self.state is MailboxState.FULL
            detail = FULL.format(url=self.relay.url)
            self._say(MailboxState.FULL, detail)
            if not was_full:
                self._on_warning(RelayWarning("full", detail))
            self._compaction.needs_room(is_new=not was_full)
        else:
            self._say(MailboxState.UNREACHABLE, f"The relay refuses: {refused}.")
        self._try_again()

    def _try_again(self) -> None:
        self._wake_at(self._clock.now() + self._retry_s)
        self._retry_s = min(RETRY_S_MAX, self._retry_s * 1.5)

    def _wake_at(self, moment: float) -> None:
        self._due = moment if self._due is None else min(self._due, moment)

    def _say(self, state: MailboxState, detail: str | None) -> None:
        if (state, detail) != (self.state, self.detail):
            self.state, self.detail = state, detail
            self._on_change()
