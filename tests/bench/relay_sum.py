"""The sum for a million users: `python -m tests.bench.relay_sum [FILE]`.

Multiplies assumptions about people (`People`) with unit costs (`Costs`, measured by the part `relay`;
FILE is what `--json` wrote). What it prints stands in docs/relay-capacity.md.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

DAY_S: Final = 86_400.0
HOUR_S: Final = 3_600.0
GB: Final = 1e9


@dataclass(frozen=True, slots=True)
class People:
    """What people do. Guesses, each to be replaced by who knows better."""

    users: float = 1_000_000
    devices_per_user: float = 2
    online_share: float = 0.30
    """Of devices, in the busiest hour."""
    spaces_per_user: float = 3
    people_per_space: float = 4
    relays_per_device: float = 1
    """To how many relays a device is connected."""
    reconnects_per_hour: float = 1
    """Lids closed and opened, networks changed; per connected device."""
    ping_every_s: float = 30
    active_share: float = 0.40
    """Of users, who write on a day."""
    writing_s_per_day: float = 1_800
    item_every_s: float = 4
    """While writing: an upload after 2 s, and half of the time is pauses."""
    receipts_per_day: float = 100
    """Items with nothing but receipts, per active user."""
    item_bytes: float = 1_000
    """Sealed and padded, with what a store adds."""
    busiest_hour: float = 3
    """How many times the mean of the day."""
    relayed_share: float = 0.10
    """Of the sessions between two devices, which find no direct path."""
    tunnel_messages_per_s: float = 0.8
    """Both sides' ping and pong, every 5 s."""
    mailbox_bytes: float = 300_000
    """Half of what stands in one between two compactions, and what compaction leaves."""
    retention_days: float = 60


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds of a core, and bytes of memory."""

    signal_us: float
    put_sqlite_us: float
    get_sqlite_us: float
    put_nats_us: float
    put_nats_server_us: float
    get_nats_us: float
    get_nats_server_us: float
    idle_bytes: float
    ping_us: float
    arrive_us: float
    fleet_signal_us: float
    fleet_idle_bytes: float
    nats_idle_bytes: float
    fleet_arrive_us: float
    tunnel_message_us: float
    news_us: float = 30
    """One more DELIVER without a request: half a signal."""


MEASURED: Final = Costs(
    signal_us=49,
    put_sqlite_us=130,
    get_sqlite_us=87,
    put_nats_us=155,
    put_nats_server_us=62,
    get_nats_us=225,
    get_nats_server_us=59,
    idle_bytes=18_500,
    ping_us=122,
    arrive_us=833,
    fleet_signal_us=138,
    fleet_idle_bytes=20_900,
    nats_idle_bytes=7_750,
    fleet_arrive_us=1_563,
    tunnel_message_us=57,
)
"""On the machine of docs/benchmarks.md, with nothing else to do."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes of it, in the busiest hour."""

    connections: float
    tunnels: float
    pings_per_s: float
    arrivals_per_s: float
    signals_per_arrival: float
    puts_per_s: float
    gets_per_s: float
    news_per_s: float
    tunnel_messages_per_s: float
    puts_per_day: float
    mailboxes: float


def load_of(people: People) -> Load:
    """The events of the busiest hour."""
    online = people.users * people.devices_per_user * people.online_share
    connections = online * people.relays_per_device
    others = people.spaces_per_user * (people.people_per_space - 1) * people.devices_per_user
    others += people.devices_per_user - 1
    reached = others * people.online_share
    items_per_day = people.writing_s_per_day / people.item_every_s + people.receipts_per_day
    puts_per_day = people.users * people.active_share * items_per_day
    puts_per_s = puts_per_day / DAY_S * people.busiest_hour
    watchers = people.people_per_space * people.devices_per_user * people.online_share
    tunnels = online * reached / 2 * people.relayed_share
    return Load(
        connections=connections,
        tunnels=tunnels,
        pings_per_s=connections / people.ping_every_s,
        arrivals_per_s=connections * people.reconnects_per_hour / HOUR_S,
        signals_per_arrival=others + reached,  # one poke to each, and one answer of those who are there
        puts_per_s=puts_per_s,
        gets_per_s=puts_per_s * max(0.0, watchers - 1),
        news_per_s=puts_per_s * watchers,
        tunnel_messages_per_s=tunnels * people.tunnel_messages_per_s,
        puts_per_day=puts_per_day,
        mailboxes=people.users * people.spaces_per_user / people.people_per_space,
    )


def cores_of(load: Load, costs: Costs, *, is_fleet: bool) -> dict[str, float]:
    """Cores that are busy, by what keeps them so."""
    arrive_us, signal_us, put_us, get_us = (
        (costs.fleet_arrive_us, costs.fleet_signal_us, costs.put_nats_us, costs.get_nats_us)
        if is_fleet
        else (costs.arrive_us, costs.signal_us, costs.put_sqlite_us, costs.get_sqlite_us)
    )
    spent_us = {
        "pings": load.pings_per_s * costs.ping_us,
        "arrivals": load.arrivals_per_s * arrive_us,
        "signalling": load.arrivals_per_s * load.signals_per_arrival * signal_us,
        "puts": load.puts_per_s * put_us,
        "news": load.news_per_s * costs.news_us,
        "gets": load.gets_per_s * get_us,
        "tunnels": load.tunnel_messages_per_s * costs.tunnel_message_us,
    }
    if is_fleet:
        of_nats_us = load.puts_per_s * costs.put_nats_server_us + load.gets_per_s * costs.get_nats_server_us
        spent_us["NATS, mailboxes"] = of_nats_us
    return {name: value / 1e6 for name, value in spent_us.items()}


def memory_of(load: Load, costs: Costs, *, is_fleet: bool) -> dict[str, float]:
    """Bytes."""
    each = costs.fleet_idle_bytes if is_fleet else costs.idle_bytes
    found = {"daemons": load.connections * each, "tunnels": 2 * load.tunnels * costs.idle_bytes}
    if is_fleet:
        found["each NATS server"] = load.connections * costs.nats_idle_bytes
    return found


def storm_s(load: Load, costs: Costs, cores: float, *, is_fleet: bool) -> float:
    """How long so many cores need until everybody is back after everything was restarted at once."""
    arrive_us, signal_us = (
        (costs.fleet_arrive_us, costs.fleet_signal_us) if is_fleet else (costs.arrive_us, costs.signal_us)
    )
    return load.connections * (arrive_us + load.signals_per_arrival * signal_us) / 1e6 / cores


def read_costs(path: Path) -> Costs:
    """Unit costs that a run has measured; what it did not measure stays as it was."""
    found = json.loads(path.read_text())["facts"]["relay"]
    known = {each.name for each in fields(Costs)}
    return replace(MEASURED, **{name: value for name, value in found.items() if name in known})


def describe(people: People, costs: Costs, *, is_fleet: bool) -> list[str]:
    """Lines for people."""
    load = load_of(people)
    cores, memory = cores_of(load, costs, is_fleet=is_fleet), memory_of(load, costs, is_fleet=is_fleet)
    busy = sum(cores.values())
    lines = [f"{'one fleet on NATS' if is_fleet else 'relays of one node, SQLite'}:"]
    lines += [f"  {name:20} {value:8.1f} cores" for name, value in cores.items()]
    lines += [f"  {'all':20} {busy:8.1f} cores busy; {2 * busy:.0f} to have, at 50 %"]
    lines += [f"  {name:20} {value / GB:8.1f} GB" for name, value in memory.items()]
    again_s = storm_s(load, costs, 2 * busy, is_fleet=is_fleet)
    lines += [f"  everybody back after {again_s:.0f} s of all cores, when all was restarted"]
    return lines


def main() -> None:
    """Print the sum."""
    costs = read_costs(Path(sys.argv[1])) if len(sys.argv) > 1 else MEASURED
    people = People()
    load = load_of(people)
    for name in (each.name for each in fields(Load)):
        print(f"{name:24} {getattr(load, name):14,.1f}")
    stored_day, kept = load.puts_per_day * people.item_bytes, load.mailboxes * people.mailbox_bytes
    never = stored_day * people.retention_days
    print(
        f"stored a day {stored_day / GB:,.0f} GB; kept "
        f" {kept / GB:,.0f} GB, without compaction {never / GB:,.0f} GB"
    )
    print()
    print("\n".join(describe(people, costs, is_fleet=True)), "\n")
    print("\n".join(describe(people, costs, is_fleet=False)), "\n")
    scattered = replace(people, relays_per_device=people.spaces_per_user)
    print("and if each space of a device is on another of them")
    print("\n".join(describe(scattered, costs, is_fleet=False)))


if __name__ == "__main__":
    main()
