"""Golden vectors of the frames of relays and LAN listeners: what `relay.json` holds (PROTOCOL §7).

`python -m tests.vectors.relay` writes the file again; do that only for a change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire import relay_frames as rf
from sheaf.core.wire import relay_requests as rr
from sheaf.core.wire.relay_words import ErrorCode, RefusalCode

FILE = Path(__file__).with_name("relay.json")

RIDS = (RendezvousId(bytes(range(16))), RendezvousId(b"r" * 16))
BOX, TOKEN, LIFE = b"m" * 16, b"t" * 32, b"lifetime"
FRAMES: tuple[rf.Frame, ...] = (
    rf.Welcome(1, True, 524_288, 67_108_864, 512, 7412),
    rf.Auth(b"operator"),
    rf.Accepted(),
    rf.Error(ErrorCode.GOING_AWAY),
    rf.Refused(300, RefusalCode.CHANGED),
    rf.Ping(),
    rf.Pong(),
    rf.Sub(RIDS),
    rf.Unsub(RIDS[:1]),
    rf.Send(RIDS[0], b"sealed"),
    rf.Deliver(RIDS[0], b"sealed"),
    rf.Sent(RIDS[0]),
    rf.Nobody(RIDS[1]),
    rf.TunnelJoin(b"k" * 16),
    rf.TunnelJoined(),
    rf.TunnelElsewhere("wss://b.relay.example"),
    rr.NameplateAllocate(1),
    rr.NameplateHeld(1, 7),
    rr.NameplateClaim(2, 7),
    rr.NameplateSay(7, b"pake"),
    rr.NameplateHeard(7, b"pake"),
    rr.NameplateRelease(7),
    rr.NameplateClosed(7, RefusalCode.CROWDED),
    rr.MailboxPut(3, BOX, TOKEN, b"item"),
    rr.MailboxStored(3, 2**40, LIFE),
    rr.MailboxGet(4, BOX, TOKEN, 17, 65_536),
    rr.MailboxItems(4, LIFE, 19, ((18, b"item"), (19, b""))),
    rr.MailboxWatch(5, BOX, TOKEN),
    rr.MailboxNews(BOX, LIFE, 20),
    rr.MailboxUnwatch(BOX),
    rr.MailboxCompact(6, BOX, TOKEN, 20, b"merged"),
    rr.MailboxStatRequest(7, BOX, TOKEN),
    rr.MailboxStatus(7, LIFE, 2, 4, 18, 20, 3600),
)


def build() -> dict[str, str]:
    """What today's code makes, by the frame's name."""
    return {type(frame).__name__: rf.encode_frame(frame).hex() for frame in FRAMES}


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=2) + "\n")
