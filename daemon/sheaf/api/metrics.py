"""Prometheus metrics of the door and the node, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _NodeCollector(Collector):
    """The node's numbers at the moment of the scrape; names ending in `_total` are counters."""

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
    def __init__(self, read: Callable[[], Mapping[str, int]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "sheaf_door_refusals", "requests refused before routing, by reason", labels=["reason"]
        )
        for reason, count in self._read().items():
            family.add_metric([reason], count)
        yield family


class DoorMetrics:
    """What the door counts itself, and the text of a scrape."""

    def __init__(
        self, *, node: Callable[[], Mapping[str, float]], refusals: Callable[[], Mapping[str, int]]
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(node))
        self._registry.register(_RefusalCollector(refusals))
        ProcessCollector(namespace="sheaf", registry=self._registry)
        self._open = Gauge("sheaf_sync_sockets_open", "editor tabs connected now", registry=self._registry)
        self._closed = Counter(
            "sheaf_sync_sockets_closed",
            "editor connections ended, by close code",
            ["code"],
            registry=self._registry,
        )

    def sync_opened(self) -> None:
        """A tab connected."""
        self._open.inc()

    def sync_closed(self, code: int) -> None:
        """A tab's connection ended with `code`."""
        self._open.dec()
        self._closed.labels(code=str(code)).inc()

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
