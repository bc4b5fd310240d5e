"""Golden vectors of the wire: fixed inputs, the bytes they must give (PROTOCOL §1–4).

`python -m tests.vectors.generate` rewrites the JSON files next to this one; the test
`tests/unit/core/test_vectors.py` recomputes them and fails on any difference. A change of
a vector is a change of the protocol. Byte strings are lower-case hex. HPKE is randomised:
a sealed box is kept from the first run and must still open.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sheaf.core.base.ids import DocId, EpochId, LogId, OpId, SpaceId
from sheaf.core.crypto.hashing import domain_bytes, domain_hash, hkdf
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.core.crypto.key_schedule import SpaceKeys, epoch_commit
from sheaf.core.crypto.sealing import seal_box
from sheaf.core.space.control_op import admission_statement, encode_op, op_id_of, space_id_of
from sheaf.core.space.envelope import Dep, build_envelope, envelope_id, position_prefix
from sheaf.core.space.key_ring import epoch_box_info, keybox_info, wrap_secret
from sheaf.core.space.log_genesis import make_log_genesis
from sheaf.core.space.op_bodies import Admit, Body, Epoch, Genesis, Invite, InviteKind, Keybox, Remove
from sheaf.core.space.payload import Payload, PayloadItem, PayloadKind, encode_payload
from sheaf.core.space.preferences import Preferences, seal_preferences
from sheaf.core.space.roles import Role
from sheaf.core.space.run import Run
from sheaf.core.wire import cbor
from sheaf.core.wire.varint import encode_uvar

FOLDER = Path(__file__).parent
Json = dict[str, Any]


def fixed(label: str, size: int = 32) -> bytes:
    """Bytes that follow from a label."""
    return hashlib.shake_256(b"sheaf vectors " + label.encode()).digest(size)


USER = UserKeys(fixed("user"))
DEVICE = DeviceKeys(fixed("sign"), fixed("kem"))
CERTIFICATE = DeviceCertificate.issue(
    USER, DEVICE, name="laptop", user_name="Ada", created_ms=1_700_000_000_000
)
SECRET = fixed("epoch secret")


def wire() -> Json:
    """Encodings: values as JSON (bytes as {"hex": …}), and inputs that must be refused."""
    values: list[tuple[Any, Any]] = [
        (number, number)
        for number in (0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1, -1, -25)
    ]
    values += [(None, None), (True, True), (False, False), ("", ""), ("Grüße 𝄞", "Grüße 𝄞")]
    values += [
        (b"", {"hex": ""}),
        (bytes(24), {"hex": "00" * 24}),
        ([], []),
        ([1, [2, b"\3"]], [1, [2, {"hex": "03"}]]),
    ]
    maps = [({0: 1, 23: "x", 7: [b"\1"]}, [[0, 1], [7, [{"hex": "01"}]], [23, "x"]])]
    refused = [
        *("1800", "190001", "1a00000001", "1b0000000000000001", "1b0020000000000000", "3b001fffffffffffff"),
        *(
            "5801ff",
            "0000",
            "a201020103",
            "a202010101",
            "a1181801",
            "a12001",
            "a1616101",
            "5f4101ff",
            "9f01ff",
        ),
        *(
            "bf0101ff",
            "f97e00",
            "fb3ff0000000000000",
            "c001",
            "d81c80",
            "f7",
            "e0",
            "61ff",
            "818181818181818180",
        ),
    ]
    return {
        "cbor": [{"value": shown, "encoded": cbor.encode(value).hex()} for value, shown in values],
        "cbor_maps": [{"pairs": shown, "encoded": cbor.encode(value).hex()} for value, shown in maps],
        "cbor_refused": refused,
        "uvar": [
            {"value": n, "encoded": encode_uvar(n).hex()}
            for n in (0, 1, 127, 128, 16383, 16384, 2**32, 2**53 - 1)
        ],
        "uvar_refused": ["", "80", "8000", "ffffffffffffffff01", "808080808080808001"],
    }


def crypto() -> Json:
    """Hashes, derivation, identities, one epoch's keys."""
    space, log = SpaceId(fixed("space")), LogId(fixed("log", 16))
    keys = SpaceKeys(SECRET, space)
    return {
        "domain_bytes": {
            "purpose": "test",
            "fields": ["6162", ""],
            "bytes": domain_bytes("test", b"ab", b"").hex(),
        },
        "domain_hash": domain_hash("test", b"ab", b"").hex(),
        "hkdf": {
            "ikm": "0b" * 22,
            "salt": "00",
            "info": "f0",
            "bytes": hkdf(b"\x0b" * 22, b"\0", b"\xf0", 42).hex(),
        },
        "user_seed": fixed("user").hex(),
        "device_keys": DEVICE.to_bytes().hex(),
        "user_id": {"hex": USER.user_id.hex(), "text": USER.user_id.text},
        "device_id": {"hex": DEVICE.device_id.hex(), "text": DEVICE.device_id.text},
        "device_kem": DEVICE.kem_public.hex(),
        "certificate": CERTIFICATE.raw.hex(),
        "certificate_digest": CERTIFICATE.digest.hex(),
        "epoch": {
            "space_id": space.hex(),
            "secret": SECRET.hex(),
            "commit": epoch_commit(space, SECRET).hex(),
            "log_id": log.hex(),
            "log_key": keys.log_key(log).hex(),
            "rendezvous_id": keys.rendezvous_id(DEVICE.device_id).hex(),
            "mdns_key": keys.mdns_key.hex(),
            "psi_key": keys.psi_key.hex(),
            "wrap_key": keys.wrap_key.hex(),
            "prefs_key": keys.prefs_key.hex(),
            "mailbox_key": keys.mailbox_key.hex(),
            "mailbox_id": keys.mailbox_id.hex(),
            "mailbox_token": keys.mailbox_token.hex(),
            "blob_key": keys.blob_key(fixed("blob")).hex(),
            "blob_hash": fixed("blob").hex(),
            "wrapped_parent": {
                "epoch_id": fixed("parent", 16).hex(),
                "secret": fixed("parent secret").hex(),
                "sealed": wrap_secret(keys, EpochId(fixed("parent", 16)), fixed("parent secret")).hex(),
            },
        },
    }


def sealed_box(earlier: Json | None) -> Json:
    """Boxes sealed once; `earlier` is what the file holds."""
    if earlier is not None:
        return earlier
    space = SpaceId(fixed("space"))
    infos = {
        "epoch box": epoch_box_info(space, epoch_commit(space, SECRET), DEVICE.device_id),
        "keybox": keybox_info(space, EpochId(fixed("epoch", 16)), DEVICE.device_id),
    }
    return {
        "device_keys": DEVICE.to_bytes().hex(),
        "plaintext": SECRET.hex(),
        "boxes": [
            {"what": what, "info": info.hex(), "sealed": seal_box(DEVICE.kem_public, SECRET, info).hex()}
            for what, info in infos.items()
        ],
    }


def space() -> Json:
    """A small space: control ops, a log, three envelopes, a run."""
    genesis = encode_op(
        DEVICE, Genesis(CERTIFICATE, fixed("random", 16)), space_id=None, parents=(), admission=None, hlc_ms=1
    )
    space_id, root = space_id_of(genesis), op_id_of(genesis)
    ops: list[Json] = [{"what": "genesis", "raw": genesis.hex(), "op_id": root.hex()}]
    head = root

    def add(what: str, body: Body) -> OpId:
        nonlocal head
        raw = encode_op(DEVICE, body, space_id=space_id, parents=(head,), admission=root, hlc_ms=len(ops) + 1)
        head = op_id_of(raw)
        ops.append({"what": what, "raw": raw.hex(), "op_id": head.hex()})
        return head

    box = (bytes(DEVICE.device_id[:8]), fixed("box", 80))
    epoch_op = add("epoch", Epoch(1, epoch_commit(space_id, SECRET), (box,), ()))
    epoch_id = EpochId(epoch_op[:16])
    keys = SpaceKeys(SECRET, space_id)
    add("prefs", seal_preferences(Preferences("Garden"), epoch_id, keys, lambda size: fixed("nonce", size)))
    invite_key = UserKeys(fixed("invite"))
    invite = add("invite", Invite(invite_key.user_id, InviteKind.MEMBER, Role.EDITOR, 2, 1_800_000_000_000))
    guest_user, guest = UserKeys(fixed("guest")), DeviceKeys(fixed("guest sign"), fixed("guest kem"))
    certificate = DeviceCertificate.issue(guest_user, guest, name="phone", user_name="Grace", created_ms=2)
    statement = admission_statement(space_id, certificate)
    proof = invite_key.sign(statement)
    admit = add("admit", Admit(guest_user.user_id, Role.EDITOR, (certificate,), invite, proof))
    add("keybox", Keybox(epoch_id, guest.device_id, fixed("keybox", 80)))
    auth = (head,)
    log = make_log_genesis(
        DEVICE,
        CERTIFICATE,
        space_id=space_id,
        auth=auth,
        created_ms=3,
        entropy=lambda size: fixed("log", size),
    )
    add("remove", Remove(admit, ((log.log_id, 3),)))
    prefix, previous, envelopes = position_prefix(space_id, log.log_id), log.anchor, []
    contents: list[tuple[tuple[OpId, ...] | None, list[Dep], Payload]] = [
        (None, [], Payload(10, (PayloadItem(DocId(bytes(16)), PayloadKind.UPDATE, b"first"),))),
        (None, [Dep(LogId(fixed("other", 16)), 300, fixed("dep", 8))], Payload(11, (), None)),
        (
            (head,),
            [],
            Payload(12, (PayloadItem(DocId(fixed("doc", 16)), PayloadKind.UPDATE, b"third"),), "guest"),
        ),
    ]
    for seq, (new_auth, deps, payload) in enumerate(contents, 1):
        plaintext = encode_payload(payload)
        raw = build_envelope(
            DEVICE,
            keys.log_cipher(log.log_id),
            prefix=prefix,
            seq=seq,
            previous=previous,
            auth=new_auth,
            epoch=epoch_id if seq == 1 else None,
            deps=deps,
            salt=fixed(f"salt {seq}", 4),
            plaintext=plaintext,
        )
        previous = envelope_id(prefix, seq, previous, raw)
        envelopes.append(
            {"seq": seq, "raw": raw.hex(), "env_id": previous.hex(), "plaintext": plaintext.hex()}
        )
    raws = tuple(bytes.fromhex(envelope["raw"]) for envelope in envelopes)
    return {
        "space_id": {"hex": space_id.hex(), "text": space_id.text},
        "epoch_secret": SECRET.hex(),
        "epoch_id": epoch_id.hex(),
        "admission_statement": statement.hex(),
        "ops": ops,
        "log": {"log_id": log.log_id.hex(), "anchor": log.anchor.hex(), "genesis": log.raw.hex()},
        "envelopes": envelopes,
        "run": Run(log.log_id, 1, log.raw, raws).encode().hex(),
    }


def build() -> dict[str, Json]:
    """All vectors by file name."""
    boxes = FOLDER / "sealed_box.json"
    earlier = json.loads(boxes.read_text()) if boxes.exists() else None
    return {
        "wire.json": wire(),
        "crypto.json": crypto(),
        "sealed_box.json": sealed_box(earlier),
        "space.json": space(),
    }


def main() -> None:
    """Rewrite the files."""
    for name, content in build().items():
        (FOLDER / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
