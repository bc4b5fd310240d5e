"""Somebody who does what a page of the guide says, command by command, on the machines of a walk."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from typing import Final

import pytest

from sheaf.data_dir import read_daemon_file
from tests.support.daemon import START_DEADLINE_S, wait_until
from tests.support.guide_text import Command, commands_of_comments
from tests.support.guide_walk import Machine, Outcome, Walk
from tests.support.nats import NATS_SERVER

NEEDS_DAEMON: Final = re.compile(r"\bsheaf (?!up\b|relay\b|--show)")
CREATING: Final = re.compile(r"^sheaf (?:space create|doc create \"Field notes\") \"?(Field notes|Birds)")
CODE: Final = re.compile(r"^\d+-[a-z]+-[a-z]+$", re.MULTILINE)
SAFETY_WORDS: Final = re.compile(r"^    (\w+ \w+ \w+ \w+)$", re.MULTILINE)
PODMAN: Final = re.compile(
    r"podman run -d --name \S+ --network host --read-only -v \S+:/\S+ sheaf-relay (.+)"
)
PLACEHOLDER: Final = re.compile(r"(?<![\w$-])(?!SHEAF_|VENV|ARGS|HOME|PASSWORD)[A-Z]{2,}\b|…")


class Reader:
    """Runs commands where the page means them to run.

    `instead` says what runs in place of a command that would reach beyond the test, `arguments` what a
    command needs that the page only names. `done` holds what ran already, on other pages too.
    """

    def __init__(
        self, walk: Walk, *, instead: dict[str, str], arguments: dict[str, str], done: set[str]
    ) -> None:
        self.walk = walk
        self._done = done
        self._instead, self._arguments = instead, arguments
        self._relay: subprocess.Popen[bytes] | None = None
        self._inviting: subprocess.Popen[bytes] | None = None
        self._ticket: str | None = None
        self._has_ben = False
        self._there: set[tuple[str, str]] = set()

    def do(self, command: Command) -> Outcome:
        """Run `command` and return how it ended. What ran already is not run again for a mere mention.

        Raises:
            AssertionError: it holds a placeholder that nothing is known for, or did not do what it is for.
        """
        if not command.block and command.text in self._done:
            return Outcome(0, "", "")
        self._done.add(command.text)
        step = self._step(command)
        for begin, run in self._special().items():
            if re.match(begin, step):
                return run(step, command)
        machine = self.walk.ben if is_second(command) else self.walk.ann
        return self._plainly(machine, step)

    def _special(self) -> dict[str, Callable[[str, Command], Outcome]]:
        """What to do with commands that stay, or that are another machine's."""
        return {
            r"pipx install\b": self._install,
            r"sheaf up\b": self._up,
            r"sheaf relay(?! --help)\b": self._start_relay,
            r"podman run\b": self._run_image,
            r"nats-server\b": self._start_nats,
            r"make run\b": self._make_run,
            r"systemctl \w+ sheaf-relay$": self._at_relay,
            r"sheaf invite .*--code$": self._invite_by_code,
            r"sheaf join\b": self._join,
        }

    # ------------------------------------------------------------------ what a command means here

    def _step(self, command: Command) -> str:
        text = self._instead.get(
            command.text, f"{command.text} {self._arguments.get(command.text, '')}".strip()
        )
        text = text.replace("{made}", str(self.walk.folder / "made"))
        for pattern, value in self._placeholders().items():
            text = re.sub(pattern, lambda _match, value=value: value(), text)  # type: ignore[misc]
        text = self.walk.here(text)
        left = PLACEHOLDER.findall(text)
        assert left == [], f"{command}: nothing is known that stands for {left}"
        return text

    def _placeholders(self) -> dict[str, Callable[[], str]]:
        """Return what stands in a page for somebody's own words, and where to get those."""
        ann, ben = self.walk.ann, self.walk.ben
        return {
            r"\b(?:NAME|SPACE)\b": lambda: '"Field notes"',
            r"\bDOCUMENT\b": lambda: "Birds",
            r"sheaf1(?:\.\.\.|…)|\bTICKET\b": self._a_ticket,
            r"\b7 orbit velvet\b": self._a_code,
            r"\bURL…|wss?://(?:that\.machine:7412|192\.168\.1\.10:7412)": lambda: self.relay_url,
            r"wss://relay\.example(?!\.)": lambda: self.relay_url,
            r"\bHOST:PORT\b|192\.168\.1\.4:47411": lambda: f"127.0.0.1:{ben.lan_port}",
            r"0\.0\.0\.0:47411": lambda: f"127.0.0.1:{ann.lan_port}",
            r"127\.0\.0\.1:7411": lambda: f"127.0.0.1:{ann.port}",
            r"\bCOMMAND\b": lambda: "status",
        }

    def _a_ticket(self) -> str:
        """The ticket that was printed last, or one for a space that nobody has joined."""
        if self._ticket is None:
            made = self._plainly(self.walk.ann, 'sheaf --json space create "Shared"').out
            self._plainly(self.walk.ann, f"sheaf invite {json.loads(made)['space_id']}")
        ticket, self._ticket = self._ticket or "", None
        return ticket

    def _a_code(self) -> str:
        """The code that `sheaf invite --code` shows, with gaps as somebody types them."""
        if self._inviting is None:
            self._needs_relay()
            self._invite_by_code('sheaf invite "Field notes" --code', None)
        code: str = CODE.findall(self.walk.ann.said("code.log"))[0]
        return code.replace("-", " ")

    # ------------------------------------------------------------------ running it

    def _plainly(self, machine: Machine, step: str) -> Outcome:
        if NEEDS_DAEMON.search(step):
            self._needs_daemon(machine)
            self._needs_words(machine, step)
        outcome = machine.run(step)
        if made := CREATING.search(step):
            self._there.add((machine.name, made.group(1)))
        if re.search(r"^sheaf1\S+\n$", outcome.out):
            self._ticket = outcome.out.strip()
        return outcome

    def _needs_daemon(self, machine: Machine) -> None:
        """Commands talk to a running daemon, so the reader has started one."""
        if not machine.is_serving:
            machine.up("sheaf up" + (f" --relay {self.relay_url}" if self._relay else ""))

    def _needs_words(self, machine: Machine, step: str) -> None:
        """The pages share their examples: what an earlier one made is there."""
        for name in re.findall(r"(?<!create )(?:\"(Field notes)\"|\b(Notes)\b)", step):
            self._needs_thing(machine, "space", "".join(name), "")
        if re.search(r"\bBirds\b", step) and " create " not in step:
            self._needs_thing(machine, "space", "Field notes", "")
            self._needs_thing(machine, "doc", "Birds", '"Field notes"')

    def _needs_thing(self, machine: Machine, kind: str, name: str, place: str) -> None:
        if (machine.name, name) in self._there:
            return
        made = machine.run(f'sheaf {kind} create {place} "{name}"')
        assert made.code == 0, made
        self._there.add((machine.name, name))

    def _install(self, step: str, _command: Command) -> Outcome:
        """Both people install it, the second first."""
        second = self.walk.ben.run(step)
        return self.walk.ann.run(step) if second.code == 0 else second

    def _up(self, step: str, command: Command) -> Outcome:
        if is_for_both := "--relay" in step:
            self._needs_relay(is_used=False)
        second = self.walk.ben if is_second(command) else self.walk.ann
        machines = [self.walk.ann, self.walk.ben] if is_for_both else [second]
        if "--new-database" in step:
            second.lose_database()
        return Outcome(0, "".join(machine.up(step) for machine in machines), "")

    def _make_run(self, step: str, command: Command) -> Outcome:
        """`make run` with the set-up done already; that is tests/meta/test_lock_install.py's."""
        ann = self.walk.ann
        ann.stop()
        commands = self.walk.folder / "made/bin"
        if not commands.exists():
            commands.parent.mkdir()
            commands.symlink_to(self.walk.program.parent)
            for stamp in ("venv", "run", "dev", "project"):
                (commands.parent / f".{stamp}-stamp").touch()
        make = ann.spawn(step, "make.log")
        wait_until(
            lambda: make.poll() is not None or "Ctrl-C stops" in ann.said("make.log"),
            timeout_s=START_DEADLINE_S,
            what="make run serves",
        )
        assert make.poll() is None, ann.said("make.log")
        daemon = read_daemon_file(ann.data_dir)
        assert daemon is not None
        os.kill(daemon.pid, signal.SIGINT)
        make.wait(START_DEADLINE_S)
        return Outcome(0, ann.said("make.log"), "")

    # ------------------------------------------------------------------ relays

    @property
    def relay_url(self) -> str:
        """Where the walk's relay is reached."""
        return f"ws://127.0.0.1:{self.walk.relay_port}"

    def _needs_relay(self, *, is_used: bool = True) -> None:
        """A relay, and (`is_used`) both machines using it."""
        if self._relay is None:
            self._start_relay(f"sheaf relay --listen 127.0.0.1:{self.walk.relay_port}", None)
        for machine in (self.walk.ann, self.walk.ben) if is_used else ():
            if not (machine.is_serving and self.relay_url in machine.run("sheaf status").out):
                machine.up(f"sheaf up --relay {self.relay_url}")

    def _at_relay(self, step: str, _command: Command) -> Outcome:
        """What a page says about the service needs one: the unit's first lines say how to install it."""
        self._stop_relay()
        if not list((self.walk.folder / "units").iterdir()):
            unit = "systemd/sheaf-relay.service"
            for command in commands_of_comments(self.walk.checkout / unit, unit):
                installed = self.walk.ann.run(self._step(command))
                assert installed.code == 0, f"{command}\n{installed}"
        return self.walk.ann.run(step)

    def _stop_relay(self) -> None:
        """Ctrl-C in the relay's terminal."""
        if self._relay is not None:
            self._relay.send_signal(signal.SIGINT)
            assert self._relay.wait(START_DEADLINE_S) in (0, 130), self.walk.ann.said("relay.log")
            self._relay = None

    def _start_relay(self, step: str, _command: Command | None) -> Outcome:
        """One relay at a time, as on one machine: whichever ran there is stopped."""
        self._stop_relay()
        if list((self.walk.folder / "units").iterdir()):
            self.walk.ann.run("systemctl stop sheaf-relay")
        if "--listen" not in step:
            step += f" --listen 127.0.0.1:{self.walk.relay_port}"
        relay = self._relay = self.walk.ann.spawn(step, "relay.log")
        wait_until(
            lambda: relay.poll() is not None or "ws" in self.walk.ann.said("relay.log"),
            timeout_s=START_DEADLINE_S,
            what=f"{step} serves",
        )
        said = self.walk.ann.said("relay.log")
        return Outcome(relay.poll() or 0, said, "")

    def _run_image(self, step: str, command: Command) -> Outcome:
        """The words behind an image's name are options of `sheaf relay`: docs/operating/Containerfile."""
        options = PODMAN.fullmatch(step)
        assert options, f"{command}: podman takes other words"
        return self._start_relay(f"sheaf relay --log-format json {options.group(1)}", command)

    def _start_nats(self, step: str, command: Command) -> Outcome:
        if NATS_SERVER is None:
            pytest.skip(
                f"no nats-server here for the rest, from {command} (Debian: apt-get install nats-server)"
            )
        ann, words = self.walk.ann, shlex.split(step)
        configuration = self.walk.folder / "nats.conf"
        configuration.write_text(self.walk.here((self.walk.checkout / words[2]).read_text()))
        ann.run(': "${SHEAF_NATS_PASSWORD:=PASSWORD}"')
        server = ann.spawn(f"nats-server -c {configuration}", "nats.log")
        wait_until(
            lambda: server.poll() is not None or "Server is ready" in ann.said("nats.log"),
            timeout_s=START_DEADLINE_S,
            what="nats-server is ready",
        )
        return Outcome(server.poll() or 0, ann.said("nats.log"), "")

    # ------------------------------------------------------------------ people

    def _invite_by_code(self, step: str, _command: Command | None) -> Outcome:
        ann = self.walk.ann
        self._needs_relay()
        if self._has_ben:  # whoever is in a space already is no guest
            step = step.replace('"Field notes"', '"Notes"')
        self._needs_words(ann, step)
        inviting = self._inviting = ann.spawn(step, "code.log")
        wait_until(
            lambda: inviting.poll() is not None or bool(CODE.search(ann.said("code.log"))),
            timeout_s=START_DEADLINE_S,
            what=f"{step} shows a code",
        )
        return Outcome(inviting.poll() or 0, ann.said("code.log"), "")

    def _join(self, step: str, command: Command) -> Outcome:
        ann, ben = self.walk.ann, self.walk.ben
        self._needs_daemon(ann)
        self._needs_daemon(ben)
        if "ssh other" in step:
            self._needs_words(ann, '"Notes"')
        outcome = ben.run(step)
        self._has_ben = True
        if self._inviting is not None and "velvet" in command.text and outcome.code == 0:
            inviting, self._inviting = self._inviting, None
            assert inviting.wait(START_DEADLINE_S) == 0, ann.said("code.log")
            (here,), (there,) = SAFETY_WORDS.findall(outcome.err), SAFETY_WORDS.findall(ann.said("code.log"))
            assert here == there, "both see the same four words"
        return outcome


def is_second(command: Command) -> bool:
    """Whether a block is what the second machine's reader types: it joins, and invites nobody."""
    words = "\n".join(command.block)
    return "sheaf join" in words and "sheaf invite" not in words
