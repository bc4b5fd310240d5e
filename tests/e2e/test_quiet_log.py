"""What happens to every open port all day is no error: the log stays quiet, and it is counted."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sheaf import __version__
from tests.support.certificate import self_signed
from tests.support.daemon import Daemon, _environment, wait_until
from tests.support.noise import make_noise
from tests.support.relay import RelayProcess

pytestmark = pytest.mark.e2e


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "data", arguments=("--no-mdns", "--lan", "127.0.0.1:0")).start()
    yield daemon
    daemon.stop()


def connect(port: int) -> Callable[[], socket.socket]:
    return lambda: socket.create_connection(("127.0.0.1", port), timeout=10)


def loud_lines(log: Path) -> list[str]:
    """Everything in a JSON log that an operator would have to look at: warnings, errors, tracebacks."""
    found = []
    for line in log.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            found += [line] if re.search(r"Traceback|Error|^  File", line) else []
            continue
        if entry.get("level") in ("warning", "error", "critical"):
            found.append(line[:400])
    return found


def counted(text: str, name: str) -> dict[str, float]:
    """The values of a counter by its only label."""
    return {
        label: float(value)
        for label, value in re.findall(rf'^{name}{{\w+="(\w+)"}} (\S+)$', text, re.MULTILINE)
    }


def test_scanners_and_broken_connections_are_counted_and_not_logged(daemon: Daemon) -> None:
    space = daemon.post("/spaces", {"name": "Home"})["space_id"]
    document = daemon.post(f"/spaces/{space}/documents", {"title": "List", "type": "text"})["document_id"]
    door, lan = daemon.port, int(daemon.get("/status")["lan"]["listening"].rpartition(":")[2])
    make_noise(
        connect(door),
        host=f"127.0.0.1:{door}",
        path=f"/sync/{document}",
        document=document,
        headers={
            "Authorization": f"Bearer {daemon.token}",
            "Sec-WebSocket-Protocol": f"sheaf.bearer.{daemon.token}, sheaf",
        },
    )
    make_noise(connect(lan), host=f"127.0.0.1:{lan}", path="/sheaf", document=document, headers={})
    text = daemon.client().get(f"{daemon.url}/metrics").text
    refusals = counted(text, "sheaf_door_refusals_total")
    assert refusals["malformed"] > 0
    assert refusals["origin"] > 0
    wait_until(lambda: daemon.log().count("upload broken off") == 4, what="one line for each broken upload")
    half = connect(door)()
    half.sendall(
        f"PUT /api/v1/documents/{document}/content HTTP/1.1\r\nHost: 127.0.0.1:{door}\r\n"
        f"Authorization: Bearer {daemon.token}\r\nContent-Length: 9000\r\n\r\nxx".encode()
    )
    assert daemon.get("/status")["port"] == door
    assert daemon.stop() == 0
    half.close()
    assert loud_lines(daemon.log_path) == []


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_relay_does_not_log_what_strangers_do(tmp_path: Path, is_tls: bool) -> None:
    arguments: tuple[str, ...] = ()
    if is_tls:
        certificate, key = self_signed(tmp_path, "relay")
        arguments = ("--tls-cert", str(certificate), "--tls-key", str(key))
    relay = RelayProcess(tmp_path / "relay", arguments=arguments).start()
    place = {"host": relay.address, "path": "/sheaf", "document": "d_x"}
    make_noise(connect(relay.port), **place, headers={})
    if is_tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = connect(relay.port)
        make_noise(lambda: context.wrap_socket(plain()), **place, headers={})
    else:
        strangers = counted(relay.http("/metrics")[1], "sheaf_relay_strangers_total")
        assert strangers["no_handshake"] > 0
        assert strangers["not_here"] > 0
    assert relay.stop() == 0
    assert loud_lines(relay.log_path) == []


def started(log: str) -> dict[str, object]:
    """The one line that says what was started."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (found,) = [line for line in lines if line["event"] == "started"]
    return dict(found)


def test_the_log_says_what_was_started_and_holds_no_secret(tmp_path: Path) -> None:
    options = ("--no-mdns", "--lan", "127.0.0.1:0", "--relay", "wss://secrettoken@relay.example")
    daemon = Daemon(tmp_path / "data", arguments=options).start()
    lan = daemon.get("/status")["lan"]["listening"]
    daemon.stop()
    line = started(daemon.log())
    assert (line["version"], line["data_dir"]) == (__version__, str(daemon.data_dir))
    assert (line["door"], line["lan"]) == (f"{daemon.url}/", lan)
    assert (line["relays"], line["off"]) == (["wss://relay.example"], ["mDNS"])
    assert "secrettoken" not in daemon.log()


def test_the_log_of_a_relay_says_what_was_started(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path / "relay", arguments=("--stun-port", "0")).start()
    relay.stop()
    line = started(relay.log())
    assert (line["version"], line["url"], line["store"]) == (
        __version__,
        relay.url,
        f"sqlite:{relay.database}",
    )
    assert (line["listen"], line["off"]) == (relay.address, ["TLS", "STUN", "tokens"])


def test_a_start_that_fails_is_an_error_in_the_journal(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        info = os.fstat(stream.fileno())
        subprocess.run(
            [sys.executable, "-m", "sheaf.cli.main", "up", "--data-dir", str(daemon.data_dir), "--no-open"],
            stderr=stream,
            check=False,
            timeout=60,
            env=_environment({"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"}),
        )
    (line,) = path.read_text().splitlines()
    assert line.startswith("<3>sheaf: ")


GAUGES = (
    "documents documents_open logs peers_connected relays_connected spaces spaces_incomplete storage_failed "
    "storage_wal_bytes sync_sockets_open tabs unsent_edits"
)
COUNTERS = (
    "connections_failed connections_made door_refusals lan_refusals mailbox_items_put peer_bytes_received "
    "peer_bytes_sent signals_dropped storage_commits storage_failures "
    "storage_transactions sync_sockets_closed"
)


def test_every_number_of_a_running_daemon_has_the_type_it_should_have(daemon: Daemon) -> None:
    daemon.post("/spaces", {"name": "Home"})
    text = daemon.client().get(f"{daemon.url}/metrics").text
    families = [
        family
        for family in text_string_to_metric_families(text)
        if not family.name.startswith("sheaf_process_") and not family.name.endswith("_created")
    ]
    types = {family.name.removeprefix("sheaf_"): family.type for family in families}
    assert {types[name] for name in GAUGES.split()} == {"gauge"}
    assert {types[name] for name in COUNTERS.split()} == {"counter"}
    assert set(types.values()) == {"gauge", "counter"}
    samples = {sample.name: sample.value for family in families for sample in family.samples}
    assert samples["sheaf_storage_transactions_total"] > 0
    assert samples["sheaf_storage_commits_total"] > 0
    assert 'sheaf_lan_refusals_total{reason="handshake"} 0.0' in text
