"""The command line's side of the local API.

Finds the daemon by `daemon.json`, proves itself with `api-token`, and turns problem
documents into `CommandFailed`. Before the token leaves, it is checked that the listener
belongs to the token's owner: after a crash somebody else may sit on the old port.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import httpx

from sheaf.cli.errors import CommandFailed, ExitCode
from sheaf.data_dir import read_daemon_file

_CODES: Final = {
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    503: ExitCode.NOT_SAVED,
}
_TCP_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENING: Final = "0A"


class DaemonClient:
    """Calls the API of the daemon that serves `data_dir`.

    Raises:
        CommandFailed: 3, no daemon runs there.
    """

    def __init__(self, data_dir: Path) -> None:
        daemon = read_daemon_file(data_dir)
        if daemon is None or not _is_alive(daemon.pid):
            raise _no_daemon(data_dir)
        self._data_dir = data_dir
        self._port = daemon.port
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{daemon.port}",
            headers={"Authorization": f"Bearer {read_token(data_dir, daemon.port)}"},
            timeout=httpx.Timeout(60, connect=5),
            trust_env=False,
        )

    def get(self, path: str, **params: str) -> Any:
        """GET below /api/v1; the JSON of the answer."""
        return self.request("GET", path, params=params).json()

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST JSON; the JSON of the answer, or None."""
        answer = self.request("POST", path, json=body if body is not None else {})
        return answer.json() if answer.content else None

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """PATCH JSON; the JSON of the answer."""
        return self.request("PATCH", path, json=body).json()

    def delete(self, path: str) -> None:
        """DELETE."""
        self.request("DELETE", path)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Any request below /api/v1. Raises CommandFailed for every answer that is not 2xx."""
        try:
            answer = self._http.request(method, f"/api/v1{path}", **options)
        except httpx.ConnectError as error:
            raise _no_daemon(self._data_dir) from error
        except httpx.TransportError as error:
            raise CommandFailed(f"The daemon did not answer ({type(error).__name__}).") from error
        if answer.is_success:
            return answer
        raise _failure(answer)


def read_token(data_dir: Path, port: int | None) -> str:
    """The bearer token of `data_dir`; to be sent to `port`, if given, whose listener must be its owner's."""
    path = data_dir / "api-token"
    try:
        token = path.read_text(encoding="ascii").strip()
        owner = path.stat().st_uid
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(
            f"Cannot read {path}: run this as the user whose daemon it is.", ExitCode.NOT_ALLOWED
        ) from error
    listeners = listener_owners(port) if port is not None else set()
    if listeners and listeners != {owner}:
        raise CommandFailed(
            f"Port {port} belongs to another user's program, not to your daemon; the token was not sent. "
            "Start the daemon with `sheaf up`.",
            ExitCode.NO_DAEMON,
        )
    return token


def listener_owners(port: int) -> set[int]:
    """User ids of the programs listening on TCP `port`; empty where the system does not tell."""
    owners = set()
    for table in _TCP_TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                owners.add(int(fields[7]))
    return owners


def _is_alive(pid: int) -> bool:
    """Whether the process is there; True where it cannot be asked without harm."""
    if os.name == "nt":
        return True  # os.kill ends the process there, whatever the signal
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _no_daemon(data_dir: Path) -> CommandFailed:
    return CommandFailed(
        f"No Sheaf daemon is running for {data_dir}. Start it with `sheaf up`.", ExitCode.NO_DAEMON
    )


def _failure(answer: httpx.Response) -> CommandFailed:
    try:
        problem = answer.json()
        text = str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        text = f"The daemon answered {answer.status_code}."
    return CommandFailed(text, _CODES.get(answer.status_code, ExitCode.FAILED))
