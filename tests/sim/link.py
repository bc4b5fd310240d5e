"""One end of a simulated channel: the shell of a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, assert_never

from sheaf.core.base.ids import DeviceId
from sheaf.core.base.limits import SEND_BUFFER_BYTES_MAX
from sheaf.core.protocol import effects as fx
from sheaf.core.protocol.session import Session
from tests.sim.disk import Batch
from tests.sim.network import Channel

if TYPE_CHECKING:
    from tests.sim.device import Device


class Link:
    """One end of a channel with its session."""

    def __init__(
        self, device: Device, channel: Channel, transcript: bytes, *, is_offerer: bool, peer: DeviceId
    ) -> None:
        self.device = device
        self.peer = peer
        self.is_offerer = is_offerer
        self.is_over = False
        self._side = 0 if is_offerer else 1
        self._channel = channel
        self._armed: float | None = None
        self.session = Session(
            is_offerer=is_offerer,
            device=device.keys,
            certificate=device.certificate,
            transcript=transcript,
            expected=peer,
            spaces=device,
            entropy=device.chance.randbytes,
        )

    def start(self) -> None:
        self.perform(self.session.start(self.now))
        self._channel.attach(self._side, self)

    @property
    def now(self) -> float:
        return self.device.clockwork.now

    # Receiver

    def frame_came(self, frame: bytes) -> None:
        if not self.is_over:
            self.perform(self.session.receive(frame, self.now))

    def writable(self) -> None:
        self._pump()

    def channel_lost(self) -> None:
        self.end()

    # effects

    def perform(self, effects: Sequence[fx.Effect]) -> None:
        for effect in effects:
            self._perform(effect)
        self._pump()

    def _perform(self, effect: fx.Effect) -> None:
        device = self.device
        match effect:
            case fx.Authenticated():
                device.authenticated(self)
            case fx.StoreOps():
                device.store_ops(self, effect)
            case fx.StoreRun():
                device.store_run(self, effect)
            case fx.ReadRun():
                device.clockwork.after(0.001, lambda: self._read(effect))
            case fx.AgreedVersion():
                device.commit(Batch(agreed={self.peer: dict(effect.version)}))
            case fx.Closed():
                device.watcher.ended(device, effect)
                self._pump()
                self.end()
            case fx.SpacePhase() | fx.Progress() | fx.PeerHas() | fx.RttMeasured() | fx.Ephemeral():
                pass
            case fx.ReceiptsCame() | fx.ReceiptHeadsCame():
                raise AssertionError("nobody sends receipts here")
            case fx.JoinRequested() | fx.JoinAccepted() | fx.JoinRefused():
                raise AssertionError("nobody joins this way here")
            case _:
                assert_never(effect)

    def answer(self, event: Callable[[float], list[fx.Effect]]) -> None:
        """Something asynchronous is ready for the session."""
        if not self.is_over:
            self.perform(event(self.now))

    def _read(self, effect: fx.ReadRun) -> None:
        run = self.device.read_run(effect)
        self.answer(lambda now: self.session.run_read(effect.token, run, now))

    def _pump(self) -> None:
        while not self.is_over:
            room = SEND_BUFFER_BYTES_MAX - self._channel.buffered[self._side]
            frames = self.session.next_frames(room) if room > 0 else []
            if not frames:
                break
            for frame in frames:
                self._channel.send(self._side, frame)
        self._arm()

    def _arm(self) -> None:
        due = None if self.is_over else self.session.next_wake()
        if due is not None and (self._armed is None or due < self._armed or self._armed < self.now):
            self._armed = max(due, self.now)
            self.device.clockwork.at(due, self._wake)

    def _wake(self) -> None:
        self._armed = None
        due = None if self.is_over else self.session.next_wake()
        if due is not None and due <= self.now:
            self.perform(self.session.wake(self.now))
        else:
            self._arm()

    def vanish(self, *, is_noticed: bool) -> None:
        """The power went at this end."""
        self.is_over = True
        self._channel.cut(is_noticed=is_noticed)

    def end(self) -> None:
        """No more of this link."""
        if not self.is_over:
            self.is_over = True
            self._channel.cut(is_noticed=True)
            self.device.link_over(self)
