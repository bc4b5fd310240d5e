"""FAULTS A11: no WATCHDOG=1 from a daemon whose loop is blocked or whose writer is stuck."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheaf.core.base.errors import StorageFailure
from sheaf.watchdog import Notifier, watch


class Manager:
    """The receiving end of a fake $NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.path = path

    def close(self) -> None:
        self._socket.close()

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def notifier(self, watchdog_s: float = 0.04, pid: int | None = None) -> Notifier:
        environment = {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": str(round(watchdog_s * 1e6))}
        if pid is not None:
            environment["WATCHDOG_PID"] = str(pid)
        return Notifier(environment)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


async def fine() -> None:
    """A probe that succeeds."""


async def run_for(seconds: float, manager: Manager, probe: object = fine, **options: float) -> list[str]:
    watching = asyncio.ensure_future(watch(manager.notifier(), probe, **options))  # type: ignore[arg-type]
    await asyncio.sleep(seconds)
    watching.cancel()
    return manager.heard()


def test_readiness_and_stopping_are_told(manager: Manager) -> None:
    notifier = manager.notifier()
    notifier.ready("listening on 7411")
    notifier.extend_start(30)
    notifier.stopping()
    assert manager.heard() == [
        f"READY=1\nSTATUS=listening on 7411\nMAINPID={os.getpid()}",
        "EXTEND_TIMEOUT_USEC=30000000",
        "STOPPING=1",
    ]


async def test_a_healthy_daemon_reports_at_half_the_interval(manager: Manager) -> None:
    heard = await run_for(0.15, manager)
    assert set(heard) == {"WATCHDOG=1"}
    assert len(heard) >= 3


async def test_a11_a_stuck_writer_is_not_alive(manager: Manager) -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    assert await run_for(0.12, manager, stuck) == []


async def test_a11_a_failing_writer_is_not_alive(manager: Manager) -> None:
    async def failing() -> None:
        raise StorageFailure("the disk is full")

    assert await run_for(0.12, manager, failing) == []


async def test_a11_a_blocked_loop_sends_nothing_and_is_not_believed_right_after(manager: Manager) -> None:
    watching = asyncio.ensure_future(watch(manager.notifier(), fine, lag_max_s=0.1))
    await asyncio.sleep(0.03)
    assert manager.heard()
    time.sleep(0.3)  # noqa: ASYNC251  # the fault itself
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert manager.heard() == []
    await asyncio.sleep(0.1)
    watching.cancel()
    assert set(manager.heard()) == {"WATCHDOG=1"}


async def test_without_a_watchdog_nothing_runs(manager: Manager) -> None:
    await watch(Notifier({"NOTIFY_SOCKET": str(manager.path)}), fine)
    await watch(Notifier({}), fine)
    await watch(manager.notifier(pid=1), fine)
    Notifier({}).ready("nobody listens")
    assert manager.heard() == []
    assert manager.notifier(pid=os.getpid()).watchdog_interval_s == 0.02
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_interval_s is None


def test_a_manager_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("hello")


def test_abstract_sockets_are_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"sheaf-test-{os.getpid()}"
        receiver.bind("\0" + name)
        Notifier({"NOTIFY_SOCKET": "@" + name}).stopping()
        assert receiver.recv(100) == b"STOPPING=1"
