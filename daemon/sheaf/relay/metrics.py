"""What a relay node counts, and the text of a scrape. Numbers only: no id and no address is a label."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from sheaf.core.wire.relay_frames import Frame
from sheaf.core.wire.relay_words import CODECS, ErrorCode, FrameType, RefusalCode
from sheaf.relay.store import StoreTotals

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
WHY_REJECTED: Final = ("full", "address", "draining")
WHAT_STRANGERS_DO: Final = ("no_handshake", "not_here")
WHY_DROPPED: Final = ("slow", "silent")
HOW_STUN_ENDS: Final = ("answered", "ignored", "limited")
STORE_REQUESTS: Final = ("put", "get", "watch", "compact", "stat", "totals")
"""Every label there is: tests/unit/relay/test_metrics.py compares them with what the code says."""
_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class RelayMetrics:
    """The counters of one node, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(namespace="sheaf_relay", registry=registry)
        self.connections = Gauge("sheaf_relay_connections", "clients connected now", registry=registry)
        self.accepted = Counter(
            "sheaf_relay_connections_accepted", "WebSocket handshakes completed", registry=registry
        )
        self.rejected = Counter(
            "sheaf_relay_connections_rejected",
            "connections turned away, by reason",
            ["why"],
            registry=registry,
        )
        self.strangers = Counter(
            "sheaf_relay_strangers",
            "connections that were no client's: no handshake, or a page that is not here",
            ["what"],
            registry=registry,
        )
        self.delivered = Counter(
            "sheaf_relay_signals_delivered", "DELIVER frames handed to subscribers", registry=registry
        )
        self.nobody = Counter("sheaf_relay_signals_nobody", "SENDs that met nobody", registry=registry)
        self.dropped = Counter(
            "sheaf_relay_clients_dropped",
            "clients let go without a word, by reason",
            ["why"],
            registry=registry,
        )
        self.tunnels = Gauge("sheaf_relay_tunnels", "tunnels with both sides", registry=registry)
        self.tunnels_waiting = Gauge(
            "sheaf_relay_tunnels_waiting", "tunnels waiting for their other side", registry=registry
        )
        self.tunnel_bytes = Counter("sheaf_relay_tunnel_bytes", "bytes through tunnels", registry=registry)
        self.subscriptions = Gauge(
            "sheaf_relay_subscriptions", "rendezvous ids with a subscriber here", registry=registry
        )
        self.stun = Counter(
            "sheaf_relay_stun_requests", "STUN datagrams, by outcome", ["how"], registry=registry
        )
        self.store_seconds = Histogram(
            "sheaf_relay_store_seconds",
            "how long requests to the store took",
            ["request"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._frames = Counter("sheaf_relay_frames", "frames received, by type", ["type"], registry=registry)
        self._of_type = {
            cls: self._frames.labels(FrameType(number).name.lower()) for cls, (number, _) in CODECS.items()
        }
        self._refused = Counter(
            "sheaf_relay_requests_refused", "REFUSED frames, by code", ["code"], registry=registry
        )
        self._errors = Counter(
            "sheaf_relay_errors", "ERROR frames that ended a connection, by code", ["code"], registry=registry
        )
        self._mailboxes = Gauge("sheaf_relay_store_mailboxes", "mailboxes in the store", registry=registry)
        self._items = Gauge("sheaf_relay_store_items", "items in the store", registry=registry)
        self._store_bytes = Gauge(
            "sheaf_relay_store_bytes",
            "bytes in the store, with its overhead if it counts that",
            registry=registry,
        )
        self.expired = Counter("sheaf_relay_items_expired", "items dropped by age", registry=registry)
        self.store_up = Gauge("sheaf_relay_store_up", "1: the store answers", registry=registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """A series that is born with its first event has no rate for that event, and no alert sees it."""
        for counter, values in (
            (self.rejected, WHY_REJECTED),
            (self.strangers, WHAT_STRANGERS_DO),
            (self.dropped, WHY_DROPPED),
            (self.stun, HOW_STUN_ENDS),
            (self.store_seconds, STORE_REQUESTS),
            (self._refused, [code.name.lower() for code in RefusalCode]),
            (self._errors, [code.name.lower() for code in ErrorCode]),
        ):
            for value in values:
                counter.labels(value)

    def received(self, frame: Frame) -> None:
        """A client's frame."""
        self._of_type[type(frame)].inc()

    def refused(self, code: RefusalCode) -> None:
        """A request was refused."""
        self._refused.labels(code.name.lower()).inc()

    def ended(self, code: ErrorCode) -> None:
        """A connection was ended with a reason."""
        self._errors.labels(code.name.lower()).inc()

    def totals(self, totals: StoreTotals) -> None:
        """What the store holds."""
        self._mailboxes.set(totals.mailboxes)
        self._items.set(totals.items)
        self._store_bytes.set(totals.size_bytes)

    def text(self) -> bytes:
        """One scrape."""
        return generate_latest(self._registry)
