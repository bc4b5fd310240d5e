"""Looking names up: nobody waits for a resolver that does not answer (FAULTS N5)."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from sheaf.core.base.errors import TransportFailure
from sheaf.signaling import resolver as module
from sheaf.signaling.resolver import THREADS_MAX, Address, Resolver, open_tcp

HERE: Address = (socket.AF_INET, ("127.0.0.1", 9))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP_S_MAX", 0.05)


@pytest.fixture
def hole() -> Iterator[threading.Event]:
    """What a stuck lookup waits for."""
    event = threading.Event()
    yield event
    event.set()


async def test_literals_are_never_looked_up() -> None:
    def fail(host: str, port: int) -> list[Address]:
        raise AssertionError(host)

    resolver = Resolver(lookup=fail)
    assert await resolver.addresses("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert (await resolver.addresses("::1", 80))[0][0] == socket.AF_INET6


async def test_a_link_local_address_is_tried_on_each_link_of_this_computer() -> None:
    resolver = Resolver(links=lambda: (3, 7))
    assert await resolver.addresses("fe80::1", 80) == [
        (socket.AF_INET6, ("fe80::1", 80, 0, 3)),
        (socket.AF_INET6, ("fe80::1", 80, 0, 7)),
    ]
    assert await resolver.addresses("fd00::1", 80) == [(socket.AF_INET6, ("fd00::1", 80, 0, 0))]
    assert await resolver.addresses("169.254.1.1", 80) == [(socket.AF_INET, ("169.254.1.1", 80))]
    named = f"fe80::1%{socket.if_indextoname(1)}"
    assert await resolver.addresses(named, 80) == [(socket.AF_INET6, ("fe80::1", 80, 0, 1))]


async def test_a_name_is_found() -> None:
    assert (await Resolver().addresses("localhost", 80))[0][1][0] in ("127.0.0.1", "::1")


async def test_an_unknown_name_says_so() -> None:
    def unknown(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(TransportFailure, match=r"relay\.example is not known"):
        await Resolver(lookup=unknown).addresses("relay.example", 80)


@pytest.mark.usefixtures("short")
async def test_a_stuck_lookup_is_asked_once_and_its_late_answer_used(hole: threading.Event) -> None:
    calls: list[str] = []

    def stuck(host: str, port: int) -> list[Address]:
        calls.append(host)
        hole.wait(10)
        return [HERE]

    resolver = Resolver(lookup=stuck)
    for _ in range(3):
        with pytest.raises(TransportFailure, match="no answer from DNS"):
            await resolver.addresses("relay.example", 9)
    assert calls == ["relay.example"]
    hole.set()
    async with asyncio.timeout(5):
        while True:
            try:
                assert await resolver.addresses("relay.example", 9) == [HERE]
                break
            except TransportFailure:
                continue


@pytest.mark.usefixtures("short")
async def test_stuck_lookups_are_bounded(hole: threading.Event) -> None:
    def stuck(host: str, port: int) -> list[Address]:
        hole.wait(10)
        return [HERE]

    resolver = Resolver(lookup=stuck)
    names = [f"relay{n}.example" for n in range(THREADS_MAX + 4)]
    outcomes = await asyncio.gather(*(resolver.addresses(n, 9) for n in names), return_exceptions=True)
    assert all(isinstance(outcome, TransportFailure) for outcome in outcomes)
    stuck_threads = [thread for thread in threading.enumerate() if thread.name.startswith("look up relay")]
    assert len(stuck_threads) == THREADS_MAX


@pytest.mark.usefixtures("short")
async def test_while_dns_is_silent_the_last_answer_is_used_again(hole: threading.Event) -> None:
    answers = iter([[HERE]])

    def once(host: str, port: int) -> list[Address]:
        found = next(answers, None)
        if found is None:
            hole.wait(10)
        return found or []

    resolver = Resolver(lookup=once)
    assert await resolver.addresses("relay.example", 9) == [HERE]
    assert await resolver.addresses("relay.example", 9) == [HERE]


def test_a_stuck_lookup_does_not_keep_the_process() -> None:
    program = """
import asyncio, time
from sheaf.core.base.errors import TransportFailure
from sheaf.signaling import resolver
resolver.LOOKUP_S_MAX = 0.05
async def main():
    try:
        await resolver.Resolver(lookup=lambda host, port: time.sleep(60)).addresses("x.example", 1)
    except TransportFailure:
        print("given up")
asyncio.run(main())
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "given up\n"
    assert time.monotonic() - began < 20


async def test_the_addresses_of_a_name_race() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        dead: Address = (socket.AF_INET, ("127.0.0.1", 1))
        lookups = Resolver(lookup=lambda _host, _port: [dead, (socket.AF_INET, ("127.0.0.1", port))])
        opened = await open_tcp(lookups, "relay.example", port)
        assert opened.getpeername()[1] == port
        opened.close()


async def test_when_no_address_answers_the_reason_comes_out() -> None:
    lookups = Resolver(lookup=lambda _host, _port: [(socket.AF_INET, ("127.0.0.1", 1))] * 2)
    with pytest.raises(ConnectionRefusedError):
        await open_tcp(lookups, "relay.example", 1)
