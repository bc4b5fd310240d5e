"""Addresses that people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import UsageError
from sheaf.discovery.static import parse_address


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("192.168.1.7:4320", "192.168.1.7:4320"),
        (" laptop.local:4320 ", "laptop.local:4320"),
        ("LAPTOP:04320", "laptop:4320"),
        ("[fd00::7]:4320", "[fd00::7]:4320"),
        ("fd00::7:4320", "[fd00::7]:4320"),
        ("[FD00:0::7]:1", "[fd00::7]:1"),
    ],
)
def test_addresses_are_normalised(typed: str, meant: str) -> None:
    assert parse_address(typed) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "laptop",
        ":4320",
        "laptop:",
        "laptop:0",
        "laptop:65536",
        "laptop:4e3",
        "laptop:-1",
        "laptop:４",
        "lap top:1",
        "-x:1",
        "http://x:1",
        "user@host:1",
        "a/b:1",
        "[fd00::7]",
        "[fd00::g]:1",
    ],
)
def test_anything_else_is_explained(typed: str) -> None:
    with pytest.raises(UsageError):
        parse_address(typed)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_usage_error(typed: str) -> None:
    try:
        meant = parse_address(typed)
    except UsageError:
        return
    assert parse_address(meant) == meant
