"""Codes said aloud: two daemons that share nothing but a relay, through the command line (PROTOCOL §8)."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from sheaf.core.wire.relay_requests import NameplateClaim, NameplateHeld
from tests.support.daemon import Daemon, _environment, wait_until
from tests.support.relay import RelayProcess, frame_client
from tests.support.world import Town

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

COMMAND_S_MAX = 40.0
"""Both commands, joining and the first catch-up; FAULTS gives 30 s for everything to be with everybody."""


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    process = RelayProcess(tmp_path / "relay").start()
    yield process
    process.stop()


def strangers(here: Town, relay: RelayProcess | None, *names: str) -> list[Daemon]:
    """Daemons that could meet at the relay, and nowhere else."""
    arguments = ["--lan=127.0.0.1:0", "--no-mdns"]
    if relay is not None:
        arguments.append(f"--relay={relay.url}")
    started = [here.daemon(name, arguments=arguments) for name in names]
    for daemon in started:
        daemon.spawn()
    for daemon in started:
        daemon.wait_ready()
    return started


def until_connected(*daemons: Daemon) -> None:
    for daemon in daemons:
        wait_until(
            partial(is_connected, daemon),
            what=f"{daemon.data_dir.name} has a connection to the relay",
        )


def is_connected(daemon: Daemon) -> bool:
    return [each["state"] for each in daemon.get("/network")["relays"]] == ["connected"]


class Command:
    """A `sheaf` command that goes on while the test does something else."""

    def __init__(self, daemon: Daemon, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sheaf.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment({"SHEAF_DATA_DIR": str(daemon.data_dir)}),
        )
        self.lines: list[str] = []

    def line(self) -> str:
        """The next line of its standard output."""
        out: IO[str] | None = self.process.stdout
        assert out is not None
        self.lines.append(out.readline())
        return self.lines[-1].strip()

    def ended(self) -> tuple[int, str, str]:
        """Its exit code, and all it said."""
        out, err = self.process.communicate(timeout=COMMAND_S_MAX)
        return self.process.returncode, "".join(self.lines) + out, err

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def run(daemon: Daemon, *arguments: str) -> tuple[int, str, str]:
    with Command(daemon, *arguments) as command:
        return command.ended()


def inviting(stack: ExitStack, daemon: Daemon) -> tuple[Command, str]:
    """`sheaf invite Home --code`, and the code."""
    command = stack.enter_context(Command(daemon, "invite", "Home", "--code"))
    code = command.line()
    assert re.fullmatch(r"[0-9]+-[a-z]+-[a-z]+", code), command.ended()
    return command, code


def safety_words(shown: str) -> str:
    found = re.findall(r"^ +((?:[a-z]+ ){3}[a-z]+)$", shown, re.MULTILINE)
    assert len(found) == 1, shown
    return str(found[0])


def misheard(code: str) -> str:
    number, first, second = code.split("-")
    return f"{number} {first} {'able' if second != 'able' else 'zoo'}"


def test_who_was_told_the_code_comes_in_and_both_see_the_same_words(here: Town, relay: RelayProcess) -> None:
    ada, ben = strangers(here, relay, "ada", "ben")
    ada.cli("space", "create", "Home")
    ada.cli("doc", "create", "Home", "Shopping list", "--type", "text")
    ada.cli("doc", "write", "Shopping list", stdin="bread\n")
    with ExitStack() as stack:
        inviter, code = inviting(stack, ada)
        joined, out, joiner_saw = run(ben, "join", *code.upper().split("-"))
        assert joined == 0, joiner_saw
        assert out.startswith("You are in “Home”.")
        invited, out, inviter_saw = inviter.ended()
        assert invited == 0, inviter_saw
        assert out.splitlines() == [code, "ben is in “Home” now."]
    assert safety_words(inviter_saw) == safety_words(joiner_saw)
    assert "for ada and ben alike" in inviter_saw
    assert "for ben and ada alike" in joiner_saw
    assert ben.cli("doc", "show", "Shopping list") == "bread\n"


def test_a_wrong_word_burns_the_code_and_both_sides_are_told(here: Town, relay: RelayProcess) -> None:
    ada, ben = strangers(here, relay, "ada", "ben")
    ada.cli("space", "create", "Home")
    with ExitStack() as stack:
        inviter, code = inviting(stack, ada)
        status, _, said = run(ben, "join", code + "x")
        assert (status, "the code is still good" in said) == (1, True), said
        status, _, said = run(ben, "join", misheard(code))
        assert (status, "The code was not right" in said) == (1, True), said
        status, _, said = inviter.ended()
        assert (status, "Somebody tried this code with other words" in said) == (1, True), said
        status, _, said = run(ben, "join", code)
        assert (status, "Nobody waits for this code" in said) == (1, True), said
    assert len(ada.cli_json("members", "Home")) == 1


async def test_a_third_at_the_number_makes_the_code_worthless(here: Town, relay: RelayProcess) -> None:
    ada, ben = strangers(here, relay, "ada", "ben")
    ada.cli("space", "create", "Home")
    with ExitStack() as stack:
        inviter, code = inviting(stack, ada)
        async with frame_client(relay.url) as eve:
            await eve.ask(NameplateClaim(1, int(code.split("-")[0])), NameplateHeld)
            status, _, said = run(ben, "join", code)
        assert (status, "Two used this code at the same time" in said) == (1, True), said
        status, _, said = inviter.ended()
        assert (status, "Two came with this code's number" in said) == (1, True), said


def test_a_relay_that_restarts_in_the_middle_is_said_and_the_next_code_works(
    here: Town, relay: RelayProcess
) -> None:
    ada, ben = strangers(here, relay, "ada", "ben")
    ada.cli("space", "create", "Home")
    with ExitStack() as stack:
        inviter, code = inviting(stack, ada)
        relay.kill()
        status, _, said = inviter.ended()
        assert (status, "The connection to the relay broke" in said) == (1, True), said
        status, _, said = run(ben, "join", code)
        assert (status, "The relay cannot be reached" in said) == (1, True), said
        relay.start()
        until_connected(ada, ben)
        _, code = inviting(stack, ada)
        status, _, said = run(ben, "join", code)
        assert status == 0, said


def test_a_code_outlives_its_command_but_not_ctrl_c(here: Town, relay: RelayProcess) -> None:
    ada, ben = strangers(here, relay, "ada", "ben")
    ada.cli("space", "create", "Home")
    with ExitStack() as stack:
        inviter, withdrawn = inviting(stack, ada)
        inviter.process.send_signal(signal.SIGINT)
        status, _, said = inviter.ended()
        assert (status, "The code is withdrawn." in said) == (130, True), said
        status, _, said = run(ben, "join", withdrawn)
        assert (status, "Nobody waits for this code" in said) == (1, True), said
        inviter, code = inviting(stack, ada)
        inviter.process.kill()
        status, _, said = run(ben, "join", code)
        assert status == 0, said


def test_a_daemon_without_a_relay_is_told_of_one(here: Town, relay: RelayProcess) -> None:
    (ada,) = strangers(here, relay, "ada")
    (ben,) = strangers(here, None, "ben")
    ada.cli("space", "create", "Home")
    with ExitStack() as stack:
        _, code = inviting(stack, ada)
        status, _, said = run(ben, "join", code)
        assert (status, "sheaf join CODE --relay wss://" in said) == (1, True), said
        ben.cli("space", "create", "Own")
        status, _, said = run(ben, "invite", "Own", "--code")
        assert (status, "A code needs a relay" in said) == (1, True), said
        status, _, said = run(ben, "join", code, "--relay", relay.url)
        assert status == 0, said
    assert {member["name"] for member in ben.cli_json("members", "Home")} == {"ada", "ben"}
