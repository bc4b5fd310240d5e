"""The systemd user unit: hardened as far as a user unit can be, and no further than WebRTC survives."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.repository import ROOT

UNIT = ROOT / "systemd" / "sheaf.service"
ANALYZE = shutil.which("systemd-analyze")

# Directive -> why it must not appear. Measured or taken from systemd's own issues: docs/decisions/0004.
FORBIDDEN = {
    "MemoryDenyWriteExecute": "DTLS never completes",
    "ProtectHome": "hides the notify socket and the key ring below /run/user",
    "ProtectControlGroups": "fails together with PrivateUsers on older systemd",
    "CapabilityBoundingSet": "218/CAPABILITIES in a user unit",
    "AmbientCapabilities": "218/CAPABILITIES in a user unit",
    "ProtectClock": "drops capabilities",
    "ProtectKernelModules": "drops capabilities",
    "ProtectKernelLogs": "drops capabilities",
    "PrivateDevices": "drops capabilities",
    "PrivateNetwork": "there would be nobody to meet",
    "IPAddressDeny": "peers have any address",
    "RootDirectory": "the program lives in the home directory",
    "User": "a user unit already is that user",
}
EXPECTED = {
    "Type": "notify",
    "NotifyAccess": "main",
    "WatchdogSec": "30",
    "Restart": "on-failure",
    "NoNewPrivileges": "yes",
    "LockPersonality": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
    "PrivateUsers": "yes",
    "ProtectSystem": "strict",
}


@pytest.fixture
def unit() -> configparser.ConfigParser:
    """Return the unit, every key once, in the case it was written."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep case
    parser.read_string(UNIT.read_text())
    return parser


@pytest.mark.parametrize("directive", FORBIDDEN)
def test_a_directive_that_does_harm_is_absent(unit: configparser.ConfigParser, directive: str) -> None:
    assert directive not in unit["Service"], FORBIDDEN[directive]


@pytest.mark.parametrize("directive", EXPECTED)
def test_a_directive_the_daemon_relies_on_is_there(unit: configparser.ConfigParser, directive: str) -> None:
    assert unit["Service"].get(directive) == EXPECTED[directive]


def test_every_address_family_that_webrtc_needs_is_open(unit: configparser.ConfigParser) -> None:
    families = set(unit["Service"]["RestrictAddressFamilies"].split())
    assert families == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}


def test_the_service_is_never_given_up_and_does_not_restart_in_vain(unit: configparser.ConfigParser) -> None:
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert "StartLimitBurst" not in unit["Unit"]
    assert int(unit["Service"]["RestartSec"]) >= 5, "a failure that lasts would cost a core"
    assert unit["Service"]["RestartPreventExitStatus"] == "2 75"


def test_the_daemon_may_write_below_the_home_directory_and_not_into_its_secrets(
    unit: configparser.ConfigParser,
) -> None:
    assert unit["Service"]["ReadWritePaths"] == "%h"
    assert set(unit["Service"]["InaccessiblePaths"].split()) == {"-%h/.ssh", "-%h/.gnupg"}


def startable_copy(folder: Path) -> Path:
    """Return a copy of the unit that starts a program which is there on any machine."""
    copy = folder / UNIT.name
    program = f"ExecStart={shutil.which('true')}"
    copy.write_text(re.sub(r"^ExecStart=\S+", program, UNIT.read_text(), flags=re.MULTILINE))
    return copy


@pytest.mark.skipif(ANALYZE is None, reason="no systemd on this machine to check the unit with")
def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    command = [str(ANALYZE), "verify", "--man=no", str(startable_copy(tmp_path))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    complaints = [line for line in result.stderr.splitlines() if UNIT.name in line]
    assert (result.returncode, complaints) == (0, [])


@pytest.mark.skipif(ANALYZE is None, reason="no systemd on this machine to rate the unit with")
def test_the_unit_is_more_closed_than_an_ordinary_one(tmp_path: Path) -> None:
    """An unhardened unit is rated 9.6. The threshold is in tenths, and systemd fails above it."""
    command = [str(ANALYZE), "security", "--no-pager", "--offline=true", "--threshold=60", str(UNIT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout[-400:] + result.stderr
