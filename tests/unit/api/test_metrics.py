"""A daemon's scrape: types, labels from the start, and numbers from outside the door."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from sheaf.api.door import Refusal
from sheaf.api.metrics import DoorMetrics, OutsideNumbers
from sheaf.node.views import CloseCode


@pytest.fixture
def metrics() -> DoorMetrics:
    return DoorMetrics(
        node=lambda: {"spaces": 2, "connections_made_total": 3},
        refusals=lambda: {reason.value: 0 for reason in Refusal},
        outside=OutsideNumbers(
            storage=lambda: {"storage_transactions_total": 5, "storage_wal_bytes": 7},
            lan=lambda: {"handshake": 11, "admission": 0},
        ),
    )


def scrape(metrics: DoorMetrics) -> tuple[dict[str, str], list[Sample]]:
    """Types by name, and all samples, as Prometheus' own parser reads them."""
    families = list(text_string_to_metric_families(metrics.text().decode()))
    return {family.name: family.type for family in families}, [
        sample for family in families for sample in family.samples
    ]


def value(samples: list[Sample], name: str, **labels: str) -> float | None:
    found = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return found[0] if found else None


def test_what_only_rises_is_a_counter(metrics: DoorMetrics) -> None:
    types, samples = scrape(metrics)
    assert types["sheaf_spaces"] == types["sheaf_storage_wal_bytes"] == "gauge"
    assert types["sheaf_connections_made"] == types["sheaf_storage_transactions"] == "counter"
    assert value(samples, "sheaf_connections_made_total") == 3
    assert value(samples, "sheaf_storage_transactions_total") == 5
    assert value(samples, "sheaf_lan_refusals_total", reason="handshake") == 11


def test_every_close_code_begins_at_zero_and_strange_ones_are_one_series(metrics: DoorMetrics) -> None:
    _, before = scrape(metrics)
    closed = "sheaf_sync_sockets_closed_total"
    for code in CloseCode:
        assert value(before, closed, code=str(int(code))) == 0
    for code in (CloseCode.GONE, 3000, 4999, 17):
        metrics.sync_opened()
        metrics.sync_closed(code)
    _, after = scrape(metrics)
    assert value(after, closed, code="4404") == 1
    assert value(after, closed, code="other") == 3
    assert {s.labels["code"] for s in after if s.name == closed} == {
        s.labels["code"] for s in before if s.name == closed
    }
