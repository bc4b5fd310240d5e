"""Who this device is: its keys, its owner's key, its certificate and names.

Made on first start; afterwards read back. The database remembers which device it belongs
to: a copied profile (database and key of different devices) is refused (PROTOCOL §10).
"""

from __future__ import annotations

from dataclasses import dataclass

from sheaf.core.base.errors import StorageFailure, UsageError
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys
from sheaf.node.views import ProfileView
from sheaf.ports import Clock, KeyStore, Store, WriteBatch

NAME_CHARACTERS_MAX = 64
_USER_BYTES = 32
_DEVICE_BYTES = 64


@dataclass(slots=True)
class LocalIdentity:
    """The keys and the current certificate; `certificate` is replaced when a name changes."""

    user: UserKeys
    device: DeviceKeys
    certificate: DeviceCertificate

    @property
    def profile(self) -> ProfileView:
        """What people see."""
        return ProfileView(
            user_id=self.user.user_id,
            user_name=self.certificate.user_name,
            device_id=self.device.device_id,
            device_name=self.certificate.name,
        )


async def load_identity(
    *,
    keystore: KeyStore,
    store: Store,
    clock: Clock,
    entropy: Entropy,
    default_user_name: str,
    default_device_name: str,
) -> LocalIdentity:
    """Read this device's identity, or make one on the first start.

    Raises:
        UsageError: the keys are not those of this database.
        StorageFailure: keys or database cannot be read or written.
    """
    user_seed = await _key(keystore, "user", _USER_BYTES)
    device_bytes = await _key(keystore, "device", _DEVICE_BYTES)
    stored_device = await store.setting("device_id")
    if stored_device is None and await store.spaces():
        raise StorageFailure(
            "the database has documents but does not say any more whose it is: that part of it is damaged. "
            "Nothing was changed. Put sheaf.db back from a backup, or move it away and run "
            "`sheaf up --new-database`"
        )
    if stored_device is not None:
        if user_seed is None or device_bytes is None:
            raise UsageError(
                "the keys of this device are missing, but its database is here. Put back the `keys` "
                "folder from a backup, or start with an empty data directory to be a new device"
            )
        device = DeviceKeys.from_bytes(device_bytes)
        if device.device_id != stored_device:
            raise UsageError(
                "this database belongs to another device, not to the keys "
                "next to it. Was a profile copied? Start with an empty data directory to be a new device"
            )
        certificate_raw = await store.setting("certificate")
        if certificate_raw is None:
            raise StorageFailure(
                "the database lacks the certificate of its device: that part of it is damaged. Nothing was "
                "changed. Put sheaf.db back from a backup, or move it away and run `sheaf up --new-database`"
            )
        return LocalIdentity(UserKeys(user_seed), device, DeviceCertificate.decode(certificate_raw))
    user = UserKeys(user_seed) if user_seed is not None else UserKeys.generate(entropy)
    device = DeviceKeys.from_bytes(device_bytes) if device_bytes is not None else DeviceKeys.generate(entropy)
    await keystore.save("user", user.seed)
    await keystore.save("device", device.to_bytes())
    identity = LocalIdentity(
        user,
        device,
        _issue(user, device, clock, clean_name(default_user_name), clean_name(default_device_name)),
    )
    await _save(store, device, identity.certificate)
    return identity


async def _key(keystore: KeyStore, name: str, size: int) -> bytes | None:
    """The secret called `name`, or None; one of another size is no key, and is not replaced."""
    secret = await keystore.load(name)
    if secret is not None and len(secret) != size:
        raise StorageFailure(
            f"the key `{name}` of this device is damaged: it has {len(secret)} bytes instead of {size}. "
            "Nothing was changed. Put the `keys` folder back from a backup, or start with an empty data "
            "directory to be a new device"
        )
    return secret


async def rename(
    identity: LocalIdentity, *, store: Store, clock: Clock, user_name: str | None, device_name: str | None
) -> None:
    """Give the person or the device another name: a new certificate, the same keys.

    Raises:
        UsageError: an empty or overlong name.
    """
    old = identity.certificate
    certificate = _issue(
        identity.user,
        identity.device,
        clock,
        old.user_name if user_name is None else clean_name(user_name),
        old.name if device_name is None else clean_name(device_name),
    )
    await _save(store, identity.device, certificate)
    identity.certificate = certificate


def clean_name(name: str) -> str:
    """A name as it may be shown: printable, one line, 1 … 64 characters. Raises UsageError."""
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if not cleaned:
        raise UsageError("a name needs at least one visible character")
    if len(cleaned) > NAME_CHARACTERS_MAX:
        raise UsageError(f"a name has at most {NAME_CHARACTERS_MAX} characters")
    return cleaned


def _issue(
    user: UserKeys, device: DeviceKeys, clock: Clock, user_name: str, device_name: str
) -> DeviceCertificate:
    return DeviceCertificate.issue(
        user, device, name=device_name, user_name=user_name, created_ms=clock.wall_ms()
    )


async def _save(store: Store, device: DeviceKeys, certificate: DeviceCertificate) -> None:
    settings = {"device_id": bytes(device.device_id), "certificate": certificate.raw}
    await store.commit(WriteBatch(settings=settings))
