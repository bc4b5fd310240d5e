"""How the relay ends a connection: nothing is said of it that is not so, and nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.protocol import State

from sheaf.core.wire.relay_frames import Welcome
from sheaf.relay.client import Client
from sheaf.relay.limits import RelayLimits
from sheaf.relay.metrics import RelayMetrics
from sheaf.relay.session import Sessions


class Ended:
    """A connection that is closing, as the WebSocket library shows it."""

    def __init__(self, state: State = State.CLOSING, *, is_closing: bool = False) -> None:
        self.state = state
        self.transport = self.protocol = self
        self._is_closing = is_closing

    def get_extra_info(self, _: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._is_closing

    async def recv(self) -> bytes:
        raise OSError("gone")


def client_on(connection: Any) -> Client:
    return Client(connection, address="192.0.2.7", limits=RelayLimits(), now=0.0)


@pytest.mark.parametrize("state", [State.CLOSING, State.CLOSED])
def test_a_message_for_a_connection_that_closes_is_not_said_to_be_sent(state: State) -> None:
    client = client_on(Ended(state))
    assert not client.push_raw(b"hello")
    assert not client.is_dropped, "it is no slow reader"


def test_a_message_for_a_socket_that_closes_is_not_said_to_be_sent() -> None:
    assert not client_on(Ended(State.OPEN, is_closing=True)).push_raw(b"hello")


class Leaving:
    """Takes the place of the hub or the mailboxes."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.left: list[Client] = []
        self._failure = failure

    async def leave(self, client: Client) -> None:
        self.left.append(client)
        if self._failure is not None:
            raise self._failure


async def test_who_is_gone_is_in_no_table_though_letting_go_of_a_mailbox_failed() -> None:
    hub: Any = Leaving()
    mailboxes: Any = Leaving(RuntimeError("a defect"))
    nothing: Any = None
    sessions = Sessions(
        welcome=lambda: Welcome(1, False, 1000, 1000, 10, 0),
        token_hashes=(),
        hub=hub,
        mailboxes=mailboxes,
        tunnels=nothing,
        limits=RelayLimits(),
        metrics=RelayMetrics(),
        now=lambda: 0.0,
    )
    client = client_on(Ended())
    with pytest.raises(RuntimeError):
        await sessions.serve(client)
    assert (mailboxes.left, hub.left) == ([client], [client])
