"""What operators of a relay are given: it names what exists, and does what it says.

The dashboard and the alerts are held against the metrics of a relay that runs. The container file is
read here and not built: its commands and paths are checked against the program and the repository.
"""

from __future__ import annotations

import configparser
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from sheaf.cli.main import app
from sheaf.cli.variables import RELAY
from tests.support.daemon import wait_until
from tests.support.nats import NATS_SERVER, needs_nats
from tests.support.relay import RelayProcess
from tests.support.repository import ROOT

OPERATING = ROOT / "docs" / "operating"
UNIT = ROOT / "systemd" / "sheaf-relay.service"
ANALYZE = shutil.which("systemd-analyze")
DASHBOARD = json.loads((OPERATING / "relay-dashboard.json").read_text())
ALERTS = (OPERATING / "relay-alerts.yml").read_text()
NAME = re.compile(r"\bsheaf_relay_\w+")
HEADER = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)

# Directive -> what the unit must say.
EXPECTED = {
    "Type": "notify",
    "NotifyAccess": "main",
    "WatchdogSec": "30",
    "Restart": "on-failure",
    "DynamicUser": "yes",
    "StateDirectory": "sheaf-relay",
    "StateDirectoryMode": "0700",
    "UMask": "0077",
    "CapabilityBoundingSet": "",
    "NoNewPrivileges": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "SystemCallArchitectures": "native",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all series that a relay exports, those without a sample yet included."""
    relay = RelayProcess(tmp_path_factory.mktemp("relay")).start()
    try:
        status, text = relay.http("/metrics")
    finally:
        relay.stop()
    assert status == 200
    names: set[str] = set()
    for name, kind in HEADER.findall(text):
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names.update(name + suffix for suffix in suffixes)
    return names


def expressions() -> Iterator[tuple[str, str]]:
    """(where it stands, PromQL) of every panel and every alert."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']!r}", target["expr"]
    for rule in ALERTS.split("- alert: ")[1:]:
        yield f"alert {rule.split()[0]}", re.findall(r"^ +expr: (.+)$", rule, re.MULTILINE)[0]


@pytest.mark.parametrize(("place", "expression"), [pytest.param(*each, id=each[0]) for each in expressions()])
def test_a_series_that_is_named_is_exported(exported: set[str], place: str, expression: str) -> None:
    named = set(NAME.findall(expression))
    assert named or expression.startswith("up{"), place
    assert named <= exported, place


def test_every_kind_of_number_is_on_the_dashboard(exported: set[str]) -> None:
    shown = set(NAME.findall(" ".join(expression for _, expression in expressions())))
    ours = {name for name in exported if not name.startswith("sheaf_relay_process_")}
    histograms = {name.removesuffix("_bucket") for name in ours if name.endswith("_bucket")}
    hidden = {
        name
        for name in ours - shown
        if not name.endswith("_created") and name.rpartition("_")[0] not in histograms
    }
    assert hidden == set()


def test_every_alert_says_since_when_how_bad_and_what_to_do() -> None:
    rules = ALERTS.split("- alert: ")[1:]
    assert len(rules) >= 8
    for rule in rules:
        for line in (
            r"expr: ",
            r"for: \d+m",
            r"labels: \{severity: (page|warn)\}",
            r"summary: \"",
            r"description: \"",
        ):
            assert len(re.findall(rf"^ +{line}", rule, re.MULTILINE)) == 1, rule


def test_panels_do_not_overlap_and_ask_one_data_source() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"${source}"}


# ------------------------------------------------------------------ the unit


@pytest.fixture
def service() -> configparser.SectionProxy:
    """The unit's [Service], keys in the case they were written; the last of a repeated one."""
    parser = configparser.ConfigParser(
        interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=False
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep case
    parser.read_string(UNIT.read_text())
    return parser["Service"]


@pytest.mark.parametrize("directive", EXPECTED)
def test_a_directive_the_relay_relies_on_is_there(service: configparser.SectionProxy, directive: str) -> None:
    assert service.get(directive) == EXPECTED[directive]


def test_the_unit_gives_the_relay_time_to_say_goodbye(service: configparser.SectionProxy) -> None:
    assert int(service["TimeoutStopSec"]) > 10


@pytest.mark.skipif(ANALYZE is None, reason="no systemd on this machine to check the unit with")
def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    program = f"ExecStart={shutil.which('true')}"
    copy.write_text(re.sub(r"^ExecStart=\S+", program, UNIT.read_text(), flags=re.MULTILINE))
    command = [str(ANALYZE), "verify", "--man=no", str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    complaints = [line for line in result.stderr.splitlines() if UNIT.name in line]
    assert (result.returncode, complaints) == (0, [])


@pytest.mark.skipif(ANALYZE is None, reason="no systemd on this machine to rate the unit with")
def test_the_unit_is_among_the_most_closed_ones() -> None:
    """An unhardened unit is rated 9.6, this one 1.4. The threshold is in tenths."""
    command = [str(ANALYZE), "security", "--no-pager", "--offline=true", "--threshold=16", str(UNIT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout[-400:] + result.stderr


def test_a_relay_tells_its_manager_that_it_is_ready_alive_and_stopping(tmp_path: Path) -> None:
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(0.05)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}

        def hears(word: str) -> bool:
            try:
                heard.append(manager.recv(4096).decode())
            except TimeoutError:
                return False
            return heard[-1].startswith(word)

        relay = RelayProcess(tmp_path / "relay", environment=environment).start()
        wait_until(lambda: hears(f"READY=1\nSTATUS=serving at {relay.url}"), what="READY=1")
        wait_until(lambda: hears("WATCHDOG=1"), what="WATCHDOG=1")
        assert relay.stop() == 0
        wait_until(lambda: hears("STOPPING=1"), what="STOPPING=1")


# ------------------------------------------------------------------ commands in files


def options_of_relay() -> set[str]:
    """Every option of `sheaf relay`."""
    command = get_command(app).commands["relay"]  # type: ignore[attr-defined]  # a group, as the app has many
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


@pytest.mark.parametrize(
    "path",
    [UNIT, ROOT / "docs" / "guide" / "relay.md", *sorted(OPERATING.iterdir())],
    ids=lambda path: path.name,
)
def test_an_option_that_is_named_exists(path: Path) -> None:
    """In commands of `sheaf relay`, in the unit's variable, and in prose between backticks."""
    text = re.sub(r"\\\n#? *", " ", path.read_text())
    commands = re.findall(r"(?:\bsheaf relay |sheaf-relay sheaf-relay |SHEAF_RELAY_OPTIONS)(.*)", text)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join(commands)))
    named |= set(re.findall(r"`(--[a-z][a-z-]+)", text))
    assert named <= options_of_relay() | {"--relay", "--help"}


@pytest.mark.parametrize("path", [UNIT, ROOT / "docs" / "guide" / "relay.md"], ids=lambda path: path.name)
def test_a_variable_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"SHEAF_RELAY_[A-Z_]*[A-Z]", path.read_text()))
    assert named - {"SHEAF_RELAY_OPTIONS"} <= RELAY
    assert named, "this file sets none"


def test_the_units_variables_start_a_relay_behind_a_proxy(tmp_path: Path) -> None:
    lines = re.findall(r'^Environment="?(\w+)=(.*?)"?$', UNIT.read_text(), re.MULTILINE)
    environment = {name: value.replace("%S", str(tmp_path)) for name, value in lines}
    assert environment["SHEAF_RELAY_BEHIND_PROXY"] == "yes"
    assert environment["SHEAF_RELAY_LISTEN"] == "127.0.0.1:7412"
    (tmp_path / "sheaf-relay").mkdir()
    environment["SHEAF_RELAY_LISTEN"] = "127.0.0.1:0"
    relay = BareRelay(tmp_path / "log", environment=environment).start()
    assert relay.stop() == 0
    assert (tmp_path / "sheaf-relay" / "relay.sqlite3").exists()


class BareRelay(RelayProcess):
    """A relay that is told everything by its variables, but for the format of its log."""

    def command(self) -> list[str]:
        """`sheaf relay --log-format json`, as in the unit."""
        return [sys.executable, "-m", "sheaf.cli.main", "relay", "--log-format", "json"]


def test_the_container_file_copies_and_runs_what_is_there() -> None:
    text = (OPERATING / "Containerfile").read_text()
    instructions = re.sub(r"\\\n", "", text).splitlines()
    copied = [line.split()[1:-1] for line in instructions if re.match(r"COPY (?!--from)", line)]
    for source in [name for names in copied for name in names]:
        assert (ROOT / source).exists(), source
    words = {line.split()[0] for line in instructions if line and not line.startswith("#")}
    known = "FROM WORKDIR COPY RUN USER VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD"
    assert words <= set(known.split())
    lists = {line.split()[0]: json.loads(line[line.index("[") :]) for line in instructions if '["' in line}
    assert lists["ENTRYPOINT"][:2] == ["/opt/sheaf/bin/sheaf", "relay"]
    assert {
        word for word in lists["ENTRYPOINT"] + lists["CMD"] if word.startswith("--")
    } <= options_of_relay()
    compile(lists["HEALTHCHECK"][-1], "HEALTHCHECK", "exec")
    assert instructions.index("USER sheaf-relay") < next(
        number for number, line in enumerate(instructions) if line.startswith("ENTRYPOINT")
    )
    assert "AS build" in text
    assert text.count("\nFROM ") == 2, "what built it stays behind"


@needs_nats
def test_the_example_of_nats_is_one_that_nats_reads(tmp_path: Path) -> None:
    result = subprocess.run(
        [str(NATS_SERVER), "-t", "-c", str(OPERATING / "nats.conf")],
        env={"SHEAF_NATS_PASSWORD": "secret"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 0, result.stderr
