"""The first, unnumbered entry of a log: whose it is (PROTOCOL §3).

Signed CBOR {0:1, 1:space, 2:random16, 3:device certificate, 4:auth heads, 5:created_ms} ‖ sig_D.
A log belongs to (space, device, process incarnation): a new one is made after every start,
so a restored backup can never continue an old log (PROTOCOL §3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import LogId, OpId, SpaceId
from sheaf.core.base.limits import AUTH_HEADS_MAX
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.hashing import domain_bytes, domain_hash
from sheaf.core.crypto.identity import (
    CERTIFICATE_BYTES_MAX,
    SIGNATURE_BYTES,
    DeviceCertificate,
    DeviceKeys,
    verify,
)
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields

GENESIS_BYTES_MAX = 2048
_VERSION = 1
_SIGN = "log genesis"


@dataclass(frozen=True, slots=True)
class LogGenesis:
    """A checked log genesis. `anchor` (32 bytes) is the `previous` of envelope 1."""

    log_id: LogId
    anchor: bytes
    space_id: SpaceId
    certificate: DeviceCertificate
    auth: tuple[OpId, ...]
    created_ms: int
    raw: bytes


def make_log_genesis(
    device: DeviceKeys,
    certificate: DeviceCertificate,
    *,
    space_id: SpaceId,
    auth: Sequence[OpId],
    created_ms: int,
    entropy: Entropy,
) -> LogGenesis:
    """Begin a log."""
    signed = cbor.encode(
        {
            0: _VERSION,
            1: space_id,
            2: entropy(16),
            3: certificate.raw,
            4: sorted(auth),
            5: created_ms,
        }
    )
    return decode_log_genesis(signed + device.sign(domain_bytes(_SIGN, signed)), is_trusted=True)


def decode_log_genesis(raw: bytes, *, is_trusted: bool = False) -> LogGenesis:
    """Read a log genesis and verify it (unless it comes from our own store).

    Raises:
        WireError: not a log genesis.
        ProtocolViolation: a signature does not hold.
    """
    if not SIGNATURE_BYTES < len(raw) <= GENESIS_BYTES_MAX:
        raise WireError("log genesis of an impossible size")
    raw = bytes(raw)
    signed = raw[:-SIGNATURE_BYTES]
    fields = Fields(cbor.decode(signed, bytes_max=GENESIS_BYTES_MAX), "log genesis")
    if fields.uint(0) != _VERSION:
        raise WireError("log genesis of another version")
    space_id = fields.id(1, SpaceId)
    fields.octets(2, size=16)
    certificate_raw = fields.octets(3, maximum=CERTIFICATE_BYTES_MAX)
    decode = DeviceCertificate.decode_trusted if is_trusted else DeviceCertificate.decode
    certificate = decode(certificate_raw)
    auth = fields.id_list(4, OpId, maximum=AUTH_HEADS_MAX, is_sorted=True)
    created_ms = fields.uint(5)
    fields.done()
    if not auth:
        raise WireError("log genesis without control heads")
    if not is_trusted and not verify(certificate.device, domain_bytes(_SIGN, signed), raw[-SIGNATURE_BYTES:]):
        raise ProtocolViolation("log genesis not signed by its device")
    anchor = domain_hash("log", raw)
    return LogGenesis(LogId(anchor[: LogId.SIZE]), anchor, space_id, certificate, auth, created_ms, raw)
