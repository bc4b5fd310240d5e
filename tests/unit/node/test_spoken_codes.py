"""Inviting by a code that is said aloud, between two nodes and a relay in memory (PROTOCOL §8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sheaf.clock import SystemClock
from sheaf.core.base.errors import TransportFailure, UsageError
from sheaf.core.base.ids import OpId, SpaceId, UserId
from sheaf.core.protocol.spoken_code import CodeInviter, Party
from sheaf.core.space.roles import Role
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.node import code_joins, spoken_codes
from sheaf.node.node import Node
from sheaf.node.spoken_codes import CODE_S, CODES_MAX, GRACE_S, KEPT_S, load_words
from sheaf.node.views import CodeState, CodeView, InvitationView, JoinState, JoinView
from sheaf.ports.relay import Nameplate, Relay
from tests.support.memory_network import MemoryLan
from tests.support.memory_relay import MemoryRelayPool, RelayBox
from tests.support.nodes import machine, running, seeded_entropy, until

URL = "wss://relay.example"
OVER = (JoinState.DONE, JoinState.FAILED)


class SettableClock(SystemClock):
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s

    def wall_ms(self) -> int:
        return super().wall_ms() + round(self.ahead_s * 1000)


class Town:
    """Two nodes that can meet, and a relay."""

    def __init__(
        self, box: RelayBox, nodes: list[Node], clock: SettableClock, relays: MemoryRelayPool
    ) -> None:
        self.box = box
        self.nodes = nodes
        self.clock = clock
        self.relays = relays
        """Of somebody without a node."""

    @property
    def relay(self) -> Relay:
        return self.relays.relays()[0]


@asynccontextmanager
async def town(*names: str, urls: tuple[str, ...] = (URL,)) -> AsyncIterator[Town]:
    lan, box, clock = MemoryLan(), RelayBox(URL), SettableClock()
    machines = [machine(lan, name) for name in names]
    for each in machines:
        each.clock = clock
        each.relays = pool_of(box, *urls)
    async with running(*machines) as nodes:
        yield Town(box, nodes, clock, pool_of(box, URL))


def pool_of(box: RelayBox, *urls: str) -> MemoryRelayPool:
    pool = MemoryRelayPool(box)
    pool.set_urls(urls)
    return pool


async def invite(node: Node) -> tuple[SpaceId, OpId, CodeView]:
    spaces = node.spaces()
    space_id = spaces[0].space_id if spaces else (await node.create_space("Home")).space_id
    view = await node.create_invitation(
        space_id, role=Role.EDITOR, expires_in_s=None, max_uses=1, by_code=True
    )
    assert view.code is not None
    assert view.code.state is CodeState.WAITING
    assert view.ticket is None
    return space_id, view.op_id, view.code


def code_of(node: Node, space_id: SpaceId, op_id: OpId) -> CodeView:
    code = node.invitation(space_id, op_id).code
    assert code is not None
    return code


async def join_by(node: Node, text: str) -> JoinView:
    """Join, and wait for the end."""
    begun = await node.join(text)
    await until(lambda: node.join_status(begun.join_id).state in OVER)
    return node.join_status(begun.join_id)


async def until_state(node: Node, space_id: SpaceId, op_id: OpId, state: CodeState) -> CodeView:
    await until(lambda: code_of(node, space_id, op_id).state is state)
    return code_of(node, space_id, op_id)


def is_withdrawn(view: InvitationView) -> bool:
    return view.is_revoked and view.ticket is None


def misheard(code: CodeView) -> str:
    number, first, second = code.text.split("-")
    return f"{number}-{first}-{'able' if second != 'able' else 'zoo'}"


# --------------------------------------------------------------------------- it works


async def test_who_was_told_the_code_comes_in_and_both_see_the_same_words() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        joined = await join_by(bob, code.text.upper().replace("-", " "))
        assert joined.error is None
        assert (joined.state, joined.space_id, joined.inviter_name) == (JoinState.DONE, space, "ann")
        used = await until_state(ann, space, op, CodeState.USED)
        assert used.guest_name == "bob"
        assert used.safety_words == joined.safety_words
        assert len(used.safety_words or ()) == 4
        assert [each.space_id for each in bob.spaces()] == [space]
        assert not here.box.plates


async def test_events_tell_both_sides_that_to_look_again() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        heard_by_ann, heard_by_bob = ann.events.subscribe(), bob.events.subscribe()
        joined = await join_by(bob, code.text)
        await until_state(ann, space, op, CodeState.USED)
        event = await anext(heard_by_ann)
        while event.kind != "invitations_changed":
            event = await anext(heard_by_ann)
        assert event.data["space_id"] == space.text
        event = await anext(heard_by_bob)
        while event.kind != "join_changed" or event.data["state"] != "done":
            event = await anext(heard_by_bob)
        assert event.data["join_id"] == joined.join_id


async def test_two_codes_at_once_bring_each_their_own_guest() -> None:
    async with town("ann", "bob", "carol") as here:
        ann, bob, carol = here.nodes
        invited = [await invite(ann), await invite(ann)]
        guests = await asyncio.gather(join_by(carol, invited[1][2].text), join_by(bob, invited[0][2].text))
        assert [view.error for view in guests] == [None, None]
        names = [(await until_state(ann, space, op, CodeState.USED)).guest_name for space, op, _ in invited]
        assert names == ["bob", "carol"]


async def test_the_ticket_behind_a_code_lets_nobody_else_in() -> None:
    async with town("ann", "bob", "eve") as here:
        ann, bob, eve = here.nodes
        space, op, code = await invite(ann)
        ann._invitations.reserve(op, UserId(b"b" * 32))
        leaked = ann._desk.codes._codes[op].ticket
        refused = await join_by(eve, leaked)
        assert refused.state is JoinState.FAILED
        assert len(ann.members(space)) == 1
        joined = await join_by(bob, code.text)
        assert joined.error is None


async def test_the_same_code_typed_twice_is_one_join() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        _, _, code = await invite(ann)
        first, second = await asyncio.gather(bob.join(code.text), bob.join(code.text))
        assert first.join_id == second.join_id
        await until(lambda: bob.join_status(first.join_id).state is JoinState.DONE)


# --------------------------------------------------------------------------- it is tried and fails


async def test_a_wrong_word_burns_the_code_and_both_sides_are_told() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        failed = await join_by(bob, misheard(code))
        assert failed.error is not None
        assert failed.error[0] == "The code was not right"
        burned = await until_state(ann, space, op, CodeState.BURNED)
        assert "other words" in (burned.problem or "")
        await until(lambda: is_withdrawn(ann.invitation(space, op)))
        again = await join_by(bob, code.text)
        assert again.error is not None
        assert again.error[0] == "Nobody waits for this code"
        assert len(ann.members(space)) == 1


async def test_a_third_at_the_number_makes_it_worthless_for_everybody() -> None:
    async with town("ann") as here:
        (ann,) = here.nodes
        space, op, code = await invite(ann)
        number = int(code.text.split("-")[0])
        plate = await here.relay.claim_nameplate(number)
        await plate.hear()
        with pytest.raises(RelayRefused) as refused:
            await here.relay.claim_nameplate(number)
        assert refused.value.code is RefusalCode.CROWDED
        burned = await until_state(ann, space, op, CodeState.BURNED)
        assert "Two came" in (burned.problem or "")


async def test_a_joiner_who_finds_the_number_crowded_is_told() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        await here.relay.claim_nameplate(int(code.text.split("-")[0]))
        failed = await join_by(bob, code.text)
        assert failed.error is not None
        assert failed.error[0] == "Two used this code at the same time"
        await until_state(ann, space, op, CodeState.BURNED)


@pytest.mark.parametrize("junk", [b"", b"\xff" * 40, b"\xa0", b"x" * 4096])
async def test_junk_instead_of_an_answer_burns_the_code(junk: bytes) -> None:
    async with town("ann") as here:
        (ann,) = here.nodes
        space, op, code = await invite(ann)
        plate = await here.relay.claim_nameplate(int(code.text.split("-")[0]))
        await plate.say(junk)
        await until_state(ann, space, op, CodeState.BURNED)


async def test_who_leaves_in_the_middle_has_used_the_code_up() -> None:
    async with town("ann") as here:
        (ann,) = here.nodes
        space, op, code = await invite(ann)
        plate = await here.relay.claim_nameplate(int(code.text.split("-")[0]))
        await plate.hear()
        await plate.release()
        burned = await until_state(ann, space, op, CodeState.BURNED)
        assert "left" in (burned.problem or "")


async def test_a_relay_that_goes_away_ends_the_code_in_words() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        here.box.switch(is_up=False)
        failed = await until_state(ann, space, op, CodeState.FAILED)
        assert "relay" in (failed.problem or "")
        refused = await join_by(bob, code.text)
        assert refused.error is not None
        assert refused.error[0] == "The relay cannot be reached"
        with pytest.raises(TransportFailure, match="cannot be reached"):
            await invite(ann)
        await until(lambda: is_withdrawn(ann.invitation(space, op)))


# --------------------------------------------------------------------------- time and limits


async def test_a_code_is_over_after_ten_minutes() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        assert 0 < code.expires_ms - here.clock.wall_ms() <= 600_000
        here.clock.ahead_s = CODE_S - 5
        await ann._desk.codes.expire()
        assert code_of(ann, space, op).state is CodeState.WAITING
        here.clock.ahead_s = CODE_S + 1
        await ann._desk.codes.expire()
        assert code_of(ann, space, op).state is CodeState.EXPIRED
        assert is_withdrawn(ann.invitation(space, op))
        late = await join_by(bob, code.text)
        assert late.error is not None
        assert late.error[0] == "Nobody waits for this code"
        here.clock.ahead_s = CODE_S + KEPT_S + 2
        await ann._desk.codes.expire()
        assert ann.invitations(space) == []


async def test_a_number_that_the_relay_takes_back_in_the_last_moment_is_expired_not_burned() -> None:
    async with town("ann") as here:
        (ann,) = here.nodes
        space, op, code = await invite(ann)
        here.clock.ahead_s = CODE_S - 1
        here.box.close_plate(int(code.text.split("-")[0]), RelayRefused(RefusalCode.GONE))
        await until_state(ann, space, op, CodeState.EXPIRED)


async def test_who_got_the_ticket_and_never_came_leaves_an_expired_code() -> None:
    async with town("ann") as here:
        (ann,) = here.nodes
        space, op, code = await invite(ann)
        await meet_and_vanish(here, code)
        await until_state(ann, space, op, CodeState.CONFIRMED)
        here.clock.ahead_s = CODE_S + GRACE_S + 1
        assert code_of(ann, space, op).state is CodeState.EXPIRED


async def meet_and_vanish(here: Town, code: CodeView) -> None:
    from sheaf.core.protocol.spoken_code import CodeJoiner

    words = await load_words()
    bob = CodeJoiner(
        code=words.read(code.text),
        me=Party(UserId(b"b" * 32), "Bob"),
        words=words,
        entropy=seeded_entropy("bob"),
    )
    plate = await here.relay.claim_nameplate(int(code.text.split("-")[0]))
    await plate.say(bob.answer(await plate.hear()))
    await plate.hear()
    await plate.release()


async def test_eight_codes_may_wait_and_not_nine() -> None:
    async with town("ann") as here:
        (ann,) = here.nodes
        space, op, _ = await invite(ann)
        more = await asyncio.gather(*(invite(ann) for _ in range(CODES_MAX + 3)), return_exceptions=True)
        refused = [each for each in more if isinstance(each, UsageError)]
        assert len(refused) == 4
        assert "codes are waiting" in str(refused[0])
        assert len(here.box.plates) == CODES_MAX
        await ann.revoke_invitation(space, op)
        await invite(ann)


async def test_a_code_takes_no_other_limits() -> None:
    async with town("ann") as here:
        (ann,) = here.nodes
        space = (await ann.create_space("Home")).space_id
        for expires_in_s, max_uses in ((3600, 1), (None, 2)):
            with pytest.raises(UsageError, match="one person and ten minutes"):
                await ann.create_invitation(
                    space, role=Role.READER, expires_in_s=expires_in_s, max_uses=max_uses, by_code=True
                )


# --------------------------------------------------------------------------- taken back


async def test_a_withdrawn_code_is_gone_with_its_invitation_and_number() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        await ann.revoke_invitation(space, op)
        assert not here.box.plates
        assert ann.invitations(space) == []
        assert ann.invitation(space, op).is_revoked
        failed = await join_by(bob, code.text)
        assert failed.error is not None
        assert failed.error[0] == "Nobody waits for this code"


async def test_a_code_that_is_over_is_put_away_without_a_second_withdrawal() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        await join_by(bob, misheard(code))
        await until(lambda: is_withdrawn(ann.invitation(space, op)))
        assert [view.op_id for view in ann.invitations(space)] == [op]
        ops = len(list(ann._library.host(space).space.control.topological()))
        await ann.revoke_invitation(space, op)
        assert ann.invitations(space) == []
        assert len(list(ann._library.host(space).space.control.topological())) == ops


async def test_a_cancelled_join_lets_the_number_go() -> None:
    async with town("bob") as here:
        (bob,) = here.nodes
        plate = await here.relay.allocate_nameplate()
        begun = await bob.join(f"{plate.number}-orbit-velvet")
        await until(lambda: len(here.box.plates[plate.number]) == 2)
        await bob.cancel_join(begun.join_id)
        with pytest.raises(RelayRefused):
            await plate.hear()
        assert bob.join_status(begun.join_id).state is JoinState.FAILED


async def test_a_daemon_that_stops_gives_its_numbers_back() -> None:
    async with town("ann") as here:
        (ann,) = here.nodes
        await invite(ann)
        await ann.close()
        assert not here.box.plates


# --------------------------------------------------------------------------- bad inviters


async def test_an_inviter_that_says_nothing_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(code_joins, "OFFER_S", 0.05)
    async with town("bob") as here:
        (bob,) = here.nodes
        plate = await here.relay.allocate_nameplate()
        failed = await join_by(bob, f"{plate.number}-orbit-velvet")
        assert failed.error is not None
        assert failed.error[0] == "The inviting side does not answer"


@pytest.mark.parametrize("junk", [b"", b"\xff" * 40, b"x" * 4096])
async def test_junk_instead_of_an_offer_is_not_trusted(junk: bytes) -> None:
    async with town("bob") as here:
        (bob,) = here.nodes
        plate = await here.relay.allocate_nameplate()
        await plate.say(junk)
        failed = await join_by(bob, f"{plate.number}-orbit-velvet")
        assert failed.error is not None
        assert failed.error[0] == "The answer to this code cannot be trusted"


async def test_an_inviter_who_leaves_is_said_to_have_left() -> None:
    async with town("bob") as here:
        (bob,) = here.nodes
        plate = await here.relay.allocate_nameplate()
        begun = await bob.join(f"{plate.number}-orbit-velvet")
        await until(lambda: len(here.box.plates[plate.number]) == 2)
        await plate.release()
        await until(lambda: bob.join_status(begun.join_id).state is JoinState.FAILED)
        error = bob.join_status(begun.join_id).error
        assert error is not None
        assert error[0] == "The inviting side left"


async def answer_with(plate: Nameplate, ticket: Callable[[], str], user_id: UserId) -> None:
    """An inviter who knows its own code and gives out whatever it likes."""
    words = await load_words()
    inviter = CodeInviter(
        code=words.read(f"{plate.number}-orbit-velvet"),
        me=Party(user_id, "Mallory"),
        words=words,
        entropy=seeded_entropy("mallory"),
    )
    await plate.say(inviter.offer())
    inviter.met(await plate.hear())
    await plate.say(inviter.grant(ticket()))


@pytest.mark.parametrize("is_ticket", [True, False])
async def test_a_ticket_of_somebody_else_or_none_at_all_is_refused(is_ticket: bool) -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space = (await ann.create_space("Home")).space_id
        made = await ann.create_invitation(space, role=Role.EDITOR, expires_in_s=None, max_uses=1)
        assert made.ticket is not None
        ticket = made.ticket if is_ticket else "no ticket"
        plate = await here.relay.allocate_nameplate()
        begun = await bob.join(f"{plate.number}-orbit-velvet")
        await answer_with(plate, lambda: ticket, UserId(b"m" * 32))
        await until(lambda: bob.join_status(begun.join_id).state in OVER)
        error = bob.join_status(begun.join_id).error
        assert error is not None
        assert error[0] == "The answer to this code cannot be trusted"


# --------------------------------------------------------------------------- without a relay


async def test_without_a_relay_both_sides_are_told_what_to_do() -> None:
    async with town("ann", urls=()) as here:
        (ann,) = here.nodes
        with pytest.raises(UsageError, match="--relay wss://"):
            await invite(ann)
        with pytest.raises(UsageError, match="sheaf join CODE --relay wss://"):
            await ann.join("7-orbit-velvet")
        assert ann.invitations(ann.spaces()[0].space_id) == []


async def test_a_word_that_is_none_is_said_at_once_and_burns_nothing() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        with pytest.raises(UsageError, match="the code is still good"):
            await bob.join(code.text + "zzz")
        assert code_of(ann, space, op).state is CodeState.WAITING


async def test_a_relay_named_with_a_ticket_or_named_badly_is_a_mistake() -> None:
    async with town("bob") as here:
        (bob,) = here.nodes
        with pytest.raises(UsageError, match="only a code"):
            await bob.join("sheaf1abc", URL)
        with pytest.raises(UsageError, match="looks like wss://"):
            await bob.join("7-orbit-velvet", "relay.example")


async def test_codes_are_not_in_what_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        await join_by(bob, misheard(code))
        await until_state(ann, space, op, CodeState.BURNED)
        shown = repr(ann._desk.codes._codes) + repr(bob._desk.joins._all)
        out, err = capsys.readouterr()
        assert not [word for word in code.text.split("-")[1:] if word in shown + out + err]


def test_the_limits_are_those_of_the_protocol() -> None:
    assert (spoken_codes.CODE_S, CODES_MAX) == (600, 8)
