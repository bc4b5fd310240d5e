"""Settings: options before variables before defaults; mistakes are explained by the option's name."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from sheaf.config import DEFAULT_PORT, Settings, split_address
from sheaf.core.base.errors import UsageError
from sheaf.data_dir import (
    DaemonFile,
    default_data_dir,
    read_daemon_file,
    remove_daemon_file,
    write_daemon_file,
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tuple(os.environ):
        if name.startswith("SHEAF_"):
            monkeypatch.delenv(name)


def test_defaults_need_nothing() -> None:
    settings = Settings.load()
    assert settings.port == DEFAULT_PORT
    assert settings.mdns
    assert settings.data_dir.is_absolute()
    assert settings.bundle_dir.name == "webui_dist"


def test_options_win_over_variables_and_variables_over_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHEAF_DATA_DIR", str(tmp_path / "a"))
    monkeypatch.setenv("SHEAF_PORT", "1234")
    monkeypatch.setenv("SHEAF_PEERS", "10.0.0.1:5, [fe80::1]:6,")
    monkeypatch.setenv("SHEAF_MDNS", "false")
    settings = Settings.load(port=0, lan=None)
    assert (settings.port, settings.mdns) == (0, False)
    assert settings.peers == ("10.0.0.1:5", "[fe80::1]:6")
    assert settings.data_dir == tmp_path / "a" == default_data_dir()
    assert Settings.load(data_dir=tmp_path / "b").data_dir == tmp_path / "b"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 70_000}, "--port: "),
        ({"lan": "nonsense"}, "--lan: 'nonsense' is not HOST:PORT"),
        ({"lan": "host:port"}, "--lan: 'port' is not a port between 0 and 65535"),
        ({"peers": ("1.2.3.4:0",)}, "--peer: '0' is not a port between 1 and 65535"),
        ({"peers": ("fe80::1:5",)}, "--peer: 'fe80::1:5' is not HOST:PORT"),
        ({"relays": ("http://x",)}, "--relay: A relay's address looks like"),
        ({"log_format": "xml"}, "--log-format: "),
    ],
)
def test_mistakes_name_the_option(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Settings.load(**options)
    assert message in str(error.value)


def test_addresses_are_split() -> None:
    assert split_address("localhost:80", port_min=1) == ("localhost", 80)
    assert split_address("[::1]:80", port_min=1) == ("::1", 80)


def test_the_daemon_file_is_private_and_removed_by_its_own_process_only(tmp_path: Path) -> None:
    daemon = DaemonFile(port=7411, pid=41, version="0.1.0")
    write_daemon_file(tmp_path, daemon)
    write_daemon_file(tmp_path, daemon)
    assert stat.S_IMODE((tmp_path / "daemon.json").stat().st_mode) == 0o600
    assert read_daemon_file(tmp_path) == daemon
    remove_daemon_file(tmp_path, pid=42)
    assert read_daemon_file(tmp_path) == daemon
    remove_daemon_file(tmp_path, pid=41)
    assert read_daemon_file(tmp_path) is None


def test_the_daemon_file_needs_no_room_when_there_was_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_daemon_file(tmp_path, DaemonFile(port=65_535, pid=4_000_000, version="0.1.0"))
    remove_daemon_file(tmp_path, pid=4_000_000)
    size = (tmp_path / "daemon.json").stat().st_size
    assert read_daemon_file(tmp_path) is None

    def no_room(path: str | Path, flags: int, *_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("sheaf.data_dir.os.open", no_room)
    daemon = DaemonFile(port=7411, pid=41, version="0.1.0")
    write_daemon_file(tmp_path, daemon)
    assert read_daemon_file(tmp_path) == daemon
    assert (tmp_path / "daemon.json").stat().st_size == size
    (tmp_path / "daemon.json").unlink()
    with pytest.raises(OSError, match="No such file"):
        write_daemon_file(tmp_path, daemon)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"port":"x","pid":1,"version":""}', "{" * 5000])
def test_a_damaged_daemon_file_is_no_daemon(tmp_path: Path, text: str) -> None:
    (tmp_path / "daemon.json").write_text(text)
    assert read_daemon_file(tmp_path) is None
