"""Domain separation and RFC 5869 (PROTOCOL §1)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.crypto.hashing import domain_bytes, domain_hash, domain_hmac, hkdf, hkdf_expand


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_different_fields_never_give_the_same_bytes(one: list[bytes], other: list[bytes]) -> None:
    assert (domain_bytes("t", *one) == domain_bytes("t", *other)) == (one == other)


def test_purposes_are_separate() -> None:
    assert domain_hash("a", b"x") != domain_hash("b", b"x")
    assert domain_hmac(b"k", "a", b"x") != domain_hmac(b"k", "b", b"x")
    assert domain_bytes("space", b"ab") == b"sheaf/1 space\0\0\0\0\x02ab"


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40), st.integers(1, 100))
def test_hkdf_agrees_with_an_independent_implementation(ikm: bytes, salt: bytes, info: bytes, n: int) -> None:
    assert hkdf(ikm, salt, info, n) == HKDF(SHA256(), n, salt or None, info).derive(ikm)


@pytest.mark.parametrize("length", [0, -1, 8161])
def test_hkdf_refuses_impossible_lengths(length: int) -> None:
    with pytest.raises(ValueError, match="length"):
        hkdf_expand(bytes(32), b"", length)
