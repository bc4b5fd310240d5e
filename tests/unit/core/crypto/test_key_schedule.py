"""Every key of an epoch is its own (PROTOCOL §2)."""

from __future__ import annotations

from sheaf.core.base.ids import DeviceId, LogId, SpaceId
from sheaf.core.crypto.key_schedule import SpaceKeys, epoch_commit

SPACE = SpaceId(b"s" * 32)
LOG = LogId(b"l" * 16)
DEVICE = DeviceId(b"d" * 32)


def everything(keys: SpaceKeys) -> list[bytes]:
    return [
        keys.log_key(LOG),
        keys.log_key(LogId(b"m" * 16)),
        keys.rendezvous_id(DEVICE),
        keys.rendezvous_id(DeviceId(b"e" * 32)),
        keys.mdns_key,
        keys.psi_key,
        keys.blob_key(b"h" * 32),
        keys.wrap_key,
        keys.prefs_key,
        keys.mailbox_key,
        keys.mailbox_id,
        keys.mailbox_token,
        epoch_commit(keys.space_id, b"E" * 32),
    ]


def test_no_two_purposes_epochs_or_spaces_share_a_key() -> None:
    keys = everything(SpaceKeys(b"E" * 32, SPACE))
    later = everything(SpaceKeys(b"F" * 32, SPACE))[:-1]
    elsewhere = everything(SpaceKeys(b"E" * 32, SpaceId(b"t" * 32)))
    found = keys + later + elsewhere
    assert len(set(found)) == len(found)


def test_derivation_is_repeatable() -> None:
    assert everything(SpaceKeys(b"E" * 32, SPACE)) == everything(SpaceKeys(b"E" * 32, SPACE))


def test_the_cipher_cache_is_bounded_and_harmless() -> None:
    keys = SpaceKeys(b"E" * 32, SPACE)
    ids = [LogId(n.to_bytes(16, "big")) for n in range(600)]
    sealed = [keys.log_cipher(log).encrypt(bytes(12), b"x", b"") for log in ids]
    assert len(keys._ciphers) <= 256
    assert all(
        keys.log_cipher(log).decrypt(bytes(12), box, b"") == b"x"
        for log, box in zip(ids, sealed, strict=True)
    )


def test_keys_do_not_show_their_secrets() -> None:
    assert b"E" * 32 not in repr(SpaceKeys(b"E" * 32, SPACE)).encode()
