"""Mailboxes as JetStream sees them: streams, subjects, messages with labels (PROTOCOL §7 "Fleet").

Every change of a mailbox names the message it follows (`Nats-Expected-Last-Subject-Sequence`), so
nodes that write at the same time cannot miss each other. Converts all errors of the NATS library.
Must not know the rules of mailboxes; `nats_store` does. Decision 0052 says what was measured.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, BadRequestError, NoStreamResponseError, NotFoundError

from sheaf.core.base.errors import WireError
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.relay.nats_address import NatsAddress
from sheaf.relay.nats_index import Entry
from sheaf.relay.nats_link import REQUEST_S, NatsLink, NatsUnfit, needing_jetstream, refusing
from sheaf.relay.nats_words import EXPECT_LAST, ROLLUP, SIZE, Label, Shard, read_label, read_number, shard_of
from sheaf.relay.store import DAY_S

_CODE_NO_STREAM: Final = 10059
_CODE_OTHER_CONFIG: Final = 10058
_CODES_WRONG_LAST: Final = frozenset({10071, 10164})
_REPLICATED_MIN: Final = (2, 10, 26)
"""A cluster of 2.9.10 accepted 23 of 60 pairs of writes that both named the same last message, and one
of the two was lost; 2.10.26 and later accepted none."""
_HEADER_ROOM_BYTES: Final = 2048
_BATCH: Final = 256
_AT_ONCE: Final = 16
_CONSUMER_IDLE_S: Final = 10.0
_GRACE_S: Final = 30 * DAY_S
"""JetStream itself drops messages this long after `expire` should have: no node ran in between."""

_ResultT = TypeVar("_ResultT")


class Moved(Exception):
    """Somebody else changed this mailbox first: read it again."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a mailbox."""

    subject: str
    label: Label
    entry: Entry
    follows: int | None
    """Position of the message before it in its mailbox, if it says so; 0: it was the first."""
    data: bytes | None = None
    """Its bytes, if it was asked for by itself; None in a list of headers."""


@dataclass(frozen=True, slots=True)
class ShardState:
    """What a stream holds."""

    messages: int
    size_bytes: int
    subjects: int
    first: int
    last: int


class NatsShards:
    """The streams `MBX_00`… behind one link."""

    def __init__(
        self,
        *,
        link: NatsLink,
        address: NatsAddress,
        retention_s: int,
        item_bytes_max: int,
        on_lost: Callable[[], None],
    ) -> None:
        """`on_lost()`: streams were missing although the connection stayed; they are made again, empty."""
        self._link = link
        self._address = address
        self._retention_s = retention_s
        self._item_bytes_max = item_bytes_max
        self._on_lost = on_lost
        self._is_direct = address.replicas == 1
        """A replica that lags may answer a direct get: only where there is one, it is as good. It is
        never used for heads: a stream that is missing does not answer it at all."""
        link.on_up(self._prepare)

    @property
    def shards(self) -> Sequence[Shard]:
        return [Shard(number) for number in range(self._address.shards)]

    def shard_of(self, mailbox_id: bytes) -> Shard:
        return shard_of(mailbox_id, self._address.shards)

    # ------------------------------------------------------------------ mailboxes

    async def head(self, mailbox_id: bytes) -> Message | None:
        """The newest message of a mailbox."""
        shard = self.shard_of(mailbox_id)
        subject = shard.subject_of(mailbox_id)

        async def look() -> api.RawStreamMsg | None:
            try:
                return await self._jetstream.get_last_msg(shard.stream, subject)
            except NotFoundError as error:
                if error.err_code == _CODE_NO_STREAM:
                    raise
                return None

        found = await self._on_streams(look)
        return None if found is None else _message_of(found)

    async def append(
        self, mailbox_id: bytes, label: Label, data: bytes, *, after: int, is_rollup: bool = False
    ) -> int:
        """Store a message if `after` is the mailbox's head (0: it has none); its position.

        Raises:
            Moved: it is not.
            RelayRefused: FULL, UNAVAILABLE (it may be stored or not).
        """
        shard = self.shard_of(mailbox_id)
        headers = label.headers() | {EXPECT_LAST: str(after)} | (ROLLUP if is_rollup else {})

        async def store() -> int:
            try:
                stored = await self._jetstream.publish(
                    shard.subject_of(mailbox_id), data, headers=headers, timeout=REQUEST_S
                )
            except BadRequestError as error:
                if error.err_code in _CODES_WRONG_LAST:
                    raise Moved from error
                raise
            return stored.seq

        return await self._on_streams(store)

    async def items(self, mailbox_id: bytes, positions: Sequence[int]) -> list[bytes | None]:
        """The bytes that stand there; None where they have gone."""
        shard = self.shard_of(mailbox_id)
        subject = shard.subject_of(mailbox_id)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def fetch(position: int) -> bytes | None:
            async with gate:
                try:
                    found = await self._jetstream.get_msg(shard.stream, seq=position, direct=self._is_direct)
                except NotFoundError:
                    return None
            return (found.data or b"") if found.subject == subject else None

        with refusing():
            return await asyncio.gather(*(fetch(position) for position in positions))

    async def messages(self, shard: Shard, subject: str, start: int) -> AsyncGenerator[Message, None]:
        """The messages from position `start` on that were there when this began, oldest first."""
        with refusing():
            jetstream = self._jetstream
            reader = await jetstream.pull_subscribe(subject, stream=shard.stream, config=_headers_from(start))
            about = await reader.consumer_info()
            try:
                left = about.num_pending or 0
                while left > 0:
                    batch = await reader.fetch(min(left, _BATCH), timeout=REQUEST_S)
                    left -= len(batch)
                    for each in batch:
                        yield _message_in(each)
            finally:
                await reader.unsubscribe()
                await jetstream.delete_consumer(shard.stream, about.name)

    # ------------------------------------------------------------------ streams

    async def states(self) -> list[ShardState]:
        """What each stream holds."""
        with refusing():
            client = self._link.client
            answers = [
                await client.request(f"$JS.API.STREAM.INFO.{shard.stream}", b"", timeout=REQUEST_S)
                for shard in self.shards
            ]
        return [_read_state(answer.data) for answer in answers]

    async def purge_before(self, shard: Shard, position: int) -> None:
        """Drop every message of a stream below `position`."""
        with refusing():
            await self._jetstream.purge_stream(shard.stream, seq=position)

    @property
    def _jetstream(self) -> JetStreamContext:
        return self._link.client.jetstream(timeout=REQUEST_S)

    async def _on_streams(self, work: Callable[[], Awaitable[_ResultT]]) -> _ResultT:
        """Do it; if the streams have gone under us, make them and do it again."""
        with refusing():
            try:
                return await work()
            except (NoStreamResponseError, NotFoundError):
                self._on_lost()
            try:
                await self._prepare(self._link.client)
            except NatsUnfit as error:
                raise RelayRefused(RefusalCode.UNAVAILABLE) from error
            return await work()

    async def _prepare(self, client: Client) -> None:
        """See to it that the streams are there as they should be. Raises NatsUnfit."""
        room = self._item_bytes_max + _HEADER_ROOM_BYTES
        if client.max_payload < room:
            raise NatsUnfit(
                f"it takes messages of {client.max_payload} bytes: set max_payload to {room} or more"
            )
        version = _version_of(client)
        if self._address.replicas > 1 and version < _REPLICATED_MIN:
            found, needed = (".".join(map(str, each)) for each in (version, _REPLICATED_MIN))
            raise NatsUnfit(f"for ?replicas= it has to be {needed} or newer, and is {found}")
        jetstream = client.jetstream(timeout=REQUEST_S)
        with needing_jetstream():
            for shard in self.shards:
                await self._make(jetstream, shard)

    async def _make(self, jetstream: JetStreamContext, shard: Shard) -> None:
        wanted = self._config(shard)
        try:
            await jetstream.add_stream(wanted)
        except APIError as error:
            if error.err_code != _CODE_OTHER_CONFIG:
                raise
            found = (await jetstream.stream_info(shard.stream)).config
            if found.description != wanted.description:
                raise NatsUnfit(
                    f"its stream {shard.stream} is {found.description!r}, and not {wanted.description!r}:"
                    " give every node the same ?shards="
                ) from None
            await jetstream.update_stream(wanted)

    def _config(self, shard: Shard) -> api.StreamConfig:
        return api.StreamConfig(
            name=shard.stream,
            description=f"mailboxes of Sheaf, shard {shard.number} of {self._address.shards}",
            subjects=[shard.subjects],
            storage=api.StorageType.FILE,
            num_replicas=self._address.replicas,
            max_age=float(2 * self._retention_s + _GRACE_S),
            allow_rollup_hdrs=True,
            allow_direct=True,
            republish=api.RePublish(src=shard.subjects, dest=shard.news, headers_only=True),
        )


def _version_of(client: Client) -> tuple[int, int, int]:
    version = client.connected_server_version
    try:
        return version.major, version.minor, version.patch
    except ValueError:  # somebody's own build
        return (0, 0, 0)


def _headers_from(start: int) -> api.ConsumerConfig:
    return api.ConsumerConfig(
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=max(1, start),
        ack_policy=api.AckPolicy.NONE,
        headers_only=True,
        mem_storage=True,
        inactive_threshold=_CONSUMER_IDLE_S,
    )


def _message_of(found: api.RawStreamMsg) -> Message:
    """From a message that was asked for."""
    if found.seq is None or found.time is None or found.subject is None:
        raise RelayRefused(RefusalCode.UNAVAILABLE)
    headers = found.headers or {}
    data = found.data or b""
    return _message(found.subject, headers, found.seq, len(data), found.time.timestamp(), data)


def _message_in(found: Msg) -> Message:
    """From a message that a consumer delivered without its bytes."""
    about = found.metadata
    headers = found.headers or {}
    try:
        size = read_number(headers, SIZE)
    except WireError as error:
        raise RelayRefused(RefusalCode.UNAVAILABLE) from error
    return _message(found.subject, headers, about.sequence.stream, size, about.timestamp.timestamp())


def _message(
    subject: str,
    headers: dict[str, str],
    position: int,
    size: int,
    stored_s: float,
    data: bytes | None = None,
) -> Message:
    try:
        label = read_label(headers)
    except WireError as error:
        raise RelayRefused(RefusalCode.UNAVAILABLE) from error
    entry = Entry(position, label.digest, size, stored_s, "Nats-Rollup" in headers, label.last)
    follows = headers.get(EXPECT_LAST, "")
    return Message(subject, label, entry, int(follows) if follows.isdecimal() else None, data)


def _read_state(answer: bytes) -> ShardState:
    try:
        state = json.loads(answer)["state"]
        numbers = [int(state[name]) for name in ("messages", "bytes", "first_seq", "last_seq")]
        return ShardState(numbers[0], numbers[1], int(state.get("num_subjects", 0)), numbers[2], numbers[3])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RelayRefused(RefusalCode.UNAVAILABLE) from error
