"""A real uvicorn on loopback with the whole local door in front of a node, inside the test's loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from sheaf.api.app import LocalApp, create_app
from sheaf.api.auth import Authenticator
from sheaf.api.credentials import CredentialVault
from sheaf.api.facade import NodeFacade
from sheaf.api.outbox import SEND_DEADLINE_S
from sheaf.api.server import LocalServer, bind_door


class ManualClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.wall = 1_767_225_600_000

    def now(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return self.wall

    def advance(self, seconds: float) -> None:
        """Let both clocks run."""
        self.now_s += seconds
        self.wall += round(seconds * 1000)


@dataclass
class RunningDoor:
    """A served door and its parts."""

    app: LocalApp
    auth: Authenticator
    clock: ManualClock
    port: int
    token: str
    server: LocalServer

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def client(self, *, is_signed_in: bool = True) -> httpx.AsyncClient:
        """A client of the API; with the bearer token unless told otherwise."""
        headers = self.bearer if is_signed_in else {}
        return httpx.AsyncClient(base_url=self.origin, headers=headers, trust_env=False, timeout=10)

    async def sign_in(self) -> dict[str, str]:
        """The headers of a signed-in browser tab: cookie and Origin."""
        async with self.client(is_signed_in=False) as client:
            answer = await client.post(
                "/api/v1/session",
                json={"token": self.auth.issue_launch_token()},
                headers={"Origin": self.origin},
            )
        assert answer.status_code == 204, answer.text
        return {"Cookie": answer.headers["set-cookie"].split(";")[0], "Origin": self.origin}


@asynccontextmanager
async def running_door(
    node: NodeFacade,
    data_dir: Path,
    *,
    webui_dir: Path | None = None,
    send_deadline_s: float = SEND_DEADLINE_S,
    clock: ManualClock | None = None,
) -> AsyncIterator[RunningDoor]:
    """Serve `node`; stops and waits on exit."""
    clock = clock or ManualClock()
    vault = CredentialVault(data_dir)
    auth = Authenticator(vault=vault, clock=clock, entropy=os.urandom)
    auth.load()
    token = vault.load_token()
    assert token is not None
    bound = bind_door(0)
    app = create_app(node, auth=auth, port=bound.port, webui_dir=webui_dir, send_deadline_s=send_deadline_s)
    server = LocalServer(app, door=bound, stop_deadline_s=1)
    serving = asyncio.ensure_future(server.serve())
    await server.wait_started()
    try:
        yield RunningDoor(app, auth, clock, bound.port, token, server)
    finally:
        server.stop()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
