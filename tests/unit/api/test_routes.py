"""Every route, over a real socket: shapes, statuses and problem documents."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from sheaf.core.base.errors import Busy, SheafError, StorageFailure, TooMuchWork, TransportFailure
from sheaf.core.base.ids import DocId, OpId, SpaceId
from sheaf.core.space.roles import Role
from sheaf.node.views import CodeState, DocumentView, StorageView
from sheaf.ports import RelayState, RelayStatus
from tests.support.fake_node import BAD_TICKET, CODE, TICKET, FakeNode

NOWHERE_SPACE = SpaceId(b"\7" * 32).text
NOWHERE_DOC = DocId(b"\7" * 16).text


async def test_status_says_who_where_and_how(client: httpx.AsyncClient) -> None:
    status = (await client.get("/api/v1/status")).json()
    assert status["version"] == "0.1.0"
    assert status["user_name"] == "Ada"
    assert status["port"] == client.base_url.port
    assert status["lan"] == {"listening": "0.0.0.0:51234", "mdns": "on", "addresses": ["192.168.1.4:51234"]}
    assert status["storage"] == {"state": "ok", "detail": None, "unsent_edits": 0}
    assert status["started_at"] == "2026-01-01T00:00:00.000Z"
    assert status["peers"][0]["state"] == "live"


async def test_a_space_is_made_renamed_and_left(client: httpx.AsyncClient) -> None:
    made = await client.post("/api/v1/spaces", json={"name": " Home "})
    assert made.status_code == 201
    space = made.json()
    assert {"name": "Home", "role": "owner", "state": "ready"}.items() <= space.items()
    address = f"/api/v1/spaces/{space['space_id']}"
    renamed = await client.patch(address, json={"name": "Ours"})
    assert renamed.json()["name"] == "Ours"
    assert (await client.get("/api/v1/spaces")).json() == {"spaces": [renamed.json()]}
    assert (await client.get(address)).json() == renamed.json()
    assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).status_code == 404


async def test_a_spaces_relays_are_chosen_apart_from_its_name(client: httpx.AsyncClient) -> None:
    space = (await client.post("/api/v1/spaces", json={"name": "Home"})).json()
    assert space["relay_urls"] == []
    address = f"/api/v1/spaces/{space['space_id']}"
    changed = (await client.patch(address, json={"relay_urls": ["wss://relay.example"]})).json()
    assert (changed["name"], changed["relay_urls"]) == ("Home", ["wss://relay.example"])
    renamed = (await client.patch(address, json={"name": "Ours"})).json()
    assert (renamed["name"], renamed["relay_urls"]) == ("Ours", ["wss://relay.example"])
    assert (await client.patch(address, json={"relay_urls": []})).json()["relay_urls"] == []
    for wrong in ({"relay_urls": ["a"] * 5}, {"relay_urls": "wss://x"}, {"relay_urls": [""]}, {"relays": []}):
        assert (await client.patch(address, json=wrong)).status_code == 422


async def test_status_tells_of_relays_and_peers_why_their_path_is_as_it_is(
    client: httpx.AsyncClient, node: FakeNode
) -> None:
    problem = "The relay wss://relay.example does not answer."
    node.relays = (
        RelayStatus("wss://relay.example", RelayState.UNREACHABLE, problem, since_ms=5),
        RelayStatus("ws://192.168.1.9:7412", RelayState.CONNECTED, rtt_s=0.0125, since_ms=7),
    )
    status = (await client.get("/api/v1/status")).json()
    first, second = status["relays"]
    assert (first["state"], first["problem"], first["rtt_ms"], first["since_ms"]) == (
        "unreachable",
        problem,
        None,
        5,
    )
    assert (second["state"], second["problem"], second["rtt_ms"]) == ("connected", None, 12.5)
    assert "path_reason" in status["peers"][0]


async def test_a_document_is_made_moved_and_trashed(client: httpx.AsyncClient) -> None:
    space = (await client.post("/api/v1/spaces", json={"name": "Home"})).json()
    documents = f"/api/v1/spaces/{space['space_id']}/documents"
    parent = (await client.post(documents, json={"title": "A"})).json()
    assert {"type": "page", "parent_id": None, "trashed": False, "title": "A"}.items() <= parent.items()
    child = (
        await client.post(documents, json={"title": "B", "type": "text", "parent_id": parent["document_id"]})
    ).json()
    assert child["parent_id"] == parent["document_id"]
    address = f"/api/v1/documents/{child['document_id']}"
    moved = (await client.patch(address, json={"parent_id": None, "after_id": None})).json()
    assert (moved["parent_id"], moved["order"], moved["title"]) == (None, "Zz", "B")
    renamed = (await client.patch(address, json={"title": "C"})).json()
    assert (renamed["title"], renamed["order"]) == ("C", "Zz")
    assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).json()["trashed"] is True
    assert (await client.patch(address, json={"trashed": False})).json()["trashed"] is False
    assert len((await client.get(documents)).json()["documents"]) == 2


async def test_content_is_read_written_and_appended(
    client: httpx.AsyncClient, document: DocumentView, node: FakeNode
) -> None:
    address = f"/api/v1/documents/{document.document_id.text}"
    saved = await client.put(f"{address}/content?format=text", content="héllo", headers={"Sheaf-Agent": "x"})
    assert (saved.status_code, saved.headers["sheaf-saved"]) == (204, "1")
    assert (await client.post(f"{address}/append", content="\nmore")).status_code == 204
    read = await client.get(f"{address}/content")
    assert read.text == "héllo\nmore"
    assert read.headers["content-type"] == "text/markdown; charset=utf-8"
    assert (await client.get(f"{address}/content?format=yjs")).content[:1] != b""
    assert node.agents == ["x"]


async def test_html_is_never_served_as_html(client: httpx.AsyncClient, document: DocumentView) -> None:
    answer = await client.get(f"/api/v1/documents/{document.document_id.text}/content?format=html")
    assert answer.headers["content-type"].startswith("text/plain")


async def test_text_that_is_not_utf8_is_refused(client: httpx.AsyncClient, document: DocumentView) -> None:
    answer = await client.put(f"/api/v1/documents/{document.document_id.text}/content", content=b"abc\xff")
    assert answer.status_code == 422
    assert "byte 3" in answer.json()["detail"]


async def test_an_invitation_is_made_listed_and_revoked(client: httpx.AsyncClient) -> None:
    space = (await client.post("/api/v1/spaces", json={"name": "Home"})).json()
    address = f"/api/v1/spaces/{space['space_id']}/invitations"
    made = await client.post(address, json={"role": "reader", "expires_in_s": 3600, "max_uses": 3})
    assert made.status_code == 201
    invitation = made.json()
    assert invitation["ticket"] == TICKET
    assert invitation["link"] == f"sheaf:join#{TICKET}"
    assert invitation["qr_svg"].startswith("<svg")
    assert invitation["expires_at"] == "2026-01-01T01:00:00.000Z"
    assert (invitation["role"], invitation["uses_left"]) == ("reader", 3)
    assert (await client.get(address)).json()["invitations"] == [invitation]
    assert (await client.delete(f"{address}/{invitation['invitation_id']}")).status_code == 204
    assert (await client.get(address)).json()["invitations"] == []


async def test_a_code_is_asked_for_and_shown_until_it_is_put_away(
    client: httpx.AsyncClient, node: FakeNode
) -> None:
    space = (await client.post("/api/v1/spaces", json={"name": "Home"})).json()
    address = f"/api/v1/spaces/{space['space_id']}/invitations"
    made = (await client.post(address, json={"role": "editor", "code": True})).json()
    assert (made["code"], made["code_state"]) == (CODE, "waiting")
    assert made["code_relay"] == "wss://relay.example"
    assert made["code_expires_ms"] == node.now_ms + 600_000
    assert (made["safety_words"], made["guest_name"], made["code_problem"]) == (None, None, None)
    space_id, op_id = SpaceId.parse(space["space_id"]), OpId.parse(made["invitation_id"])
    view = node.invitation(space_id, op_id)
    assert view.code is not None
    words = ("wine", "gospel", "waste", "moment")
    code = replace(view.code, state=CodeState.USED, safety_words=words, guest_name="Bob")
    node.set_invitation(space_id, replace(view, code=code, ticket=None, is_revoked=True))
    shown = (await client.get(f"{address}/{made['invitation_id']}")).json()
    assert (shown["code_state"], shown["guest_name"]) == ("used", "Bob")
    assert shown["safety_words"] == list(words)
    assert (shown["ticket"], shown["link"], shown["qr_svg"]) == (None, None, None)
    assert (await client.get(address)).json()["invitations"] == [shown]


async def test_a_code_to_join_by_may_come_with_its_relay(client: httpx.AsyncClient, node: FakeNode) -> None:
    body = {"ticket": CODE, "relay": "wss://relay.example"}
    join = (await client.post("/api/v1/join", json=body)).json()
    assert node.asked_relay == "wss://relay.example"
    words = ("wine", "gospel", "waste", "moment")
    node.joins[join["join_id"]] = replace(
        node.joins[join["join_id"]], space_id=None, safety_words=words, inviter_name="Ann"
    )
    shown = (await client.get(f"/api/v1/join/{join['join_id']}")).json()
    assert (shown["space_id"], shown["inviter_name"]) == (None, "Ann")
    assert shown["safety_words"] == list(words)


async def test_a_join_is_begun_followed_and_cancelled(client: httpx.AsyncClient) -> None:
    begun = await client.post("/api/v1/join", json={"ticket": f" {TICKET} "})
    assert begun.status_code == 202
    join = begun.json()
    assert (join["state"], join["error"]) == ("searching", None)
    address = f"/api/v1/join/{join['join_id']}"
    assert (await client.get(address)).json() == join
    assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).status_code == 404


async def test_members_peers_and_profile(client: httpx.AsyncClient) -> None:
    space = (await client.post("/api/v1/spaces", json={"name": "Home"})).json()
    members = (await client.get(f"/api/v1/spaces/{space['space_id']}/members")).json()["members"]
    assert [member["name"] for member in members] == ["Ada"]
    assert members[0]["devices"][0]["online"] is True
    peer = (await client.get("/api/v1/peers")).json()["peers"][0]
    assert (peer["path"], peer["rtt_ms"], peer["spaces"][0]["behind"]) == ("webrtc", 1.25, 2)
    profile = await client.patch("/api/v1/profile", json={"user_name": "Ada L."})
    assert profile.json() == {"user_name": "Ada L.", "device_name": "laptop", "share_seen": True}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"/api/v1/spaces/{NOWHERE_SPACE}", None, 404),
        ("GET", "/api/v1/spaces/s_typo", None, 404),
        ("GET", f"/api/v1/documents/{NOWHERE_DOC}", None, 404),
        ("GET", f"/api/v1/documents/{NOWHERE_DOC}/content?format=nonsense", None, 422),
        ("GET", "/api/v1/nonsense", None, 404),
        ("PUT", "/api/v1/spaces", {}, 405),
        ("POST", "/api/v1/spaces", {"name": ""}, 422),
        ("POST", "/api/v1/spaces", {"name": "x" * 201}, 422),
        ("POST", "/api/v1/spaces", {"name": "x", "surprise": 1}, 422),
        ("POST", "/api/v1/spaces", [], 422),
        ("POST", "/api/v1/join", {"ticket": BAD_TICKET}, 422),
    ],
)
async def test_mistakes_are_problem_documents(
    client: httpx.AsyncClient, method: str, path: str, body: object, status: int
) -> None:
    answer = (
        await client.request(method, path, json=body)
        if body is not None
        else await client.request(method, path)
    )
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["title"]


async def test_a_body_that_is_not_declared_as_json_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/api/v1/spaces", content='{"name":"x"}', headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 422


async def test_a_reader_is_told_that_it_may_not(
    client: httpx.AsyncClient, document: DocumentView, node: FakeNode
) -> None:
    node.role = Role.READER
    answer = await client.put(f"/api/v1/documents/{document.document_id.text}/content", content="x")
    assert answer.status_code == 403
    assert answer.json()["detail"] == "You may read this space but not change it."


@pytest.mark.parametrize(
    ("error", "status"), [(StorageFailure("full"), 503), (TransportFailure("gone"), 502)]
)
async def test_failures_of_the_world_have_their_own_status(
    client: httpx.AsyncClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def fail(_name: str) -> None:
        raise error

    monkeypatch.setattr(node, "create_space", fail)
    answer = await client.post("/api/v1/spaces", json={"name": "x"})
    assert (answer.status_code, answer.json()["detail"]) == (status, str(error))


@pytest.mark.parametrize(
    ("state", "code", "text"),
    [
        ("ok", 200, "ok\n"),
        ("low", 200, "ok\n"),
        ("read_only", 503, "storage takes no changes; reading goes on\n"),
        ("failed", 503, "storage cannot be read\n"),
    ],
)
async def test_health_is_that_of_the_storage(
    client: httpx.AsyncClient, node: FakeNode, state: str, code: int, text: str
) -> None:
    node.storage_view = StorageView(state, "/home/ada is full", 0)
    answer = await client.get("/healthz", headers={"Authorization": ""})
    assert (answer.status_code, answer.text) == (code, text)


async def test_health_tells_nothing_and_metrics_need_a_credential(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz", headers={"Authorization": ""})).text == "ok\n"
    assert (await client.get("/metrics", headers={"Authorization": ""})).status_code == 401
    text = (await client.get("/metrics")).text
    assert "sheaf_spaces 0.0" in text
    assert "sheaf_envelopes_ingested_total 7.0" in text
    assert 'sheaf_door_refusals_total{reason="host"} 0.0' in text


async def test_the_api_description_is_complete(client: httpx.AsyncClient) -> None:
    description = (await client.get("/api/openapi.json")).json()
    assert "/api/v1/documents/{document_id}/content" in description["paths"]
    assert "Space" in description["components"]["schemas"]


@pytest.mark.parametrize(
    ("error", "status"), [(TooMuchWork("It took too long."), 422), (Busy("Try again."), 503)]
)
async def test_content_work_that_is_not_done_is_a_problem_with_its_sentence(
    client: httpx.AsyncClient,
    document: DocumentView,
    node: FakeNode,
    monkeypatch: pytest.MonkeyPatch,
    error: SheafError,
    status: int,
) -> None:
    async def give_up(*_: object, **__: object) -> None:
        raise error

    for method in ("read_content", "write_content", "append_content"):
        monkeypatch.setattr(node, method, give_up)
    address = f"/api/v1/documents/{document.document_id.text}"
    for answer in (
        await client.get(f"{address}/content"),
        await client.put(f"{address}/content", content="x"),
        await client.post(f"{address}/append", content="x"),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (status, str(error))
