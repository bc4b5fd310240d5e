"""Which node the two sides of a tunnel meet at (PROTOCOL §7: tunnels never cross NATS).

A node whose client waits listens for the token's subject and asks there. Whoever waited first is
found by whoever comes second. When both come at the same moment, each hears the other ask: the one at
the node with the smaller name stays. Decision 0053.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nats.aio.msg import Msg

from sheaf.core.base.errors import WireError
from sheaf.core.wire.relay_words import RelayRefused
from sheaf.relay.nats_link import NatsLink, refusing
from sheaf.relay.nats_orders import decode_here, encode_here
from sheaf.relay.nats_words import tunnel_subject

_ANSWER_S: Final = 1.0


@dataclass(slots=True)
class _Hold:
    """A client that waits here, or asks whether it shall."""

    is_settled: bool = False
    """It stays, whoever comes."""
    elsewhere: str | None = None
    """We told another node that its client stays: ours goes there."""


class NatsTunnels:
    """The tunnels that wait at this node, as the other nodes see them."""

    def __init__(self, *, link: NatsLink, node: str, url: str) -> None:
        self._link = link
        self._node = node
        self._url = url
        self._holds: dict[str, _Hold] = {}
        """By subject."""

    async def hold(self, token: bytes) -> str | None:
        """See `Fleet.hold_tunnel`. While NATS is away, clients can only meet at the same node."""
        subject = tunnel_subject(token)
        hold = self._holds[subject] = _Hold()
        url = None
        with suppress(RelayRefused):
            await self._link.listen(subject, self._answer)
            url = await self._ask(subject)
        hold.is_settled = True
        url = url or hold.elsewhere
        if url is not None:
            await self.drop(token)
        return url

    async def drop(self, token: bytes) -> None:
        """See `Fleet.drop_tunnel`."""
        subject = tunnel_subject(token)
        if self._holds.pop(subject, None) is not None:
            await self._link.unlisten(subject)

    async def _ask(self, subject: str) -> str | None:
        answer = await self._link.ask(subject, encode_here(self._node, self._url), _ANSWER_S)
        if not answer:
            return None
        try:
            return decode_here(answer)[1]
        except WireError:
            return None

    async def _answer(self, message: Msg) -> None:
        """Somebody waits at another node for a token that is waited for here."""
        try:
            other, url = decode_here(message.data)
        except WireError:
            return
        hold = self._holds.get(message.subject)
        answer = b""
        if hold is not None and (hold.is_settled or self._node < other):
            answer = encode_here(self._node, self._url)
        elif hold is not None:
            hold.elsewhere = url
        with suppress(RelayRefused), refusing():
            await message.respond(answer)
