"""What to change in a page so that others' concurrent edits survive.

A page and what an edited text should make of it give edits of block ranges, as plain tuples in the
form the replica takes. Must not know CRDTs or formats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, Final, NamedTuple

from sheaf.content.block_merge import flat_text, merge_block
from sheaf.content.sequence_match import match
from sheaf.content.text_diff import Splice, diff_text, trim
from sheaf.content.tree import Blocks, PlainNode
from sheaf.content.views import View, Viewed

__all__ = ["BlockEdit", "Splice", "diff_page", "diff_text"]

_SIMILAR: Final = 0.6
"""Share of the shorter text's characters that two blocks must have in common to count as one, changed."""
_CANDIDATES: Final = 8
"""How many of the old blocks a new one is compared with."""
_CHARACTERS_MAX: Final = 80
"""Texts longer than this are compared by their words only."""


class BlockEdit(NamedTuple):
    """Replace `delete_count` blocks from `start` on by `insert`; positions in the old page.

    With `splices`, one block stays and its text is spliced into that of the only block in `insert`.
    """

    start: int
    delete_count: int
    insert: list[PlainNode]
    splices: list[Splice] | None


def diff_page(old: Blocks, new: Blocks, view: View) -> list[BlockEdit]:
    """Edits that make the page show `new` through `view`.

    Args:
        old: the page as it is.
        new: what was read from the edited text, in the form `view` gives.
        view: what the text's format shows of a page; what it does not show is kept.
    """
    viewed = view(old)
    edits: list[BlockEdit] = []
    for tag, i1, i2, j1, j2 in match([_key(node) for _, node in viewed], [_key(node) for node in new]):
        if tag != "equal":
            edits.extend(_edit_range(old, viewed, (i1, i2), new[j1:j2]))
    return edits


def _edit_range(old: Blocks, viewed: Sequence[Viewed], span: tuple[int, int], new: Blocks) -> list[BlockEdit]:
    """Edits for one changed stretch: blocks that resemble each other are paired in order."""
    first, last = span
    edits: list[BlockEdit] = []
    likeness = _Likeness()
    for node in new:
        partner = _find_partner(viewed, first, last, node, likeness)
        if partner is None:
            edits.append(BlockEdit(_place(old, viewed, first), 0, [node], None))
            continue
        edits.extend(BlockEdit(viewed[gone][0], 1, [], None) for gone in range(first, partner))
        index, seen = viewed[partner]
        merged, splices = merge_block(old[index], seen, node)
        edits.append(BlockEdit(index, 1, [merged], splices))
        first = partner + 1
    edits.extend(BlockEdit(viewed[gone][0], 1, [], None) for gone in range(first, last))
    return _joined(edits)


def _place(old: Blocks, viewed: Sequence[Viewed], number: int) -> int:
    """Where in the page a block before the `number`th viewed one goes: right after the one before."""
    if number:
        return viewed[number - 1][0] + 1
    return viewed[0][0] if viewed else len(old)


def _find_partner(
    viewed: Sequence[Viewed], first: int, last: int, node: PlainNode, likeness: _Likeness
) -> int | None:
    text = flat_text(node)
    for number in range(first, min(last, first + _CANDIDATES)):
        candidate = viewed[number][1]
        if candidate["type"] == node["type"] and likeness.is_like(
            flat_text(candidate), text, closely=number == first
        ):
            return number
    return None


class _Likeness:
    """Whether a block's text is an older block's, changed: by common ends, words, and characters."""

    def __init__(self) -> None:
        self._words: dict[str, Counter[str]] = {}

    def is_like(self, old: str, new: str, *, closely: bool) -> bool:
        """`closely`: compare short texts by characters, too."""
        if old == new or not old:
            return True
        wanted = _SIMILAR * max(min(len(old), len(new)), 1)
        start, old_end, _ = trim(old, new)
        if len(old) - (old_end - start) >= wanted:
            return True
        common = self._words_of(old) & self._words_of(new)
        if sum(len(word) * count for word, count in common.items()) >= wanted:
            return True
        if not closely or max(len(old), len(new)) > _CHARACTERS_MAX:
            return False
        return sum(end - begin for tag, begin, end, _, _ in match(old, new) if tag == "equal") >= wanted

    def _words_of(self, text: str) -> Counter[str]:
        words = self._words.get(text)
        if words is None:
            words = self._words[text] = Counter(text.split())
        return words


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
            last.insert.extend(edit.insert)
            joined[-1] = last._replace(delete_count=last.delete_count + edit.delete_count)
        else:
            joined.append(edit)
    return joined


def _key(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple(sorted((name, _key(item)) for name, item in value.items()))
    if isinstance(value, list):
        return tuple(_key(item) for item in value)
    return value if isinstance(value, Hashable) else repr(value)
