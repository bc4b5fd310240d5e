"""One block made to show new words, keeping what the text's format did not show of it.

A block is taken apart into atoms, one per code point or inline node. The old block's atoms that the
format shows are compared with the new ones; the others (an inline embed, say) stay where they are,
and so do marks that the format cannot say. Must not know CRDTs or formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sheaf.content.text_diff import Splice, diff_text
from sheaf.content.tree import PlainNode, PlainRun, join_runs

NODE_CHAR = "\ufffc"
"""What an inline node counts as in a block's text."""


class _Atom(NamedTuple):
    char: str
    marks: dict[str, Any]
    node: PlainNode | None


def flat_text(node: PlainNode) -> str:
    """A node's text; an inline node is one character."""
    own = "".join(NODE_CHAR if "node" in run else run["text"] for run in node.get("runs", ()))
    return own + "\n".join(flat_text(child) for child in node.get("children", ()))


def merge_block(old: PlainNode, seen: PlainNode, new: PlainNode) -> tuple[PlainNode, list[Splice] | None]:
    """The old block showing `new`.

    Args:
        old: the block as it is.
        seen: what the format showed of it.
        new: what it should show.

    Returns:
        The block as it should be, and the splices that change its text in place; None for these
        when it must be replaced as a whole, because inline nodes come, go or have children.
    """
    merged: PlainNode = {"type": old["type"]}
    attrs = _merge_attrs(old, seen, new)
    if attrs:
        merged["attrs"] = attrs
    if "runs" not in new or "runs" not in seen or "children" in old:
        for part in ("runs", "children"):
            if part in new:
                merged[part] = new[part]
        return merged, None
    old_atoms, seen_atoms, new_atoms = (_atoms(node) for node in (old, seen, new))
    shown = _align(old_atoms, seen_atoms)
    if shown is None:
        merged["runs"] = new["runs"]
        return merged, None
    result, splices, is_in_place = _merge(old_atoms, seen_atoms, new_atoms, shown)
    merged["runs"] = _runs(result)
    return merged, splices if is_in_place else None


def _merge_attrs(old: PlainNode, seen: PlainNode, new: PlainNode) -> dict[str, Any]:
    attrs, shown, wanted = dict(old.get("attrs", {})), seen.get("attrs", {}), new.get("attrs", {})
    attrs.update({name: value for name, value in wanted.items() if shown.get(name) != value})
    for name in shown:
        if name not in wanted:
            attrs.pop(name, None)
    return attrs


def _atoms(node: PlainNode) -> list[_Atom]:
    atoms: list[_Atom] = []
    for run in node.get("runs", ()):
        marks = run.get("marks") or {}
        if "node" in run:
            atoms.append(_Atom(NODE_CHAR, marks, run["node"]))
        else:
            atoms.extend(_Atom(char, marks, None) for char in run["text"])
    return atoms


def _runs(atoms: Sequence[_Atom]) -> list[PlainRun]:
    runs: list[PlainRun] = []
    for char, marks, node in atoms:
        run: PlainRun = {"text": char} if node is None else {"text": "", "node": node}
        if marks:
            run["marks"] = marks
        runs.append(run)
    return join_runs(runs)


def _align(old: Sequence[_Atom], seen: Sequence[_Atom]) -> list[int] | None:
    """For each atom that is shown, which of the old ones it is; None if the format rewrites text."""
    shown: list[int] = []
    at = 0
    for atom in seen:
        while at < len(old) and not _same(old[at], atom):
            at += 1
        if at == len(old):
            return None
        shown.append(at)
        at += 1
    return shown


def _same(left: _Atom, right: _Atom) -> bool:
    if left.node is None or right.node is None:
        return left.node is right.node and left.char == right.char
    return left.node["type"] == right.node["type"]


def _merge(
    old: Sequence[_Atom], seen: Sequence[_Atom], new: Sequence[_Atom], shown: Sequence[int]
) -> tuple[list[_Atom], list[Splice], bool]:
    """The resulting atoms, the splices in the old block's positions, and whether only text changes."""
    deleted: set[int] = set()
    inserted: dict[int, Sequence[_Atom]] = {}
    kept: dict[int, _Atom] = {}
    seen_at = new_at = 0
    for position, count, insert in [*diff_text(_text(seen), _text(new)), Splice(len(seen), 0, "")]:
        while seen_at < position:
            source = shown[seen_at]
            kept[source] = _keep(old[source], seen[seen_at], new[new_at])
            seen_at, new_at = seen_at + 1, new_at + 1
        if insert:
            # A break that is hidden because it comes first must stay first, or it would be seen.
            first = shown[0] if shown else 0
            inserted[shown[position - 1] + 1 if position else first] = new[new_at : new_at + len(insert)]
        deleted.update(shown[position : position + count])
        seen_at, new_at = position + count, new_at + len(insert)
    result: list[_Atom] = []
    for index in range(len(old) + 1):
        result.extend(inserted.get(index, ()))
        if index < len(old) and index not in deleted:
            result.append(kept.get(index, old[index]))
    arriving = [atom for atoms in inserted.values() for atom in atoms]
    is_in_place = all(atom.node is None for atom in [*arriving, *(old[index] for index in deleted)])
    return result, _splices(len(old), inserted, deleted), is_in_place


def _splices(length: int, inserted: dict[int, Sequence[_Atom]], deleted: set[int]) -> list[Splice]:
    splices: list[Splice] = []
    for index in range(length + 1):
        text, count = _text(inserted.get(index, ())), int(index in deleted)
        last = splices[-1] if splices else None
        if last is not None and count and not text and last.position + last.delete_count == index:
            splices[-1] = last._replace(delete_count=last.delete_count + 1)
        elif text or count:
            splices.append(Splice(index, count, text))
    return splices


def _keep(old: _Atom, seen: _Atom, new: _Atom) -> _Atom:
    """The new marks, plus the old ones that were hidden or shown with less than they hold."""
    marks = dict(new.marks)
    for name, value in old.marks.items():
        if name not in seen.marks or (name in new.marks and new.marks[name] == seen.marks[name]):
            marks[name] = value
    return _Atom(old.char, marks, old.node)


def _text(atoms: Sequence[_Atom]) -> str:
    return "".join(atom.char for atom in atoms)
