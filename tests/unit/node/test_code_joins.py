"""Joining by a code that was said aloud, with inviters who are no good (PROTOCOL §8)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sheaf.core.base.errors import UsageError
from sheaf.core.base.ids import UserId
from sheaf.core.protocol.spoken_code import CodeInviter, Party
from sheaf.core.space.roles import Role
from sheaf.core.wire.relay_words import RelayRefused
from sheaf.node import code_joins
from sheaf.node.spoken_codes import load_words
from sheaf.node.views import CodeState, JoinState
from sheaf.ports.relay import Nameplate
from tests.support.code_town import (
    OVER,
    URL,
    code_of,
    invite,
    join_by,
    misheard,
    town,
)
from tests.support.nodes import seeded_entropy, until


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


async def test_a_relay_that_goes_away_in_the_middle_has_used_the_code_up() -> None:
    async with town("bob") as here:
        (bob,) = here.nodes
        plate = await here.relay.allocate_nameplate()
        begun = await bob.join(f"{plate.number}-orbit-velvet")
        await until(lambda: len(here.box.plates[plate.number]) == 2)
        here.box.switch(is_up=False)
        await until(lambda: bob.join_status(begun.join_id).state is JoinState.FAILED)
        error = bob.join_status(begun.join_id).error
        assert error is not None
        assert error[0] == "The connection to the relay broke"
        assert "used up" in error[1]


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
    async with town(without_relay=("ann",)) as here:
        (ann,) = here.nodes
        with pytest.raises(UsageError, match="--relay wss://"):
            await invite(ann)
        with pytest.raises(UsageError, match="sheaf join CODE --relay wss://"):
            await ann.join("7-orbit-velvet")
        assert ann.invitations(ann.spaces()[0].space_id) == []


async def test_a_relay_that_is_named_is_used_for_this_join_and_let_go() -> None:
    async with town("ann", without_relay=("bob",)) as here:
        ann, bob = here.nodes
        relays = here.machines[1].relays
        assert relays is not None
        _, _, code = await invite(ann)
        begun = await bob.join(misheard(code), URL)
        await until(lambda: bob.join_status(begun.join_id).state is JoinState.FAILED)
        error = bob.join_status(begun.join_id).error
        assert error is not None
        assert error[0] == "The code was not right"
        await until(lambda: not relays.relays())
        _, _, code = await invite(ann)
        begun = await bob.join(code.text, URL)
        await until(lambda: bob.join_status(begun.join_id).state in OVER)
        assert bob.join_status(begun.join_id).error is None


async def test_a_relay_that_does_not_exist_is_said_to_be_out_of_reach() -> None:
    async with town(without_relay=("bob",)) as here:
        (bob,) = here.nodes
        begun = await bob.join("7-orbit-velvet", "wss://nowhere.example")
        await until(lambda: bob.join_status(begun.join_id).state is JoinState.FAILED)
        error = bob.join_status(begun.join_id).error
        assert error is not None
        assert error[0] == "The relay cannot be reached"
        assert "still be good" in error[1]


async def test_a_word_that_is_none_is_said_at_once_and_burns_nothing() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        space, op, code = await invite(ann)
        with pytest.raises(UsageError, match="the code is still good"):
            await bob.join(code.text + "zzz")
        assert code_of(ann, space, op).state is CodeState.WAITING


async def test_ones_own_code_is_recognised_and_goes_on_waiting() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        _, _, code = await invite(ann)
        with pytest.raises(UsageError, match="your own code"):
            await ann.join(code.text)
        assert (await join_by(bob, code.text)).error is None


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("orbit velvet", "neither a ticket, which begins with sheaf1, nor a code"),
        ("https://example.org/", "neither a ticket"),
        ("sheaf1abc", "damaged"),
        ("7-orbit", "a number and 2 words"),
    ],
)
async def test_what_is_neither_ticket_nor_code_is_said_so(typed: str, said: str) -> None:
    async with town("bob") as here:
        with pytest.raises(UsageError, match=said):
            await here.nodes[0].join(typed)


async def test_a_relay_named_with_a_ticket_or_named_badly_is_a_mistake() -> None:
    async with town("bob") as here:
        (bob,) = here.nodes
        with pytest.raises(UsageError, match="only a code"):
            await bob.join("sheaf1abc", URL)
        with pytest.raises(UsageError, match="carries a token"):
            await bob.join("7-orbit-velvet", "wss://secret@relay.example")
        with pytest.raises(UsageError, match="looks like wss://"):
            await bob.join("7-orbit-velvet", "relay.example")
