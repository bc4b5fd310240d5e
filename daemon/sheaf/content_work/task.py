"""One piece of content work, complete in itself, so that another process can do it.

A task carries the document's state as an update and gives back bytes: the content, or the
update that changes it. Must not know nodes, processes or where it runs. Decision 0074.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar, assert_never

from sheaf.content_work import conversion
from sheaf.content_work.forms import ContentFormat, DocType
from sheaf.core.crdt.replica import Replica

ResultT = TypeVar("ResultT")


class Action(StrEnum):
    """What is to be done with the content."""

    READ = "read"
    WRITE = "write"
    APPEND = "append"


@dataclass(frozen=True, slots=True)
class ContentTask:
    """Read, write or append.

    Attributes:
        state: the document, as `Replica.encode_state` gives it.
        text: UTF-8, what to write or append; empty for reading.
        client_id: the Yjs client id a change is written under; nobody else may use it meanwhile.
    """

    action: Action
    type: DocType
    format: ContentFormat
    state: bytes
    text: bytes = b""
    client_id: int = 1

    @property
    def size_bytes(self) -> int:
        """How much there is to work on."""
        return len(self.state) + len(self.text)


class ContentWorker(Protocol):
    """A place beside the event loop for work that may take long."""

    async def perform(self, task: ContentTask) -> bytes:
        """Like `perform` below.

        Raises:
            UsageError: see there.
            TooMuchWork: it took too long or too much memory.
            Busy: too many tasks are waiting, or no process can be started.
        """
        ...

    async def compute(self, call: Callable[[], ResultT]) -> ResultT:
        """Run a pure function that touches nothing anybody else has; raises what it raises.

        It shares the interpreter with the event loop and cannot be ended, so it must be short and
        take time in proportion to its input.
        """
        ...


def perform(task: ContentTask) -> bytes:
    """Do it.

    Returns:
        The content for `READ`; otherwise the update that changes the document, empty if nothing
        is to be changed.

    Raises:
        UsageError: the format cannot be written, or the text is not of it.
        ReplicaPoisoned: native code failed.
    """
    replica = Replica.copy_of(task.state, client_id=task.client_id)
    match task.action:
        case Action.READ:
            return conversion.read(replica, task.type, task.format)
        case Action.WRITE:
            return conversion.write(task.type, task.format, task.text)(replica) or b""
        case Action.APPEND:
            return conversion.append(task.type, conversion.decode(task.text))(replica) or b""
        case other:
            assert_never(other)
