"""Which `SHEAF_…` variables there are, and what to say about others.

A misspelt variable must not pass silently: `SHEAF_LANS=127.0.0.1:0` would leave the daemon listening
everywhere. The names stand here as text, so that a command can look without loading pydantic;
tests/unit/cli/test_variables.py compares them with the settings and with the relay's options.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sheaf.cli.errors import CommandFailed, ExitCode

PREFIX: Final = "SHEAF_"
RELAY_PREFIX: Final = "SHEAF_RELAY_"
_DAEMON_NAMES: Final = (
    "DATA_DIR PORT LAN MDNS PEERS PEER RELAYS RELAY STUN OPEN_BROWSER LOG_FORMAT LOG_LEVEL USER_NAME "
    "DEVICE_NAME WEBUI_DIR ACCEPT_SHARED_FILES"
)
_RELAY_NAMES: Final = (
    "LISTEN STORE PUBLIC_URL TOKEN_FILE TLS_CERT TLS_KEY STUN_PORT BEHIND_PROXY MAX_CONNECTIONS "
    "MAX_CONNECTIONS_PER_ADDRESS HANDSHAKES_PER_MINUTE MAILBOX_MIB TOTAL_MIB RETENTION_DAYS LOG_FORMAT "
    "LOG_LEVEL"
)
_OTHER_NAMES: Final = (
    # of the relay's unit, nats.conf, failpoints.py and the editor's development server
    "RELAY_OPTIONS NATS_PASSWORD FAILPOINT DAEMON "
    # of Sheaf's own tests, whose processes inherit them (docs/HACKING.md)
    "SEED NO_SKIPS SHARED_DATA SIM_SEED SIM_SEEDS MUTATIONS KILLS MOVES LINE_SEEDS UPDATE_SCENES "
    "UPDATE_IMAGES"
)
DAEMON: Final = frozenset(PREFIX + name for name in _DAEMON_NAMES.split())
RELAY: Final = frozenset(RELAY_PREFIX + name for name in _RELAY_NAMES.split())
OTHERS: Final = frozenset(PREFIX + name for name in _OTHER_NAMES.split())
_SINGULAR: Final = frozenset({"SHEAF_PEER", "SHEAF_RELAY"})
"""Taken like their plurals, which are the documented names and the ones to suggest."""
_MEANT: Final = {
    "SHEAF_NO_MDNS": "SHEAF_MDNS=false",
    "SHEAF_NO_OPEN": "SHEAF_OPEN_BROWSER=false",
    "SHEAF_DIR": "SHEAF_DATA_DIR",
    "SHEAF_HOME": "SHEAF_DATA_DIR",
}
_LIKENESS_MIN: Final = 0.7


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variable that is set and that nothing reads."""

    name: str
    meant: str | None
    """What it is probably a misspelling of."""

    def __str__(self) -> str:
        advice = f"did you mean {self.meant}?" if self.meant else "it does nothing."
        return f"There is no setting {self.name}: {advice}"


def unknown_variables(environment: Mapping[str, str] = os.environ) -> Iterator[Unknown]:
    """What is set with our prefix, not empty, and not ours. Upper and lower case are one."""
    for name in sorted(environment):
        upper = name.upper()
        if upper.startswith(PREFIX) and environment[name] and upper not in DAEMON | RELAY | OTHERS:
            yield Unknown(name, _MEANT.get(upper) or _nearest(upper))


def refuse_misspelt() -> list[Unknown]:
    """Raise CommandFailed (2) if a variable looks like a misspelt setting; return the other unknown ones."""
    found = list(unknown_variables())
    misspelt = [each for each in found if each.meant]
    if misspelt:
        raise CommandFailed(" ".join(map(str, misspelt)) + " Correct or remove it.", ExitCode.USAGE)
    return found


def _nearest(name: str) -> str | None:
    """Compared without the common beginning, which makes all of them alike: a container platform's
    SHEAF_RELAY_PORT, for a service named sheaf-relay, is no misspelling."""
    prefix, known = (RELAY_PREFIX, RELAY) if name.startswith(RELAY_PREFIX) else (PREFIX, DAEMON - _SINGULAR)
    rests = [each.removeprefix(prefix) for each in sorted(known)]
    found = difflib.get_close_matches(name.removeprefix(prefix), rests, n=1, cutoff=_LIKENESS_MIN)
    return prefix + found[0] if found else None
