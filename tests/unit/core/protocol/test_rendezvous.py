"""mDNS tags: members are recognised, strangers learn nothing stable."""

from __future__ import annotations

import random

from sheaf.core.base.ids import DeviceId
from sheaf.core.protocol.rendezvous import TagCandidate, device_tag, invite_tag, match

KEY, NONCE = b"k" * 32, b"n" * 12
DEVICES = [DeviceId(bytes([number]) * 32) for number in range(5)]
source = random.Random(3)


def test_members_recognise_a_device_and_an_invitation_among_others() -> None:
    padding = [source.randbytes(6) for _ in range(6)]
    tags = [*padding, device_tag(KEY, NONCE, DEVICES[2]), invite_tag(b"i" * 32, NONCE)]
    candidates = [TagCandidate(KEY, device, device.short) for device in DEVICES]
    candidates.append(TagCandidate(b"i" * 32, None, "invitation"))
    assert match(NONCE, tags, candidates) == [DEVICES[2].short, "invitation"]


def test_tags_change_with_nonce_key_and_device() -> None:
    assert (
        len({device_tag(k, n, d) for k in (KEY, b"x" * 32) for n in (NONCE, b"m" * 12) for d in DEVICES})
        == 20
    )
