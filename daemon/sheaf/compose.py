"""The composition root: settings in, a wired and running daemon out.

The only module that sees both the node and the adapters. Starts in this order: lock and
database, identity, network, node, local door; READY is said when all of it stands. Stops
in the opposite order. An optional part that fails (mDNS, the LAN listener) is logged and
left out; a required one ends the start with a sentence that says what to do. Only a full
disk is waited for (docs/decisions/0062-full-disk.md).
"""

from __future__ import annotations

import asyncio
import gc
import getpass
import os
import platform
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from sheaf import __version__
from sheaf.api.app import create_app
from sheaf.api.auth import Authenticator
from sheaf.api.credentials import CredentialVault
from sheaf.api.metrics import OutsideNumbers
from sheaf.api.server import BoundDoor, LocalServer, bind_door
from sheaf.clock import SystemClock, system_entropy
from sheaf.config import ReadyInfo, Settings
from sheaf.core.base.errors import DiskFull, StorageFailure, TransportFailure
from sheaf.core.wire.relay_url import RelayUrl
from sheaf.data_dir import (
    WITHOUT_MODES_ADVICE,
    DaemonFile,
    keeps_no_modes,
    remove_daemon_file,
    without_modes,
    write_daemon_file,
)
from sheaf.discovery.interfaces import describe_interfaces
from sheaf.discovery.mdns import MdnsDiscovery
from sheaf.discovery.network import (
    InterfacePolicy,
    NetworkWatch,
    link_addresses,
    link_interfaces,
    shown_addresses,
    usable_addresses,
)
from sheaf.discovery.static import NoDiscovery, parse_address
from sheaf.keystore.choice import has_keys, open_keystore
from sheaf.node.identity import LocalIdentity, load_identity
from sheaf.node.network import Network
from sheaf.node.node import Node
from sheaf.ports import Clock, Discovery
from sheaf.signaling.combined import CombinedSignaling
from sheaf.signaling.lan import LanSignaling
from sheaf.signaling.relay_client import RelayWorld
from sheaf.signaling.relay_pool import RelayConnections
from sheaf.signaling.relay_socket import RelayDoor
from sheaf.signaling.resolver import Resolver
from sheaf.signaling.websocket import dial_tunnel
from sheaf.starting import Start
from sheaf.stop_signals import StopSignals
from sheaf.storage.lock import lock_data_dir
from sheaf.storage.lost import refuse_lost_database
from sheaf.storage.old_copies import old_copies, settle
from sheaf.storage.progress import Progress
from sheaf.storage.store import SqliteStore, open_store
from sheaf.task_set import TaskSet
from sheaf.transport.stun_probe import StunProbe
from sheaf.transport.tls import TlsIdentity
from sheaf.transport.tunnel import Tunnel
from sheaf.transport.webrtc import WebRtc
from sheaf.watchdog import Notifier, watch
from sheaf.worker.pool import WorkerPool

logger = structlog.get_logger("sheaf.daemon")

ROOM_RETRY_S = 2.0
"""How long to wait before something that found no room on the disk is tried again."""
SWITCH_INTERVAL_S = 0.0005
"""A commit waits for the interpreter lock twice; Python's default of 5 ms would cost it 6 ms beside a
busy event loop, this 0.9 ms (measured)."""


@dataclass(slots=True)
class Daemon:
    """A started daemon: its node, and the door people come in by."""

    node: Node
    store: SqliteStore
    identity: LocalIdentity
    signaling: CombinedSignaling
    auth: Authenticator
    server: LocalServer
    problems: Sequence[str]
    """Of the database after an update; nothing is looked for without one."""


async def run_daemon(settings: Settings, *, on_ready: Callable[[ReadyInfo], None]) -> int:
    """Run until SIGINT, SIGTERM or the end of the terminal; returns the exit code.

    Raises:
        SheafError: it could not start; the text says what to do.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    os.umask(0o077)  # nothing that a daemon writes is for other users
    notifier = Notifier()
    stop = StopSignals().listen()
    start = Start(notifier=notifier, now=SystemClock().now, stop=stop)
    async with AsyncExitStack() as stack:
        daemon = await _start_with_room(settings, stack, start)
        if daemon is None:
            return 0
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(daemon.server.serve())
            await daemon.server.wait_started()
            port = daemon.server.port
            pid = os.getpid()
            announcing = group.create_task(_announce(settings.data_dir, DaemonFile(port, pid, __version__)))
            stack.callback(remove_daemon_file, settings.data_dir, pid)
            await asyncio.sleep(0)  # it is announced before it is called ready, unless the disk is full
            _say_started(settings, daemon)
            notifier.ready(f"http://127.0.0.1:{port}/")
            daemon.store.started()
            settle(settings.data_dir, daemon.problems)
            on_ready(_ready_info(daemon))
            gc.freeze()  # what stands now stays: no collection has to walk it (60 ms) in the middle of typing
            watching = group.create_task(watch(notifier, daemon.node.probe))
            await stop.wait()
            logger.info("stopping")
            notifier.stopping()
            watching.cancel()
            announcing.cancel()
            daemon.server.stop()
            await serving
    logger.info("stopped")
    return 0


def _say_started(settings: Settings, daemon: Daemon) -> None:
    """One line with what somebody has to know who reads this log later. No tokens."""
    listening = daemon.signaling.listening
    off = {"mDNS": settings.mdns, "LAN listener": listening, "editor": _bundle(settings.bundle_dir)}
    logger.info(
        "started",
        version=__version__,
        data_dir=str(settings.data_dir),
        door=f"http://127.0.0.1:{daemon.server.port}/",
        lan=listening,
        relays=[RelayUrl.parse(text).text for text in settings.relays],
        peers=list(settings.peers),
        stun=list(settings.stun),
        off=[name for name, part in off.items() if not part],
        python=platform.python_version(),
        system=platform.platform(),
    )


async def _announce(data_dir: Path, daemon: DaemonFile) -> None:
    """Let the command line find us, at once or as soon as there is room to say where."""
    is_logged = False
    while True:
        try:
            write_daemon_file(data_dir, daemon)
        except OSError as error:
            if not is_logged:
                logger.warning("commands cannot find this daemon yet", error=str(error))
                is_logged = True
        else:
            return
        await asyncio.sleep(ROOM_RETRY_S)


async def _start_with_room(settings: Settings, stack: AsyncExitStack, start: Start) -> Daemon | None:
    """Start; where that needs room on a full disk (a migration, new keys), wait for it.

    Returns:
        None when the end was asked for meanwhile.
    """
    told = ""
    while True:
        attempt = AsyncExitStack()
        try:
            daemon = await start.run(_start(settings, attempt, start.progress))
        except DiskFull as failure:
            await attempt.aclose()
            if told != (told := str(failure)):
                logger.error("waiting for room to start", reason=told)
            if await start.ended_within(ROOM_RETRY_S, why=f"Waiting: {told}"):
                return None
        except BaseException:
            await attempt.aclose()
            raise
        else:
            stack.push_async_exit(attempt)
            return daemon


def _ready_info(daemon: Daemon) -> ReadyInfo:
    token = daemon.auth.issue_launch_token()
    return ReadyInfo(
        port=daemon.server.port,
        launch_link=f"http://127.0.0.1:{daemon.server.port}/#token={token}",
        lan_listening=daemon.signaling.listening,
    )


async def _start(settings: Settings, stack: AsyncExitStack, progress: Progress) -> Daemon:
    """Everything up to the bound door; what was started is left to `stack` to stop."""
    clock = SystemClock()
    data_dir = settings.data_dir
    lock = lock_data_dir(data_dir, wall_ms=clock.wall_ms())
    door = _bind(settings, stack)
    _look_at_file_system(data_dir, accept_shared=settings.accept_shared_files)
    refuse_lost_database(data_dir, has_keys=has_keys(data_dir))
    store = await open_store(data_dir, clock=clock, lock=lock, progress=progress)
    stack.push_async_callback(store.close)
    problems = await _check_after_update(store, data_dir, progress)
    identity = await load_identity(
        keystore=open_keystore("auto", data_dir, accept_shared=settings.accept_shared_files),
        store=store,
        clock=clock,
        entropy=system_entropy,
        default_user_name=settings.user_name or _login_name(),
        default_device_name=settings.device_name or socket.gethostname() or "this computer",
    )
    watch_network = NetworkWatch(policy=InterfacePolicy())
    stack.push_async_callback(watch_network.close)
    await watch_network.start()
    signaling, network = await _network(settings, stack, watch_network)
    workers = WorkerPool()
    stack.push_async_callback(workers.close)
    node = Node(
        identity=identity,
        store=store,
        network=network,
        clock=clock,
        entropy=system_entropy,
        worker=workers,
        data_dir=str(data_dir),
    )
    stack.push_async_callback(node.close)
    watch_network.on_change(signaling.network_changed)
    watch_network.on_change(node.network_changed)
    await node.start()
    auth = _authenticator(data_dir, clock)
    app = create_app(
        node,
        auth=auth,
        port=door.port,
        webui_dir=_bundle(settings.bundle_dir),
        outside=OutsideNumbers(
            storage=lambda: {f"storage_{name}": number for name, number in store.stats.numbers().items()},
            lan=lambda: signaling.refused,
        ),
    )
    server = LocalServer(app, door=door)
    return Daemon(node, store, identity, signaling, auth, server, problems)


async def _check_after_update(store: SqliteStore, data_dir: Path, progress: Progress) -> Sequence[str]:
    """What is wrong with a database that was migrated; the copy of before goes only if nothing is."""
    if not old_copies(data_dir):
        return ()
    progress.begin("checking the database after the update")
    return await store.check()


def _look_at_file_system(data_dir: Path, *, accept_shared: bool) -> None:
    """Before anything is written: where no permissions are kept, documents are for everybody."""
    if not keeps_no_modes(data_dir):
        return
    if not accept_shared:
        raise StorageFailure(f"{without_modes(data_dir)} Sheaf did not start. {WITHOUT_MODES_ADVICE}")
    logger.warning("others can read the data: the file system keeps no permissions", path=str(data_dir))


def _bind(settings: Settings, stack: AsyncExitStack) -> BoundDoor:
    door = bind_door(settings.port)
    stack.callback(door.close)
    return door


async def _network(
    settings: Settings, stack: AsyncExitStack, watch_network: NetworkWatch
) -> tuple[CombinedSignaling, Network]:
    policy = InterfacePolicy()
    resolver = Resolver(links=lambda: link_interfaces(policy))
    own_relays = [RelayUrl.parse(text) for text in settings.relays]
    relays = RelayConnections(world=_relay_world(resolver, watch_network), own=own_relays)
    tunnel = Tunnel(
        identity=TlsIdentity.make(),
        dial=partial(dial_tunnel, resolver=resolver),
        join=relays.join_tunnel,
    )
    stack.push_async_callback(tunnel.close)
    lan = LanSignaling(door=tunnel, resolver=resolver)
    signaling = CombinedSignaling(lan=lan, relays=relays)
    stack.push_async_callback(signaling.close)
    host, _, port = settings.lan.rpartition(":")
    try:
        await lan.listen(host.strip("[]"), int(port))
    except TransportFailure as failure:
        logger.warning("no LAN listener: others cannot dial this machine", reason=str(failure))
    stun = StunProbe(
        servers=lambda: [*_stun_of(relays), *settings.stun],
        addresses=lambda: usable_addresses(policy),
        lookup=resolver.addresses,
    )
    relays.on_change(stun.servers_changed)
    watch_network.on_change(stun.hurry)
    probing = TaskSet("stun")
    stack.push_async_callback(probing.close)
    probing.spawn(stun.run(), "probe")
    webrtc = WebRtc(
        addresses=lambda: usable_addresses(policy),
        link_addresses=lambda: link_addresses(policy),
        stun_routes=stun.routes,
    )
    stack.push_async_callback(webrtc.close)
    discovery: Discovery = (
        MdnsDiscovery(watch=watch_network, entropy=system_entropy) if settings.mdns else NoDiscovery()
    )
    stack.push_async_callback(discovery.close)
    return signaling, Network(
        webrtc=webrtc,
        tunnel=tunnel,
        signaling=signaling,
        discovery=discovery,
        relays=relays,
        stun=stun.report,
        on_udp=stun.on_alive,
        has_address=watch_network.has_address,
        own_relays=tuple(url.text for url in own_relays),
        static_addresses=tuple(parse_address(address) for address in settings.peers),
        local_addresses=lambda: shown_addresses(policy),
        warm_up=webrtc.warm_up,
        interfaces=lambda: describe_interfaces(policy),
    )


def _stun_of(relays: RelayConnections) -> list[str]:
    return [relay.status.stun for relay in relays.relays() if relay.status.stun is not None]


def _relay_world(resolver: Resolver, watch_network: NetworkWatch) -> RelayWorld:
    clock = SystemClock()
    return RelayWorld(
        door=RelayDoor(resolver=resolver),
        now=clock.now,
        wall_ms=clock.wall_ms,
        has_address=watch_network.has_address,
        chance=lambda: int.from_bytes(system_entropy(4), "big") / 2**32,
    )


def _authenticator(data_dir: Path, clock: Clock) -> Authenticator:
    auth = Authenticator(vault=CredentialVault(data_dir), clock=clock, entropy=system_entropy)
    auth.load()
    return auth


def _bundle(bundle_dir: Path) -> Path | None:
    return bundle_dir if (bundle_dir / "index.html").is_file() else None


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
