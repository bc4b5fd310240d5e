"""Which devices are used by two daemons at once, and which were only restarted (decision 0073)."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sheaf.core.base.ids import DeviceId, RendezvousId
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.core.protocol.signaling import SignalBody, SignalKind, TunnelWire, seal_signal
from sheaf.node.clones import DEVICES_MAX, PROCESSES_MAX, REMEMBERED_S, Clones
from sheaf.node.signal_desk import STALE_SIGNAL_MS, SignalDesk, _Signal
from sheaf.ports import Clock, SignalRoute

OWN, DEVICE = DeviceId(b"\1" * 32), DeviceId(b"\2" * 32)


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.news = 0
        clock = cast(Clock, SimpleNamespace(now=lambda: self.now, wall_ms=lambda: int(self.now * 1000)))
        self.clones = Clones(own=OWN, clock=clock, on_news=self.told)

    def told(self) -> None:
        self.news += 1

    def meet(self, *processes: bytes | None) -> bool:
        return [self.clones.met(DEVICE, process) for process in processes][-1]


@pytest.fixture
def world() -> World:
    return World()


def test_a_restart_is_no_clone_however_often(world: World) -> None:
    assert not world.meet(*[b"%d" % n for n in range(5 * PROCESSES_MAX)])
    assert not world.meet(b"last", b"last", None, b"last")
    assert world.clones.cloned() == {}
    assert world.news == 0


def test_who_comes_back_after_another_was_not_restarted(world: World) -> None:
    assert not world.meet(b"one", b"two")
    assert world.meet(b"one")
    assert world.meet(b"two", b"one", b"two")
    assert world.clones.cloned() == {DEVICE: 100_000}
    assert world.news == 1


def test_who_does_not_say_which_process_it_is_proves_nothing(world: World) -> None:
    assert not world.meet(b"one", None, b"one", None)


def test_it_is_forgotten_once_it_is_over_and_told_again_when_it_comes_back(world: World) -> None:
    assert world.meet(b"one", b"two", b"one")
    world.now += REMEMBERED_S
    assert not world.meet(b"one")
    assert world.clones.cloned() == {}
    assert world.meet(b"two")
    assert world.news == 2


def test_what_others_say_of_this_device_is_told_once(world: World) -> None:
    for _ in range(3):
        world.clones.noticed_own()
    assert set(world.clones.cloned()) == {OWN}
    assert world.news == 1


def test_a_flood_of_devices_is_bounded(world: World) -> None:
    for number in range(DEVICES_MAX + 10):
        world.clones.met(DeviceId(number.to_bytes(32, "big")), b"one")
    assert len(world.clones._devices) == DEVICES_MAX


# ------------------------------------------------------------------ signals made with our own key


KEYS = DeviceKeys(b"\7" * 32, b"\6" * 32)
RID = RendezvousId(b"r" * 16)


class Desk:
    """A signal desk, and how often it noticed another daemon with its own key."""

    def __init__(self) -> None:
        self.met = 0
        self.processes: list[bytes | None] = []
        self.made: list[bytes] = []
        self.desk = SignalDesk(
            identity=cast(Any, SimpleNamespace(device=KEYS)),
            invitations=cast(Any, SimpleNamespace(by_rendezvous=lambda _rid: None)),
            connector=cast(
                Any,
                SimpleNamespace(
                    take_answer=lambda _rid, _sealed: False,
                    is_echo=lambda body: body.session_id in self.made,
                ),
            ),
            taker=cast(Any, SimpleNamespace(met_myself=self.meet, poked=self.poked)),
            clock=cast(Any, SimpleNamespace(wall_ms=lambda: STALE_SIGNAL_MS * 2)),
            tasks=cast(Any, None),
        )

    def meet(self) -> None:
        self.met += 1

    def poked(self, _sender: DeviceCertificate, _route: SignalRoute, process: bytes | None) -> None:
        self.processes.append(process)

    def hear(
        self, session_id: bytes, *, created_ms: int = STALE_SIGNAL_MS * 2, sender: DeviceKeys = KEYS
    ) -> None:
        user = UserKeys(b"\5" * 32)
        body = SignalBody(
            kind=SignalKind.POKE,
            sender=DeviceCertificate.issue(user, sender, created_ms=0, name="laptop", user_name="Ada"),
            to=KEYS.device_id,
            session_id=session_id,
            created_ms=created_ms,
            tunnel=TunnelWire(b"p" * 32, bytes(16)),
        )
        sealed = seal_signal(body, sender, KEYS.kem_public, RID, os.urandom)
        self.desk._work(_Signal(RID, sealed, SignalRoute("here", None, None)))


def test_a_poke_made_with_our_key_by_somebody_else_is_noticed() -> None:
    desk = Desk()
    desk.hear(b"a" * 16)
    assert desk.met == 1


def test_our_own_poke_sent_back_or_an_old_one_played_again_proves_nothing() -> None:
    desk = Desk()
    desk.made.append(b"m" * 16)
    desk.hear(b"m" * 16)
    desk.hear(b"o" * 16, created_ms=0)
    assert desk.met == 0


def test_an_old_poke_of_another_device_played_again_does_not_say_which_process_made_it() -> None:
    """It was recorded before the other device, and this daemon, were started anew."""
    desk = Desk()
    other = DeviceKeys(b"\4" * 32, b"\3" * 32)
    desk.hear(b"n" * 16, sender=other)
    desk.hear(b"o" * 16, sender=other, created_ms=0)
    assert desk.processes == [b"p" * 32, None]
