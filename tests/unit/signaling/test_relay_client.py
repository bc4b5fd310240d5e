"""The connection to a relay: order, coming back, a relay that lies or floods (PROTOCOL §6, §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sheaf.core.base.errors import TransportFailure
from sheaf.core.base.ids import RendezvousId
from sheaf.core.wire.relay_frames import (
    Accepted,
    Auth,
    Deliver,
    Error,
    Frame,
    Nobody,
    Pong,
    Refused,
    Send,
    Sent,
    Sub,
    Unsub,
    Welcome,
    encode_frame,
)
from sheaf.core.wire.relay_requests import (
    MailboxGet,
    MailboxItems,
    MailboxNews,
    MailboxPut,
    MailboxStored,
    MailboxUnwatch,
    MailboxWatch,
)
from sheaf.core.wire.relay_words import ErrorCode, RefusalCode, RelayRefused
from sheaf.ports import MailboxAccess, RelayState
from sheaf.signaling.relay_client import RelayTiming
from tests.support.nodes import until
from tests.support.relay_world import connected, running, talking
from tests.support.scripted_relay import (
    WELCOME,
    Caller,
    after_welcome,
    listen,
    scripted_relay,
)

ME, OTHER, THIRD = (RendezvousId(letter * 16) for letter in (b"m", b"o", b"t"))
BOX = MailboxAccess(b"b" * 16, b"t" * 32)
QUICK = RelayTiming(
    backoff_first_s=0.01, backoff_s_max=0.05, refused_s_min=0.02, ping_every_s=0.05, pong_s_max=0.2
)
LIFE = b"i" * 8


# ------------------------------------------------------------------ signalling


async def test_own_rids_are_told_before_the_first_message_and_changes_as_differences() -> None:
    async def script(caller: Caller) -> None:
        while True:
            frame = await caller.next()
            if isinstance(frame, Send):
                await caller.socket.send(Sent(frame.rid))

    async with talking(script) as (held, relay):
        held.client.subscribe([ME, OTHER])
        assert await held.client.send(THIRD, b"sealed")
        held.client.subscribe([OTHER, THIRD])
        assert await held.client.send(ME, b"again")
        heard = [frame for frame in relay.callers[0].heard if isinstance(frame, Sub | Unsub | Send)]
        assert heard == [
            Sub((ME, OTHER)),
            Send(THIRD, b"sealed"),
            Unsub((ME,)),
            Sub((THIRD,)),
            Send(ME, b"again"),
        ]


async def test_more_rids_than_the_relay_takes_are_cut_off_at_the_end() -> None:
    async def script(caller: Caller) -> None:
        await caller.socket.send(Welcome(1, False, 1000, 1000, 2, 0))
        await listen(caller)

    async with scripted_relay(script) as relay, running(relay.url) as held:
        held.client.subscribe([ME, OTHER, THIRD])
        await until(lambda: relay.callers and Sub((ME, OTHER)) in relay.callers[0].heard)


async def test_nobody_is_not_a_failure() -> None:
    async def script(caller: Caller) -> None:
        while True:
            frame = await caller.past_subscriptions()
            assert isinstance(frame, Send)
            await caller.socket.send(Sent(frame.rid) if frame.rid == OTHER else Nobody(frame.rid))

    async with talking(script) as (held, _):
        answers = await asyncio.gather(*(held.client.send(rid, b"x") for rid in (OTHER, THIRD, OTHER)))
        assert answers == [True, False, True]


async def test_what_comes_for_me_is_handed_on_and_the_rest_is_not() -> None:
    async def script(caller: Caller) -> None:
        await caller.next()
        for rid, payload in ((OTHER, b"not mine"), (ME, b"mine")):
            await caller.socket.send(Deliver(rid, payload))
        await caller.gone()

    async with talking(script) as (held, _):
        held.client.subscribe([ME])
        await until(lambda: held.delivered)
        assert held.delivered == [(ME, b"mine")]


# ------------------------------------------------------------------ coming back


async def test_after_a_break_it_comes_back_and_says_all_again() -> None:
    async def script(caller: Caller) -> None:
        assert await caller.next() == Sub((ME,))
        assert isinstance(await caller.next(), MailboxWatch)
        await caller.socket.send(MailboxNews(BOX.mailbox_id, LIFE, 7))
        breaks.append(caller)
        if len(breaks) == 3:
            await caller.gone()

    breaks: list[Caller] = []
    async with scripted_relay(after_welcome(script)) as relay, running(relay.url) as held:
        held.client.subscribe([ME])
        news: list[int] = []
        held.client.watch(BOX, lambda last, _: news.append(last))
        await until(lambda: len(breaks) == len(news) == 3)
        assert RelayState.UNREACHABLE in held.states


async def test_a_relay_that_is_not_there_is_tried_again_and_the_daemon_told_why() -> None:
    async with scripted_relay(after_welcome(lambda caller: caller.gone())) as relay:
        url = relay.url
    async with running(url) as held:
        await until(lambda: held.client.status.state is RelayState.UNREACHABLE)
        assert str(held.client.status.problem).endswith("cannot be reached: connection refused.")
        with pytest.raises(TransportFailure):
            await held.client.send(ME, b"x")
        with pytest.raises(TransportFailure):
            await held.client.put(BOX, b"x")
        port = int(url.rpartition(":")[2])
        async with scripted_relay(after_welcome(lambda caller: caller.gone()), port=port):
            await connected(held)
            assert held.client.status.problem is None


async def test_a_changed_network_makes_the_next_try_immediate() -> None:
    patient = RelayTiming(backoff_first_s=600, backoff_s_max=600)
    async with scripted_relay(after_welcome(lambda caller: caller.gone())) as relay:
        url = relay.url
    async with running(url, patient) as held:
        await until(lambda: held.client.status.state is RelayState.UNREACHABLE)
        port = int(url.rpartition(":")[2])
        async with scripted_relay(after_welcome(lambda caller: caller.gone()), port=port):
            held.client.network_changed()
            await connected(held)


@pytest.mark.parametrize("has_moved", [True, False])
async def test_a_connection_that_breaks_just_after_a_move_is_made_anew_without_a_pause(
    has_moved: bool,
) -> None:
    broken = asyncio.Event()

    async def script(caller: Caller) -> None:
        if relay.count == 1:
            await broken.wait()  # and ends: the address is the same, the network is another
        else:
            await listen(caller)

    patient = RelayTiming(backoff_first_s=600, backoff_s_max=600)
    async with scripted_relay(after_welcome(script)) as relay, running(relay.url, patient) as held:
        await connected(held)
        if has_moved:
            held.client.network_changed()
        broken.set()
        await until(lambda: relay.count == 2 or held.client.status.state is RelayState.UNREACHABLE)
        await asyncio.sleep(0.05)
        assert relay.count == (2 if has_moved else 1)


async def test_a_changed_network_ends_an_attempt_that_goes_nowhere() -> None:
    async def silent(caller: Caller) -> None:
        if relay.count == 1:
            await caller.gone()  # no WELCOME: this is how a network looks that swallows everything
        await after_welcome(listen)(caller)

    async with scripted_relay(silent) as relay, running(relay.url) as held:
        await until(lambda: relay.count == 1)
        held.client.network_changed()
        await connected(held)


async def test_a_defect_of_who_is_told_does_not_end_the_relay_for_ever() -> None:
    async def script(caller: Caller) -> None:
        assert isinstance(await caller.next(), MailboxWatch)
        await caller.socket.send(MailboxNews(BOX.mailbox_id, LIFE, 7))
        await caller.gone()

    async with talking(script) as (held, relay):

        def fail(last: int, incarnation: bytes) -> None:
            raise RuntimeError("a defect")

        end = held.client.watch(BOX, fail)
        await until(lambda: relay.count >= 2)
        end()
        await connected(held)


async def test_a_relay_that_falls_silent_is_noticed() -> None:
    async def silent(caller: Caller) -> None:
        caller.is_answering_pings = False
        await caller.gone()

    async with talking(silent, QUICK) as (held, relay):
        await until(lambda: relay.count >= 2)
        assert RelayState.UNREACHABLE in held.states


async def test_pings_measure_the_round_trip_and_keep_the_connection() -> None:
    async def script(caller: Caller) -> None:
        while True:
            await caller.next()

    async with talking(script, QUICK) as (held, relay):
        await until(lambda: held.client.status.rtt_s is not None)
        await until(lambda: len(relay.callers[0].heard) > 3)
        assert relay.count == 1


# ------------------------------------------------------------------ being refused


async def test_the_token_is_shown_only_when_asked_for() -> None:
    seen: list[Frame] = []

    async def script(caller: Caller) -> None:
        await caller.socket.send(Welcome(1, True, 1000, 1000, 10, 3478))
        seen.append(await caller.next())
        await caller.socket.send(Accepted())
        await caller.gone()

    async with scripted_relay(script) as relay:
        url = relay.url.replace("ws://", "ws://s3cret@")
        async with running(url) as held:
            await connected(held)
            assert seen == [Auth(b"s3cret")]
            assert held.client.url == relay.url
            assert held.client.status.stun == "127.0.0.1:3478"
            assert held.client.item_bytes_max == 1000


async def test_without_the_token_it_says_what_to_do() -> None:
    async def script(caller: Caller) -> None:
        await caller.socket.send(Welcome(1, True, 1000, 1000, 10, 0))
        await caller.gone()

    async with scripted_relay(script) as relay, running(relay.url) as held:
        await until(lambda: held.client.status.state is RelayState.REFUSED)
        assert "TOKEN@host" in str(held.client.status.problem)


async def test_another_version_and_no_relay_at_all_are_told_apart() -> None:
    async def newer(caller: Caller) -> None:
        await caller.socket.send(Welcome(9, False, 1000, 1000, 10, 0))
        await caller.gone()

    async with scripted_relay(newer) as relay, running(relay.url) as held:
        await until(lambda: held.client.status.state is RelayState.REFUSED)
        assert "version 9" in str(held.client.status.problem)

    async def no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(no_http, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with running(f"ws://127.0.0.1:{port}") as held:
        await until(lambda: held.client.status.state is RelayState.REFUSED)
        assert "There is no relay" in str(held.client.status.problem)
    server.close()


# ------------------------------------------------------------------ requests


async def test_requests_are_matched_by_their_numbers_in_any_order() -> None:
    async def script(caller: Caller) -> None:
        first, second = await caller.next(), await caller.next()
        assert isinstance(first, MailboxPut)
        assert isinstance(second, MailboxPut)
        await caller.socket.send(Refused(second.request, RefusalCode.FULL))
        await caller.socket.send(MailboxStored(first.request, 5, LIFE))
        await caller.gone()

    async with talking(script) as (held, _):
        stored, refusal = await asyncio.gather(
            held.client.put(BOX, b"one"), held.client.put(BOX, b"two"), return_exceptions=True
        )
        assert getattr(stored, "position", None) == 5
        assert isinstance(refusal, RelayRefused)
        assert refusal.code is RefusalCode.FULL


async def test_everybody_who_waits_is_told_when_the_connection_ends() -> None:
    async def script(caller: Caller) -> None:
        for _ in range(3):
            await caller.next()

    async with talking(script) as (held, _):
        outcomes = await asyncio.gather(
            held.client.put(BOX, b"x"),
            held.client.send(OTHER, b"x"),
            held.client.get(BOX, 0, 10),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, TransportFailure) for outcome in outcomes)


@pytest.mark.parametrize(
    "lie",
    [
        lambda get: MailboxStored(get.request, 1, LIFE),
        lambda get: MailboxItems(get.request, LIFE, 9, ((3, b"x"), (2, b"y"))),
        lambda get: MailboxItems(get.request, LIFE, 9, ((get.after, b"x"),)),
    ],
    ids=["another answer", "out of order", "what we have"],
)
async def test_an_answer_that_cannot_be_right_ends_the_connection(
    lie: Callable[[MailboxGet], Frame],
) -> None:
    async def script(caller: Caller) -> None:
        get = await caller.next()
        assert isinstance(get, MailboxGet)
        await caller.socket.send(lie(get))
        await caller.gone()

    async with talking(script) as (held, relay):
        with pytest.raises(TransportFailure):
            await held.client.get(BOX, 1, 100)
        await until(lambda: relay.count == 2)


async def test_a_watch_that_was_refused_is_asked_for_again() -> None:
    async def script(caller: Caller) -> None:
        watch = await caller.next()
        assert isinstance(watch, MailboxWatch)
        await caller.socket.send(Refused(watch.request, RefusalCode.RATE))
        again = await caller.next()
        assert isinstance(again, MailboxWatch)
        await caller.socket.send(MailboxNews(BOX.mailbox_id, LIFE, 3))
        while not isinstance(await caller.next(), MailboxUnwatch):
            pass
        await caller.gone()

    async with talking(script, QUICK) as (held, relay):
        news: list[int] = []
        end = held.client.watch(BOX, lambda last, _: news.append(last))
        await until(lambda: news == [3])
        end()
        await until(lambda: any(isinstance(frame, MailboxUnwatch) for frame in relay.callers[0].heard))


# ------------------------------------------------------------------ a relay that lies or floods


LIES: dict[str, bytes] = {
    "an unknown frame": b"\xa1\x00\x18\x63",
    "not a frame": b"junk",
    "what only clients send": encode_frame(Sub((ME,))),
    "a second welcome": encode_frame(WELCOME),
    "an answer to no message": encode_frame(Sent(OTHER)),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
async def test_a_relay_that_breaks_the_rules_is_left_and_tried_later(lie: bytes) -> None:
    async def script(caller: Caller) -> None:
        await caller.socket.send_raw(lie)
        await caller.gone()

    async with talking(script) as (held, relay):
        await until(lambda: relay.count >= 2)
        assert RelayState.UNREACHABLE in held.states


FLOODS: dict[str, Frame] = {
    "messages for others": Deliver(OTHER, b"x"),
    "messages for us": Deliver(ME, b"x"),
    "news nobody asked for": MailboxNews(b"x" * 16, LIFE, 1),
    "answers nobody waits for": Refused(99, RefusalCode.RATE),
    "pongs": Pong(),
}


@pytest.mark.parametrize("frame", FLOODS.values(), ids=list(FLOODS))
async def test_a_relay_that_floods_is_left(frame: Frame) -> None:
    async def script(caller: Caller) -> None:
        await caller.next()
        for _ in range(5000):
            await caller.socket.send(frame)

    async with talking(script) as (held, relay):
        held.client.subscribe([ME])
        await until(lambda: relay.count >= 2)
        assert len(held.delivered) <= 2 * 1100


async def test_a_huge_frame_ends_the_connection() -> None:
    async def script(caller: Caller) -> None:
        await caller.socket.send_raw(bytes(2 * 1024 * 1024))
        await caller.gone()

    async with talking(script) as (_, relay):
        await until(lambda: relay.count >= 2)


async def test_after_going_away_it_comes_back_soon() -> None:
    async def script(caller: Caller) -> None:
        await caller.socket.send(Error(ErrorCode.GOING_AWAY))
        await caller.gone()

    async with talking(script) as (held, relay):
        await until(lambda: relay.count >= 3)
        assert "restarts" in str(held.client.status.problem) or held.client.is_connected
