"""The envelope: one signed, encrypted entry of a log, fixed binary layout (PROTOCOL §3).

    flags u8 ‖ [auth: n u8, n·32] ‖ [epoch 16] ‖ deps: uvar n, n·(log 16, seq uvar, env_id[:8])
    ‖ nonce salt 4 ‖ ct: uvar size, bytes ‖ sig 64

Position is signed but not sent: `"ENV1" ‖ space_id ‖ log_id ‖ seq u64 ‖ prev env_id` stands
before the rest in the signature and the id. The id covers the signature too, so a chain of
ids fixes every byte of what came before. The AEAD context is the same without the previous
id, so that one stored envelope can be opened alone (decision 0023).
Knows keys only as arguments; who may write is not its matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import EpochId, LogId, OpId, SpaceId
from sheaf.core.base.limits import AUTH_HEADS_MAX, DEPS_MAX, ENVELOPE_BYTES_MAX
from sheaf.core.crypto.hashing import domain
from sheaf.core.crypto.identity import SIGNATURE_BYTES, DeviceKeys
from sheaf.core.crypto.sealing import TAG_BYTES
from sheaf.core.wire.varint import decode_uvar, encode_uvar

FLAG_AUTH = 1
FLAG_EPOCH = 2
FLAG_PADDED = 4
SALT_BYTES = 4
DEP_CHECK_BYTES = 8
ENVELOPE_BYTES_MIN = 1 + 1 + SALT_BYTES + 1 + TAG_BYTES + SIGNATURE_BYTES

_ID_DOMAIN = domain("envelope")
_NO_DEPS: tuple[Dep, ...] = ()


class Dep(NamedTuple):
    """The author had applied `log_id` up to and including `seq`, whose env_id starts with `check`."""

    log_id: LogId
    seq: int
    check: bytes


class Envelope(NamedTuple):
    """A parsed envelope. `ct_start` and `ct_end` are offsets in `raw`."""

    raw: bytes
    auth: tuple[OpId, ...] | None
    epoch: EpochId | None
    deps: tuple[Dep, ...]
    salt: bytes
    ct_start: int
    ct_end: int


def position_prefix(space_id: SpaceId, log_id: LogId) -> bytes:
    """What every signed position in this log starts with; seq u64 and prev id follow."""
    return b"ENV1" + space_id + log_id


def envelope_id(prefix: bytes, seq: int, previous: bytes, raw: bytes) -> bytes:
    """The id of an envelope at its position, 32 bytes."""
    return hashlib.sha256(_ID_DOMAIN + prefix + seq.to_bytes(8, "big") + previous + raw).digest()


def signed_bytes(prefix: bytes, seq: int, previous: bytes, raw: bytes) -> bytes:
    """What the author's device signed."""
    return prefix + seq.to_bytes(8, "big") + previous + raw[:-SIGNATURE_BYTES]


def parse_envelope(raw: bytes) -> Envelope:
    """Read the layout; checks shape only.

    Raises:
        WireError: not exactly one envelope.
    """
    size = len(raw)
    if not ENVELOPE_BYTES_MIN <= size <= ENVELOPE_BYTES_MAX:
        raise WireError("envelope of an impossible size")
    flags = raw[0]
    position = 1
    auth: tuple[OpId, ...] | None = None
    epoch: EpochId | None = None
    deps = _NO_DEPS
    if flags:
        auth, epoch, position = _parse_options(raw, flags)
    if raw[position]:
        deps, position = _parse_deps(raw, position)
    else:
        position += 1
    salt_end = position + SALT_BYTES
    length, ct_start = decode_uvar(raw, salt_end)
    ct_end = ct_start + length
    if length < TAG_BYTES or ct_end + SIGNATURE_BYTES != size:
        raise WireError("envelope: ciphertext of a wrong size")
    return Envelope(raw, auth, epoch, deps, raw[position:salt_end], ct_start, ct_end)


def _parse_options(raw: bytes, flags: int) -> tuple[tuple[OpId, ...] | None, EpochId | None, int]:
    if flags > FLAG_AUTH | FLAG_EPOCH | FLAG_PADDED:
        raise WireError("envelope: unknown flags")
    auth: tuple[OpId, ...] | None = None
    epoch: EpochId | None = None
    position = 1
    if flags & FLAG_AUTH:
        count = raw[1]
        position = 2 + 32 * count
        if not 1 <= count <= AUTH_HEADS_MAX or position > len(raw) - SIGNATURE_BYTES:
            raise WireError("envelope: auth heads")
        auth = tuple(OpId(raw[at : at + 32]) for at in range(2, position, 32))
        if any(auth[i] >= auth[i + 1] for i in range(count - 1)):
            raise WireError("envelope: auth heads out of order")
    if flags & FLAG_EPOCH:
        epoch = EpochId(_slice(raw, position, EpochId.SIZE))
        position += EpochId.SIZE
    return auth, epoch, position


def _parse_deps(raw: bytes, position: int) -> tuple[tuple[Dep, ...], int]:
    count, position = decode_uvar(raw, position)
    if not 1 <= count <= DEPS_MAX:
        raise WireError("envelope: too many dependencies")
    deps: list[Dep] = []
    for _ in range(count):
        log_id = LogId(_slice(raw, position, LogId.SIZE))
        seq, position = decode_uvar(raw, position + LogId.SIZE)
        if seq < 1 or (deps and deps[-1].log_id >= log_id):
            raise WireError("envelope: dependencies out of order")
        deps.append(Dep(log_id, seq, _slice(raw, position, DEP_CHECK_BYTES)))
        position += DEP_CHECK_BYTES
    return tuple(deps), position


def _slice(raw: bytes, position: int, size: int) -> bytes:
    if position + size > len(raw) - SIGNATURE_BYTES:
        raise WireError("envelope ends early")
    return raw[position : position + size]


def build_envelope(
    device: DeviceKeys,
    cipher: AESGCM,
    *,
    prefix: bytes,
    seq: int,
    previous: bytes,
    auth: tuple[OpId, ...] | None,
    epoch: EpochId | None,
    deps: Sequence[Dep],
    salt: bytes,
    plaintext: bytes,
) -> bytes:
    """Encrypt and sign. `auth` and `epoch` are None when unchanged in the log; `salt` is 4 random bytes."""
    flags = (FLAG_AUTH if auth is not None else 0) | (FLAG_EPOCH if epoch is not None else 0)
    out = bytearray((flags,))
    if auth is not None:
        out.append(len(auth))
        out += b"".join(auth)
    if epoch is not None:
        out += epoch
    out += encode_uvar(len(deps))
    for dep in sorted(deps):
        out += dep.log_id + encode_uvar(dep.seq) + dep.check
    out += salt + encode_uvar(len(plaintext) + TAG_BYTES)
    position = prefix + seq.to_bytes(8, "big")
    out += cipher.encrypt(salt + seq.to_bytes(8, "big"), plaintext, position + out)
    out += device.sign(position + previous + out)
    return bytes(out)


def open_envelope(envelope: Envelope, cipher: AESGCM, *, prefix: bytes, seq: int) -> bytes:
    """The plaintext of a verified envelope.

    Raises:
        ProtocolViolation: its author encrypted it under another key, or not at all.
    """
    raw = envelope.raw
    number = seq.to_bytes(8, "big")
    start = envelope.ct_start
    try:
        return cipher.decrypt(
            envelope.salt + number, raw[start : envelope.ct_end], prefix + number + raw[:start]
        )
    except InvalidTag as error:
        raise ProtocolViolation("envelope does not open under its epoch") from error
