"""A space's preferences: name, relays, retention; sealed in prefs ops (PROTOCOL §4).

Plaintext CBOR {0: name, 1: [relay URL…], 2: retention_days?}; nonce (12) ‖ AES-256-GCM
under the epoch's prefs key, context = epoch_id. Knows no ops around it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import EpochId
from sheaf.core.base.limits import KIB
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.crypto.sealing import NONCE_BYTES, decrypt, encrypt
from sheaf.core.space.op_bodies import Prefs
from sheaf.core.wire import cbor
from sheaf.core.wire.shape import Fields, is_printable

SPACE_NAME_BYTES_MAX = 256
RELAYS_MAX = 8
RELAY_URL_BYTES_MAX = 512


@dataclass(frozen=True, slots=True)
class Preferences:
    """What owners set for everybody. `retention_days` None = keep everything."""

    name: str = ""
    relay_urls: tuple[str, ...] = ()
    retention_days: int | None = None


def seal_preferences(preferences: Preferences, epoch_id: EpochId, keys: SpaceKeys, entropy: Entropy) -> Prefs:
    """The body of a prefs op."""
    fields: dict[int, object] = {0: preferences.name, 1: preferences.relay_urls}
    if preferences.retention_days is not None:
        fields[2] = preferences.retention_days
    nonce = entropy(NONCE_BYTES)
    return Prefs(epoch_id, nonce + encrypt(keys.prefs_key, nonce, cbor.encode(fields), epoch_id))


def open_preferences(sealed: Prefs, keys: SpaceKeys) -> Preferences:
    """Read a prefs op's body.

    Raises:
        ProtocolViolation: another key, or not preferences.
    """
    nonce, ciphertext = sealed.sealed[:NONCE_BYTES], sealed.sealed[NONCE_BYTES:]
    if len(nonce) < NONCE_BYTES:
        raise WireError("preferences cut short")
    plaintext = decrypt(keys.prefs_key, nonce, ciphertext, sealed.epoch_id)
    fields = Fields(cbor.decode(plaintext, bytes_max=16 * KIB), "preferences")
    name = fields.text(0, bytes_max=SPACE_NAME_BYTES_MAX)
    relays = []
    for url in fields.array(1, maximum=RELAYS_MAX):
        if not isinstance(url, str) or len(url) > RELAY_URL_BYTES_MAX or not is_printable(url):
            raise WireError("preferences: relay URL")
        relays.append(url)
    retention_days = fields.uint_or_none(2)
    fields.done()
    return Preferences(name, tuple(relays), retention_days)
