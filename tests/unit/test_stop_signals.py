"""What each signal means. The handlers are called here, nothing is sent; tests/e2e/test_signals.py sends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from sheaf import stop_signals
from sheaf.stop_signals import FORCED_EXIT_CODE, StopSignals


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("atexit.register", lambda _work: None)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


async def is_stopping(stop: StopSignals) -> bool:
    await asyncio.sleep(0)
    return stop.is_wanted


def deliver(number: int) -> None:
    handler = signal.getsignal(number)
    assert callable(handler)
    handler(number, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_asks_for_a_clean_end(number: int) -> None:
    stop = StopSignals().listen()
    assert not await is_stopping(stop)
    deliver(number)
    assert await is_stopping(stop)


async def test_the_third_ctrl_c_ends_a_stop_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", leave)
    StopSignals().listen()
    deliver(signal.SIGINT)
    for _ in range(9):
        deliver(signal.SIGTERM)
    deliver(signal.SIGINT)
    with pytest.raises(Ended, match=str(FORCED_EXIT_CODE)):
        deliver(signal.SIGINT)


async def test_a_hangup_that_was_ignored_stays_ignored_as_under_nohup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stop_signals, "_has_terminal", lambda: True)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    StopSignals().listen()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


async def test_a_hangup_reads_again_while_the_terminal_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signals, "_has_terminal", lambda: True)
    read: list[int] = []
    stop = StopSignals(reload=lambda: read.append(1)).listen()
    deliver(signal.SIGHUP)
    assert not await is_stopping(stop)
    assert read == [1]


async def test_under_nohup_a_hangup_reads_again_and_never_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter([True, False])
    monkeypatch.setattr(stop_signals, "_has_terminal", lambda: next(states))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    read: list[int] = []
    stop = StopSignals(reload=lambda: read.append(1)).listen()
    deliver(signal.SIGHUP)
    assert not await is_stopping(stop)
    assert read == [1]
