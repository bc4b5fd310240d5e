"""What the benchmark found, as a table for people and JSON for machines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Rounds of one measurement."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Median and range of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """Such as `1.25 (1.10–1.40)`."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile, `share` in 0 … 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True, slots=True)
class Claim:
    """An aim of the project and whether it is met; `is_met` None for a figure without an aim."""

    part: str
    what: str
    figure: str
    against: str = ""
    aim: str = ""
    is_met: bool | None = None


@dataclass(slots=True)
class Report:
    """Everything one run found."""

    claims: list[Claim] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(
        self, part: str, what: str, figure: str, *, against: str = "", aim: str = "", met: bool | None = None
    ) -> None:
        """One line of the table; it is printed when it is known."""
        claim = Claim(part, what, figure, against, aim, met)
        self.claims.append(claim)
        print(
            "  " + " · ".join(word for word in (what, figure, against, aim, _verdict(claim)) if word),
            flush=True,
        )

    def table(self) -> str:
        """The whole table."""
        rows = [("part", "what", "measured", "against", "aim", "")]
        rows += [(c.part, c.what, c.figure, c.against, c.aim, _verdict(c)) for c in self.claims]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows
        ]
        lines.insert(1, "  ".join("─" * width for width in widths))
        return "\n".join(line.rstrip() for line in lines)

    def write(self, path: Path) -> None:
        """As JSON."""
        content = {"claims": [asdict(c) for c in self.claims], "facts": self.facts, "failures": self.failures}
        path.write_text(json.dumps(content, indent=2) + "\n")


def _verdict(claim: Claim) -> str:
    return {True: "met", False: "MISSED", None: ""}[claim.is_met]
