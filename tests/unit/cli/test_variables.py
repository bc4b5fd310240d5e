"""`SHEAF_…` variables: all of them work, and others do not pass silently."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.main import get_command

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.cli.main import app
from sheaf.cli.variables import DAEMON, PREFIX, RELAY, refuse_misspelt, unknown_variables
from sheaf.config import Settings
from sheaf.core.base.errors import UsageError
from tests.unit.cli.conftest import run_command


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tuple(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def test_every_setting_of_the_daemon_is_known() -> None:
    fields = {PREFIX + name.upper() for name in Settings.model_fields}
    assert fields | {"SHEAF_PEER", "SHEAF_RELAY"} == DAEMON


def test_every_option_of_the_relay_has_a_variable_named_like_it() -> None:
    command = get_command(app).commands["relay"]  # type: ignore[attr-defined]  # a group, as the app has many
    variables = {
        parameter.opts[0]: parameter.envvar for parameter in command.params if "--help" not in parameter.opts
    }
    assert variables == {
        option: "SHEAF_RELAY_" + option.removeprefix("--").upper().replace("-", "_") for option in variables
    }
    assert set(variables.values()) == RELAY


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SHEAF_LANS", "SHEAF_LAN"),
        ("SHEAF_DATADIR", "SHEAF_DATA_DIR"),
        ("SHEAF_RELAYZ", "SHEAF_RELAYS"),
        ("SHEAF_PEEER", "SHEAF_PEERS"),
        ("SHEAF_LOGLEVEL", "SHEAF_LOG_LEVEL"),
        ("SHEAF_NO_MDNS", "SHEAF_MDNS=false"),
        ("SHEAF_RELAY_LISTENS", "SHEAF_RELAY_LISTEN"),
        ("SHEAF_RELAY_TOKENFILE", "SHEAF_RELAY_TOKEN_FILE"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_right_one(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "secret")
    with pytest.raises(CommandFailed, match=f"no setting {name}: did you mean {meant}\\?") as refused:
        refuse_misspelt()
    assert refused.value.exit_code == ExitCode.USAGE
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["SHEAF_RELAY_SERVICE_HOST", "SHEAF_RELAY_PORT", "SHEAF_SERVICE_PORT_HTTP"])
def test_what_a_container_platform_sets_for_a_service_of_our_name_is_only_warned_of(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:7412")
    assert [each.name for each in refuse_misspelt()] == [name]


@pytest.mark.parametrize("name", ["SHEAF_LAN", "sheaf_lan", "SHEAF_SEED", "SHEAF_FAILPOINT", "SHEAFLIKE"])
def test_what_means_something_or_is_not_ours_is_not_spoken_of(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert list(unknown_variables()) == []


@pytest.mark.parametrize("command", ["up", "relay"])
def test_a_service_does_not_start_with_a_misspelt_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    monkeypatch.setenv("SHEAF_RELAYSS", "wss://relay.example")
    outcome = run_command(tmp_path / "data", command)
    assert (outcome.code, "did you mean SHEAF_RELAYS?" in outcome.err) == (2, True)
    assert not (tmp_path / "data").exists()


def test_other_commands_warn_and_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHEAF_DATADIR", "elsewhere")
    outcome = run_command(tmp_path, "status")
    assert (outcome.code, "did you mean SHEAF_DATA_DIR?" in outcome.err) == (ExitCode.NO_DAEMON, True)


@pytest.mark.parametrize(("name", "value"), [("SHEAF_RELAY_MAX_CONNECTIONS", "many"), ("SHEAF_PORT", "x")])
def test_a_value_that_does_not_fit_is_blamed_on_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    outcome = run_command(tmp_path, "relay" if name.startswith("SHEAF_RELAY_") else "up")
    assert (outcome.code, name in outcome.err) == (2, True)


def test_the_singular_of_a_list_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHEAF_RELAY", "wss://one.example")
    monkeypatch.setenv("SHEAF_PEER", "192.0.2.1:7,192.0.2.2:7")
    settings = Settings.load()
    assert settings.relays == ("wss://one.example",)
    assert settings.peers == ("192.0.2.1:7", "192.0.2.2:7")
    assert Settings.load(relays=("wss://two.example",)).relays == ("wss://two.example",)
    monkeypatch.setenv("SHEAF_RELAYS", "wss://three.example")
    with pytest.raises(UsageError, match="SHEAF_RELAY and SHEAF_RELAYS are both set"):
        Settings.load()
