"""FAULTS S5: a full disk under the rules of the systemd unit, with real daemons on a real small disk."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sheaf.clock import SystemClock
from sheaf.storage import open_store
from sheaf.storage.migrate import known_migrations
from tests.support.daemon import Daemon, eventually, wait_until
from tests.support.service_manager import Rules, ServiceManager
from tests.support.typist import Typist, verdict
from tests.support.world import make_document, make_space, text

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

DISK_BYTES = 24 * 1024 * 1024
LONG_S = 60.0
"""How long a busy machine may take for what takes a few seconds."""


def command(daemon: Daemon, *arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    """A `sheaf` command: exit code, output, errors."""
    result = daemon.run_cli(*arguments, stdin=stdin)
    return result.returncode, result.stdout, result.stderr


def health(daemon: Daemon) -> int:
    """The status of /healthz; 0 when nobody answers."""
    try:
        return httpx.get(f"{daemon.url}/healthz", trust_env=False, timeout=10).status_code
    except httpx.TransportError:
        return 0


def is_healthy(daemon: Daemon) -> bool:
    return health(daemon) == 200


def takes_nothing(daemon: Daemon) -> bool:
    return health(daemon) == 503


def assert_reads_go_on(daemon: Daemon, document_id: str) -> str:
    """The lists are whole and the document is readable, over the API and on the command line."""
    assert [space["name"] for space in daemon.get("/spaces")["spaces"]] == ["Home"]
    code, out, err = command(daemon, "space", "list")
    assert (code, "Home" in out, err) == (0, True, "")
    return text(daemon, document_id)


def assert_writes_are_refused(daemon: Daemon, document_id: str, words: str) -> None:
    code, _, err = command(daemon, "doc", "append", document_id, stdin="x")
    assert (code, words in err) == (6, True), err
    code, out, _ = command(daemon, "status")
    assert (code, words in out) == (0, True), out


def assert_a_browser_can_sign_in(daemon: Daemon) -> None:
    token = daemon.post("/launch", {})["link"].partition("#token=")[2]
    url = f"{daemon.url}/api/v1/session"
    answer = httpx.post(url, json={"token": token}, headers={"Origin": daemon.url}, trust_env=False)
    assert answer.status_code == 204, answer.text


# --------------------------------------------------------------------------- without root


def test_a_daemon_that_cannot_write_reads_on_says_so_and_goes_on_by_itself(tmp_path: Path) -> None:
    """The kernel refuses its writes (a limit on the size of files, which needs no root)."""
    daemon = Daemon(tmp_path / "data", arguments=["--no-mdns"]).start()
    try:
        document_id = make_document(daemon, make_space(daemon))
        daemon.cli("doc", "append", document_id, stdin="kept")
        assert daemon.process is not None
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (512, hard))
        response = daemon.request("PUT", f"/documents/{document_id}/content?format=text", content="lost")
        assert response.status_code == 503
        assert takes_nothing(daemon)
        assert assert_reads_go_on(daemon, document_id) == "kept\n"
        assert_writes_are_refused(daemon, document_id, "saved")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        wait_until(lambda: is_healthy(daemon), timeout_s=LONG_S)
        daemon.cli("doc", "append", document_id, stdin="and new")
        assert text(daemon, document_id) == "kept\nand new\n"
    finally:
        daemon.stop()
    assert "Traceback" not in daemon.log()


# --------------------------------------------------------------------------- on a disk of its own


class SmallDisk:
    """A tmpfs that a test fills and empties."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, left_bytes: int = 0) -> None:
        """Take all room but `left_bytes`."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(64 * 1024)):
                pass
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        with self._filler.open("r+b") as file:
            file.truncate(max(0, self._filler.stat().st_size - left_bytes))

    def make_room(self) -> None:
        self._filler.unlink()

    def remount(self, options: str) -> None:
        command = ["mount", "-o", f"remount,{options}", str(self.path)]
        subprocess.run(command, check=True, timeout=10)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    mount = tmp_path / "disk"
    mount.mkdir()
    options = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)], check=True, timeout=10)
    yield SmallDisk(mount)
    subprocess.run(["umount", "--lazy", str(mount)], check=True, timeout=10)


@dataclass(slots=True)
class Service:
    """A daemon on a small disk, kept running by the unit's rules."""

    daemon: Daemon
    disk: SmallDisk
    manager: ServiceManager

    @property
    def data_dir(self) -> Path:
        return self.daemon.data_dir


@pytest.fixture
def service(disk: SmallDisk, tmp_path: Path) -> Iterator[Service]:
    """Not started yet."""
    daemon = Daemon(disk.path / "data", arguments=["--no-mdns"])
    daemon.log_path = tmp_path / "daemon.log"

    def spawn(environment: dict[str, str]) -> subprocess.Popen[bytes]:
        daemon.spawn(environment, tidies_up=False)
        assert daemon.process is not None
        return daemon.process

    manager = ServiceManager(tmp_path / "notify", spawn, Rules.of_the_unit())
    yield Service(daemon, disk, manager)
    manager.stop()
    print(daemon.log())
    assert "Traceback" not in daemon.log()


def written_before(service: Service) -> str:
    """A daemon ran here earlier, with a document that holds `kept`; its id."""
    service.daemon.start()
    document_id = make_document(service.daemon, make_space(service.daemon))
    service.daemon.cli("doc", "append", document_id, stdin="kept")
    return document_id


@pytest.mark.netns
@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_s5_a_start_on_a_full_disk_reads_and_writes_once_there_is_room(
    service: Service, is_killed: bool
) -> None:
    document_id = written_before(service)
    if is_killed:
        service.daemon.kill()
    else:
        assert service.daemon.stop() == 0
    service.disk.fill()
    service.manager.start()
    wait_until(lambda: service.manager.state == "active", timeout_s=LONG_S)
    assert takes_nothing(service.daemon)
    assert assert_reads_go_on(service.daemon, document_id) == "kept\n"
    assert_writes_are_refused(service.daemon, document_id, "The disk is full")
    assert_a_browser_can_sign_in(service.daemon)
    service.disk.make_room()
    wait_until(lambda: is_healthy(service.daemon), timeout_s=LONG_S)
    service.daemon.cli("doc", "append", document_id, stdin="and new")
    assert text(service.daemon, document_id) == "kept\nand new\n"
    assert service.manager.ends == []


@pytest.mark.netns
def test_s5_a_first_start_on_a_full_disk_waits_for_room(service: Service) -> None:
    service.data_dir.mkdir(mode=0o700)
    service.disk.fill()
    service.manager.start()
    wait_until(lambda: "The disk is full" in service.manager.status, timeout_s=LONG_S)
    assert service.manager.state == "activating"
    service.disk.make_room()
    wait_until(lambda: service.manager.state == "active", timeout_s=LONG_S)
    assert service.daemon.ready_or_ended() is None
    assert service.daemon.get("/spaces") == {"spaces": []}
    assert service.manager.ends == []


@pytest.mark.netns
async def test_s5_a_migration_on_a_full_disk_waits_for_room(service: Service) -> None:
    service.data_dir.mkdir(mode=0o700)
    older = await open_store(service.data_dir, clock=SystemClock(), migrations=known_migrations()[:-1])
    await older.close()
    service.disk.fill()
    service.manager.start()
    await eventually(lambda: "The disk is full" in service.manager.status, timeout_s=LONG_S)
    service.disk.make_room()
    await eventually(lambda: service.manager.state == "active", timeout_s=LONG_S)
    assert service.manager.ends == []


@pytest.mark.netns
def test_s6_a_start_on_a_read_only_disk_says_so_until_it_is_writable(service: Service) -> None:
    document_id = written_before(service)
    assert service.daemon.stop() == 0
    service.disk.remount("ro")
    service.manager.start()
    wait_until(lambda: len(service.manager.ends) == 2, timeout_s=LONG_S)
    service.disk.remount("rw")
    wait_until(lambda: service.manager.state == "active", timeout_s=LONG_S)
    assert assert_reads_go_on(service.daemon, document_id) == "kept\n"
    assert set(service.manager.ends) == {"1"}
    assert "Read-only file system" in service.daemon.log()


# --------------------------------------------------------------------------- twenty points

LEFT_BYTES = (0, 4096, 16_384, 65_536, 300_000)
"""How much the filler leaves: none at all, or so much that one thing fits and the next does not."""


def nothing(_: Service) -> None:
    """The daemon is left alone."""


def kill(service: Service) -> None:
    """kill -9; the manager starts it again, on the full disk."""
    assert service.daemon.process is not None
    ends = len(service.manager.ends)
    service.daemon.process.kill()
    wait_until(lambda: len(service.manager.ends) > ends, timeout_s=LONG_S)
    wait_until(lambda: service.manager.state == "active", timeout_s=LONG_S)


def make_things(service: Service) -> None:
    """Whatever else is written: each answer is a success or says that it is not saved."""
    space = service.daemon.get("/spaces")["spaces"][0]["space_id"]
    for method, path, body in (
        ("POST", f"/spaces/{space}/documents", {"title": "More", "type": "page"}),
        ("PATCH", "/profile", {"user_name": "Somebody"}),
        ("POST", f"/spaces/{space}/invitations", {"role": "editor"}),
    ):
        response = service.daemon.request(method, path, json=body)
        assert response.status_code in (200, 201, 503), response.text


def paste(service: Service) -> None:
    """More at once than there is room for."""
    space = service.daemon.get("/spaces")["spaces"][0]["space_id"]
    response = service.daemon.request(
        "POST", f"/spaces/{space}/documents", json={"title": "Big", "type": "text"}
    )
    if response.status_code == 201:
        path = f"/documents/{response.json()['document_id']}/content?format=text"
        answer = service.daemon.request("PUT", path, content="x" * 900_000)
        assert answer.status_code in (200, 204, 503), answer.text


ACCIDENTS: tuple[Callable[[Service], None], ...] = (nothing, make_things, paste, kill)


async def one_point(service: Service, typist: Typist, number: int, choice: random.Random) -> float:
    """Fill the disk while somebody types; returns how long it took to heal once there was room."""
    typed = len(typist.acknowledged) + choice.randrange(3, 60)
    await typist.until(lambda: len(typist.acknowledged) >= typed, timeout_s=LONG_S)
    await asyncio.to_thread(service.disk.fill, LEFT_BYTES[number % len(LEFT_BYTES)])
    await eventually(lambda: takes_nothing(service.daemon), timeout_s=LONG_S)
    await asyncio.to_thread(ACCIDENTS[number % len(ACCIDENTS)], service)
    saved = set(typist.acknowledged)
    there = await asyncio.to_thread(assert_reads_go_on, service.daemon, typist.document_id)
    assert [word for word in saved if word not in there] == []
    typed = len(typist.acknowledged)
    began = time.monotonic()
    service.disk.make_room()
    await eventually(lambda: is_healthy(service.daemon), timeout_s=LONG_S)
    await typist.until(lambda: len(typist.acknowledged) > typed, timeout_s=LONG_S)
    return time.monotonic() - began


@contextlib.asynccontextmanager
async def typing(daemon: Daemon, document_id: str, choice: random.Random) -> AsyncIterator[Typist]:
    """Somebody types all the time, and waits at the end until everything is saved."""
    typist = Typist("t", daemon, document_id, choice=choice)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(typist.run())
        try:
            yield typist
        except BaseException:
            task.cancel()
            raise
        typist.is_typing = False


async def run_points(service: Service, points: range, choice: random.Random) -> None:
    service.manager.start()
    await eventually(lambda: service.manager.state == "active", timeout_s=LONG_S)
    await asyncio.to_thread(service.daemon.wait_ready)
    document_id = make_document(service.daemon, make_space(service.daemon))
    healed_after: list[float] = []
    async with typing(service.daemon, document_id, choice) as typist:
        for number in points:
            healed_after.append(await one_point(service, typist, number, choice))
    print(f"S5: {len(points)} points, healed after {max(healed_after):.1f} s at most")
    outcome = verdict(text(service.daemon, document_id), typist)
    assert (outcome["lost"], outcome["doubled"], outcome["unknown"], outcome["foreign"]) == ([], [], 0, [])
    kills = sum(ACCIDENTS[number % len(ACCIDENTS)] is kill for number in points)
    assert service.manager.ends == ["-9"] * kills, "it was restarted, or hung, because of the disk"


@pytest.mark.netns
async def test_s5_nothing_saved_is_lost_on_a_full_disk_under_the_units_rules(
    service: Service, seeded_random: random.Random
) -> None:
    await run_points(service, range(2, 4), seeded_random)


@pytest.mark.netns
@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_s5_a_disk_that_fills_up_at_twenty_points_under_the_units_rules(
    service: Service, seeded_random: random.Random
) -> None:
    await run_points(service, range(20), seeded_random)
