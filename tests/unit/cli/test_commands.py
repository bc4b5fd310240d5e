"""Every command: what it prints for people, what it prints as JSON, how it fails."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sheaf.cli.invite import seconds
from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.ids import DocId, SpaceId
from sheaf.core.space.roles import Role
from sheaf.data_dir import DaemonFile, write_daemon_file
from sheaf.node.views import DocumentView, JoinState, StorageView
from sheaf.ports import RelayState, RelayStatus
from tests.support.daemon import eventually
from tests.support.fake_node import BAD_TICKET, TICKET, FakeNode
from tests.support.local_door import RunningDoor
from tests.unit.cli.conftest import Run, run_command


async def as_json(run: Run, *arguments: str, stdin: str | None = None) -> Any:
    outcome = await run(*arguments, "--json", stdin=stdin)
    assert outcome.code == 0, outcome
    return json.loads(outcome.out)


async def test_spaces_from_making_to_leaving(sheaf: Run) -> None:
    made = await as_json(sheaf, "space", "create", "Field notes")
    assert made["name"] == "Field notes"
    assert [space["name"] for space in await as_json(sheaf, "space", "list")] == ["Field notes"]
    assert "Field notes" in (await sheaf("space", "list")).out
    assert (await as_json(sheaf, "space", "show", "field NOTES"))["documents"] == []
    assert (await as_json(sheaf, "space", "rename", made["space_id"], "Ours"))["name"] == "Ours"
    assert (await sheaf("space", "leave", "Ours", stdin="n\n")).code == 1
    assert (await sheaf("space", "leave", "Ours", "--yes")).code == 0
    assert "no spaces yet" in (await sheaf("space", "list")).out


async def test_the_relays_of_a_space_are_shown_chosen_and_taken_out(sheaf: Run, node: FakeNode) -> None:
    await sheaf("space", "create", "Home")
    assert "has no relay" in (await sheaf("space", "relays", "Home")).out
    assert (await sheaf("space", "relays", "Home", "wss://a.example", "wss://b.example")).code == 0
    assert (await sheaf("space", "relays", "Home")).out == "wss://a.example\nwss://b.example\n"
    both = await sheaf("space", "relays", "Home", "wss://a.example", "--none")
    assert (both.code, "not both" in both.err) == (2, True)
    assert (await as_json(sheaf, "space", "relays", "Home", "--none"))["relay_urls"] == []
    node.relays = (RelayStatus("wss://a.example", RelayState.REFUSED, "The relay asks for a token."),)
    assert "Relay     refused: The relay asks for a token." in (await sheaf("status")).out
    node.relays = (RelayStatus("wss://a.example", RelayState.CONNECTED, rtt_s=0.02),)
    assert "Relay     wss://a.example connected, 20 ms away" in (await sheaf("status")).out


async def test_documents_are_written_from_standard_input_and_shown(sheaf: Run, node: FakeNode) -> None:
    await sheaf("space", "create", "Home")
    made = await as_json(sheaf, "doc", "create", "Home", "--title", "Birds", "--type", "text")
    assert (made["title"], made["type"]) == ("Birds", "text")
    assert (await sheaf("doc", "write", "Birds", stdin="a wren\n")).code == 0
    assert (await sheaf("doc", "append", made["document_id"], stdin="a wörm\n")).code == 0
    assert (await sheaf("doc", "show", "birds")).out == "a wren\na wörm\n"
    shown = await as_json(sheaf, "doc", "show", made["document_id"][:10])
    assert (shown["content"], shown["format"]) == ("a wren\na wörm\n", "markdown")
    assert node.agents == ["sheaf doc write"]


async def test_the_tree_is_indented_and_the_trash_apart(sheaf: Run) -> None:
    await sheaf("space", "create", "Home")
    await sheaf("doc", "create", "Home", "Animals")
    await sheaf("doc", "create", "Home", "Birds", "--parent", "Animals")
    await sheaf("doc", "create", "Home", "Plants")
    tree = (await sheaf("doc", "list", "Home")).out.splitlines()
    assert [line.split("  ", 1)[1].split("page")[0].rstrip() for line in tree[1:]] == [
        "Animals",
        "  Birds",
        "Plants",
    ]
    assert "in the trash" in (await sheaf("doc", "trash", "Plants")).out
    assert [item["title"] for item in await as_json(sheaf, "doc", "list", "Home", "--trashed")] == ["Plants"]
    assert "Plants" not in (await sheaf("space", "show", "Home")).out
    assert (await as_json(sheaf, "doc", "trash", "Plants", "--undo"))["trashed"] is False


async def test_yjs_comes_out_as_bytes(sheaf: Run) -> None:
    await sheaf("space", "create", "Home")
    await sheaf("doc", "create", "Home", "Birds")
    assert (await sheaf("doc", "show", "Birds", "--format", "yjs")).out == "\x00\x00"
    assert (await sheaf("doc", "show", "Birds", "--format", "yjs", "--json")).code == 2


async def test_an_ambiguous_name_lists_the_candidates(sheaf: Run) -> None:
    one = await as_json(sheaf, "space", "create", "Home")
    two = await as_json(sheaf, "space", "create", "Home")
    outcome = await sheaf("space", "show", "Home")
    assert outcome.code == 2
    assert one["space_id"] in outcome.err
    assert two["space_id"] in outcome.err
    assert (await sheaf("space", "show", one["space_id"][:12])).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("space", "show", "nowhere"),
        ("doc", "show", "nothing"),
        ("doc", "show", DocId(bytes(16)).text),
        ("members", "s_"),
        ("invite", "nowhere"),
    ],
)
async def test_what_is_not_there_ends_with_4(sheaf: Run, arguments: tuple[str, ...]) -> None:
    outcome = await sheaf(*arguments)
    assert outcome.code == 4
    assert "There is no" in outcome.err


async def test_what_is_not_allowed_ends_with_5(sheaf: Run, node: FakeNode) -> None:
    await sheaf("space", "create", "Home")
    node.role = Role.READER
    outcome = await sheaf("doc", "create", "Home", "x")
    assert (outcome.code, outcome.err) == (5, "You may read this space but not change it.")


async def test_what_is_not_saved_ends_with_6(
    sheaf: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_name: str) -> None:
        raise StorageFailure("The disk is full.")

    monkeypatch.setattr(node, "create_space", fail)
    outcome = await sheaf("space", "create", "Home")
    assert (outcome.code, outcome.err) == (6, "The disk is full.")


async def test_a_space_that_cannot_be_read_hides_no_document_of_another(
    sheaf: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Broken", "Home"):
        await sheaf("space", "create", name)
    await sheaf("doc", "create", "Home", "Diary")
    [broken] = [space.space_id for space in node.spaces() if space.name == "Broken"]
    documents = node.documents

    def read(space_id: SpaceId) -> Sequence[DocumentView]:
        if space_id == broken:
            raise StorageFailure("What is stored of it is damaged.")
        return documents(space_id)

    monkeypatch.setattr(node, "documents", read)
    assert (await sheaf("doc", "show", "Diary")).code == 0
    outcome = await sheaf("doc", "show", "Notes")
    assert (outcome.code, outcome.err) == (6, "What is stored of it is damaged.")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("ok", "Storage   everything is saved\n"),
        ("low", "Storage   everything is saved. The disk of /home\n"),
        ("read_only", "Storage   The disk of /home\n"),
        ("failed", "Storage   The disk of /home\n"),
    ],
)
async def test_status_says_whether_all_is_saved(sheaf: Run, node: FakeNode, state: str, words: str) -> None:
    node.storage_view = StorageView(state, None if state == "ok" else "The disk of /home.", 0)
    outcome = await sheaf("status")
    assert outcome.code == 0
    assert words in outcome.out


@pytest.mark.parametrize(("state", "verdict"), [("low", "warning"), ("read_only", "failure")])
async def test_doctor_says_that_the_disk_takes_nothing(
    sheaf: Run, node: FakeNode, state: str, verdict: str
) -> None:
    node.storage_view = StorageView(state, "The disk is full.", 0)
    outcome = await sheaf("doctor", "--json")
    [finding] = [each for each in json.loads(outcome.out) if each["name"] == "storage"]
    assert finding["verdict"] == verdict
    assert "The disk is full." in (finding["detail"], finding["advice"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("space", "create"),
        ("nonsense",),
        ("doc", "create", "Home", "--type", "film"),
        ("invite", "x", "--expires", "soon"),
    ],
)
async def test_wrong_usage_ends_with_2(sheaf: Run, arguments: tuple[str, ...]) -> None:
    assert (await sheaf(*arguments)).code == 2


async def test_status_and_peers_say_who_is_connected_how(sheaf: Run) -> None:
    await sheaf("space", "create", "Home")
    text = (await sheaf("status")).out
    for expected in (
        "Ada on laptop",
        "everything is saved",
        "mDNS on",
        "Home",
        "Grace",
        "webrtc",
        "2 changes behind",
    ):
        assert expected in text
    assert (await as_json(sheaf, "status"))["device_name"] == "laptop"
    assert (await as_json(sheaf, "peers"))[0]["path"] == "webrtc"
    assert "1.2 ms" in (await sheaf("peers")).out


async def test_status_says_what_open_editors_hold_that_cannot_be_saved_yet(
    sheaf: Run, node: FakeNode
) -> None:
    assert "open editors" not in (await sheaf("status")).out
    node.held_changes = 3
    assert "3 changes in open editors not saved here yet" in (await sheaf("status")).out
    assert (await as_json(sheaf, "status"))["held_changes"] == 3


async def test_members_are_listed(sheaf: Run) -> None:
    await sheaf("space", "create", "Home")
    assert "Ada (you)" in (await sheaf("members", "Home")).out
    assert (await as_json(sheaf, "members", "Home"))[0]["role"] == "owner"


async def test_a_name_cannot_drive_the_terminal(sheaf: Run, node: FakeNode) -> None:
    await node.create_space("\x1b[2J[bold]evil[/bold]")
    out = (await sheaf("space", "list")).out
    assert "\x1b" not in out
    assert "[bold]evil[/bold]" in out


async def test_invite_prints_the_ticket_alone_on_standard_output(sheaf: Run) -> None:
    await sheaf("space", "create", "Home")
    outcome = await sheaf("invite", "Home")
    assert outcome.out == TICKET + "\n"
    assert "sheaf join TICKET" in outcome.err
    with_host = await sheaf("invite", "Home", "--host", "auto")
    assert with_host.out == f"{TICKET}@192.168.1.4:51234\n"
    invitation = await as_json(
        sheaf, "invite", "Home", "--role", "reader", "--expires", "12h", "--uses", "3", "--host", "10.0.0.9:5"
    )
    assert invitation["ticket"] == f"{TICKET}@10.0.0.9:5"
    assert invitation["link"] == f"sheaf:join#{TICKET}@10.0.0.9:5"
    assert (invitation["role"], invitation["uses_left"]) == ("reader", 3)
    assert invitation["expires_at"] == "2026-01-01T12:00:00.000Z"
    assert len((await sheaf("invite", "Home", "--qr")).out.splitlines()) > 10


def test_times_are_read() -> None:
    assert [seconds(text) for text in ("90s", "30m", "12h", "7d", "2w")] == [
        90,
        1800,
        43_200,
        604_800,
        1_209_600,
    ]


async def test_join_ends_when_everything_has_arrived(sheaf: Run, node: FakeNode) -> None:
    running = asyncio.ensure_future(sheaf("join", TICKET))
    await eventually(lambda: bool(node.joins))
    node.joins["j0"] = replace(node.joins["j0"], state=JoinState.CATCHING_UP, total_bytes=2_500_000)
    await asyncio.sleep(0.25)
    assert not running.done()
    node.joins["j0"] = replace(node.joins["j0"], state=JoinState.DONE, space_name="Home")
    outcome = await running
    assert outcome.code == 0
    assert "You are in “Home”" in outcome.out
    assert outcome.err.splitlines() == ["Looking for the other side…", "Fetching 2.5 MB…", "Done."]


async def test_a_failed_join_says_why(sheaf: Run, node: FakeNode) -> None:
    running = asyncio.ensure_future(sheaf("join", TICKET, "--json"))
    await eventually(lambda: bool(node.joins))
    node.joins["j0"] = replace(
        node.joins["j0"], state=JoinState.FAILED, error=("The ticket was used before", "Ask for a new one.")
    )
    outcome = await running
    assert (outcome.code, outcome.out) == (1, "")
    assert "The ticket was used before: Ask for a new one." in outcome.err


async def test_a_join_that_takes_too_long_is_cancelled(sheaf: Run, node: FakeNode) -> None:
    outcome = await sheaf("join", TICKET, "--timeout", "0.2")
    assert outcome.code == 1
    assert "looking for the other side" in outcome.err
    assert node.joins == {}
    assert (await sheaf("join", BAD_TICKET)).code == 1


async def test_token_and_open(sheaf: Run, door: RunningDoor) -> None:
    assert (await sheaf("token")).out.strip() == door.token
    link = (await as_json(sheaf, "open", "--no-open"))["link"]
    assert link.startswith(f"{door.origin}/#token=")
    fresh = (await sheaf("token", "--new")).out.strip()
    assert fresh != door.token
    assert (await sheaf("token")).out.strip() == fresh
    assert (await sheaf("space", "list")).code == 0


def test_without_a_daemon_it_says_how_to_start_one(tmp_path: Path) -> None:
    outcome = run_command(tmp_path, "status")
    assert (outcome.code, outcome.err) == (
        3,
        f"No Sheaf daemon is running for {tmp_path}. Start it with `sheaf up`.",
    )
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_daemon_file(tmp_path, DaemonFile(port=1, pid=gone.pid, version="0.1.0"))
    assert run_command(tmp_path, "status").code == 3


async def test_the_token_is_not_sent_to_another_users_program(
    sheaf: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sheaf.cli.client.listener_owners", lambda _port: {4242})
    outcome = await sheaf("status")
    assert outcome.code == 3
    assert "the token was not sent" in outcome.err


async def test_a_wrong_token_ends_with_5(sheaf: Run, tmp_path: Path) -> None:
    (tmp_path / "api-token").write_text("x" * 43)
    assert (await sheaf("status")).code == 5
    (tmp_path / "api-token").unlink()
    assert (await sheaf("status")).code == 5


async def test_options_work_before_and_after_the_command(sheaf: Run, tmp_path: Path) -> None:
    assert json.loads((await sheaf("--json", "space", "list")).out) == []
    assert json.loads((await sheaf("space", "list", "--json", "--data-dir", str(tmp_path))).out) == []


def test_the_environment_names_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHEAF_DATA_DIR", str(tmp_path))
    result = subprocess.run(
        [sys.executable, "-m", "sheaf.cli.main", "space", "list"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == f"sheaf: No Sheaf daemon is running for {tmp_path}. Start it with `sheaf up`.\n"


def test_help_is_quick_because_heavy_modules_stay_out() -> None:
    code = (
        "import sys; sys.argv = ['sheaf', '--help']\n"
        "from sheaf.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'httpx', 'pydantic', 'fastapi', 'rich', 'pycrdt', 'aiortc', 'asyncio', 'segno'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "LOADED []"


def test_completion_is_offered() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sheaf.cli.main", "--help"], capture_output=True, text=True, check=True
    )
    assert "--install-completion" in result.stdout
