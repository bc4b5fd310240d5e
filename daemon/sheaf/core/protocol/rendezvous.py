"""mDNS tags: how members recognise each other's announcements and strangers do not (PROTOCOL §6).

A tag is 6 bytes, HMAC-SHA-256(K, nonce ‖ what) cut short, with the announcement's fresh
12-byte nonce; so the same device looks different after each start. Knows no addresses.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from sheaf.core.base.ids import DeviceId
from sheaf.core.crypto.hashing import domain_bytes

TAG_BYTES: Final = 6
NONCE_BYTES: Final = 12


def device_tag(mdns_key: bytes, nonce: bytes, device_id: DeviceId) -> bytes:
    """The tag of one device in one space and epoch.

    Args:
        mdns_key: bytes, 32, `SpaceKeys.mdns_key` of the epoch.
        nonce: bytes, 12, from the announcement.
    """
    return _tag(mdns_key, domain_bytes("mdns device", nonce, device_id))


def invite_tag(mdns_key: bytes, nonce: bytes) -> bytes:
    """The tag of an open invitation; `mdns_key` is `InviteKeys.mdns_key`."""
    return _tag(mdns_key, domain_bytes("mdns invitation", nonce))


def _tag(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()[:TAG_BYTES]
