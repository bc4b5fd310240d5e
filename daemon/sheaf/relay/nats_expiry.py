"""Dropping what is older than the retention from a stream of mailboxes (PROTOCOL §7, decision 0052).

Messages stand in the order of their time, so everything before the first young one goes in one step.
A mailbox whose newest message would go with it gets a marker in its place, which keeps its
incarnation, its token and its last position for another retention: then it is forgotten. A mailbox
that ages in the sight of its members is not taken for one that was lost.
"""

from __future__ import annotations

from contextlib import aclosing, suppress

from sheaf.relay.nats_shards import Message, Moved, NatsShards
from sheaf.relay.nats_words import Label, Shard, mailbox_of


async def expire_shard(shards: NatsShards, shard: Shard, before_s: float) -> int:
    """Drop what was stored before `before_s` (wall clock); how many items.

    Several nodes may do it at the same time. Raises RelayRefused UNAVAILABLE: the rest next time.
    """
    dropped = 0
    end = 0
    newest: dict[str, Message] = {}
    async with aclosing(shards.messages(shard, shard.subjects, 1)) as messages:
        async for message in messages:
            if message.entry.stored_s >= before_s:
                break
            newest[message.subject] = message
            dropped += 1 if message.label.digest else 0
            end = message.entry.position
    for message in newest.values():
        if message.label.digest:
            await _mark(shards, message)
    if end:
        await shards.purge_before(shard, end + 1)
    return dropped


async def _mark(shards: NatsShards, message: Message) -> None:
    """Put a marker over a mailbox if this message is still its newest."""
    label = message.label
    marker = Label(label.token_hash, label.incarnation, b"", last=message.entry.position)
    with suppress(Moved):
        await shards.append(
            mailbox_of(message.subject), marker, b"", after=message.entry.position, is_rollup=True
        )
