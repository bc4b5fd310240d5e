"""wss:// relays: only with a certificate that is trusted here, and a token only behind it (PROTOCOL §7)."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from sheaf.core.wire.relay_frames import Accepted, Auth, Frame, Welcome
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.signaling.relay_socket import RelayDoor, RelayUnwelcoming
from sheaf.signaling.resolver import Resolver
from tests.support.certificate import self_signed
from tests.support.scripted_relay import Caller, scripted_relay


async def test_a_trusted_certificate_opens_and_another_shows_no_token(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "relay")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    heard: list[Frame] = []

    async def script(caller: Caller) -> None:
        await caller.socket.send(Welcome(1, True, 1000, 1000, 10, 0))
        heard.append(await caller.next())
        await caller.socket.send(Accepted())
        await caller.gone()

    async with scripted_relay(script, tls=tls) as relay:
        url = RelayUrl.parse(relay.url.replace("wss://", "wss://t0ken@"))
        with pytest.raises(RelayUnwelcoming, match="not trusted here"):
            await RelayDoor(resolver=Resolver()).open(url)
        assert heard == []
        trusting = RelayDoor(resolver=Resolver(), tls=ssl.create_default_context(cafile=certificate))
        opened = await trusting.open(url)
        assert heard == [Auth(b"t0ken")]
        await opened.socket.close()
