"""What a relay does with each kind of frame (PROTOCOL §7)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import (
    Accepted,
    Auth,
    Deliver,
    Error,
    Nobody,
    Ping,
    Pong,
    Refused,
    Send,
    Sent,
    Sub,
    TunnelJoin,
    TunnelJoined,
    Unsub,
)
from sheaf.core.wire.relay_requests import (
    MailboxCompact,
    MailboxGet,
    MailboxItems,
    MailboxNews,
    MailboxPut,
    MailboxStatRequest,
    MailboxStatus,
    MailboxStored,
    MailboxUnwatch,
    MailboxWatch,
    NameplateAllocate,
    NameplateClaim,
    NameplateClosed,
    NameplateHeard,
    NameplateHeld,
    NameplateRelease,
    NameplateSay,
)
from sheaf.core.wire.relay_words import PAGE_BYTES_MAX, ErrorCode, RefusalCode
from sheaf.relay.limits import RelayLimits
from sheaf.relay.run import RelaySettings
from tests.support.relay import FrameClient, frame_client, running_relay

RID, OTHER = RendezvousId(b"r" * 16), RendezvousId(b"o" * 16)
BOX, TOKEN = b"m" * 16, b"t" * 32
NONE = bytes(8)
LIMITS = replace(RelayLimits(), rids_max=8, watches_max=3, nameplates_max=2, tunnel_wait_s=0.3)


def settings(directory: Path) -> RelaySettings:
    return RelaySettings(
        store=f"sqlite:{directory}/relay.sqlite3", listen="127.0.0.1:0", stun_port=0, limits=LIMITS
    )


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with running_relay(settings(tmp_path)) as (_, ready):
        yield ready.url


@pytest.fixture
async def ada(url: str) -> AsyncIterator[FrameClient]:
    async with frame_client(url) as client:
        yield client


@pytest.fixture
async def ben(url: str) -> AsyncIterator[FrameClient]:
    async with frame_client(url) as client:
        yield client


async def subscribed(client: FrameClient, *rids: RendezvousId) -> None:
    await client.send(Sub(rids), Ping())
    await client.expect(Pong)


# ------------------------------------------------------------------ rendezvous


async def test_a_send_reaches_every_subscriber_and_the_sender_is_told(
    url: str, ada: FrameClient, ben: FrameClient
) -> None:
    await subscribed(ada, RID)
    async with frame_client(url) as third:
        await subscribed(third, RID, OTHER)
        assert await ben.ask(Send(RID, b"hello"), Sent) == Sent(RID)
        for each in (ada, third):
            assert await each.expect(Deliver) == Deliver(RID, b"hello")
        assert await ben.ask(Send(OTHER, b"you"), Sent) == Sent(OTHER)
        assert await third.expect(Deliver) == Deliver(OTHER, b"you")


async def test_a_send_to_nobody_is_answered_so(ada: FrameClient, ben: FrameClient) -> None:
    assert await ben.ask(Send(RID, b"x"), Nobody) == Nobody(RID)
    await subscribed(ada, RID)
    await ada.send(Unsub((RID, OTHER)), Ping())
    await ada.expect(Pong)
    assert await ben.ask(Send(RID, b"x"), Nobody) == Nobody(RID)


async def test_who_left_is_nobody(url: str, ben: FrameClient) -> None:
    async with frame_client(url) as leaving:
        await subscribed(leaving, RID)
        assert await ben.ask(Send(RID, b"x"), Sent)
    async with asyncio.timeout(5):
        while isinstance(await _answer(ben, Send(RID, b"x")), Sent):
            pass


async def test_answers_come_in_the_order_of_the_sends(ada: FrameClient, ben: FrameClient) -> None:
    await subscribed(ada, RID)
    frames = [Send(RID if n % 3 else OTHER, b"%d" % n) for n in range(60)]
    await ben.send(*frames)
    for frame in frames:
        assert await ben.receive() == (Sent(RID) if frame.rid == RID else Nobody(OTHER))
    for frame in frames:
        if frame.rid == RID:
            assert await ada.receive() == Deliver(RID, frame.payload)


async def test_a_client_may_talk_to_itself(ada: FrameClient) -> None:
    await subscribed(ada, RID, RID)
    await ada.send(Send(RID, b"me"))
    assert {type(await ada.receive()) for _ in range(2)} == {Sent, Deliver}


async def test_more_ids_than_welcome_says_end_the_connection(ada: FrameClient) -> None:
    await ada.send(Sub(tuple(RendezvousId(bytes([n]) * 16) for n in range(9))))
    assert (await ada.expect(Error)).code is ErrorCode.TOO_MUCH
    await ada.ended()


# ------------------------------------------------------------------ tunnels


async def test_two_with_the_same_token_are_joined(ada: FrameClient, ben: FrameClient) -> None:
    await ada.send(TunnelJoin(b"k" * 16))
    await ben.send(TunnelJoin(b"k" * 16))
    for each in (ada, ben):
        await each.expect(TunnelJoined)
    for size in (0, 1, 1000, 65_536):
        await ada.connection.send(b"a" * size)
        await ben.connection.send(b"b" * size)
        assert await ben.receive_raw() == b"a" * size
        assert await ada.receive_raw() == b"b" * size
    await ada.connection.close()
    await ben.ended()


async def test_bytes_sent_right_after_joining_are_not_lost(ada: FrameClient, ben: FrameClient) -> None:
    await ada.send(TunnelJoin(b"k" * 16))
    await ada.connection.send(b"early")
    await ben.send(TunnelJoin(b"k" * 16))
    await ben.expect(TunnelJoined)
    assert await ben.receive_raw() == b"early"


async def test_who_waits_in_vain_is_told(ada: FrameClient) -> None:
    await ada.send(TunnelJoin(b"k" * 16))
    assert (await ada.expect(Error)).code is ErrorCode.NOT_HERE
    await ada.ended()


async def test_another_token_does_not_join(url: str, ada: FrameClient, ben: FrameClient) -> None:
    await ada.send(TunnelJoin(b"k" * 16))
    await ben.send(TunnelJoin(b"l" * 16))
    for each in (ada, ben):
        assert (await each.expect(Error)).code is ErrorCode.NOT_HERE


async def test_a_third_with_the_token_waits_for_a_fourth(
    url: str, ada: FrameClient, ben: FrameClient
) -> None:
    for each in (ada, ben):
        await each.send(TunnelJoin(b"k" * 16))
    for each in (ada, ben):
        await each.expect(TunnelJoined)
    async with frame_client(url) as third:
        await third.send(TunnelJoin(b"k" * 16))
        assert (await third.expect(Error)).code is ErrorCode.NOT_HERE
    await ada.connection.send(b"still there")
    assert await ben.receive_raw() == b"still there"


async def test_who_waited_and_left_is_not_joined(url: str, ada: FrameClient) -> None:
    async with frame_client(url) as leaving:
        await leaving.send(TunnelJoin(b"k" * 16))
    await ada.send(TunnelJoin(b"k" * 16))
    frame = await ada.receive()
    if isinstance(frame, TunnelJoined):  # it had not been noticed yet: then the tunnel ends at once
        await ada.ended()
    else:
        assert frame == Error(ErrorCode.NOT_HERE)


async def test_a_message_of_a_tunnel_is_at_most_64_kib(ada: FrameClient, ben: FrameClient) -> None:
    for each in (ada, ben):
        await each.send(TunnelJoin(b"k" * 16))
    for each in (ada, ben):
        await each.expect(TunnelJoined)
    await ada.connection.send(bytes(65_537))
    for each in (ada, ben):
        await each.ended()


# ------------------------------------------------------------------ nameplates


async def test_two_meet_at_a_nameplate(ada: FrameClient, ben: FrameClient) -> None:
    held = await ada.ask(NameplateAllocate(7), NameplateHeld)
    assert held.request == 7
    await ada.send(NameplateSay(held.number, b"early"))
    assert await ben.ask(NameplateClaim(8, held.number), NameplateHeld) == NameplateHeld(8, held.number)
    assert await ben.expect(NameplateHeard) == NameplateHeard(held.number, b"early")
    await ben.send(NameplateSay(held.number, b"hello"))
    assert await ada.expect(NameplateHeard) == NameplateHeard(held.number, b"hello")
    await ada.send(NameplateRelease(held.number))
    assert await ben.expect(NameplateClosed) == NameplateClosed(held.number, RefusalCode.GONE)
    await ben.send(NameplateSay(held.number, b"anybody?"))
    assert (await ben.expect(NameplateClosed)).code is RefusalCode.GONE


async def test_a_connection_that_ends_gives_its_numbers_back(url: str, ada: FrameClient) -> None:
    async with frame_client(url) as leaving:
        number = (await leaving.ask(NameplateAllocate(1), NameplateHeld)).number
        await ada.ask(NameplateClaim(1, number), NameplateHeld)
    assert await ada.expect(NameplateClosed) == NameplateClosed(number, RefusalCode.GONE)


async def test_a_third_crowds_a_nameplate(url: str, ada: FrameClient, ben: FrameClient) -> None:
    number = (await ada.ask(NameplateAllocate(1), NameplateHeld)).number
    await ben.ask(NameplateClaim(1, number), NameplateHeld)
    async with frame_client(url) as third:
        assert await third.ask(NameplateClaim(5, number), Refused) == Refused(5, RefusalCode.CROWDED)
    for each in (ada, ben):
        assert await each.expect(NameplateClosed) == NameplateClosed(number, RefusalCode.CROWDED)


async def test_claims_of_what_is_not_there_are_refused(ada: FrameClient) -> None:
    assert await ada.ask(NameplateClaim(3, 4242), Refused) == Refused(3, RefusalCode.GONE)
    number = (await ada.ask(NameplateAllocate(4), NameplateHeld)).number
    assert await ada.ask(NameplateClaim(5, number), Refused) == Refused(5, RefusalCode.GONE)
    await ada.send(NameplateRelease(4242), Ping())
    await ada.expect(Pong)


async def test_one_connection_holds_so_many_numbers_only(ada: FrameClient) -> None:
    for _ in range(2):
        await ada.ask(NameplateAllocate(1), NameplateHeld)
    assert (await ada.ask(NameplateAllocate(1), Refused)).code is RefusalCode.RATE


async def test_too_many_sayings_for_nobody_close_the_number(ada: FrameClient) -> None:
    number = (await ada.ask(NameplateAllocate(1), NameplateHeld)).number
    await ada.send(*[NameplateSay(number, b"%d" % n) for n in range(9)])
    assert await ada.expect(NameplateClosed) == NameplateClosed(number, RefusalCode.RATE)


# ------------------------------------------------------------------ mailboxes


async def test_what_one_puts_another_gets(ada: FrameClient, ben: FrameClient) -> None:
    assert await ada.ask(MailboxGet(1, BOX, TOKEN, 0, 1000), MailboxItems) == MailboxItems(1, NONE, 0, ())
    stored = await ada.ask(MailboxPut(2, BOX, TOKEN, b"item"), MailboxStored)
    page = await ben.ask(MailboxGet(3, BOX, TOKEN, 0, 1000), MailboxItems)
    assert page == MailboxItems(3, stored.incarnation, stored.position, ((stored.position, b"item"),))
    status = await ben.ask(MailboxStatRequest(4, BOX, TOKEN), MailboxStatus)
    assert (status.items, status.size_bytes, status.first, status.last) == (
        1,
        4,
        stored.position,
        stored.position,
    )


async def test_the_largest_page_fits_into_a_frame(ada: FrameClient) -> None:
    for n in range(3):
        await ada.ask(MailboxPut(n, BOX, TOKEN, bytes([n]) * (512 * 1024)), MailboxStored)
    for n in range(1100):
        await ada.send(MailboxPut(n, b"n" * 16, TOKEN, b"%d" % n))
    for _ in range(1100):
        await ada.expect(MailboxStored)
    page = await ada.ask(MailboxGet(1, BOX, TOKEN, 0, PAGE_BYTES_MAX), MailboxItems)
    assert len(page.items) == 1
    page = await ada.ask(MailboxGet(1, b"n" * 16, TOKEN, 0, PAGE_BYTES_MAX), MailboxItems)
    assert len(page.items) == 1024


async def test_a_slow_line_gets_its_page_and_what_else_comes_meanwhile(tmp_path: Path) -> None:
    limits = replace(LIMITS, unsent_bytes_max=10_000, send_s_max=0.3)
    async with (
        running_relay(replace(settings(tmp_path), limits=limits)) as (_, ready),
        frame_client(ready.url) as ada,
        frame_client(ready.url, sock=_narrow_socket(ready.port)) as slow,
    ):
        for n in range(3):
            await ada.ask(MailboxPut(n, BOX, TOKEN, bytes([n]) * 500_000), MailboxStored)
        await subscribed(slow, RID)
        transport = slow.connection.transport
        transport.pause_reading()
        await slow.send(MailboxGet(1, BOX, TOKEN, 0, 500_000))
        for step in range(50):
            await asyncio.sleep(0.03)
            if step in (2, 4, 6):
                await ada.ask(Send(RID, b"meanwhile"), Sent)
            transport.resume_reading()
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # one read
            transport.pause_reading()
        transport.resume_reading()
        assert len((await slow.expect(MailboxItems)).items) == 1
        for _ in range(3):
            assert await slow.expect(Deliver) == Deliver(RID, b"meanwhile")
        await slow.ask(Ping(), Pong)


def _narrow_socket(port: int) -> socket.socket:
    """A connection that takes little at a time."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made


async def test_refusals_carry_the_number_of_the_request(ada: FrameClient) -> None:
    stored = await ada.ask(MailboxPut(1, BOX, TOKEN, b"item"), MailboxStored)
    wrong = b"x" * 32
    for request, code in (
        (MailboxPut(11, BOX, wrong, b"x"), RefusalCode.WRONG_TOKEN),
        (MailboxGet(12, BOX, wrong, 0, 10), RefusalCode.WRONG_TOKEN),
        (MailboxWatch(13, BOX, wrong), RefusalCode.WRONG_TOKEN),
        (MailboxStatRequest(14, BOX, wrong), RefusalCode.WRONG_TOKEN),
        (MailboxCompact(15, BOX, wrong, stored.position, b"x"), RefusalCode.WRONG_TOKEN),
        (MailboxCompact(16, BOX, TOKEN, stored.position - 1, b"x"), RefusalCode.CHANGED),
    ):
        assert await ada.ask(request, Refused) == Refused(request.request, code)


async def test_a_watcher_is_told_at_once_and_of_every_change(ada: FrameClient, ben: FrameClient) -> None:
    assert await ada.ask(MailboxWatch(1, BOX, TOKEN), MailboxNews) == MailboxNews(BOX, NONE, 0)
    stored = await ben.ask(MailboxPut(1, BOX, TOKEN, b"item"), MailboxStored)
    assert await ada.expect(MailboxNews) == MailboxNews(BOX, stored.incarnation, stored.position)
    merged = await ben.ask(MailboxCompact(1, BOX, TOKEN, stored.position, b"all"), MailboxStored)
    assert await ada.expect(MailboxNews) == MailboxNews(BOX, stored.incarnation, merged.position)
    await ada.send(MailboxUnwatch(BOX), Ping())
    await ada.expect(Pong)
    await ben.ask(MailboxPut(1, BOX, TOKEN, b"more"), MailboxStored)
    await asyncio.sleep(0.1)
    await ada.ask(Ping(), Pong)


async def test_many_changes_are_told_as_few_news(ada: FrameClient, ben: FrameClient) -> None:
    await ada.ask(MailboxWatch(1, BOX, TOKEN), MailboxNews)
    await ben.send(*[MailboxPut(n, BOX, TOKEN, b"%d" % n) for n in range(200)])
    for _ in range(200):
        last = await ben.expect(MailboxStored)
    news = 1
    while (await ada.expect(MailboxNews)).last != last.position:
        news += 1
    assert news < 100


async def test_who_watched_with_another_token_before_it_was_made_hears_nothing(
    ada: FrameClient, ben: FrameClient
) -> None:
    await ada.ask(MailboxWatch(1, BOX, b"x" * 32), MailboxNews)
    await ben.ask(MailboxPut(1, BOX, TOKEN, b"item"), MailboxStored)
    await ben.ask(MailboxPut(2, BOX, TOKEN, b"more"), MailboxStored)
    await asyncio.sleep(0.1)
    await ada.ask(Ping(), Pong)
    assert (await ada.ask(MailboxWatch(2, BOX, b"x" * 32), Refused)).code is RefusalCode.WRONG_TOKEN


async def test_one_connection_watches_so_many_only(ada: FrameClient) -> None:
    for n in range(3):
        await ada.ask(MailboxWatch(n, bytes([n]) * 16, TOKEN), MailboxNews)
    await ada.ask(MailboxWatch(8, bytes([1]) * 16, TOKEN), MailboxNews)
    assert await ada.ask(MailboxWatch(9, b"z" * 16, TOKEN), Refused) == Refused(9, RefusalCode.FULL)


# ------------------------------------------------------------------ tokens of the operator


async def test_with_a_token_nothing_is_done_before_it_is_said(tmp_path: Path) -> None:
    guarded = replace(settings(tmp_path), tokens=(b"correct horse", b"the next one"))
    async with running_relay(guarded) as (_, ready):
        for frame in (Send(RID, b"x"), MailboxPut(1, BOX, TOKEN, b"x"), Ping(), TunnelJoin(b"k" * 16)):
            async with frame_client(ready.url) as stranger:
                await stranger.send(frame)
                assert (await stranger.expect(Error)).code is ErrorCode.TOKEN_NEEDED
                await stranger.ended()
        async with frame_client(ready.url) as guesser:
            await guesser.send(Auth(b"wrong"))
            assert (await guesser.expect(Error)).code is ErrorCode.TOKEN_NEEDED
        for token in (b"correct horse", b"the next one"):
            async with frame_client(ready.url) as friend:
                await friend.ask(Auth(token), Accepted)
                await friend.ask(Ping(), Pong)


async def test_a_token_that_nobody_asked_for_is_fine(ada: FrameClient) -> None:
    await ada.ask(Auth(b"whatever"), Accepted)


async def _answer(client: FrameClient, frame: Send) -> object:
    await client.send(frame)
    return await client.receive()
