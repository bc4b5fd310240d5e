"""Inviting by a code that is said aloud, between two nodes and a relay in memory (PROTOCOL §8)."""

from __future__ import annotations

import asyncio

import pytest

from sheaf.core.base.errors import TransportFailure, UsageError
from sheaf.core.base.ids import UserId
from sheaf.core.protocol.spoken_code import Party
from sheaf.core.space.roles import Role
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.node import spoken_codes
from sheaf.node.spoken_codes import CODE_S, CODES_MAX, GRACE_S, KEPT_S, load_words
from sheaf.node.views import CodeState, CodeView, JoinState
from tests.support.code_town import (
    CodeTown,
    code_of,
    invite,
    is_withdrawn,
    join_by,
    misheard,
    town,
    until_state,
)
from tests.support.memory_store import MemoryStore
from tests.support.nodes import seeded_entropy, until

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


async def test_the_inviter_of_who_is_in_already_is_told_so_at_once() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        await join_by(bob, (await invite(ann))[2].text)
        space, op, code = await invite(ann)
        again = await join_by(bob, code.text)
        assert (again.state, again.error) == (JoinState.DONE, None)
        used = await until_state(ann, space, op, CodeState.USED)
        assert used.guest_name == "bob"
        assert used.problem == "The code changed nothing. For somebody else, make a new one."
        assert len(ann.members(space)) == 2


async def test_who_is_in_already_gets_the_ticket_for_a_device_that_lost_its_database() -> None:
    async with town("ann", "bob") as here:
        ann, bob = here.nodes
        await join_by(bob, (await invite(ann))[2].text)
        space, op, code = await invite(ann)
        await bob.close()
        here.machines[1].store = MemoryStore()
        again = await here.machines[1].start()
        try:
            joined = await join_by(again, code.text)
            assert (joined.state, joined.space_id) == (JoinState.DONE, space)
            await until_state(ann, space, op, CodeState.USED)
        finally:
            await again.close()


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
        late = await bob.join(code.text)
        assert (late.join_id, late.state) == (first.join_id, JoinState.DONE)


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


async def meet_and_vanish(here: CodeTown, code: CodeView) -> None:
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


async def test_a_daemon_that_stops_gives_its_numbers_back_and_withdraws_its_codes() -> None:
    async with town("ann") as here:
        (ann,) = here.nodes
        space, op, _ = await invite(ann)
        await ann.close()
        assert not here.box.plates
        again = await here.machines[0].start()
        try:
            assert again.invitation(space, op).is_revoked
            assert again.invitations(space) == []
        finally:
            await again.close()


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
