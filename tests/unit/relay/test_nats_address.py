"""The address of NATS as an operator writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import UsageError
from sheaf.relay.nats_address import parse_nats_address


def test_a_host_alone_gets_the_usual_port_and_the_usual_shards() -> None:
    address = parse_nats_address("nats://nats.example")
    assert (address.servers, address.shards, address.replicas) == (("nats://nats.example:4222",), 4, 1)


def test_several_hosts_share_the_credentials_and_the_options() -> None:
    address = parse_nats_address("tls://relay:s3cret@a:4222,b:4333,[::1]:4444?shards=16&replicas=3")
    assert address.servers == (
        "tls://relay:s3cret@a:4222",
        "tls://relay:s3cret@b:4333",
        "tls://relay:s3cret@[::1]:4444",
    )
    assert (address.shown, address.shards, address.replicas) == ("a:4222, b:4333, [::1]:4444", 16, 3)


def test_credentials_are_not_shown() -> None:
    assert "s3cret" not in repr(parse_nats_address("nats://relay:s3cret@a:4222"))


@pytest.mark.parametrize(
    "text",
    [
        "http://a:4222",
        "nats://",
        "nats://a:port",
        "nats://a:99999",
        "nats://a,,b",
        "nats://a/path",
        "nats://a?shards=0",
        "nats://a?shards=257",
        "nats://a?replicas=x",
        "nats://a?replicas=²",
        "nats://a?shard=4",
    ],
)
def test_what_is_no_address_is_refused_with_a_word_on_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match="nats://HOST:4222"):
        parse_nats_address(text)


@given(st.text(max_size=60))
def test_whatever_follows_the_scheme_is_read_or_refused(rest: str) -> None:
    try:
        address = parse_nats_address(f"nats://{rest}")
    except UsageError:
        return
    assert address.servers
    assert all(server.startswith("nats://") for server in address.servers)
