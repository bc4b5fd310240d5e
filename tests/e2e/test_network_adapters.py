"""The network adapters between real network namespaces (FAULTS N3–N6, N18).

Two agents (tests/support/network_agent.py) on a switch, or alone on a computer. No default
route and no DNS unless a test says so.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import netns
from tests.support.netns import Computer

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(90)]

AGENT = Path(__file__).parents[1] / "support" / "network_agent.py"
ALICE, BOB = "aa" * 16, "bb" * 16
TAG, OTHER_TAG = "010203040506", "0a0b0c0d0e0f"
Event = dict[str, Any]


class Agent:
    """A running agent and what it said.

    What was said and nobody has asked for yet is kept: the order of unrelated events is chance.
    """

    def __init__(self, computer: Computer, rid: str) -> None:
        self.computer = computer
        self.rid = rid
        self._process = computer.start(
            [sys.executable, str(AGENT), rid], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._poll = select.poll()
        self._poll.register(self._process.stdout, select.POLLIN | select.POLLHUP)
        self._rest = b""
        self.said: list[Event] = []
        self._unasked: list[Event] = []
        self.ready = self.until("ready")

    @property
    def address(self) -> str:
        """Where this agent listens, as another computer sees it."""
        port = str(self.ready["listening"]).rpartition(":")[2]
        return f"{self.computer.address or '127.0.0.1'}:{port}"

    def tell(self, do: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._process.stdin.flush()

    def until(
        self, event: str, condition: Callable[[Event], bool] = lambda _: True, *, seconds: float = 15
    ) -> Event:
        """The first event of this kind that fits and nobody took yet; fails when none comes in time."""
        found = self._first(
            lambda e: e["event"] == "failed" or (e["event"] == event and condition(e)), seconds
        )
        assert found is not None, f"no {event!r} within {seconds} s; said: {self.said}"
        assert found["event"] != "failed", found
        return found

    def until_failure(self, *, seconds: float) -> Event:
        """The failure of the last command."""
        found = self._first(lambda event: event["event"] == "failed", seconds)
        assert found is not None, f"nothing failed within {seconds} s; said: {self.said}"
        return found

    def within(self, seconds: float) -> list[Event]:
        """Everything that is said in the next seconds; it can still be asked for."""
        deadline = time.monotonic() + seconds
        before = len(self.said)
        while self._hear(deadline):
            pass
        return self.said[before:]

    def _first(self, fits: Callable[[Event], bool], seconds: float) -> Event | None:
        """Take the first event that fits from what was said or will be."""
        deadline = time.monotonic() + seconds
        looked_at = 0
        while True:
            for at, event in enumerate(self._unasked[looked_at:], looked_at):
                if fits(event):
                    return self._unasked.pop(at)
            looked_at = len(self._unasked)
            if not self._hear(deadline):
                return None

    def _hear(self, deadline: float) -> bool:
        line = self._line(deadline)
        if line is not None:
            self.said.append(line)
            self._unasked.append(line)
        return line is not None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End in order; nothing may be left running inside but the reader of commands."""
        self.tell("stop")
        stopped = self.until("stopped")
        assert stopped["tasks"] <= 1
        assert stopped["took_s"] < 4
        assert self._process.wait(timeout=10) == 0

    def _line(self, deadline: float) -> Event | None:
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                return None
            chunk = os.read(self._process.stdout.fileno(), 65536)
            assert chunk, f"the agent ended; said: {self.said}"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        event: Event = json.loads(line)
        return event


def has(tag: str) -> Callable[[Event], bool]:
    return lambda event: tag in event["tags"] and not event["is_gone"]


def connect(alice: Agent, bob: Agent, how: str = "webrtc", address: str | None = None) -> Event:
    alice.tell(how, address=address or bob.address, rid=bob.rid)
    opened = alice.until("open")
    bob.until("open")
    return opened


def ping(alice: Agent, count: int = 50) -> Event:
    alice.tell("ping", count=count)
    return alice.until("pinged")


class Parrot(Computer):
    """A computer where every program says the same and ends when its input does."""

    def start(self, argv: Sequence[str], **streams: Any) -> subprocess.Popen[Any]:
        del argv
        lines = [json.dumps({"event": event}) for event in ("sighting", "ready", "open")]
        self.processes.append(
            subprocess.Popen(["sh", "-c", 'printf "%s\\n" "$@"; cat', "sh", *lines], **streams)
        )
        return self.processes[-1]


def test_an_event_that_comes_before_the_one_asked_for_can_be_asked_for_later() -> None:
    agent = Agent(Parrot("parrot"), ALICE)
    assert agent.ready == {"event": "ready"}
    assert [event["event"] for event in agent.within(0.2)] == ["open"]
    assert agent.until("open", seconds=0) == {"event": "open"}
    assert agent.until("sighting", seconds=0) == {"event": "sighting"}
    with pytest.raises(AssertionError, match="no 'sighting'"):
        agent.until("sighting", seconds=0)
    agent.kill()


def test_two_computers_and_nothing_else_find_each_other_and_connect_at_once() -> None:
    with netns.lan(2) as lan:
        alice, bob = Agent(lan[0], ALICE), Agent(lan[1], BOB)
        bob.tell("announce", tags=[TAG])
        sighting = alice.until("sighting", has(TAG), seconds=3)
        opened = connect(alice, bob, address=sighting["addresses"][0])
        assert opened["path"] == "webrtc"
        assert opened["took_s"] < 1.0
        assert opened["candidates"] == ["10.77.0.1"]
        assert ping(alice)["median_ms"] < 20
        bob.tell("announce", tags=[TAG, OTHER_TAG])
        alice.until("sighting", has(OTHER_TAG), seconds=1)
        alice.stop()
        assert "closed by the peer" in bob.until("closed")["reason"]
        bob.stop()


def test_n5_a_dead_uplink_and_dead_dns_cost_nothing() -> None:
    with netns.lan(2, has_default_route=True) as lan:
        alice, bob = Agent(lan[0], ALICE), Agent(lan[1], BOB)
        assert connect(alice, bob)["took_s"] < 1.0


def test_n5_with_udp_blocked_the_tunnel_still_works() -> None:
    with netns.lan(2) as lan:
        alice, bob = Agent(lan[0], ALICE), Agent(lan[1], BOB)
        for computer in lan.computers:
            computer.run(
                "nft", "add table inet t; add chain inet t in { type filter hook input priority 0; }"
            )
            computer.run("nft", "add rule inet t in meta l4proto udp drop")
        alice.tell("webrtc", address=bob.address, rid=bob.rid)
        for agent in (alice, bob):
            assert agent.until_failure(seconds=15)["kind"] == "TransportFailure"
        opened = connect(alice, bob, "tunnel")
        assert opened["path"] == "tunnel"
        assert opened["took_s"] < 1.0
        ping(alice)
        alice.tell("hang_up")
        bob.until("closed")
        alice.stop()
        bob.stop()


def test_n5_two_daemons_on_one_offline_computer_find_and_reach_each_other() -> None:
    with netns.lonely() as computer:
        alice, bob = Agent(computer, ALICE), Agent(computer, BOB)
        bob.tell("announce", tags=[TAG])
        address = alice.until("sighting", has(TAG), seconds=3)["addresses"][0]
        assert connect(alice, bob, "tunnel", address)["path"] == "tunnel"
        ping(alice)
        alice.tell("hang_up")
        alice.until("closed")
        assert connect(alice, bob, "webrtc", address)["took_s"] < 1.0
        ping(alice)
        alice.stop()
        bob.stop()


def test_n18_a_computer_without_any_interface_starts_and_joins_in_later() -> None:
    with netns.lonely(is_loopback_up=False) as computer:
        alice = Agent(computer, ALICE)
        assert alice.ready["mdns"] == "no interface"
        alice.tell("announce", tags=[TAG])
        computer.run("ip", "link", "set", "lo", "up")
        bob = Agent(computer, BOB)
        bob.until("sighting", has(TAG), seconds=8)
        alice.stop()
        bob.stop()


def test_n4_a_new_address_is_announced_within_ten_seconds() -> None:
    with netns.lan(2) as lan:
        alice, bob = Agent(lan[0], ALICE), Agent(lan[1], BOB)
        bob.tell("announce", tags=[TAG])
        alice.until("sighting", has(TAG), seconds=3)
        lan[1].readdress("10.77.0.2/24", "10.77.0.99/24")
        moved = alice.until(
            "sighting", lambda e: has(TAG)(e) and e["addresses"][0].startswith("10.77.0.99:"), seconds=10
        )
        assert connect(alice, bob, address=moved["addresses"][0])["took_s"] < 1.5


def test_n3_a_pulled_cable_is_silence_and_the_channel_goes_on_when_it_is_back() -> None:
    with netns.lan(2) as lan:
        alice, bob = Agent(lan[0], ALICE), Agent(lan[1], BOB)
        bob.tell("announce", tags=[TAG])
        connect(alice, bob)
        lan.cable(1, "down")
        assert not [event for event in alice.within(3) if event["event"] == "closed"]
        lan.cable(1, "up")
        ping(alice)
        bob.tell("announce", tags=[TAG, OTHER_TAG])
        alice.until("sighting", has(OTHER_TAG), seconds=10)
        connect(alice, bob)
        ping(alice)


def test_n3_a_peer_killed_outright_comes_back_under_another_name() -> None:
    with netns.lan(2) as lan:
        alice, bob = Agent(lan[0], ALICE), Agent(lan[1], BOB)
        bob.tell("announce", tags=[TAG])
        first = alice.until("sighting", has(TAG), seconds=3)
        bob.kill()
        reborn = Agent(lan[1], BOB)
        reborn.tell("announce", tags=[TAG])
        second = alice.until("sighting", lambda e: e["instance"] != first["instance"], seconds=3)
        assert connect(alice, reborn, address=second["addresses"][0])["took_s"] < 1.0


def test_n6_empty_and_junk_datagrams_from_a_third_computer_do_no_harm() -> None:
    with netns.lan(3) as lan:
        alice, bob = Agent(lan[0], ALICE), Agent(lan[1], BOB)
        opened = connect(alice, bob)
        here, there = (end.split(" (")[0] for end in opened["description"].split(" ⇄ "))
        flood = """
import os, random, socket, sys
random.seed(6)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    s.sendto(b"", (host, int(port)))
    for _ in range(12000):
        s.sendto(random.randbytes(random.choice((0, 1, 20, 60, 600))), (host, int(port)))
"""
        lan[2].run(sys.executable, "-c", flood, here, there, timeout_s=30)
        ping(alice)
        assert not any(event["event"] == "closed" for event in (*alice.said, *bob.said))
        alice.stop()
        bob.stop()


def test_n18_a_thousand_fake_daemons_do_not_hide_the_real_one_that_was_there_first() -> None:
    with netns.lan(3) as lan:
        alice, bob = Agent(lan[0], ALICE), Agent(lan[1], BOB)
        bob.tell("announce", tags=[TAG])
        alice.until("sighting", has(TAG), seconds=3)
        flood = """
import random, socket
from zeroconf import DNSOutgoing, DNSPointer, DNSService, DNSText, DNSAddress, const
random.seed(18)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.77.0.3"))
kind = "_sheaf._tcp.local."
for number in range(1000):
    name, host = f"fake{number}.{kind}", f"h{number}.local."
    good = b"\\x03v=1" + b"\\x0en=" + bytes(12) + b"\\x08t=" + random.randbytes(6)
    text = good if number % 2 else random.randbytes(40)
    out = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    out.add_answer_at_time(DNSPointer(kind, const._TYPE_PTR, const._CLASS_IN, 120, name), 0)
    out.add_answer_at_time(DNSService(name, const._TYPE_SRV, const._CLASS_IN, 120, 0, 0, 4000, host), 0)
    out.add_answer_at_time(DNSText(name, const._TYPE_TXT, const._CLASS_IN, 120, text), 0)
    address = bytes([10, 77, number // 256 + 1, number % 256])
    out.add_answer_at_time(DNSAddress(host, const._TYPE_A, const._CLASS_IN, 120, address), 0)
    for packet in out.packets():
        s.sendto(packet, ("224.0.0.251", 5353))
"""
        lan[2].run(sys.executable, "-c", flood, timeout_s=30)
        bob.tell("announce", tags=[TAG, OTHER_TAG])
        alice.until("sighting", has(OTHER_TAG), seconds=10)
        seen = {event["instance"] for event in alice.said if event["event"] == "sighting"}
        assert 100 < len(seen) <= 256
        assert connect(alice, bob)["took_s"] < 3.0


def test_n18_somebody_who_takes_a_daemons_name_hides_it_for_a_moment_at_most() -> None:
    with netns.lan(3) as lan:
        alice, bob = Agent(lan[0], ALICE), Agent(lan[1], BOB)
        bob.tell("announce", tags=[TAG])
        name = alice.until("sighting", has(TAG), seconds=3)["instance"]
        thief = """
import socket, sys
from zeroconf import DNSOutgoing, DNSPointer, DNSService, DNSText, DNSAddress, const
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.77.0.3"))
kind, host = "_sheaf._tcp.local.", "thief.local."
name, unique = f"{sys.argv[1]}.{kind}", const._CLASS_IN | const._CLASS_UNIQUE
text = b"\x03v=1" + b"\x0en=" + bytes(12) + b"\x08t=thiefs"
out = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
out.add_answer_at_time(DNSPointer(kind, const._TYPE_PTR, const._CLASS_IN, 120, name), 0)
out.add_answer_at_time(DNSService(name, const._TYPE_SRV, unique, 120, 0, 0, 4000, host), 0)
out.add_answer_at_time(DNSText(name, const._TYPE_TXT, unique, 120, text), 0)
out.add_answer_at_time(DNSAddress(host, const._TYPE_A, unique, 120, bytes([10, 77, 0, 3])), 0)
for packet in out.packets():
    s.sendto(packet, ("224.0.0.251", 5353))
"""
        lan[2].run(sys.executable, "-c", thief, name, timeout_s=30)
        alice.until("sighting", lambda event: "10.77.0.3:4000" in event["addresses"], seconds=5)
        assert connect(alice, bob)["took_s"] < 3.0
        bob.tell("announce", tags=[TAG, OTHER_TAG])
        found = alice.until("sighting", has(OTHER_TAG), seconds=10)
        assert found["addresses"] == [bob.address]
        alice.stop()
        bob.stop()
