"""Differences: what to change so that others' concurrent edits survive.

Two texts give splices, a page and a new page give edits of block ranges. Both are plain tuples,
in the form the replica takes. Must not know CRDTs or formats.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple

from sheaf.content.tree import Blocks, PlainNode, PlainRun, join_runs
from sheaf.content.views import View, Viewed

_TOKEN: Final = re.compile(r"\w+|\s+|.", re.DOTALL)
_CHARACTER_WORK_MAX: Final = 250_000
"""Above this product of lengths, characters are not compared: the span is replaced."""
_SIMILAR: Final = 0.3
"""Share of common characters below which two blocks count as different ones."""


class Splice(NamedTuple):
    """At code point `position` of the old text, replace `delete_count` code points by `insert`."""

    position: int
    delete_count: int
    insert: str


class BlockEdit(NamedTuple):
    """Replace `delete_count` blocks from `start` on by `insert`; positions in the old page.

    With `splices`, one block stays and its text is spliced into that of the only block in `insert`.
    """

    start: int
    delete_count: int
    insert: list[PlainNode]
    splices: list[Splice] | None


def diff_text(old: str, new: str) -> list[Splice]:
    """Splices that turn `old` into `new`: by lines, then by words, then by characters."""
    start, old_end, new_end = _trim(old, new)
    return _diff_lines(old[start:old_end], new[start:new_end], start)


def diff_page(old: Blocks, new: Blocks, view: View) -> list[BlockEdit]:
    """Edits that make the page show `new` through `view`.

    Args:
        old: the page as it is.
        new: what was read from the edited text, in the form `view` gives.
        view: what the text's format shows of a page; what it does not show is kept.
    """
    viewed = view(old)
    edits: list[BlockEdit] = []
    for tag, i1, i2, j1, j2 in _match([_key(node) for _, node in viewed], [_key(node) for node in new]):
        if tag != "equal":
            edits.extend(_edit_range(old, viewed, (i1, i2), new[j1:j2]))
    return edits


def _edit_range(old: Blocks, viewed: Sequence[Viewed], span: tuple[int, int], new: Blocks) -> list[BlockEdit]:
    """Edits for one changed stretch: blocks that resemble each other are paired in order."""
    first, last = span
    edits: list[BlockEdit] = []
    for node in new:
        partner = _find_partner(viewed, first, last, node)
        if partner is None:
            edits.append(BlockEdit(_place(old, viewed, first), 0, [node], None))
            continue
        edits.extend(BlockEdit(viewed[gone][0], 1, [], None) for gone in range(first, partner))
        edits.append(_rewrite(old[viewed[partner][0]], viewed[partner], node))
        first = partner + 1
    edits.extend(BlockEdit(viewed[gone][0], 1, [], None) for gone in range(first, last))
    return _joined(edits)


def _place(old: Blocks, viewed: Sequence[Viewed], number: int) -> int:
    """Where in the page a block before the `number`th viewed one goes: right after the one before."""
    if number:
        return viewed[number - 1][0] + 1
    return viewed[0][0] if viewed else len(old)


def _find_partner(viewed: Sequence[Viewed], first: int, last: int, node: PlainNode) -> int | None:
    for number in range(first, min(last, first + 8)):
        candidate = viewed[number][1]
        if candidate["type"] == node["type"] and _alike(_flat(candidate), _flat(node)):
            return number
    return None


def _alike(old: str, new: str) -> bool:
    if old == new or not old:
        return True
    if len(old) * len(new) > _CHARACTER_WORK_MAX:
        start, old_end, _ = _trim(old, new)
        return (len(old) - (old_end - start)) / max(len(old), len(new)) >= _SIMILAR
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.real_quick_ratio() < _SIMILAR:
        return False
    common = sum(block.size for block in matcher.get_matching_blocks())
    return common / min(len(old), max(len(new), 1)) >= _SIMILAR * 2 or matcher.ratio() >= _SIMILAR * 2


def _rewrite(page_block: PlainNode, viewed: Viewed, new: PlainNode) -> BlockEdit:
    """One block made to show `new`, keeping what the view does not show of it."""
    index, seen = viewed
    attrs = {**page_block.get("attrs", {})}
    shown = seen.get("attrs", {})
    for name, value in new.get("attrs", {}).items():
        if shown.get(name) != value:
            attrs[name] = value
    for name in shown:
        if name not in new.get("attrs", {}):
            attrs.pop(name, None)
    old_text, seen_text, new_text = _flat(page_block), _flat(seen), _flat(new)
    if _has_nodes(page_block) or _has_nodes(new) or old_text != seen_text:
        return BlockEdit(index, 1, [_with_attrs({**new, "type": page_block["type"]}, attrs)], None)
    splices = diff_text(old_text, new_text)
    runs = _carry_marks(page_block, seen, new, splices)
    rewritten: PlainNode = {"type": page_block["type"], "runs": runs}
    return BlockEdit(index, 1, [_with_attrs(rewritten, attrs)], splices)


def _with_attrs(node: PlainNode, attrs: dict[str, Any]) -> PlainNode:
    changed: PlainNode = {**node}
    if attrs:
        changed["attrs"] = attrs
    return changed


def _carry_marks(
    page_block: PlainNode, seen: PlainNode, new: PlainNode, splices: Sequence[Splice]
) -> list[PlainRun]:
    """The new runs, with the marks and mark values that the view hides on characters that stay."""
    old_marks, seen_marks, new_marks = (_marks_by_character(node) for node in (page_block, seen, new))
    origin: list[int | None] = []
    reached = 0
    for position, delete_count, insert in splices:
        origin += range(reached, position)
        origin += [None] * len(insert)
        reached = position + delete_count
    origin += range(reached, len(old_marks))
    runs: list[PlainRun] = []
    for char, marks, source in zip(_flat(new), new_marks, origin, strict=True):
        merged = dict(marks)
        if source is not None:
            for name, value in old_marks[source].items():
                shown = seen_marks[source].get(name)
                if (name not in seen_marks[source]) or marks.get(name) == shown:
                    merged[name] = value
        runs.append({"text": char, "marks": merged})
    return join_runs(runs)


def _marks_by_character(node: PlainNode) -> list[dict[str, Any]]:
    return [run.get("marks") or {} for run in node.get("runs", ()) for _ in run["text"]]


def _flat(node: PlainNode) -> str:
    """A node's text for comparison; an inline node counts as one character."""
    own = "".join("\ufffc" if "node" in run else run["text"] for run in node.get("runs", ()))
    return own + "\n".join(_flat(child) for child in node.get("children", ()))


def _has_nodes(node: PlainNode) -> bool:
    return "children" in node or "runs" not in node or any("node" in run for run in node["runs"])


def _joined(edits: list[BlockEdit]) -> list[BlockEdit]:
    """Neighbouring replacements as one, so that positions never overlap."""
    joined: list[BlockEdit] = []
    for edit in edits:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.splices is None
            and edit.splices is None
            and edit.start == last.start + last.delete_count
        ):
            joined[-1] = BlockEdit(
                last.start, last.delete_count + edit.delete_count, last.insert + edit.insert, None
            )
        else:
            joined.append(edit)
    return joined


def _key(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple(sorted((name, _key(item)) for name, item in value.items()))
    if isinstance(value, list):
        return tuple(_key(item) for item in value)
    return value if isinstance(value, Hashable) else repr(value)


def _diff_lines(old: str, new: str, offset: int) -> list[Splice]:
    if not old or not new:
        return [Splice(offset, len(old), new)] if old or new else []
    old_lines, new_lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
    splices: list[Splice] = []
    starts = _starts(old_lines, offset)
    for tag, i1, i2, j1, j2 in _match(old_lines, new_lines):
        if tag != "equal":
            before, after = "".join(old_lines[i1:i2]), "".join(new_lines[j1:j2])
            splices.extend(_diff_words(before, after, starts[i1]))
    return splices


def _diff_words(old: str, new: str, offset: int) -> list[Splice]:
    start, old_end, new_end = _trim(old, new)
    offset, old, new = offset + start, old[start:old_end], new[start:new_end]
    if not old or not new or len(old) * len(new) > _CHARACTER_WORK_MAX:
        return [Splice(offset, len(old), new)] if old or new else []
    old_words, new_words = _TOKEN.findall(old), _TOKEN.findall(new)
    starts = _starts(old_words, offset)
    splices: list[Splice] = []
    for tag, i1, i2, j1, j2 in _match(old_words, new_words):
        if tag != "equal":
            splices.extend(_trimmed("".join(old_words[i1:i2]), "".join(new_words[j1:j2]), starts[i1]))
    return splices


def _trimmed(old: str, new: str, offset: int) -> list[Splice]:
    start, old_end, new_end = _trim(old, new)
    return [Splice(offset + start, old_end - start, new[start:new_end])]


def _starts(parts: Sequence[str], offset: int) -> list[int]:
    starts = [offset]
    for part in parts:
        starts.append(starts[-1] + len(part))
    return starts


def _trim(old: str, new: str) -> tuple[int, int, int]:
    """The common start, and where in either text the common end begins."""
    limit = min(len(old), len(new))
    start = _common(old, new, limit)
    rest = limit - start
    end = _common(old[: -rest - 1 : -1], new[: -rest - 1 : -1], rest) if rest else 0
    return start, len(old) - end, len(new) - end


def _common(left: str, right: str, limit: int) -> int:
    """The length of the common start, by halving: slices compare at native speed."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _match(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[str, int, int, int, int]]:
    """difflib's opcodes over the part that differs, without its guess that frequent means unimportant."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old_middle, new_middle = old[start : len(old) - end], new[start : len(new) - end]
    if not old_middle or not new_middle:
        tag = "equal" if not old_middle and not new_middle else "replace"
        return [(tag, start, start + len(old_middle), start, start + len(new_middle))]
    matcher = SequenceMatcher(None, old_middle, new_middle, autojunk=len(old_middle) > 2000)
    return [
        (tag, i1 + start, i2 + start, j1 + start, j2 + start) for tag, i1, i2, j1, j2 in matcher.get_opcodes()
    ]
