"""`sheaf up` as a process: the printed link, where it listens, a restart, the tour of the README."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.e2e


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "data", arguments=("--no-mdns", "--lan", "127.0.0.1:0"))
    daemon.start()
    yield daemon
    daemon.stop()


def sign_in(daemon: Daemon) -> httpx.Client:
    """A browser that follows the printed link."""
    link = re.search(r"http://127\.0\.0\.1:\d+/#token=(\S+)", daemon.log())
    assert link is not None, daemon.log()
    browser = httpx.Client(base_url=daemon.url, headers={"Origin": daemon.url}, trust_env=False)
    assert browser.post("/api/v1/session", json={"token": link[1]}).status_code == 204
    return browser


def test_the_printed_link_signs_in_once_and_the_session_survives_kill_9(daemon: Daemon) -> None:
    browser = sign_in(daemon)
    assert browser.get("/api/v1/status").status_code == 200
    with pytest.raises(AssertionError):
        sign_in(daemon)
    daemon.kill()
    daemon.start()
    assert browser.get("/api/v1/status").status_code == 200


def test_the_door_listens_on_loopback_only(daemon: Daemon) -> None:
    assert daemon.process is not None
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(daemon.process.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == daemon.port
    }
    assert listening <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in listening
    assert stat.S_IMODE((daemon.data_dir / "api-token").stat().st_mode) == 0o600


def test_a_taken_port_is_said_so(daemon: Daemon, tmp_path: Path) -> None:
    other = Daemon(tmp_path / "other", arguments=("--no-mdns",), port=daemon.port)
    with pytest.raises(AssertionError, match=r"(?s)ended with 1.*taken.*--port"):
        other.start()


def test_the_tour_of_the_readme(daemon: Daemon) -> None:
    daemon.cli("space", "create", "Field notes")
    document = daemon.cli_json("doc", "create", "Field notes", "--title", "Birds")
    daemon.cli("doc", "append", document["document_id"], stdin="- a wren\n")
    assert daemon.cli("doc", "show", "Birds") == "- a wren\n"
    assert daemon.cli("invite", "Field notes").startswith("sheaf1")
    assert "Field notes" in daemon.cli("status")
    assert "webrtc" not in daemon.cli("peers")
