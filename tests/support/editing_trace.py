"""Editing traces, made here; or real ones in the same form, from the folder that $SHEAF_SHARED_DATA names.

The form (josephg/editing-traces): `numAgents`, `endContent`, and `txns`, each with `parents` (indices
of earlier transactions), `agent` and `patches` [[position, characters deleted, text inserted]…], whose
positions refer to the document at the parents.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycrdt

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A trace and where it comes from."""

    name: str
    trace: Trace
    is_real: bool

    @property
    def txns(self) -> list[dict[str, Any]]:
        txns: list[dict[str, Any]] = self.trace["txns"]
        return txns


def load(name: str, *, agents: int, txns_max: int | None = None) -> Recorded:
    """The trace `name`, cut to its first transactions; a made one of `agents` agents without a folder."""
    folder = os.environ.get("SHEAF_SHARED_DATA")
    if not folder:
        return Recorded(
            f"made in place of {name}", made(agents, txns_max or 4000, random.Random(name)), False
        )
    trace: Trace = json.loads(gzip.decompress((Path(folder) / f"{name}.json.gz").read_bytes()))
    assert trace["numAgents"] == agents
    if txns_max is not None and txns_max < len(trace["txns"]):
        trace = {**trace, "txns": trace["txns"][:txns_max], "endContent": None}
    return Recorded(name, trace, True)


def made(agents: int, count: int, choice: random.Random) -> Trace:
    """Agents that take turns at random, each typing runs and deleting a little, merging now and then."""
    docs: list[pycrdt.Doc[pycrdt.Text]] = [pycrdt.Doc(client_id=agent + 1) for agent in range(agents)]
    texts = [doc.get("text", type=pycrdt.Text) for doc in docs]
    heads: list[set[int]] = [set() for _ in docs]
    txns: list[dict[str, Any]] = []
    while len(txns) < count:
        agent = choice.randrange(agents)
        if choice.random() < 0.5:
            _merge(agent, choice.randrange(agents), docs, heads, txns)
        cursor = choice.randint(0, len(texts[agent]))
        for _ in range(min(choice.randint(1, 12), count - len(txns))):
            is_deletion = cursor > 0 and choice.random() < 0.1
            typed = "" if is_deletion else choice.choice("etaoin shrdlu\n")
            if is_deletion:
                cursor -= 1
                del texts[agent][cursor]
            else:
                texts[agent].insert(cursor, typed)
            txns.append(
                {
                    "parents": sorted(heads[agent]),
                    "agent": agent,
                    "patches": [[cursor, int(is_deletion), typed]],
                }
            )
            heads[agent] = {len(txns) - 1}
            cursor += len(typed)
    return {"kind": "concurrent", "numAgents": agents, "endContent": None, "txns": txns}


def _merge(
    agent: int,
    other: int,
    docs: list[pycrdt.Doc[pycrdt.Text]],
    heads: list[set[int]],
    txns: list[dict[str, Any]],
) -> None:
    docs[agent].apply_update(docs[other].get_update(docs[agent].get_state()))
    heads[agent] = _minimal(heads[agent] | heads[other], txns)


def _minimal(heads: set[int], txns: list[dict[str, Any]]) -> set[int]:
    """Without those that are in the past of another."""
    return {head for head in heads if not any(head in _past(other, txns) for other in heads - {head})}


def _past(start: int, txns: list[dict[str, Any]]) -> set[int]:
    past: set[int] = set()
    todo = list(txns[start]["parents"])
    while todo:
        index = todo.pop()
        if index not in past:
            past.add(index)
            todo += txns[index]["parents"]
    return past


def versions(trace: Trace) -> list[tuple[int, ...]]:
    """How many transactions of each agent the document after each transaction holds."""
    found: list[tuple[int, ...]] = []
    for txn in trace["txns"]:
        joined = [max(column) for column in zip(*(found[parent] for parent in txn["parents"]), strict=True)]
        joined = joined or [0] * trace["numAgents"]
        joined[txn["agent"]] += 1
        found.append(tuple(joined))
    return found


def widest_gap(trace: Trace) -> tuple[int, list[int]]:
    """Where to cut the link: the transaction after which at least two can type most without the others.

    Returns its index (in the middle half of the trace), and how many each agent can type then.
    """
    count = len(trace["txns"])
    after = versions(trace)
    candidates = range(count // 4, 3 * count // 4, max(1, count // 2000))
    return max(((at, _alone(trace, after, at)) for at in candidates), key=lambda found: sorted(found[1])[-2])


def _alone(trace: Trace, after: list[tuple[int, ...]], at: int) -> list[int]:
    """How many transactions from `at` on each agent can type when none of the others' arrive any more."""
    agents = trace["numAgents"]
    there = [max((version[agent] for version in after[:at][-2000:]), default=0) for agent in range(agents)]
    alone, is_stuck = [0] * agents, [False] * agents
    for txn, version in zip(trace["txns"][at:], after[at:], strict=True):
        agent = txn["agent"]
        if is_stuck[agent]:
            continue
        if any(version[other] > there[other] for other in range(agents) if other != agent):
            is_stuck[agent] = True
            if all(is_stuck):
                break
        else:
            alone[agent] += 1
    return alone


def characters(trace: Trace) -> Counter[str]:
    """Everything that was ever typed, character by character."""
    return Counter("".join(patch[2] for txn in trace["txns"] for patch in txn["patches"]))
