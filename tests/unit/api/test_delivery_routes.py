"""Delivery over HTTP: the exact shape the editor is built on, and what may be switched off."""

from __future__ import annotations

import httpx

from sheaf.core.base.ids import DeviceId, DocId, UserId
from tests.support.fake_node import FakeNode

NOWHERE = DocId(b"\7" * 16).text


async def made(client: httpx.AsyncClient) -> dict[str, str]:
    space = (await client.post("/api/v1/spaces", json={"name": "Home"})).json()
    document = await client.post(f"/api/v1/spaces/{space['space_id']}/documents", json={"title": "A"})
    return dict(document.json())


async def test_where_a_document_is_has_the_shape_the_editor_knows(client: httpx.AsyncClient) -> None:
    document = await made(client)
    answer = await client.get(f"/api/v1/documents/{document['document_id']}/delivery")
    assert answer.json() == {
        "document_id": document["document_id"],
        "space_id": document["space_id"],
        "saved": True,
        "relays": [{"url": "wss://relay.example", "state": "stored", "detail": None}],
        "people": [
            {
                "user_id": UserId(b"\3" * 32).text,
                "name": "Grace",
                "state": "seen",
                "devices": [
                    {
                        "device_id": DeviceId(b"\2" * 32).text,
                        "name": "desk",
                        "state": "seen",
                        "at_ms": 1_767_225_500_000,
                        "missing": 0,
                    },
                    {
                        "device_id": DeviceId(b"\4" * 32).text,
                        "name": "phone",
                        "state": "on_relay",
                        "at_ms": None,
                        "missing": 2,
                    },
                ],
            }
        ],
        "incomplete": {"missing": 3, "from": "Ann's laptop"},
    }


async def test_a_page_that_is_visible_says_so(client: httpx.AsyncClient, node: FakeNode) -> None:
    document = await made(client)
    answer = await client.post(f"/api/v1/documents/{document['document_id']}/seen")
    assert (answer.status_code, answer.content) == (204, b"")
    assert [doc_id.text for doc_id in node.seen] == [document["document_id"]]


async def test_an_unknown_document_is_nowhere(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/api/v1/documents/{NOWHERE}/delivery")).status_code == 404
    assert (await client.post(f"/api/v1/documents/{NOWHERE}/seen")).status_code == 404


async def test_a_space_says_how_it_stands(client: httpx.AsyncClient) -> None:
    space = (await client.post("/api/v1/spaces", json={"name": "Home"})).json()
    expected = {
        "state": "saved_here",
        "waiting_people": 0,
        "incomplete_missing": 0,
        "relay_warning": None,
    }
    assert space["delivery"] == expected
    assert (await client.get("/api/v1/status")).json()["spaces"][0]["delivery"] == expected


async def test_others_need_not_learn_what_was_seen(client: httpx.AsyncClient) -> None:
    answer = await client.patch("/api/v1/profile", json={"share_seen": False})
    assert answer.json()["share_seen"] is False
    assert (await client.get("/api/v1/status")).json()["share_seen"] is False
