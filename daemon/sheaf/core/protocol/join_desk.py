"""JOIN inside a session: asking to be let in, and answering (PROTOCOL §8).

The desk carries the request and the answer; the proof is judged by the owner's shell, what comes
back by the joiner's (`pairing`). One request at a time each way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import SpaceId
from sheaf.core.base.limits import MIB
from sheaf.core.crypto.identity import DeviceCertificate
from sheaf.core.protocol.effects import Effect, JoinAccepted, JoinRefused, JoinRequested
from sheaf.core.protocol.messages import (
    OPS_BYTES_PER_MESSAGE,
    OPS_PER_MESSAGE_MAX,
    AnyMessage,
    Join,
    JoinAnswer,
    shortened,
)
from sheaf.core.protocol.pairing import JoinRequest

JOIN_OPS_BYTES_MAX: Final = 16 * MIB
"""All control ops of a space at joining; more is refused by the joiner."""
REQUESTS_MAX: Final = 16
"""Requests per session; somebody who needs more is guessing."""


@dataclass(frozen=True, slots=True)
class JoinTicket:
    """A request that waits for the owner's answer."""

    space_id: SpaceId


class JoinDesk:
    """Both ends of JOIN in one session."""

    def __init__(
        self,
        *,
        send: Callable[[AnyMessage], None],
        issue: Callable[[object], int],
        emit: Callable[[Effect], None],
    ) -> None:
        self._send = send
        self._issue = issue
        self._emit = emit
        self._is_open = False
        self._asked: SpaceId | None = None
        self._waiting: JoinRequest | None = None
        self._ops: list[bytes] = []
        self._ops_bytes = 0
        self._requests = 0
        self._is_busy = False

    def authenticated(self) -> None:
        """The other side proved who it is: a request may go out."""
        self._is_open = True
        if self._waiting is not None:
            self._send(Join(self._waiting.encode()))
            self._waiting = None

    def ask(self, request: JoinRequest) -> None:
        """Joiner: send the request as soon as the other side is authenticated; one at a time."""
        assert self._asked is None, "one request at a time"
        self._asked = request.space_id
        self._waiting = request
        if self._is_open:
            self.authenticated()

    def answer_came(self, message: JoinAnswer) -> None:
        """Joiner: a part of the answer.

        Raises:
            ProtocolViolation: nobody asked, or too much.
        """
        if message.space_id != self._asked:
            raise ProtocolViolation("an answer that nobody asked for")
        if not message.is_accepted:
            self._reset()
            self._emit(JoinRefused(message.reason))
            return
        self._ops += message.ops
        self._ops_bytes += sum(map(len, message.ops))
        if self._ops_bytes > JOIN_OPS_BYTES_MAX:
            raise ProtocolViolation("a membership history beyond all bounds")
        if not message.has_more:
            accepted = JoinAccepted(message.space_id, tuple(self._ops))
            self._reset()
            self._emit(accepted)

    def request_came(self, request: JoinRequest, peer: DeviceCertificate) -> None:
        """Owner: somebody asks.

        Raises:
            ProtocolViolation: for another device than the one that speaks, or too often.
        """
        self._requests += 1
        if self._is_busy or self._requests > REQUESTS_MAX or request.certificates[0] != peer.raw:
            raise ProtocolViolation("a JOIN out of turn or for another device")
        self._is_busy = True
        self._emit(JoinRequested(self._issue(JoinTicket(request.space_id)), request, peer))

    def answer(self, ticket: JoinTicket, answer: Sequence[bytes] | str) -> None:
        """Owner: let in with these ops, or refuse with a reason."""
        self._is_busy = False
        if isinstance(answer, str):
            self._send(JoinAnswer(ticket.space_id, False, (), False, shortened(answer)))
            return
        chunks = _chunks(answer)
        for number, chunk in enumerate(chunks, 1):
            self._send(JoinAnswer(ticket.space_id, True, chunk, number < len(chunks), ""))

    def _reset(self) -> None:
        self._asked, self._ops, self._ops_bytes = None, [], 0


def _chunks(ops: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    chunks: list[list[bytes]] = [[]]
    size = 0
    for raw in ops:
        if chunks[-1] and (size + len(raw) > OPS_BYTES_PER_MESSAGE or len(chunks[-1]) >= OPS_PER_MESSAGE_MAX):
            chunks.append([])
            size = 0
        chunks[-1].append(raw)
        size += len(raw) + 5
    return [tuple(chunk) for chunk in chunks]
