"""What the daemon and a worker process say to each other over the worker's standard streams.

A request is a line of JSON that says how long the two byte strings after it are; an answer is a
kind, a length and that many bytes. Both ends are this very program, so there are no versions.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from sheaf.content_work.forms import ContentFormat, DocType
from sheaf.content_work.task import Action, ContentTask

HEAD: Final = struct.Struct(">BQ")
"""Of an answer: its kind and the length of what follows."""
_LINE_BYTES_MAX: Final = 1000


class Answer(IntEnum):
    """How a task ended."""

    DONE = 0
    REFUSED = 1
    """The caller's fault; the text says what is wrong."""
    TOO_BIG = 2
    """There was not enough memory for it."""
    FAILED = 3
    """A defect; the text says where."""


def encode_request(task: ContentTask) -> bytes:
    """The head of a request; `state` and `text` follow it."""
    fields = {
        "action": task.action,
        "type": task.type,
        "format": task.format,
        "client_id": task.client_id,
        "state": len(task.state),
        "text": len(task.text),
    }
    return json.dumps(fields).encode() + b"\n"


def read_request(line: bytes, read: Callable[[int], bytes]) -> ContentTask:
    """The task a line begins; `read` gives the bytes after it."""
    fields = json.loads(line[:_LINE_BYTES_MAX])
    return ContentTask(
        action=Action(fields["action"]),
        type=DocType(fields["type"]),
        format=ContentFormat(fields["format"]),
        client_id=fields["client_id"],
        state=read(fields["state"]),
        text=read(fields["text"]),
    )
