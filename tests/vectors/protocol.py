"""Golden vectors of tickets, signalling, session messages and tags: what `protocol.json` holds.

`python -m tests.vectors.protocol` writes the file again; do that only for a change of the protocol.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sheaf.core.base.ids import DeviceId, DocId, LogId, OpId, SpaceId, UserId
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.protocol import messages as ms
from sheaf.core.protocol.handshake import make_hello, space_tag
from sheaf.core.protocol.mailbox_item import MailboxBatch, seal_item
from sheaf.core.protocol.message_codec import encode_message
from sheaf.core.protocol.pairing import InviteKeys, JoinRequest
from sheaf.core.protocol.receipt import Receipt, Seen, sign_receipt
from sheaf.core.protocol.rendezvous import device_tag, invite_tag
from sheaf.core.protocol.signaling import (
    CandidateWire,
    SignalBody,
    SignalKind,
    TunnelWire,
    WebRtcWire,
    answer_rendezvous,
    offer_hash,
    transcript,
)
from sheaf.core.protocol.version_vector import version_digest
from sheaf.core.space.run import Run
from sheaf.core.wire.frames import Stream, encode_frame
from sheaf.core.wire.ticket import Ticket

FILE = Path(__file__).with_name("protocol.json")
Json = dict[str, Any]

USER = UserKeys(b"u" * 32)
DEVICE = DeviceKeys(b"d" * 32, b"k" * 32)
PEER = DeviceKeys(b"p" * 32, b"q" * 32)
CERTIFICATE = DeviceCertificate.issue(USER, DEVICE, name="laptop", user_name="Ada", created_ms=1)
PEER_CERTIFICATE = DeviceCertificate.issue(USER, PEER, name="desk", user_name="Ada", created_ms=2)
SPACE = SpaceId(bytes(range(32)))
LOGS = (LogId(b"a" * 16), LogId(b"b" * 16))
SECRET, NONCE, KEY, T = bytes(range(16)), bytes(range(12)), b"K" * 32, b"T" * 32
VERSION = {LOGS[0]: 3, LOGS[1]: 300}


def build() -> Json:
    """What today's code makes."""
    return {
        "ticket": _ticket(),
        "invite_keys": _invite(),
        "signalling": _signalling(),
        "mailbox": _mailbox(),
        "tags": {
            "mdns_device": device_tag(KEY, NONCE, DEVICE.device_id).hex(),
            "mdns_invite": invite_tag(KEY, NONCE).hex(),
            "spaces_offerer": space_tag(KEY, T, 0, SPACE).hex(),
            "spaces_answerer": space_tag(KEY, T, 1, SPACE).hex(),
        },
        "frames": {
            "live": encode_frame(24, Stream.LIVE, b"payload").hex(),
            "fragment": encode_frame(24, Stream.CATCH_UP, bytes(512), has_more=True).hex(),
        },
        "messages": {
            type(message).__name__: encode_message(message).payload.hex() for message in _messages()
        },
    }


def _ticket() -> Json:
    ticket = Ticket(
        space_id=SPACE,
        secret=SECRET,
        issuer=UserId(USER.user_id),
        name_hint="Notes",
        expires_ms=1_800_000_000_000,
    )
    full = replace(ticket, relay_urls=("wss://relay.example",), hosts=("192.168.1.4:7412", "[fe80::1]:7412"))
    return {"plain": ticket.encode(), "full": full.encode()}


def _invite() -> Json:
    keys = InviteKeys(SECRET)
    request = JoinRequest.make(keys, space_id=SPACE, certificate=CERTIFICATE, transcript=T)
    return {
        "secret": SECRET.hex(),
        "public": keys.public.hex(),
        "kem_public": keys.kem_public.hex(),
        "rendezvous_id": keys.rendezvous_id.hex(),
        "mdns_key": keys.mdns_key.hex(),
        "join_request": request.encode().hex(),
    }


def _signalling() -> Json:
    candidate = CandidateWire("1", 1, "udp", 2130706431, "192.168.1.4", 51234, "host")
    offer = SignalBody(
        kind=SignalKind.OFFER,
        sender=CERTIFICATE,
        to=DeviceId(PEER.device_id),
        session_id=b"s" * 16,
        created_ms=1_700_000_000_000,
        webrtc=WebRtcWire("ufra", "p" * 22, "actpass", 5000, 262144, b"f" * 32, (candidate,)),
        tunnel=TunnelWire(b"t" * 32, bytes(16)),
    )
    answer = replace(
        offer,
        kind=SignalKind.ANSWER,
        sender=PEER_CERTIFICATE,
        to=DeviceId(DEVICE.device_id),
        offer_hash=offer_hash(offer.encode()),
    )
    poke = replace(offer, kind=SignalKind.POKE, webrtc=None)
    return {
        "poke": poke.encode().hex(),
        "bye to one of two with one identity": encode_message(ms.Bye(ms.CLONED)).payload.hex(),
        "offer": offer.encode().hex(),
        "answer": answer.encode().hex(),
        "offer_hash": offer_hash(offer.encode()).hex(),
        "transcript": transcript(offer.encode(), answer.encode()).hex(),
        "answer_rendezvous": answer_rendezvous(offer.session_id).hex(),
    }


def _receipt() -> Receipt:
    return sign_receipt(
        DEVICE,
        space_id=SPACE,
        counter=1_700_000_000_000,
        is_full=True,
        made_ms=1_700_000_000_001,
        heads=(OpId(b"1" * 32),),
        holds=VERSION,
        seen={DocId(bytes(16)): Seen(1_700_000_000_000, {LOGS[0]: 2})},
    )


def _mailbox() -> Json:
    keys = SpaceKeys(b"E" * 32, SPACE)
    run = Run(LOGS[0], 1, b"genesis", (b"first", b"second"))
    batch = MailboxBatch(ops=(b"op one",), runs=(run,), receipts=(_receipt().raw,))
    return {
        "epoch_secret": (b"E" * 32).hex(),
        "receipt": _receipt().raw.hex(),
        "item": seal_item(batch, keys).hex(),
    }


def _messages() -> list[ms.AnyMessage]:
    ops = (OpId(b"1" * 32), OpId(b"2" * 32))
    run = Run(LOGS[0], 1, b"genesis", (b"first", b"second"))
    request = JoinRequest.make(InviteKeys(SECRET), space_id=SPACE, certificate=CERTIFICATE, transcript=T)
    return [
        make_hello(role=0, device=DEVICE, certificate=CERTIFICATE, transcript=T),
        ms.Spaces((b"t" * 16, b"u" * 16)),
        ms.Ping(7),
        ms.Pong(7),
        ms.Bye("good night"),
        ms.Err(1, "a message out of turn"),
        ms.Open(3, b"t" * 16),
        ms.Close(3),
        ms.CtlHeads(3, ops, is_member=True),
        ms.CtlWant(3, ops),
        ms.CtlOps(3, (b"op one", b"op two")),
        ms.VersionIs(3, version_digest(VERSION), {LOGS[0]: 3}, version_digest({})),
        ms.VersionWant(3),
        ms.Plan(3, 302, 0),
        ms.RunOf(3, run),
        ms.RunWant(3, {LOGS[1]: 12}),
        ms.Done(3),
        ms.Ack(3, VERSION),
        ms.Agree(3, version_digest(VERSION), is_reply=False),
        ms.Eph(3, DocId(bytes(16)), 5, b"cursor"),
        ms.ReceiptHeads(3, {PEER.device_id: 4, DEVICE.device_id: 9}),
        ms.Receipts(3, (_receipt().raw,)),
        ms.Join(request.encode()),
        ms.JoinAnswer(SPACE, True, (b"op one",), False, ""),
    ]


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=1, sort_keys=True) + "\n")
