"""What people are told about relays and their mailboxes: whole sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sheaf.node.mailbox_memory import Trouble


@dataclass(frozen=True, slots=True)
class RelayWarning:
    """What people should know: `kind` is 'lost', 'rolled_back' or 'full'; `detail` a whole sentence."""

    kind: str
    detail: str


FULL: Final = (
    "The relay {url} has no more room for this space. What you write is saved here and reaches the others "
    "when you are online at the same time."
)
WHAT_HAPPENED: Final = {
    Trouble.LOST: (
        "The relay {url} lost what it kept for this space. Nothing is lost here: what others still need "
        "is sent to it again."
    ),
    Trouble.ROLLED_BACK: (
        "The relay {url} went back to an older copy of what it kept for this space. Nothing is lost "
        "here: what others still need is sent to it again."
    ),
}
