"""The worker process: takes tasks from standard input, one after the other, until that is closed.

Started by `pool` as `python -m sheaf.worker.process LIMIT_S MEMORY_BYTES`. It holds nothing that
matters: it may be killed at any moment. Imports nothing of the daemon but what the tasks need.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
from typing import BinaryIO, Final

from sheaf.content_work.task import ContentTask, perform
from sheaf.core.base.errors import SheafError
from sheaf.worker.messages import HEAD, Answer, read_request

_NICENESS: Final = 5
"""The event loop goes first where processors are few."""
_GRACE_S: Final = 2.0


def main(arguments: list[str]) -> None:
    """Work until the daemon closes the pipe, or is gone."""
    limit_s, memory_bytes = float(arguments[0]), int(arguments[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon, which ends this process
    _be_modest(memory_bytes)
    gc.disable()  # the trees of a task have no cycles; looking for some takes half of its time
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    while line := requests.readline():
        task = read_request(line, requests.read)
        _set_alarm(limit_s + _GRACE_S)
        kind, content = _answer(task)
        _set_alarm(0)
        del task
        gc.collect()
        if not _send(answers, kind, content):
            return


def _answer(task: ContentTask) -> tuple[Answer, bytes]:
    try:
        return Answer.DONE, perform(task)
    except SheafError as error:
        return Answer.REFUSED, str(error).encode()
    except MemoryError:
        return Answer.TOO_BIG, b""
    except Exception as error:  # noqa: BLE001  # a defect: told to the daemon, which logs it
        # Without the message, which may hold what somebody wrote.
        places = "".join(traceback.format_tb(error.__traceback__)[-8:])
        return Answer.FAILED, f"{type(error).__name__}\n{places}".encode()


def _send(answers: BinaryIO, kind: Answer, content: bytes) -> bool:
    try:
        answers.write(HEAD.pack(kind, len(content)))
        answers.write(content)
        answers.flush()
    except BrokenPipeError:
        return False
    return True


def _set_alarm(seconds: float) -> None:
    """End this process by itself then: nobody else would, once the daemon has been killed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _be_modest(memory_bytes: int) -> None:
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.nice(_NICENESS)
    try:
        import resource
    except ImportError:  # not on this system
        return
    _, ceiling = resource.getrlimit(resource.RLIMIT_AS)
    wanted = memory_bytes if ceiling == resource.RLIM_INFINITY else min(memory_bytes, ceiling)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, ceiling))


if __name__ == "__main__":
    main(sys.argv[1:])
