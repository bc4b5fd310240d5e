"""Signals, as a terminal, a service manager and an impatient person send them."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sheaf.data_dir import read_daemon_file
from tests.support.certificate import self_signed
from tests.support.daemon import Daemon, wait_until
from tests.support.relay import RelayProcess

pytestmark = pytest.mark.e2e

STOP_S_MAX = 20.0
QUIET = ("--no-mdns", "--lan", "127.0.0.1:0")
# The tests may run under nohup, whose ignored SIGHUP a child would inherit.
_OWN_SESSION = "import os, signal, sys; os.setsid(); signal.signal(signal.SIGHUP, signal.SIG_DFL);"
WITHOUT_TERMINAL = (sys.executable, "-c", f"{_OWN_SESSION} os.execv(sys.argv[1], sys.argv[1:])")
IN_TERMINAL = (
    sys.executable,
    "-c",
    f"{_OWN_SESSION} tty = os.open(sys.argv[1], os.O_RDWR); os.dup2(tty, 0); os.dup2(tty, 1);"
    "os.close(tty); os.execv(sys.argv[2], sys.argv[2:])",
)


@contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """A terminal's own end and the name of the other one; closing the former is what a closed window is."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    try:
        yield master, name
    finally:
        os.close(slave)


def ends_cleanly(process: subprocess.Popen[bytes] | None, log: Path) -> None:
    assert process is not None
    assert process.wait(STOP_S_MAX) == 0, log.read_text()


def test_a_daemon_whose_terminal_goes_away_stops_cleanly(tmp_path: Path) -> None:
    with terminal() as (master, name):
        daemon = Daemon(tmp_path / "data", arguments=QUIET, prefix=(*IN_TERMINAL, name)).start()
        os.close(master)
        ends_cleanly(daemon.process, daemon.log_path)
    assert "the terminal went away" in daemon.log()
    assert '"stopped"' in daemon.log()
    assert read_daemon_file(daemon.data_dir) is None


def test_a_hangup_does_not_end_a_daemon_that_runs_as_a_service(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data", arguments=QUIET, prefix=WITHOUT_TERMINAL).start()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP changes nothing" in daemon.log(), what="the daemon says so")
    assert daemon.get("/status")["port"] == daemon.port
    assert daemon.stop() == 0


def test_a_relay_whose_terminal_goes_away_stops_even_if_it_has_a_certificate_to_read(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "relay")
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with terminal() as (master, name):
        relay = RelayInTerminal(tmp_path / "relay", arguments=options, prefix=(*IN_TERMINAL, name))
        relay.spawn()
        wait_until(lambda: b"ready" in relay.shown(master), what="the relay serves")
        os.close(master)
        ends_cleanly(relay.process, relay.log_path)
    assert "the terminal went away" in relay.log()


class RelayInTerminal(RelayProcess):
    """A relay that prints that it is ready to a terminal; its log still goes to the file."""

    def shown(self, master: int) -> bytes:
        """What the terminal shows next."""
        return os.read(master, 4096)


def test_a_hangup_does_not_end_a_relay_without_a_certificate(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path / "relay", prefix=WITHOUT_TERMINAL).start()
    assert relay.process is not None
    relay.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP changes nothing" in relay.log(), what="the relay says so")
    assert relay.http("/healthz")[0] == 200
    assert relay.stop() == 0


@pytest.mark.parametrize("kind", [Daemon, RelayProcess])
def test_signals_that_are_repeated_to_the_very_end_do_not_spoil_it(
    kind: type[Daemon | RelayProcess], tmp_path: Path
) -> None:
    arguments = QUIET if kind is Daemon else ()
    running = kind(tmp_path / "data", arguments=arguments).start()
    process = running.process
    assert process is not None
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0, running.log()
    assert "Traceback" not in running.log()
