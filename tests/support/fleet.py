"""Three relay processes on one nats-server, behind a proxy that deals connections out in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import eventually
from tests.support.nats import NatsServer, nats_server
from tests.support.netns import Computer
from tests.support.proxy import RoundRobin, round_robin
from tests.support.relay import RelayProcess

RECOVERY_S = 20.0
"""A node or NATS is back, a client is connected again: in seconds, but on any machine."""


@dataclass
class Fleet:
    """The nodes, what they share, and what is in front of them."""

    nodes: list[RelayProcess]
    nats: NatsServer
    proxy: RoundRobin

    @property
    def url(self) -> str:
        """The only address that clients know."""
        return f"ws://{self.nodes[0].host}:{self.proxy.port}"

    def node_of(self, port: int) -> RelayProcess:
        """The node that listens there."""
        return next(node for node in self.nodes if node.port == port)

    def node_of_last(self) -> RelayProcess:
        """The node that the last connection went to."""
        return self.node_of(self.proxy.served[-1])

    async def are_healthy(self) -> None:
        """Wait until every node that runs says that it serves."""
        for node in self.nodes:

            def is_healthy(node: RelayProcess = node) -> bool:
                return node.http("/healthz")[0] == 200

            await eventually(is_healthy, timeout_s=RECOVERY_S)


@contextlib.contextmanager
def running_fleet(folder: Path, at: Computer | None = None) -> Iterator[Fleet]:
    """Three nodes, a NATS and a proxy, on this machine or on a computer of its own."""
    host = "127.0.0.1" if at is None else str(at.address)
    prefix = () if at is None else at.command([])
    enter = contextlib.nullcontext if at is None else at.entered
    with contextlib.ExitStack() as stack:
        nats = stack.enter_context(nats_server(folder / "nats", prefix=prefix))
        nodes = [
            RelayProcess(folder / f"node{number}", store=nats.url, host=host, prefix=prefix, enter=enter)
            for number in range(3)
        ]
        for node in nodes:
            node.spawn()
            stack.callback(node.stop)
        for node in nodes:
            assert node.ready_or_ended() is None, node.log()
        ports = [node.port for node in nodes]
        proxy = stack.enter_context(round_robin(ports, host=host, enter=enter))
        yield Fleet(nodes, nats, proxy)
