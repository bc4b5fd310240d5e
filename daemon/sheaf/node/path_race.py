"""Several ways to one peer at once: the first channel that opens wins, or that speaks (PROTOCOL §5).

The offerer takes the first that opens and speaks on it; the answerer keeps whichever brings the first
frame. Knows channels and nothing of how they are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from sheaf.core.base.errors import ProtocolViolation, TransportFailure
from sheaf.ports import Channel, ChannelReceiver

CONNECT_DEADLINE_S: Final = 12.0
FIRST_FRAMES_MAX: Final = 8

_OpenT = TypeVar("_OpenT")


class ChannelCandidate:
    """The receiver of a channel of unknown standing: says when the first frame has come, keeps
    what came, and passes everything on once the channel was chosen."""

    def __init__(self, *, channel: Channel, spoke: Callable[[ChannelCandidate], None]) -> None:
        self.channel = channel
        self._spoke = spoke
        self._frames: list[bytes] = []
        self._closed: str | None = None
        self._receiver: ChannelReceiver | None = None

    def frame_received(self, frame: bytes) -> None:
        if self._receiver is not None:
            self._receiver.frame_received(frame)
        elif len(self._frames) < FIRST_FRAMES_MAX:
            self._frames.append(frame)
            self._spoke(self)

    def writable(self) -> None:
        if self._receiver is not None:
            self._receiver.writable()

    def channel_closed(self, reason: str) -> None:
        self._closed = reason
        if self._receiver is not None:
            self._receiver.channel_closed(reason)

    def hand_over(self, receiver: ChannelReceiver) -> None:
        """From now on `receiver` gets what comes, beginning with what already has."""
        self._receiver = receiver
        for frame in self._frames:
            receiver.frame_received(frame)
        if self._closed is not None:
            receiver.channel_closed(self._closed)


async def first_channel(runners: list[Coroutine[Any, Any, Channel]]) -> Channel:
    """The first of several attempts to open; see `first_of`."""
    return await first_of(runners, discard=lambda channel: channel.close())


async def first_of(
    runners: list[Coroutine[Any, Any, _OpenT]], *, discard: Callable[[_OpenT], Coroutine[Any, Any, None]]
) -> _OpenT:
    """The first of several attempts that succeeds; the others are ended, late ones discarded.

    Raises:
        TransportFailure, ProtocolViolation: all failed; this is the last reason.
    """
    winner: list[_OpenT] = []
    failure: TransportFailure | ProtocolViolation = TransportFailure("no path")
    async with asyncio.TaskGroup() as group:
        tasks = {group.create_task(_outcome(runner)) for runner in runners}
        while tasks and not winner:
            finished, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                outcome = task.result()
                if isinstance(outcome, TransportFailure | ProtocolViolation):
                    failure = outcome
                elif winner:
                    await discard(outcome)
                else:
                    winner.append(outcome)
        for task in tasks:
            task.cancel()
    if not winner:
        raise failure
    return winner[0]


async def _outcome(runner: Coroutine[Any, Any, _OpenT]) -> _OpenT | TransportFailure | ProtocolViolation:
    try:
        return await runner
    except (TransportFailure, ProtocolViolation) as failure:
        return failure


async def delayed(delay_s: float, connect: Callable[[], Coroutine[Any, Any, _OpenT]]) -> _OpenT:
    """`connect()`, after a head start for the others."""
    await asyncio.sleep(delay_s)
    return await connect()


async def first_to_speak(paths: list[Awaitable[Channel]]) -> ChannelCandidate:
    """Open every path, keep the one that brings a frame first."""
    chosen: asyncio.Future[ChannelCandidate] = asyncio.get_running_loop().create_future()
    opened: list[ChannelCandidate] = []

    def choose(candidate: ChannelCandidate) -> None:
        if not chosen.done():
            chosen.set_result(candidate)

    async def watch(path: Awaitable[Channel]) -> None:
        try:
            channel = await path
        except TransportFailure:
            return
        candidate = ChannelCandidate(channel=channel, spoke=choose)
        opened.append(candidate)
        channel.attach(candidate)

    winner: ChannelCandidate | None = None
    try:
        async with asyncio.timeout(CONNECT_DEADLINE_S), asyncio.TaskGroup() as group:
            tasks = [group.create_task(watch(path)) for path in paths]
            winner = await chosen
            for task in tasks:
                task.cancel()
    except TimeoutError:
        raise TransportFailure("the offering device opened no path to us") from None
    finally:
        for candidate in opened:
            if candidate is not winner:
                await candidate.channel.close()
    return winner
