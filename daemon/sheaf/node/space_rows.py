"""From what a space made or verified to the rows that keep it, and back to runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sheaf.core.base.ids import LogId, SpaceId
from sheaf.core.space.run import IngestedEnvelope, LogState, Run
from sheaf.ports import EnvelopeRow, LogRow


def envelope_row(space_id: SpaceId, envelope: IngestedEnvelope) -> EnvelopeRow:
    """The row of an envelope; sealed ones are marked so."""
    return EnvelopeRow(
        space_id,
        envelope.log_id,
        envelope.seq,
        envelope.env_id,
        envelope.raw,
        envelope.documents,
        is_opened=envelope.items is not None,
    )


def log_rows(space_id: SpaceId, states: Iterable[LogState]) -> list[LogRow]:
    """The rows of logs that changed."""
    return [LogRow(space_id, each.log_id, each.genesis, each.next_seq, each.state) for each in states]


def runs_of(envelopes: Iterable[IngestedEnvelope], genesis_of: Callable[[LogId], bytes]) -> list[Run]:
    """The envelopes of a commit as runs; of each log they are consecutive."""
    by_log: dict[LogId, list[IngestedEnvelope]] = {}
    for envelope in envelopes:
        by_log.setdefault(envelope.log_id, []).append(envelope)
    return [
        Run(
            log_id=log_id,
            first_seq=group[0].seq,
            genesis=genesis_of(log_id) if group[0].seq == 1 else None,
            envelopes=tuple(envelope.raw for envelope in group),
        )
        for log_id, group in by_log.items()
    ]
