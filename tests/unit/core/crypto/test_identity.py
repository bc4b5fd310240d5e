"""Certificates bind a person and a device, or they are refused (PROTOCOL §2)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.crypto.hashing import domain_bytes
from sheaf.core.crypto.identity import DeviceCertificate, DeviceKeys, UserKeys, certificate_body, verify
from sheaf.core.crypto.sealing import decrypt, encrypt, seal_box

entropy = random.Random(1).randbytes
ALICE = UserKeys.generate(entropy)
LAPTOP = DeviceKeys.generate(entropy)
CERTIFICATE = DeviceCertificate.issue(ALICE, LAPTOP, name="laptop", user_name="Alice", created_ms=1)


def test_an_issued_certificate_is_read_back() -> None:
    again = DeviceCertificate.decode(CERTIFICATE.raw)
    assert again == CERTIFICATE
    assert (again.user, again.device, again.kem) == (ALICE.user_id, LAPTOP.device_id, LAPTOP.kem_public)
    assert (again.name, again.user_name, again.can_certify) == ("laptop", "Alice", True)
    assert DeviceCertificate.decode_trusted(CERTIFICATE.raw) == CERTIFICATE


@given(st.data())
def test_a_certificate_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    raw = bytearray(CERTIFICATE.raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolViolation):
        DeviceCertificate.decode(bytes(raw))


@given(st.binary(max_size=900))
def test_arbitrary_bytes_are_no_certificate(raw: bytes) -> None:
    with pytest.raises(WireError):
        DeviceCertificate.decode(raw)


def test_a_device_is_not_certified_without_its_consent() -> None:
    mallory = UserKeys.generate(entropy)
    body = certificate_body(mallory.user_id, LAPTOP.device_id, LAPTOP.kem_public, 1, 1, "x", "Mallory")
    signature = mallory.sign(domain_bytes("device certificate", body))
    with pytest.raises(ProtocolViolation, match="device"):
        DeviceCertificate.decode(body + signature + signature)


def test_a_device_does_not_certify_itself_for_a_person() -> None:
    body = certificate_body(ALICE.user_id, LAPTOP.device_id, LAPTOP.kem_public, 1, 1, "x", "Alice")
    signature = LAPTOP.sign(domain_bytes("device certificate", body))
    with pytest.raises(ProtocolViolation, match="person"):
        DeviceCertificate.decode(body + signature + signature)


def test_device_keys_survive_storage() -> None:
    again = DeviceKeys.from_bytes(LAPTOP.to_bytes())
    assert (again.device_id, again.kem_public) == (LAPTOP.device_id, LAPTOP.kem_public)
    with pytest.raises(WireError):
        DeviceKeys.from_bytes(b"short")


def test_keys_do_not_show_their_secrets() -> None:
    assert ALICE.seed.hex() not in repr(ALICE)
    assert LAPTOP.to_bytes().hex()[:16] not in repr(LAPTOP)


def test_signatures_hold_for_their_key_and_message_only() -> None:
    signature = ALICE.sign(b"m")
    assert verify(ALICE.user_id, b"m", signature)
    assert not verify(ALICE.user_id, b"n", signature)
    assert not verify(LAPTOP.device_id, b"m", signature)
    assert not verify(ALICE.user_id, b"m", b"short")
    assert not verify(b"short", b"m", signature)


def test_boxes_open_with_their_key_and_context_only() -> None:
    sealed = seal_box(LAPTOP.kem_public, b"secret" * 5 + b"xx", b"ctx")
    assert len(sealed) == 32 + 48
    assert LAPTOP.open_box(sealed, b"ctx") == b"secret" * 5 + b"xx"
    other = DeviceKeys.generate(entropy)
    attempts = [
        (other, sealed, b"ctx"),
        (LAPTOP, sealed, b"other"),
        (LAPTOP, sealed[:-1], b"ctx"),
        (LAPTOP, b"", b"ctx"),
    ]
    for keys, box, info in attempts:
        with pytest.raises(ProtocolViolation):
            keys.open_box(box, info)


def test_boxes_to_impossible_keys_are_refused() -> None:
    for kem in (bytes(32), b"short"):
        with pytest.raises(ProtocolViolation):
            seal_box(kem, b"secret", b"")


def test_ciphertexts_open_with_their_context_only() -> None:
    sealed = encrypt(b"k" * 32, b"n" * 12, b"text", b"ctx")
    assert decrypt(b"k" * 32, b"n" * 12, sealed, b"ctx") == b"text"
    for key, nonce, text, context in (
        (b"l" * 32, b"n" * 12, sealed, b"ctx"),
        (b"k" * 32, b"m" * 12, sealed, b"ctx"),
        (b"k" * 32, b"n" * 12, sealed, b"xtc"),
        (b"k" * 32, b"n" * 12, b"", b"ctx"),
    ):
        with pytest.raises(ProtocolViolation):
            decrypt(key, nonce, text, context)
