"""The door in front of the real node: the same contract, with real documents, roles and failures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycrdt
import pytest

from sheaf.core.base.errors import StorageFailure
from sheaf.core.base.ids import DocId
from sheaf.core.protocol import ysync
from sheaf.core.protocol.presence import AwarenessEntry, decode_awareness, encode_awareness
from sheaf.node.node import Node
from tests.support.daemon import eventually
from tests.support.local_door import RunningDoor, running_door
from tests.support.memory_network import MemoryLan
from tests.support.memory_store import MemoryStore
from tests.support.nodes import Machine, machine, running
from tests.support.tab import open_tab
from tests.unit.api.test_sync_socket import close_code, raw_tab, receive


@dataclass
class Home:
    """One machine with its node and door."""

    machine: Machine
    node: Node
    door: RunningDoor

    async def call(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        async with self.door.client() as client:
            answer = await client.request(method, f"/api/v1{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    @property
    def store(self) -> MemoryStore:
        assert isinstance(self.machine.store, MemoryStore)
        return self.machine.store


@pytest.fixture
async def homes(tmp_path: Path) -> AsyncIterator[tuple[Home, Home]]:
    lan = MemoryLan()
    machines = [machine(lan, "ada"), machine(lan, "grace")]
    for name in ("ada", "grace"):
        (tmp_path / name).mkdir()
    async with (
        running(*machines) as nodes,
        running_door(nodes[0], tmp_path / "ada") as first,
        running_door(nodes[1], tmp_path / "grace") as second,
    ):
        yield Home(machines[0], nodes[0], first), Home(machines[1], nodes[1], second)


@pytest.fixture
def ada(homes: tuple[Home, Home]) -> Home:
    return homes[0]


@pytest.fixture
def grace(homes: tuple[Home, Home]) -> Home:
    return homes[1]


async def new_document(home: Home, kind: str = "text") -> tuple[str, str]:
    space = await home.call("POST", "/spaces", {"name": "Home"}, 201)
    document = await home.call(
        "POST", f"/spaces/{space['space_id']}/documents", {"title": "Notes", "type": kind}, 201
    )
    return space["space_id"], document["document_id"]


async def join_over_http(owner: Home, joiner: Home, space_id: str, role: str = "editor") -> None:
    invitation = await owner.call("POST", f"/spaces/{space_id}/invitations", {"role": role}, 201)
    join = await joiner.call("POST", "/join", {"ticket": invitation["link"]}, 202)

    async def is_done() -> bool:
        state = await joiner.call("GET", f"/join/{join['join_id']}")
        assert state["state"] != "failed", state
        return bool(state["state"] == "done")

    await eventually(is_done)


async def test_two_people_type_into_one_document_through_their_own_doors(ada: Home, grace: Home) -> None:
    space_id, doc_id = await new_document(ada)
    await join_over_http(ada, grace, space_id)
    async with (
        open_tab(ada.door.origin, ada.door.token, doc_id) as one,
        open_tab(grace.door.origin, grace.door.token, doc_id) as two,
    ):
        await one.insert(0, "hello ")
        await two.until(lambda: two.text == "hello ")
        await two.append("world")
        await one.until(lambda: one.text == "hello world")
        await one.saved()
        await two.saved()
    members = (await grace.call("GET", f"/spaces/{space_id}/members"))["members"]
    assert {(member["name"], member["role"]) for member in members} == {("ada", "owner"), ("grace", "editor")}
    peers = (await ada.call("GET", "/peers"))["peers"]
    assert [(peer["user_name"], peer["state"]) for peer in peers] == [("grace", "live")]


async def test_cursors_travel_and_vanish_with_their_tab(ada: Home, grace: Home) -> None:
    space_id, doc_id = await new_document(ada)
    await join_over_http(ada, grace, space_id)
    async with raw_tab(ada.door, doc_id) as one, raw_tab(grace.door, doc_id) as two:
        await receive(one)
        await receive(two)
        state = encode_awareness([AwarenessEntry(7, 1, '{"user":{"name":"Ada"}}')])
        await one.send(ysync.encode_awareness_message(state))
        assert await receive(one) == ysync.encode_awareness_message(state)
        assert await receive(two) == ysync.encode_awareness_message(state)
        await one.close()
        gone = ysync.decode_message(await receive(two))
        assert isinstance(gone, ysync.AwarenessMessage)
        assert decode_awareness(gone.data, bytes_max=99, clients_max=1)[0].state is None


async def test_a_reader_reads_and_is_told_that_it_cannot_write(ada: Home, grace: Home) -> None:
    space_id, doc_id = await new_document(ada)
    await join_over_http(ada, grace, space_id, role="reader")
    async with ada.door.client() as client:
        await client.put(f"/api/v1/documents/{doc_id}/content?format=text", content="for all")
    async with raw_tab(grace.door, doc_id) as tab:
        assert await receive(tab) == ysync.encode_permission_denied("read-only")
    await grace.call("PATCH", f"/documents/{doc_id}", {"title": "Mine"}, 403)
    async with grace.door.client() as client:
        assert (await client.get(f"/api/v1/documents/{doc_id}/content")).text.strip() == "for all"
        refused = await client.put(f"/api/v1/documents/{doc_id}/content", content="mine")
        assert refused.status_code == 403


async def test_an_update_that_would_crash_the_decoder_closes_with_4422(ada: Home) -> None:
    _, doc_id = await new_document(ada)
    update = pycrdt.Doc()
    update.get("text", type=pycrdt.Text).insert(0, "x")
    for poison in (
        b"\x01\x01\x01\x00\x08" + b"\x75\x01" * 15_000,
        b"\xff\xff\xff\xff\x7f",
        update.get_update()[:-3],
    ):
        async with raw_tab(ada.door, doc_id) as tab:
            await tab.send(ysync.encode_update(poison))
            assert await close_code(tab) == 4422
    async with open_tab(ada.door.origin, ada.door.token, doc_id) as tab:
        assert tab.text == ""


async def test_content_in_every_format(ada: Home) -> None:
    _, page = await new_document(ada, "page")
    address = f"/api/v1/documents/{page}/content"
    async with ada.door.client() as client:
        saved = await client.put(address, content="# Birds\n\na **wren**\n")
        assert (saved.status_code, saved.headers.get("sheaf-saved")) == (204, "1")
        assert (await client.post(f"/api/v1/documents/{page}/append", content="- a robin")).status_code == 204
        assert (await client.get(address)).text == "# Birds\n\na **wren**\n\n- a robin\n"
        assert "<strong>wren</strong>" in (await client.get(f"{address}?format=html")).text
        assert (await client.get(f"{address}?format=json")).json()
        doc = pycrdt.Doc()
        doc.apply_update((await client.get(f"{address}?format=yjs")).content)
        assert "wren" in str(doc.get("body", type=pycrdt.XmlFragment))


async def test_the_tree_is_kept_in_order(ada: Home) -> None:
    space_id, first = await new_document(ada)
    second = await ada.call("POST", f"/spaces/{space_id}/documents", {"title": "Second"}, 201)
    await ada.call("PATCH", f"/documents/{second['document_id']}", {"after_id": None})
    listed = (await ada.call("GET", f"/spaces/{space_id}/documents"))["documents"]
    assert [document["title"] for document in listed] == ["Second", "Notes"]
    await ada.call("PATCH", f"/documents/{first}", {"parent_id": second["document_id"]})
    await ada.call("PATCH", f"/documents/{second['document_id']}", {"parent_id": first}, 422)
    await ada.call("DELETE", f"/documents/{first}", status=204)
    assert (await ada.call("GET", f"/documents/{first}"))["trashed"] is True


async def test_what_the_disk_refuses_is_not_called_saved(ada: Home) -> None:
    _, doc_id = await new_document(ada)
    doc = pycrdt.Doc()
    doc.get("text", type=pycrdt.Text).insert(0, "lost?")
    async with raw_tab(ada.door, doc_id) as tab:
        await receive(tab)
        ada.store.fail_commits_with = StorageFailure("The disk is full.")
        await tab.send(ysync.encode_update(doc.get_update()))
        assert await close_code(tab) == 1013
    async with ada.door.client() as client:
        answer = await client.put(f"/api/v1/documents/{doc_id}/content?format=text", content="x")
        assert answer.status_code == 503


async def test_a_full_disk_is_no_reason_to_say_that_something_is_not_here(ada: Home) -> None:
    space_id, doc_id = await new_document(ada)
    async with ada.door.client() as client:
        await client.put(f"/api/v1/documents/{doc_id}/content?format=text", content="kept")
        ada.store.fail_commits_with = StorageFailure("The disk is full.")
        for _ in range(3):
            answer = await client.put(f"/api/v1/documents/{doc_id}/content?format=text", content="x")
            problem = answer.json()
            assert (answer.status_code, problem["title"], problem["detail"]) == (
                503,
                "Not saved",
                "The disk is full.",
            )
            [space] = (await ada.call("GET", "/spaces"))["spaces"]
            assert space["space_id"] == space_id
            content = await client.get(f"/api/v1/documents/{doc_id}/content?format=text")
            assert (content.status_code, content.text) == (200, "kept")
        assert (await client.get("/healthz")).status_code == 503
        assert "sheaf_storage_read_only 1.0" in (await client.get("/metrics")).text
        assert (await ada.call("GET", "/status"))["storage"]["detail"] == "The disk is full."
    async with raw_tab(ada.door, doc_id) as tab:
        assert ysync.decode_message(await receive(tab))  # it opens, for reading


async def test_leaving_a_space_closes_its_tabs_with_4404(ada: Home) -> None:
    space_id, doc_id = await new_document(ada)
    async with raw_tab(ada.door, doc_id) as tab:
        await receive(tab)
        await ada.call("DELETE", f"/spaces/{space_id}", status=204)
        assert await close_code(tab) == 4404
    await ada.call("GET", f"/spaces/{space_id}", status=404)


async def test_the_index_document_is_not_served_to_tabs(ada: Home) -> None:
    await new_document(ada)
    async with raw_tab(ada.door, DocId(bytes(16)).text) as tab:
        assert await close_code(tab) == 4404


async def test_status_and_metrics_are_numbers_about_real_things(ada: Home) -> None:
    await new_document(ada)
    status = await ada.call("GET", "/status")
    assert status["spaces"][0]["document_count"] == 1
    assert status["storage"]["state"] == "ok"
    async with ada.door.client() as client:
        text = (await client.get("/metrics")).text
    assert "sheaf_spaces 1.0" in text
