"""FAULTS A1, A2: who is refused before routing, over raw sockets, on HTTP and on WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from starlette.types import Receive, Scope, Send

from sheaf.api.door import BODY_BYTES_MAX, CONTENT_BODY_BYTES_MAX
from sheaf.node.views import DocType
from tests.support.fake_node import FakeNode
from tests.support.local_door import RunningDoor, running_door

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORT = "{port}"

HOSTS_REFUSED = [
    None,
    "",
    " ",
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "localhost",
    "127.0.0.1:",
    "127.0.0.1:80",
    "127.0.0.1:0{port}",
    "127.0.0.1:{port}0",
    "127.0.0.1.:{port}",
    "localhost.:{port}",
    "LOCALHOST:{port}",
    "localhost.evil.example:{port}",
    "evil.localhost:{port}",
    "sheaf.local:{port}",
    "sheaf.internal:{port}",
    "127.1:{port}",
    "127.0.0.2:{port}",
    "0.0.0.0:{port}",
    "0x7f000001:{port}",
    "2130706433:{port}",
    "[::]:{port}",
    "::1:{port}",
    "[::1]",
    "[0:0:0:0:0:0:0:1]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "user@127.0.0.1:{port}",
    "127.0.0.1:{port}@evil.example",
    "127.0.0.1:{port}/",
    "127.0.0.1:{port}, evil.example",
    "127.0.0.1:{port}\x00",
    "127.0.0.1:{port}\xff\xfe",
    "http://127.0.0.1:{port}",
]

ORIGINS_REFUSED = [
    "null",
    "",
    "http://evil.example",
    "http://evil.example:{port}",
    "http://127.0.0.1",
    "http://127.0.0.1:80",
    "https://127.0.0.1:{port}",
    "http://localhost:{port}",
    "http://[::1]:{port}",
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port} http://evil.example",
    "file://",
    "chrome-extension://abcdefgh",
    "HTTP://127.0.0.1:{port}",
    "\xff\xfe",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningDoor]:
    """One server for the whole module: 200 refusals need no fresh one each."""
    async with running_door(FakeNode(), tmp_path_factory.mktemp("door")) as running:
        yield running


class Spy:
    """Counts what gets past the door."""

    def __init__(self) -> None:
        self.passed = 0


@pytest.fixture
def spy(door: RunningDoor, monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()
    inner = door.app._door._app

    async def spying(scope: Scope, receive: Receive, send: Send) -> None:
        spy.passed += 1
        await inner(scope, receive, send)

    monkeypatch.setattr(door.app._door, "_app", spying)
    return spy


async def raw(port: int, request: bytes) -> bytes:
    """Send bytes, return everything up to the end of the answer's head (or the connection)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    finally:
        writer.close()


def http_head(
    port: int, headers: list[tuple[str, str]], *, method: str = "GET", path: str = "/api/v1/spaces"
) -> bytes:
    lines = "".join(f"{name}: {value.replace(PORT, str(port))}\r\n" for name, value in headers)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def ws_head(port: int, headers: list[tuple[str, str]]) -> bytes:
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    return http_head(port, headers + upgrade, path="/sync/d_abc")


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


@pytest.mark.parametrize("host", HOSTS_REFUSED, ids=repr)
@pytest.mark.parametrize("kind", ["http", "ws"])
async def test_a1_a_foreign_host_is_refused_before_routing(
    door: RunningDoor, spy: Spy, host: str | None, kind: str
) -> None:
    head = http_head if kind == "http" else ws_head
    headers = [("Host", host)] if host is not None else []
    answer = await raw(door.port, head(door.port, [*headers, ("Authorization", f"Bearer {door.token}")]))
    assert status(answer) in (400, 421)
    assert spy.passed == 0
    assert b"sheaf" not in answer.lower()


@pytest.mark.parametrize("kind", ["http", "ws"])
async def test_a1_a_repeated_host_is_refused(door: RunningDoor, spy: Spy, kind: str) -> None:
    head = http_head if kind == "http" else ws_head
    good = ("Host", "127.0.0.1:{port}")
    for pair in ([good, good], [good, ("Host", "evil.example")], [("Host", "evil.example"), good]):
        answer = await raw(door.port, head(door.port, [*pair, ("Authorization", f"Bearer {door.token}")]))
        assert status(answer) in (400, 421)
    assert spy.passed == 0


@pytest.mark.parametrize("origin", ORIGINS_REFUSED, ids=repr)
@pytest.mark.parametrize("kind", ["get", "post", "ws"])
async def test_a2_a_foreign_origin_is_refused_even_with_a_credential(
    door: RunningDoor, spy: Spy, origin: str, kind: str
) -> None:
    headers = [
        ("Host", "127.0.0.1:{port}"),
        ("Origin", origin),
        ("Authorization", f"Bearer {door.token}"),
    ]
    if kind == "ws":
        request = ws_head(door.port, [*headers, ("Sec-WebSocket-Protocol", f"sheaf.bearer.{door.token}")])
    else:
        request = http_head(door.port, headers, method=kind.upper())
    assert status(await raw(door.port, request)) in (400, 403)
    assert spy.passed == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
async def test_a2_an_unsafe_method_without_origin_needs_a_bearer_token(
    door: RunningDoor, spy: Spy, method: str
) -> None:
    cookie = (await door.sign_in())["Cookie"]
    spy.passed = 0
    headers = [("Host", "127.0.0.1:{port}"), ("Cookie", cookie)]
    assert status(await raw(door.port, http_head(door.port, headers, method=method))) == 403
    assert spy.passed == 0


async def test_a2_a_websocket_without_origin_needs_a_bearer_token(door: RunningDoor, spy: Spy) -> None:
    cookie = (await door.sign_in())["Cookie"]
    spy.passed = 0
    request = ws_head(door.port, [("Host", "127.0.0.1:{port}"), ("Cookie", cookie)])
    assert status(await raw(door.port, request)) == 403
    assert spy.passed == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense", ""])
async def test_a2_a_page_on_another_port_cannot_even_read_blindly(
    door: RunningDoor, spy: Spy, site: str
) -> None:
    headers = [("Host", "localhost:{port}"), ("Sec-Fetch-Site", site)]
    assert status(await raw(door.port, http_head(door.port, headers))) == 403
    assert spy.passed == 0
    assert status(await raw(door.port, http_head(door.port, headers, path="/"))) in (200, 503)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"])
async def test_the_three_own_names_are_let_in_with_their_own_origin(
    door: RunningDoor, spy: Spy, host: str
) -> None:
    headers = [
        ("Host", host),
        ("Origin", f"http://{host}"),
        ("Authorization", f"Bearer {door.token}"),
        ("Content-Type", "application/json"),
        ("Content-Length", "12"),
    ]
    request = http_head(door.port, headers, method="POST") + b'{"name":"x"}'
    assert status(await raw(door.port, request)) == 201
    assert spy.passed == 1


async def test_an_absolute_target_cannot_smuggle_another_host(door: RunningDoor, spy: Spy) -> None:
    headers = [("Host", "127.0.0.1:{port}"), ("Authorization", f"Bearer {door.token}")]
    request = http_head(door.port, headers, path="http://evil.example/api/v1/spaces")
    assert status(await raw(door.port, request)) in (400, 404)
    assert status(await raw(door.port, http_head(door.port, headers, method="OPTIONS", path="*"))) == 400


async def test_malformed_heads_get_an_answer_or_a_hangup_and_the_door_lives_on(
    door: RunningDoor, spy: Spy
) -> None:
    good = f"Host: 127.0.0.1:{door.port}\r\n".encode()
    for junk in (
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET /nonsense HTTP/9.9\r\n" + good + b"\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n" + good + b"\r\n",
        b"GET / HTTP/1.1\r\n" + good + b"Origin\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + good + b"\xff: \xff\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + good + b"Content-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + good + b"Content-Length: " + b"9" * 300 + b"\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + good + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ):
        answer = await raw(door.port, junk)
        assert answer == b"" or 400 <= status(answer) < 500
    assert (
        status(await raw(door.port, http_head(door.port, [("Host", "127.0.0.1:{port}")], path="/healthz")))
        == 200
    )


async def test_every_answer_carries_the_protective_headers(door: RunningDoor) -> None:
    async with door.client() as client:
        answers = [
            await client.get("/"),
            await client.get("/nonsense"),
            await client.get("/healthz"),
            await client.get("/metrics"),
            await client.get("/api/v1/status"),
            await client.get("/api/v1/status", headers={"Authorization": "Bearer wrong"}),
            await client.get("/api/v1/nonsense"),
            await client.get("/api/openapi.json"),
            await client.get("/api/v1/spaces", headers={"Host": "evil.example"}),
            await client.post("/api/v1/spaces", json=[]),
        ]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store", answer.url
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "server" not in answer.headers
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert f"connect-src 'self' ws://127.0.0.1:{door.port};" in answers[0].headers["content-security-policy"]


async def test_a_forged_host_cannot_write_the_policy(door: RunningDoor) -> None:
    async with door.client() as client:
        answer = await client.get("/", headers={"Host": "127.0.0.1:1; script-src *"})
    assert answer.headers["content-security-policy"].count("script-src") == 1
    assert "*" not in answer.headers["content-security-policy"]


async def test_bodies_are_limited_as_declared_and_as_they_stream(door: RunningDoor) -> None:
    node = door.app.context.node
    space = await node.create_space("Home")
    document = await node.create_document(space.space_id, title="", type=DocType.TEXT, parent_id=None)

    async def stream(size: int) -> object:
        for _ in range(0, size, 65_536):
            yield b"a" * 65_536

    content = f"/api/v1/documents/{document.document_id.text}/content?format=text"
    async with door.client() as client:
        assert (await client.post("/api/v1/spaces", content=b"x" * (BODY_BYTES_MAX + 1))).status_code == 413
        assert (await client.put(content, content=b"x" * 200_000)).status_code == 204
        assert (await client.put(content, content=b"x" * (CONTENT_BODY_BYTES_MAX + 1))).status_code == 413
        streamed = await client.put(content, content=stream(CONTENT_BODY_BYTES_MAX + 65_536))  # type: ignore[arg-type]
        assert streamed.status_code == 413
        assert streamed.headers["content-type"] == "application/problem+json"


async def test_hashed_assets_may_be_kept_and_nothing_else(node: FakeNode, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "assets").mkdir(parents=True)
    (bundle / "index.html").write_text("<!doctype html><title>Sheaf</title>")
    (bundle / "sw.js").write_text("self")
    (bundle / "assets" / "main-abc123.js").write_text("export {}")
    (bundle / ".stamp").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    (bundle / "link.txt").symlink_to(tmp_path / "outside.txt")
    async with (
        running_door(node, tmp_path, webui_dir=bundle) as door,
        door.client(is_signed_in=False) as client,
    ):
        for page in ("/", "/d/d_abc", "/s/s_abc"):
            answer = await client.get(page)
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
            assert "<title>Sheaf" in answer.text
        asset = await client.get("/assets/main-abc123.js")
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asset.headers["content-type"].startswith("text/javascript")
        assert (await client.get("/sw.js")).headers["cache-control"] == "no-store"
        for hidden in (
            "/.stamp",
            "/assets/missing.js",
            "/..%2foutside.txt",
            "/%2e%2e/outside.txt",
            "/link.txt",
            "/assets",
            "/a%00b",
        ):
            answer = await client.get(hidden)
            assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store"), hidden


async def test_a_missing_bundle_says_how_to_build_it(door: RunningDoor) -> None:
    async with door.client(is_signed_in=False) as client:
        answer = await client.get("/")
    assert answer.status_code == 503
    assert "make run" in answer.text
