"""Datagrams that are no STUN, or almost, are dropped without a word (FAULTS N7)."""

from __future__ import annotations

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from sheaf.transport.ice_guard import _looks_like_stun
from sheaf.transport.stun_probe import _Asker

HEADER = b"\x01\x01\x00%c\x21\x12\xa4\x42" + b"t" * 12


@pytest.mark.parametrize("kind", [b"\x00\x24", b"\x00\x20", b"\x00\x09", b"\x80\x28", b"\x00\x06"])
def test_an_attribute_of_an_impossible_length_is_dropped(kind: bytes) -> None:
    _looks_like_stun(HEADER % 4 + kind + b"\x00\x00")
    _Asker(stun).datagram_received(HEADER % 4 + kind + b"\x00\x00", ("192.0.2.1", 3478))


@given(st.binary(max_size=64))
def test_any_attributes_are_dropped(attributes: bytes) -> None:
    attributes = attributes[: len(attributes) // 4 * 4]
    _Asker(stun).datagram_received(HEADER % len(attributes) + attributes, ("192.0.2.1", 3478))
