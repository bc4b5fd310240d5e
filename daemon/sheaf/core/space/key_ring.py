"""The epoch secrets this device holds, and how it comes by more (PROTOCOL §4).

Secrets come from boxes in epoch ops, from keyboxes, and from epochs already held (each
hands down its parents' secrets). A secret counts only if it matches the epoch's commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import DeviceId, EpochId, SpaceId
from sheaf.core.crypto.hashing import domain_bytes
from sheaf.core.crypto.identity import DeviceKeys
from sheaf.core.crypto.key_schedule import SECRET_BYTES, SpaceKeys, epoch_commit
from sheaf.core.crypto.sealing import NONCE_BYTES, decrypt, encrypt
from sheaf.core.space.membership import EpochInfo, Membership
from sheaf.core.space.op_bodies import BOX_HINT_BYTES


def epoch_box_info(space_id: SpaceId, commit: bytes, device_id: DeviceId) -> bytes:
    """What a box inside an epoch op is bound to (the op's id does not exist yet)."""
    return domain_bytes("epoch box", space_id, commit, device_id)


def keybox_info(space_id: SpaceId, epoch_id: EpochId, device_id: DeviceId) -> bytes:
    """What a keybox is bound to."""
    return domain_bytes("keybox", space_id, epoch_id, device_id)


def wrap_secret(keys: SpaceKeys, epoch_id: EpochId, secret: bytes) -> bytes:
    """A parent epoch's secret under a new epoch, 48 bytes.

    The nonce is the start of the parent's id: the key is used for nothing but one secret
    per parent, so it never repeats with another plaintext.
    """
    return encrypt(keys.wrap_key, epoch_id[:NONCE_BYTES], secret, epoch_id)


class KeyRing:
    """Epoch secrets by epoch; derived keys are made when first asked for."""

    def __init__(self, space_id: SpaceId) -> None:
        self._space_id = space_id
        self._secrets: dict[EpochId, bytes] = {}
        self._keys: dict[EpochId, SpaceKeys] = {}
        self._tried: set[tuple[bytes, bytes]] = set()

    @property
    def secrets(self) -> Mapping[EpochId, bytes]:
        """All secrets held."""
        return self._secrets

    def add(self, epoch_id: EpochId, secret: bytes, commit: bytes | None) -> bool:
        """Keep a secret; False when it is known or does not match `commit` (None: trusted)."""
        if epoch_id in self._secrets or len(secret) != SECRET_BYTES:
            return False
        if commit is not None and epoch_commit(self._space_id, secret) != commit:
            return False
        self._secrets[epoch_id] = secret
        return True

    def keys(self, epoch_id: EpochId) -> SpaceKeys | None:
        """The keys of an epoch, None while its secret is unknown."""
        keys = self._keys.get(epoch_id)
        if keys is None and epoch_id in self._secrets:
            keys = self._keys[epoch_id] = SpaceKeys(self._secrets[epoch_id], self._space_id)
        return keys

    def learn(self, membership: Membership, device: DeviceKeys) -> list[tuple[EpochId, bytes]]:
        """Open every box meant for `device` and unwrap what epochs hand down; the new secrets."""
        infos = {info.epoch_id: info for info in membership.epochs}
        learned: list[tuple[EpochId, bytes]] = []
        for info in membership.epochs:
            if info.epoch_id not in self._secrets:
                learned += self._open_boxes(info, device, membership)
        todo = list(self._secrets)
        while todo:
            found = self._unwrap(infos, todo.pop())
            learned += found
            todo += [epoch_id for epoch_id, _ in found]
        return learned

    def _open_boxes(
        self, info: EpochInfo, device: DeviceKeys, membership: Membership
    ) -> Iterable[tuple[EpochId, bytes]]:
        hint = device.device_id[:BOX_HINT_BYTES]
        own_info = epoch_box_info(self._space_id, info.commit, device.device_id)
        candidates = [(box, own_info) for whose, box in info.boxes if whose == hint]
        late_info = keybox_info(self._space_id, info.epoch_id, device.device_id)
        candidates += [
            (keybox.box, late_info)
            for keybox in membership.keyboxes
            if keybox.epoch_id == info.epoch_id and keybox.device == device.device_id
        ]
        for box, box_info in candidates:
            secret = self._open_once(device, box, box_info)
            if secret is not None and self.add(info.epoch_id, secret, info.commit):
                yield info.epoch_id, secret
                return

    def _open_once(self, device: DeviceKeys, box: bytes, info: bytes) -> bytes | None:
        # A box that does not open never will: opening costs a key exchange each time.
        if (box, info) in self._tried:
            return None
        self._tried.add((box, info))
        try:
            return device.open_box(box, info)
        except ProtocolViolation:
            return None

    def _unwrap(self, infos: Mapping[EpochId, EpochInfo], epoch_id: EpochId) -> list[tuple[EpochId, bytes]]:
        info, keys = infos.get(epoch_id), self.keys(epoch_id)
        found: list[tuple[EpochId, bytes]] = []
        if info is None or keys is None:
            return found
        for parent, wrapped in info.wrapped:
            parent_info = infos.get(parent)
            if parent_info is None or parent in self._secrets:
                continue
            try:
                secret = decrypt(keys.wrap_key, parent[:NONCE_BYTES], wrapped, parent)
            except ProtocolViolation:
                continue
            if self.add(parent, secret, parent_info.commit):
                found.append((parent, secret))
        return found
