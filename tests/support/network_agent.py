"""A process with all network adapters and nothing above them, driven by JSON lines.

Two of these, in two namespaces, show that discovery, signalling and transports work together
before any session exists. Signalling messages are JSON here instead of sealed.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
import time
from typing import Any

from sheaf.core.base.errors import SheafError
from sheaf.core.base.ids import RendezvousId
from sheaf.discovery.mdns import MdnsDiscovery
from sheaf.discovery.network import InterfacePolicy, NetworkWatch, usable_addresses
from sheaf.ports import (
    Announcement,
    Candidate,
    Channel,
    Sighting,
    SignalRoute,
    TunnelDescription,
    WebRtcDescription,
)
from sheaf.signaling.lan import LanSignaling
from sheaf.signaling.websocket import dial_tunnel
from sheaf.transport.tls import TlsIdentity
from sheaf.transport.tunnel import Tunnel
from sheaf.transport.webrtc import WebRtc


def say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "at": time.monotonic(), **fields}), flush=True)


class Echo:
    """Receives frames; sends them back when it answered, measures them when it offered."""

    def __init__(self, channel: Channel, *, is_echoing: bool) -> None:
        self.channel = channel
        self.is_echoing = is_echoing
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()

    def frame_received(self, frame: bytes) -> None:
        if self.is_echoing:
            self.channel.send(frame)
        else:
            self.arrived.put_nowait(frame)

    def writable(self) -> None:
        pass

    def channel_closed(self, reason: str) -> None:
        say("closed", reason=reason, path=self.channel.path.value)


class Agent:
    def __init__(self, rid: RendezvousId) -> None:
        policy = InterfacePolicy()
        self.rid = rid
        self.watch = NetworkWatch(policy=policy)
        self.discovery = MdnsDiscovery(watch=self.watch, entropy=os.urandom)
        self.webrtc = WebRtc(addresses=lambda: usable_addresses(policy))
        self.tunnel = Tunnel(identity=TlsIdentity.make(), dial=dial_tunnel)
        self.signaling = LanSignaling(door=self.tunnel)
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.messages: asyncio.Queue[tuple[bytes, SignalRoute]] = asyncio.Queue()
        self.echo: Echo | None = None

    async def start(self) -> None:
        await self.watch.start()
        await self.signaling.listen("", 0)
        self.signaling.subscribe([self.rid])
        self.signaling.set_handler(lambda rid, sealed, route: self.messages.put_nowait((sealed, route)))
        await self.discovery.start(self.seen)
        await self.webrtc.warm_up()
        say("ready", listening=self.signaling.listening, mdns=self.discovery.state)

    def seen(self, sighting: Sighting) -> None:
        say(
            "sighting",
            instance=sighting.instance,
            tags=sorted(tag.hex() for tag in sighting.tags),
            addresses=list(sighting.addresses),
            is_gone=sighting.is_gone,
        )

    async def answer(self, sealed: bytes, route: SignalRoute) -> None:
        message = json.loads(sealed)
        if message["kind"] == "answer":
            self.answers.put_nowait(message)
            return
        rid = RendezvousId(bytes.fromhex(message["rid"]))
        if message["kind"] == "offer webrtc":
            attempt = await self.webrtc.answer(read_description(message["webrtc"]))
            reply = {"kind": "answer", "webrtc": write_description(attempt.description)}
            await self.signaling.reply(route, rid, json.dumps(reply).encode())
            channel = await attempt.connect()
        else:
            token = os.urandom(16)
            expectation = self.tunnel.expect(token, bytes.fromhex(message["fingerprint"]))
            reply = {"kind": "answer", "token": token.hex(), "fingerprint": self.tunnel.fingerprint.hex()}
            await self.signaling.reply(route, rid, json.dumps(reply).encode())
            channel = await expectation.channel()
        self.opened(channel, is_echoing=True)

    def opened(self, channel: Channel, *, is_echoing: bool, **fields: Any) -> None:
        self.echo = Echo(channel, is_echoing=is_echoing)
        channel.attach(self.echo)
        say("open", path=channel.path.value, description=channel.description, **fields)

    async def do_announce(self, tags: list[str]) -> None:
        assert self.signaling.listening is not None
        port = int(self.signaling.listening.rpartition(":")[2])
        await self.discovery.announce(
            Announcement(port=port, tags_for=lambda nonce: [bytes.fromhex(tag) for tag in tags])
        )

    async def do_webrtc(self, address: str, rid: str) -> None:
        begin = time.monotonic()
        attempt = await self.webrtc.offer()
        offer = {
            "kind": "offer webrtc",
            "rid": self.rid.hex(),
            "webrtc": write_description(attempt.description),
        }
        target = RendezvousId(bytes.fromhex(rid))
        assert await self.signaling.send(address, target, json.dumps(offer).encode()) is not None
        answer = await self.answers.get()
        channel = await attempt.connect(read_description(answer["webrtc"]))
        self.opened(
            channel,
            is_echoing=False,
            took_s=time.monotonic() - begin,
            candidates=[c.address for c in attempt.description.candidates],
        )

    async def do_tunnel(self, address: str, rid: str) -> None:
        begin = time.monotonic()
        offer = {"kind": "offer tunnel", "rid": self.rid.hex(), "fingerprint": self.tunnel.fingerprint.hex()}
        target = RendezvousId(bytes.fromhex(rid))
        assert await self.signaling.send(address, target, json.dumps(offer).encode()) is not None
        answer = await self.answers.get()
        remote = TunnelDescription(bytes.fromhex(answer["fingerprint"]), bytes.fromhex(answer["token"]))
        channel = await self.tunnel.connect(address, remote)
        self.opened(channel, is_echoing=False, took_s=time.monotonic() - begin)

    async def do_ping(self, count: int) -> None:
        assert self.echo is not None
        taken = []
        for number in range(count):
            begin = time.perf_counter()
            self.echo.channel.send(b"%d" % number)
            assert await self.echo.arrived.get() == b"%d" % number
            taken.append(time.perf_counter() - begin)
        taken.sort()
        say("pinged", median_ms=taken[len(taken) // 2] * 1000, max_ms=taken[-1] * 1000)

    async def do_hang_up(self) -> None:
        assert self.echo is not None
        await self.echo.channel.close()

    async def do_stop(self) -> None:
        begin = time.monotonic()
        for part in (self.discovery, self.signaling, self.webrtc, self.tunnel, self.watch):
            await part.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        say("stopped", took_s=time.monotonic() - begin, tasks=len(others))


def write_description(description: WebRtcDescription) -> dict[str, Any]:
    return {**dataclasses.asdict(description), "fingerprint": description.fingerprint.hex()}


def read_description(fields: dict[str, Any]) -> WebRtcDescription:
    candidates = tuple(Candidate(**candidate) for candidate in fields["candidates"])
    fingerprint = bytes.fromhex(fields["fingerprint"])
    return WebRtcDescription(**{**fields, "fingerprint": fingerprint, "candidates": candidates})


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rid")
    agent = Agent(RendezvousId(bytes.fromhex(parser.parse_args().rid)))
    await agent.start()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with asyncio.TaskGroup() as group:

        async def answer_all() -> None:
            while True:
                sealed, route = await agent.messages.get()
                group.create_task(guarded(agent.answer(sealed, route)))

        answering = group.create_task(answer_all())
        while line := await reader.readline():
            command = json.loads(line)
            do = command.pop("do")
            await guarded(getattr(agent, f"do_{do}")(**command))
            if do == "stop":
                break
        answering.cancel()


async def guarded(work: Any) -> None:
    try:
        await work
    except SheafError as error:
        say("failed", error=str(error), kind=type(error).__name__)


if __name__ == "__main__":
    asyncio.run(main())
