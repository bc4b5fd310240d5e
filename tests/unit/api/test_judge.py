"""The door's judgement on arbitrary bytes: it never raises and never lets a stranger in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from sheaf.api.door import DoorNames, LocalDoor, judge

HEADER = st.tuples(
    st.sampled_from(
        [b"host", b"origin", b"cookie", b"authorization", b"sec-fetch-site", b"sec-websocket-protocol", b"x"]
    ),
    st.one_of(
        st.binary(max_size=40), st.sampled_from([b"127.0.0.1:7411", b"http://127.0.0.1:7411", b"Bearer x"])
    ),
)


@given(st.booleans(), st.text(max_size=8), st.text(max_size=20), st.lists(HEADER, max_size=6))
def test_judging_any_bytes_never_raises_and_lets_only_own_hosts_in(
    is_websocket: bool, method: str, path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    refusal = judge(DoorNames(7411), is_websocket=is_websocket, method=method, path=path, headers=headers)
    if refusal is None:
        assert [value for name, value in headers if name == b"host"] == [b"127.0.0.1:7411"]
        assert {value for name, value in headers if name == b"origin"} <= {b"http://127.0.0.1:7411"}


@given(st.lists(HEADER, max_size=6))
async def test_the_door_itself_never_raises(headers: list[tuple[bytes, bytes]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    await LocalDoor(app, port=7411)(scope, receive, send)  # type: ignore[arg-type]
    assert sent
