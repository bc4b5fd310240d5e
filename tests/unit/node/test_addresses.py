"""Which addresses of this machine are shown to people and put into tickets."""

import pytest

from sheaf.node.network import dialable

LOCAL = ("192.168.1.4", "fd00::2")


@pytest.mark.parametrize(
    ("listening", "expected"),
    [
        (None, ()),
        ("0.0.0.0:47411", ("192.168.1.4:47411", "[fd00::2]:47411")),
        ("[::]:47411", ("192.168.1.4:47411", "[fd00::2]:47411")),
        ("127.0.0.1:47411", ("127.0.0.1:47411",)),
        ("192.168.1.4:47411", ("192.168.1.4:47411",)),
    ],
)
def test_only_addresses_that_are_listened_on_are_named(
    listening: str | None, expected: tuple[str, ...]
) -> None:
    assert dialable(listening, LOCAL) == expected
