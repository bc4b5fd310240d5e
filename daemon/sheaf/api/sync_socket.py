"""`/sync/{document_id}`: the y-websocket protocol between a tab and its daemon (PROTOCOL §9).

Raw ASGI, because a keystroke passes here. Frames are decoded by our own codec and the
node inspects every update; nothing raw reaches the Rust decoder. Stock providers work;
a client that asks for it in its address (`?ack=1`) is told with message 101 how many of its
frames are durable. The close codes are part of the HTTP contract: 4400 to 4499 mean "do
not come back" (decision 0068). A large state goes out in pieces, so that a tab on a slow
line sees that it comes (decision 0069).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from starlette.types import Receive, Scope, Send

from sheaf.api.access import BEARER_PROTOCOL, find_grant
from sheaf.api.auth import Grant
from sheaf.api.condense import condensed
from sheaf.api.context import DoorContext
from sheaf.api.outbox import SEND_DEADLINE_S, Outbox, SendFailed
from sheaf.api.refusals import Refusals
from sheaf.api.socket_protocol import ABORT_EXTENSION, OVERSIZED_MESSAGE, UNSENT_EXTENSION
from sheaf.core.base.errors import (
    NotAllowed,
    NotFound,
    ProtocolViolation,
    SheafError,
    StorageFailure,
    UpdateRefused,
    UpdateTooBig,
    WireError,
)
from sheaf.core.base.ids import DocId, IdError
from sheaf.core.base.limits import BACKLOG_BYTES_MAX, MIB
from sheaf.core.crdt.held_changes import PIECE_BYTES, split_update
from sheaf.core.crdt.state_vector import decode_state_vector
from sheaf.core.protocol.ysync import (
    AwarenessMessage,
    QueryAwareness,
    SyncMessage,
    SyncStep1,
    SyncUpdate,
    UnknownMessage,
    decode_message,
    encode_awareness_message,
    encode_committed,
    encode_permission_denied,
    encode_step1,
    encode_step2,
    encode_update,
)
from sheaf.node.views import FINAL_CODES_FROM, FINAL_CODES_TO, CloseCode, DocumentHandle
from sheaf.threads import in_daemon_thread

CLOSE_MALFORMED: Final = 4400
RENEW_INTERVAL_S: Final = 60.0
STATE_AT_ONCE_BYTES_MAX: Final = 2 * PIECE_BYTES
"""A larger answer to a step 1 is sent in pieces."""
TOO_BIG: Final = f"more than {BACKLOG_BYTES_MAX // MIB} MiB were sent at once, which is not taken"
_BURST_MESSAGES_MAX: Final = 32
"""Messages of one tab handled in a row before the loop serves others."""
_FRAME_HEADER_BYTES_MAX: Final = 16
_CLOSE_REASON_BYTES_MAX: Final = 120


class SocketMetrics(Protocol):
    """Counters this socket feeds."""

    def sync_opened(self) -> None: ...
    def sync_closed(self, code: int) -> None: ...


class TabSubscriber:
    """Hands what the document says to the tab's outbox."""

    def __init__(self, outbox: Outbox, *, wants_counts: bool) -> None:
        self._outbox = outbox
        self._wants_counts = wants_counts

    def update(self, data: bytes) -> None:
        """A Yjs update from elsewhere."""
        self._outbox.push(encode_update(data))

    def committed(self, frames: int, state_vector: bytes) -> None:
        """This tab's first `frames` updates are durable."""
        if self._wants_counts:
            self._outbox.push(encode_committed(frames, state_vector))

    def missing(self, state_vector: bytes) -> None:
        """The document lacks what an update builds on: ask for all the tab has."""
        self._outbox.push(encode_step1(state_vector))

    def awareness(self, data: bytes) -> None:
        """Somebody moved, came or left."""
        self._outbox.push(encode_awareness_message(data))

    def closed(self, code: CloseCode, reason: str) -> None:
        """The document is no longer served."""
        self._outbox.close(int(code), reason)


class SyncSocket:
    """The ASGI endpoint."""

    def __init__(
        self, context: DoorContext, metrics: SocketMetrics, *, send_deadline_s: float = SEND_DEADLINE_S
    ) -> None:
        self._context = context
        self._metrics = metrics
        self._send_deadline_s = send_deadline_s
        self._refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one tab until either side ends it."""
        grant = find_grant(scope, self._context.auth, port=self._context.port)
        has_bearer = any(name.startswith(BEARER_PROTOCOL) for name in scope.get("subprotocols", ()))
        await receive()  # websocket.connect
        await send({"type": "websocket.accept", "subprotocol": "sheaf" if has_bearer and grant else None})
        if grant is None:
            await _close(send, CloseCode.NOT_SIGNED_IN, "not signed in")
            return
        self._metrics.sync_opened()
        connection = _Connection(
            self._context, self._refusals, grant, scope, receive, send, deadline_s=self._send_deadline_s
        )
        try:
            await connection.serve(str(scope["path_params"]["document_id"]))
        finally:
            self._metrics.sync_closed(connection.close_code)


def wants_counts(query: bytes) -> bool:
    """Whether the client asks for message 101; stock providers log an error for each one."""
    return b"ack=1" in query.split(b"&")


async def _close(send: Send, code: int, reason: str) -> None:
    text = reason.encode()[:_CLOSE_REASON_BYTES_MAX].decode(errors="ignore")
    await send({"type": "websocket.close", "code": int(code), "reason": text})


class _Connection:
    """One accepted and signed-in tab."""

    def __init__(
        self,
        context: DoorContext,
        refusals: Refusals,
        grant: Grant,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        deadline_s: float,
    ) -> None:
        extensions = scope.get("extensions", {})
        self._context = context
        self._refusals = refusals
        self._grant = grant
        self._receive = receive
        self._send = send
        self._abort: Callable[[], None] = extensions.get(ABORT_EXTENSION, lambda: None)
        self._wants_counts = wants_counts(scope.get("query_string", b""))
        self._outbox = Outbox(
            send_frame=self._send_frame,
            send_close=self._send_close,
            deadline_s=deadline_s,
            close_code_when_full=CloseCode.TOO_SLOW,
            unsent_bytes=extensions.get(UNSENT_EXTENSION, lambda: 0),
            condense=condensed,
        )
        self._handle: DocumentHandle | None = None
        self._asked = asyncio.Event()
        self._asked_with = b""
        """The state vector of the last step 1."""
        self.close_code = 1000

    async def serve(self, document_id: str) -> None:
        """Run the connection; returns when it has ended, and never raises for the tab's faults."""
        forget_grant = self._context.auth.watch(self._grant, self._signed_out)
        forget_hangup = self._context.hangups.add(self._stopping)
        if self._context.hangups.is_stopping:
            self._stopping()
        try:
            await self._serve(document_id)
        finally:
            forget_grant()
            forget_hangup()
            if self._handle is not None:
                await self._handle.close()

    async def _serve(self, document_id: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            receiver = tasks.create_task(self._receive_all(document_id), name="sync receiver")
            sender = tasks.create_task(self._send_all(), name="sync sender")
            renewer = tasks.create_task(self._renew(), name="sync renewal")
            answerer = tasks.create_task(self._answer_states(), name="sync states")
            done, _ = await asyncio.wait({receiver, sender}, return_when=asyncio.FIRST_COMPLETED)
            for task in (receiver, sender, renewer, answerer):
                if task not in done:
                    task.cancel()

    # ------------------------------------------------------------------ from the tab

    async def _receive_all(self, document_id: str) -> None:
        """Until the tab leaves. A refusal closes through the outbox and waits for the sender to end us."""
        try:
            await self._open(document_id)
            for number in itertools.count(1):
                if not number % _BURST_MESSAGES_MAX:
                    await asyncio.sleep(0)
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    self.close_code = message.get("code") or 1005
                    return
                if message["type"] == OVERSIZED_MESSAGE:
                    raise UpdateTooBig(TOO_BIG)
                data = message.get("bytes")
                if data is None:
                    raise WireError("text messages are not part of the protocol")
                if len(data) > BACKLOG_BYTES_MAX + _FRAME_HEADER_BYTES_MAX:
                    raise UpdateTooBig(TOO_BIG)
                await self._handle_message(decode_message(data))
        except (SheafError, IdError) as error:
            await self._refuse(document_id, *_close_for(error))
        await asyncio.Event().wait()

    async def _refuse(self, document_id: str, code: int, reason: str) -> None:
        """Hang up; on who keeps coming back with what cannot be taken, only after a while."""
        if FINAL_CODES_FROM <= code < FINAL_CODES_TO:
            pause_s = self._refusals.pause_s(document_id, asyncio.get_running_loop().time())
            if pause_s and self._handle is not None:
                await self._handle.close()
            await asyncio.sleep(pause_s)
        self._outbox.close(code, reason)

    async def _open(self, document_id: str) -> None:
        doc_id = DocId.parse(document_id)
        subscriber = TabSubscriber(self._outbox, wants_counts=self._wants_counts)
        handle = await self._context.node.open_document(doc_id, subscriber)
        self._handle = handle
        if not handle.can_write:
            self._outbox.push(encode_permission_denied("read-only"))
        self._outbox.push(encode_step1(handle.state_vector()))
        self._push_awareness(handle)

    async def _handle_message(self, message: SyncMessage) -> None:
        handle = self._handle
        assert handle is not None
        match message:
            case SyncUpdate(update, is_state):
                await self._submit(handle, update, is_state=is_state)
            case SyncStep1(state_vector):
                decode_state_vector(state_vector)
                self._asked_with = state_vector
                self._asked.set()
            case AwarenessMessage(data):
                try:
                    handle.awareness(data)
                except ProtocolViolation:
                    return  # a cursor is not worth a connection
            case QueryAwareness():
                self._push_awareness(handle)
            case UnknownMessage():
                return

    async def _submit(self, handle: DocumentHandle, update: bytes, *, is_state: bool) -> None:
        try:
            if handle.can_write:
                await handle.submit(update, is_state=is_state)
        except NotAllowed:  # the role was lowered this very moment; reading goes on
            self._outbox.push(encode_permission_denied("read-only"))

    async def _answer_states(self) -> None:
        """Send the tab what it lacks: in pieces when it is much, the last of them as step 2.

        A question that comes while an answer is being sent is answered after it; of several, the last.
        """
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                assert self._handle is not None
                update = self._handle.diff(self._asked_with)
                if len(update) <= STATE_AT_ONCE_BYTES_MAX:
                    self._outbox.push(encode_step2(update))
                    continue
                is_sent = asyncio.Event()
                fill = self._outbox.reserve(is_sent.set)
                pieces = await in_daemon_thread(partial(_in_pieces, update), name="sheaf-pieces")
                fill([*map(encode_update, pieces[:-1]), encode_step2(pieces[-1])])
                await is_sent.wait()
        except SheafError as error:
            self._outbox.close(*_close_for(error))

    def _push_awareness(self, handle: DocumentHandle) -> None:
        states = handle.awareness_states()
        if states is not None:
            self._outbox.push(encode_awareness_message(states))

    # ------------------------------------------------------------------ to the tab

    async def _send_all(self) -> None:
        try:
            await self._outbox.run()
        except SendFailed:
            self.close_code = 1006
            self._abort()

    async def _send_frame(self, frame: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": frame})

    async def _send_close(self, code: int, reason: str) -> None:
        self.close_code = code
        await _close(self._send, code, reason)

    # ------------------------------------------------------------------ from the house

    async def _renew(self) -> None:
        """An open tab is a session in use."""
        while True:
            await asyncio.sleep(RENEW_INTERVAL_S)
            if not self._context.auth.renew(self._grant):
                self._signed_out()

    def _signed_out(self) -> None:
        self._outbox.close(CloseCode.NOT_SIGNED_IN, "signed out")

    def _stopping(self) -> None:
        self._outbox.close(CloseCode.STOPPING, "the daemon is stopping")


def _close_for(error: SheafError | IdError) -> tuple[int, str]:
    """The close code for what the node or the codec raised; the text is fit for the person."""
    match error:
        case IdError() | NotFound():
            return CloseCode.GONE, "this document is not here"
        case NotAllowed():
            return CloseCode.NOT_ALLOWED, str(error)
        case StorageFailure():
            return CloseCode.STORAGE_FAILED, str(error)
        case WireError():
            return CLOSE_MALFORMED, str(error)
        case UpdateTooBig():
            return CloseCode.TOO_BIG, str(error)
        case UpdateRefused():
            return CloseCode.REFUSED, str(error)
        case _:  # not a word about what the tab sent: it may come back
            return CloseCode.STORAGE_FAILED, str(error)


def _in_pieces(update: bytes) -> list[bytes]:
    try:
        return split_update(update)
    except UpdateRefused:  # larger than anybody typed; whole, then
        return [update]
