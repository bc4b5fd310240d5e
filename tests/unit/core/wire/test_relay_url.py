"""Names of relays: one public text each, and the token never in it (PROTOCOL §7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.wire.relay_url import CHARS_MAX, RelayUrl, is_relay_address, public_relay_url


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("wss://Relay.Example.org", "wss://relay.example.org"),
        ("wss://relay.example.org:443/", "wss://relay.example.org"),
        ("wss://relay.example.org./sheaf", "wss://relay.example.org"),
        (" ws://192.168.1.7:7412\n", "ws://192.168.1.7:7412"),
        ("ws://relay:80/team/a/sheaf/", "ws://relay/team/a"),
        ("ws://[FE80::0:1]:7412", "ws://[fe80::1]:7412"),
        ("wss://s3cret@relay.example.org", "wss://relay.example.org"),
    ],
)
def test_a_relay_has_one_public_text(text: str, public: str) -> None:
    url = RelayUrl.parse(text)
    assert url.text == public
    assert RelayUrl.parse(url.text).text == public
    assert is_relay_address(url.text)


def test_the_token_is_kept_apart_and_never_shown() -> None:
    url = RelayUrl.parse("wss://a%40b%2Fc@relay.example.org")
    assert url.token == b"a@b/c"
    assert "a@b" not in repr(url)
    with pytest.raises(WireError, match="token"):
        public_relay_url("wss://secret@relay.example.org")
    assert public_relay_url("wss://relay.example.org/") == "wss://relay.example.org"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relay.example.org",
        "https://relay.example.org",
        "wss://",
        "wss:///path",
        "wss://relay example.org",
        "wss://relay.example.org:0",
        "wss://relay.example.org:65536",
        "wss://relay.example.org/?q=1",
        "wss://relay.example.org/#x",
        "wss://relay.example.org/a/../b",
        "wss://[::g]",
        "wss://::1",
        "wss://@relay.example.org",
        "wss://-x.example.org",
        "wss://rélay.example.org",
        "wss://relay.example.org/" + "a" * CHARS_MAX,
        f"wss://{'t' * 129}@relay.example.org",
        "wss://a@b@relay.example.org",
    ],
)
def test_what_is_no_relay_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        RelayUrl.parse(text)


@given(st.text(max_size=80) | st.text("ws:/@[]0123456789abc.%", max_size=60).map(lambda t: "wss://" + t))
def test_any_text_is_read_or_refused_and_reads_the_same_again(text: str) -> None:
    try:
        url = RelayUrl.parse(text)
    except WireError:
        return
    assert RelayUrl.parse(url.text).text == url.text
    assert "@" not in url.text
