"""A relay's scrape: what Prometheus' own parser reads, with every series there from the start."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sheaf.relay import metrics
from sheaf.relay.metrics import RelayMetrics
from tests.support.repository import ROOT

PROMTOOL = shutil.which("promtool")
LABELLED = {
    "sheaf_relay_connections_rejected": "why",
    "sheaf_relay_strangers": "what",
    "sheaf_relay_clients_dropped": "why",
    "sheaf_relay_stun_requests": "how",
    "sheaf_relay_store_seconds": "request",
    "sheaf_relay_frames": "type",
    "sheaf_relay_requests_refused": "code",
    "sheaf_relay_errors": "code",
}


def test_every_labelled_series_is_there_with_zero_before_anything_happened() -> None:
    families = {
        family.name: family for family in text_string_to_metric_families(RelayMetrics().text().decode())
    }
    for name, label in LABELLED.items():
        values = [sample for sample in families[name].samples if not sample.name.endswith("_created")]
        assert values, name
        assert all(label in sample.labels and sample.value == 0 for sample in values), name
    labelled = {
        name
        for name, family in families.items()
        for sample in family.samples
        if sample.labels and not name.endswith("_created")
    }
    assert labelled <= LABELLED.keys(), "a new labelled series begins at zero, too"


def test_it_is_what_prometheus_wants() -> None:
    """By its own Python parser; by promtool too, where Debian's package prometheus is installed."""
    text = RelayMetrics().text()
    names = [family.name for family in text_string_to_metric_families(text.decode())]
    assert len(names) == len(set(names))
    if PROMTOOL is not None:
        command = [PROMTOOL, "check", "metrics"]
        result = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("pattern", "known"),
    [
        (r"\.rejected\.labels\(\"(\w+)\"\)", metrics.WHY_REJECTED),
        (r"\.strangers\.labels\(\"(\w+)\"\)", metrics.WHAT_STRANGERS_DO),
        (r"\.dropped\.labels\(\"(\w+)\"\)", metrics.WHY_DROPPED),
        (r"\.stun\.labels\(\"(\w+)\"\)", metrics.HOW_STUN_ENDS),
        (r"\._ask\(\s*\"(\w+)\"", metrics.STORE_REQUESTS),
    ],
)
def test_the_labels_that_are_counted_are_the_labels_that_begin_at_zero(
    pattern: str, known: tuple[str, ...]
) -> None:
    code = "".join(path.read_text() for path in (ROOT / "daemon" / "sheaf" / "relay").glob("*.py"))
    assert set(re.findall(pattern, code)) == set(known)
