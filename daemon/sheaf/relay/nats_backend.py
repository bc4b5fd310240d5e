"""The store and the fleet behind `--store nats://…`, over one connection (decision 0052).

Everything that needs the NATS library hangs on this module: it is imported when a relay asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sheaf.relay.nats_address import parse_nats_address
from sheaf.relay.nats_fleet import NatsFleet
from sheaf.relay.nats_link import NatsLink
from sheaf.relay.nats_store import NatsMailboxStore
from sheaf.relay.store import OnNews, StoreLimits

_NODE_BYTES: Final = 8


def open_nats(
    address: str,
    *,
    url: str,
    limits: StoreLimits,
    on_news: OnNews,
    now: Callable[[], float],
    now_s: Callable[[], float],
    choose: Callable[[int], int],
    entropy: Callable[[int], bytes],
) -> tuple[NatsMailboxStore, NatsFleet]:
    """Make both; the connection begins with the fleet's `start`, whether NATS is there or not.

    Args:
        address: what `--store` was given.
        url: where clients reach this very node.
        now: monotonic seconds; `now_s`: wall clock, seconds since 1970.
        choose: `choose(n)` is a random integer from 0 to n - 1; `entropy(n)`: n random bytes.

    Raises:
        UsageError: the address is none.
    """
    parsed = parse_nats_address(address)
    node = entropy(_NODE_BYTES).hex()
    link = NatsLink(address=parsed, name=f"sheaf relay {node}", jitter=lambda: choose(1000) / 1000)
    store = NatsMailboxStore(
        link=link, address=parsed, limits=limits, on_news=on_news, now_s=now_s, entropy=entropy
    )
    fleet = NatsFleet(link=link, node=node, url=url, replicas=parsed.replicas, now=now, choose=choose)
    return store, fleet
