"""`sheaf invite --code` and `sheaf join CODE`, as people see them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sheaf.core.base.ids import OpId, SpaceId
from sheaf.node.views import CodeState, JoinState
from tests.support.daemon import eventually
from tests.support.fake_node import CODE, FakeNode
from tests.unit.cli.conftest import Run, run_command

WORDS = ("wine", "gospel", "waste", "moment")


def only_code(node: FakeNode) -> tuple[SpaceId, OpId]:
    (space,) = node.spaces()
    (view,) = node.invitations(space.space_id)
    return space.space_id, view.op_id


def becomes(node: FakeNode, state: CodeState, *, problem: str | None = None) -> None:
    """Something happens to the only code there is."""
    space_id, op_id = only_code(node)
    view = node.invitation(space_id, op_id)
    assert view.code is not None
    is_met = state in (CodeState.CONFIRMED, CodeState.USED)
    code = replace(
        view.code,
        state=state,
        problem=problem,
        safety_words=WORDS if is_met else None,
        guest_name="Bob" if is_met else None,
    )
    node.set_invitation(space_id, replace(view, code=code))


def is_waiting(node: FakeNode) -> bool:
    return any(node.invitations(space.space_id) for space in node.spaces())


async def test_a_code_is_printed_waited_for_and_ends_with_who_came(sheaf: Run, node: FakeNode) -> None:
    await sheaf("space", "create", "Home")
    running = asyncio.ensure_future(sheaf("invite", "Home", "--code"))
    await eventually(lambda: is_waiting(node))
    becomes(node, CodeState.CONFIRMED)
    await asyncio.sleep(0)
    becomes(node, CodeState.USED)
    outcome = await running
    assert outcome.code == 0
    assert outcome.out.splitlines() == [CODE, "Bob is in “Home” now."]
    assert f"sheaf join {CODE}" in outcome.err
    assert "--relay wss://relay.example" in outcome.err
    assert outcome.err.count(" ".join(WORDS)) == 1
    assert "for Ada and Bob alike" in outcome.err


async def test_a_code_used_by_who_is_in_already_ends_and_says_so(sheaf: Run, node: FakeNode) -> None:
    await sheaf("space", "create", "Home")
    running = asyncio.ensure_future(sheaf("invite", "Home", "--code"))
    await eventually(lambda: is_waiting(node))
    becomes(node, CodeState.USED, problem="The code changed nothing.")
    outcome = await running
    assert outcome.code == 0
    assert outcome.out.splitlines() == [CODE, "Bob is in “Home” already. The code changed nothing."]


@pytest.mark.parametrize("state", [CodeState.BURNED, CodeState.EXPIRED, CodeState.FAILED])
async def test_a_code_that_brings_nobody_ends_with_the_reason(
    sheaf: Run, node: FakeNode, state: CodeState
) -> None:
    await sheaf("space", "create", "Home")
    running = asyncio.ensure_future(sheaf("invite", "Home", "--code"))
    await eventually(lambda: is_waiting(node))
    becomes(node, state, problem="Something went wrong. Make a new one.")
    outcome = await running
    assert outcome.code == 1
    assert outcome.err.endswith("Something went wrong. Make a new one.")


async def test_ctrl_c_withdraws_the_code(sheaf: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    await sheaf("space", "create", "Home")
    monkeypatch.setattr("sheaf.cli.waiting.time.sleep", interrupted)
    outcome = await sheaf("invite", "Home", "--code")
    assert outcome.code != 0
    assert "The code is withdrawn." in outcome.err
    space_id, op_id = only_code(node)
    assert node.invitation(space_id, op_id).is_revoked


async def test_a_script_takes_the_code_and_goes_on(sheaf: Run, node: FakeNode, tmp_path: Path) -> None:
    await sheaf("space", "create", "Home")
    outcome = await sheaf("invite", "Home", "--code", "--no-wait", "--json", "--role", "reader")
    invitation = json.loads(outcome.out)
    assert (invitation["code"], invitation["role"]) == (CODE, "reader")
    space_id, op_id = only_code(node)
    assert not node.invitation(space_id, op_id).is_revoked
    plain = await asyncio.to_thread(run_command, tmp_path, "invite", "Home", "--code", "--no-wait")
    assert plain.out == f"{CODE}\n"


@pytest.mark.parametrize(
    "arguments",
    [("--code", "--uses", "2"), ("--code", "--expires", "1h"), ("--code", "--host", "auto"), ("--no-wait",)],
)
async def test_what_does_not_go_with_a_code_is_wrong_usage(sheaf: Run, arguments: tuple[str, ...]) -> None:
    await sheaf("space", "create", "Home")
    outcome = await sheaf("invite", "Home", *arguments)
    assert outcome.code == 2


async def test_a_code_to_join_by_may_be_typed_as_it_was_said(sheaf: Run, node: FakeNode) -> None:
    running = asyncio.ensure_future(sheaf("join", "7", "orbit", "velvet", "--relay", "wss://relay.example"))
    await eventually(lambda: bool(node.joins))
    assert (node.asked_ticket, node.asked_relay) == ("7 orbit velvet", "wss://relay.example")
    node.joins["j0"] = replace(node.joins["j0"], safety_words=WORDS, inviter_name="Ann")
    node.joins["j0"] = replace(node.joins["j0"], state=JoinState.DONE, space_name="Home")
    outcome = await running
    assert outcome.code == 0
    assert outcome.out.startswith("You are in “Home”.")
    assert "Ann sent the ticket." in outcome.err
    assert outcome.err.count(" ".join(WORDS)) == 1


async def test_open_invitations_are_listed_and_withdrawn(sheaf: Run, node: FakeNode) -> None:
    await sheaf("space", "create", "Home")
    assert (await sheaf("invitations", "Home")).out == "No invitation is open.\n"
    await sheaf("invite", "Home", "--role", "reader", "--uses", "3")
    await sheaf("invite", "Home", "--code", "--no-wait")
    listed = await sheaf("invitations", "Home")
    assert f"code {CODE}, waiting" in listed.out
    assert "reader" in listed.out
    by_code = await sheaf("invitations", "Home", "--withdraw", CODE)
    assert by_code.out.startswith("Withdrawn: ")
    (space,) = node.spaces()
    ticket, code = node.invitations(space.space_id)
    assert (ticket.is_revoked, code.is_revoked) == (False, True)
    by_id = await sheaf("invitations", "Home", "--withdraw", ticket.op_id.text[:8], "--json")
    assert json.loads(by_id.out)["role"] == "reader"
    assert node.invitation(space.space_id, ticket.op_id).is_revoked
    missing = await sheaf("invitations", "Home", "--withdraw", "o_nowhere")
    assert (missing.code, "no open invitation" in missing.err) == (4, True)
