"""Prometheus metrics of the door and the node, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sheaf.node.views import CloseCode

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


_CLOSE_CODES: Final = frozenset({*CloseCode, 1000, 1001, 1002, 1005, 1006, 1007, 1009, 1011})
"""Ours, and those of RFC 6455 that browsers and uvicorn use. A client may send any number: others are one."""
_OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class OutsideNumbers:
    """What is counted neither by the node nor by the door; `compose` knows where."""

    storage: Callable[[], Mapping[str, float]] = dict
    """Like the node's: names ending in `_total` are counters."""
    lan: Callable[[], Mapping[str, int]] = dict
    """Connections to the LAN listener that came to nothing, by reason."""


class _NodeCollector(Collector):
    """Numbers at the moment of the scrape; names ending in `_total` are counters."""

    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        for name, value in self._read().items():
            if name.endswith("_total"):
                yield CounterMetricFamily(f"sheaf_{name}", name.replace("_", " "), value=value)
            else:
                yield GaugeMetricFamily(f"sheaf_{name}", name.replace("_", " "), value=value)


class _RefusalCollector(Collector):
    """Counts by reason; whoever counts has every reason from the start."""

    def __init__(self, name: str, help_text: str, read: Callable[[], Mapping[str, int]]) -> None:
        self._name = name
        self._help = help_text
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._help, labels=["reason"])
        for reason, count in self._read().items():
            family.add_metric([reason], count)
        yield family


class DoorMetrics:
    """What the door counts itself, and the text of a scrape."""

    def __init__(
        self,
        *,
        node: Callable[[], Mapping[str, float]],
        refusals: Callable[[], Mapping[str, int]],
        outside: OutsideNumbers,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(node))
        self._registry.register(_NodeCollector(outside.storage))
        self._registry.register(
            _RefusalCollector("sheaf_door_refusals", "requests refused before routing, by reason", refusals)
        )
        self._registry.register(
            _RefusalCollector(
                "sheaf_lan_refusals", "connections to the LAN listener that came to nothing", outside.lan
            )
        )
        ProcessCollector(namespace="sheaf", registry=self._registry)
        self._open = Gauge("sheaf_sync_sockets_open", "editor tabs connected now", registry=self._registry)
        self._closed = Counter(
            "sheaf_sync_sockets_closed",
            "editor connections ended, by close code",
            ["code"],
            registry=self._registry,
        )
        for code in _CLOSE_CODES:
            self._closed.labels(code=str(code))
        self._closed.labels(code=_OTHER)

    def sync_opened(self) -> None:
        """A tab connected."""
        self._open.inc()

    def sync_closed(self, code: int) -> None:
        """A tab's connection ended with `code`."""
        self._open.dec()
        self._closed.labels(code=str(code) if code in _CLOSE_CODES else _OTHER).inc()

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
