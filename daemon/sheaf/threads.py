"""Work in a thread that keeps no program from ending.

The interpreter waits at its end for every thread of `asyncio.to_thread`. For work that may take
long and loses nothing when it is cut off, that would be the time a stop takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

ResultT = TypeVar("ResultT")


def _nothing() -> None:
    pass


async def in_daemon_thread(
    call: Callable[[], ResultT], *, name: str, when_ended: Callable[[], object] = _nothing
) -> ResultT:
    """Run `call` in a thread of its own and return, or raise, what it comes to.

    Args:
        name: what the thread is called.
        when_ended: called on the loop when the thread has ended, also when nobody waits any more.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[ResultT] = loop.create_future()

    def settle(tell: Callable[[], None]) -> None:
        when_ended()
        if not outcome.done():
            tell()

    def work() -> None:
        try:
            tell = partial(outcome.set_result, call())
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            tell = partial(outcome.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, tell)

    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError:  # the system gives no more threads
        when_ended()
        raise
    return await outcome
