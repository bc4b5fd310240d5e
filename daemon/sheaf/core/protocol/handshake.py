"""HELLO and SPACES: who is there, and which spaces we share (PROTOCOL §5).

HELLO is bound to this very channel by the transcript T of its sealed signalling and to the
direction by the role, so it can neither be replayed, reflected nor carried over from a channel
with somebody else (unknown key-share, RFC 8844). SPACES shows, per space, an HMAC under K_psi of
T, role and space: only who has K_psi recognises it, and only in this session.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DeviceId, SpaceId
from sheaf.core.base.limits import FRAME_BYTES_MAX
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.hashing import domain_bytes
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, verify
from sheaf.core.protocol.messages import SPACES_MAX, TAG_BYTES, Hello
from sheaf.core.protocol.mux import WINDOW_BYTES

VERSIONS: Final = (1,)
OFFERER: Final = 0
ANSWERER: Final = 1
TAGS_MIN: Final = 4

LIMITS: Final = {0: FRAME_BYTES_MAX, **{int(kind): size for kind, size in WINDOW_BYTES.items()}}


class Incompatible(ProtocolViolation):
    """An honest peer that we cannot talk to, or must not: not its fault, and no use trying again."""


def make_hello(*, role: int, device: DeviceKeys, certificate: DeviceCertificate, transcript: bytes) -> Hello:
    """My HELLO for the channel with this transcript (bytes, 32)."""
    signature = device.sign(_message(role, transcript))
    return Hello(VERSIONS, certificate.raw, role, transcript, signature, LIMITS)


def check_hello(
    hello: Hello, *, my_role: int, my_device: DeviceId, transcript: bytes, expected: DeviceId | None
) -> DeviceCertificate:
    """The peer's certificate, when its HELLO holds.

    Raises:
        Incompatible: no common version, or it is my own device (a cloned machine).
        ProtocolViolation: anything that an honest peer would not send.
    """
    if not set(hello.versions) & set(VERSIONS):
        raise Incompatible("the other side runs a version of Sheaf that this one cannot talk to")
    if hello.role == my_role or hello.transcript != transcript:
        raise ProtocolViolation("HELLO belongs to another channel")
    certificate = DeviceCertificate.decode(hello.certificate)
    if not verify(certificate.device, _message(hello.role, transcript), hello.signature):
        raise ProtocolViolation("HELLO is not signed by its device")
    if certificate.device == my_device:
        raise Incompatible(
            "the other side has this very device's identity: one of the two is a copy "
            "(a cloned machine or a restored backup) and needs a new identity"
        )
    if expected is not None and certificate.device != expected:
        raise ProtocolViolation("another device answered than the one expected")
    if any(hello.limits.get(name, 0) < size for name, size in LIMITS.items()):
        raise Incompatible("the other side's limits are below this version's")
    return certificate


def _message(role: int, transcript: bytes) -> bytes:
    return domain_bytes("hello", bytes((role,)), transcript)


def space_tag(psi_key: bytes, transcript: bytes, role: int, space_id: SpaceId) -> bytes:
    """How the side with `role` shows in this session that it has the space, 16 bytes."""
    message = domain_bytes("spaces", transcript, bytes((role,)), space_id)
    return hmac.digest(psi_key, message, "sha256")[:TAG_BYTES]


def pad_and_shuffle(tags: Iterable[bytes], entropy: Entropy) -> tuple[bytes, ...]:
    """Hide how many tags there are (up to a power of two) and their order. Excess tags are cut."""
    padded = list(tags)[:SPACES_MAX]
    size = TAGS_MIN
    while size < len(padded):
        size *= 2
    padded += [entropy(TAG_BYTES) for _ in range(size - len(padded))]
    # Sorting by the tags would do (they are pseudorandom); sorting by fresh chance says so plainly.
    keys = entropy(8 * size)
    order = sorted(range(size), key=lambda index: keys[8 * index : 8 * index + 8])
    return tuple(padded[index] for index in order)
