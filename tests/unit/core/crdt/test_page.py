"""Pages: reading the block tree, and edits that leave alone what they do not concern."""

from __future__ import annotations

from typing import Any

import pycrdt
import pytest

from sheaf.core.base.errors import UsageError
from sheaf.core.crdt.page import PlainNode
from sheaf.core.crdt.replica import Replica
from tests.unit.core.crdt.support import replica


def _block(text: str, kind: str = "paragraph", **marks: Any) -> PlainNode:
    runs: list[Any] = [{"text": text, "marks": marks} if marks else {"text": text}] if text else []
    return {"type": "block", "attrs": {"kind": kind}, "runs": runs}


PAGE: list[PlainNode] = [
    {
        "type": "block",
        "attrs": {"kind": "h1"},
        "runs": [{"text": "Ti"}, {"text": "tle", "marks": {"bold": {}}}],
    },
    {
        "type": "block",
        "attrs": {"kind": "todo", "indent": 2, "checked": True},
        "runs": [
            {"text": "one"},
            {"text": "", "node": {"type": "hard_break"}},
            {"text": "two", "marks": {"link": {"href": "https://example.org"}}},
        ],
    },
    {"type": "code", "attrs": {"language": "python"}, "runs": [{"text": "a\n  b"}]},
    {"type": "divider"},
    {
        "type": "table",
        "children": [{"type": "row", "children": [{"type": "cell", "runs": [{"text": "é😀"}]}]}],
    },
    {"type": "embed", "attrs": {"kind": "poll", "data": "{}"}},
    {"type": "block", "runs": []},
]


def _page(blocks: list[PlainNode], seed: int = 1) -> Replica:
    document = replica(seed)
    document.append_blocks(blocks)
    return document


def test_what_is_appended_is_read_back_also_elsewhere() -> None:
    document = _page(PAGE)
    assert document.read_page() == PAGE
    reader = replica(2)
    reader.apply(document.encode_state())
    assert reader.read_page() == PAGE
    assert reader.check_page() == []


def test_an_empty_document_is_an_empty_page_and_reading_writes_nothing() -> None:
    document = replica()
    before = document.encode_state()
    assert document.read_page() == []
    assert document.encode_state() == before
    assert document.append_blocks([]) is None


def test_unknown_names_are_reported_and_kept() -> None:
    page: list[PlainNode] = [
        {"type": "kanban", "children": [{"type": "lane"}]},
        _block("x", blink={}),
        {"type": "block", "runs": [{"text": "", "node": {"type": "mention", "attrs": {"id": "u"}}}]},
        _block("y", **{"comment--1a2b": {"threadId": "t"}}),
    ]
    document = _page(page)
    assert document.check_page() == ["<kanban>", "<lane>", "<mention>", "mark blink"]
    assert document.read_page() == page


def test_blocks_are_replaced_removed_and_inserted_by_their_old_numbers() -> None:
    document = _page([_block(letter) for letter in "abcdef"])
    document.edit_page(
        [
            (0, 0, [_block("0")], None),
            (1, 2, [_block("B")], None),
            (4, 1, [], None),
            (6, 0, [_block("z")], None),
        ]
    )
    assert [node["runs"][0]["text"] for node in document.read_page()] == ["0", "a", "B", "d", "f", "z"]


def test_rewriting_a_block_keeps_what_others_type_in_it() -> None:
    mine = _page([_block("The quick fox")])
    theirs = replica(2)
    theirs.apply(mine.encode_state())
    body = theirs.doc.get("body", type=pycrdt.XmlFragment)
    text = body.children[0].children[0]
    typed = theirs.edit(lambda: text.insert(13, " jumps"))
    new: PlainNode = {
        "type": "block",
        "attrs": {"kind": "h2"},
        "runs": [{"text": "The "}, {"text": "brown", "marks": {"bold": {}}}, {"text": " fox"}],
    }
    rewritten = mine.edit_page([(0, 1, [new], [(4, 5, "brown")])])
    assert typed is not None
    assert rewritten is not None
    mine.apply(typed)
    theirs.apply(rewritten)
    assert mine.read_page() == theirs.read_page()
    assert mine.read_page()[0]["attrs"] == {"kind": "h2"}
    assert [run["text"] for run in mine.read_page()[0]["runs"]] == ["The ", "brown", " fox jumps"]


def test_rewriting_changes_only_marks_and_attributes_that_differ() -> None:
    document = _page([PAGE[0]])
    assert document.edit_page([(0, 1, [PAGE[0]], [])]) is None
    plain: PlainNode = {"type": "block", "attrs": {"indent": 1}, "runs": [{"text": "Title"}]}
    document.edit_page([(0, 1, [plain], [])])
    assert document.read_page() == [plain]


def test_a_block_with_two_texts_in_a_row_is_rewritten_across_them() -> None:
    """What two people's first words in one empty block become."""
    document = _page([_block("")])
    body = document.doc.get("body", type=pycrdt.XmlFragment)

    def write() -> None:
        for words in ("één ", "two😀"):
            body.children[0].children.append(pycrdt.XmlText(words))

    document.edit(write)
    new = _block("één, 2!😀?")
    document.edit_page([(0, 1, [new], [(3, 4, ", 2!"), (8, 0, "?")])])
    assert "".join(run["text"] for run in document.read_page()[0]["runs"]) == "één, 2!😀?"


def test_words_around_inline_nodes_are_rewritten_in_place() -> None:
    br: Any = {"text": "", "node": {"type": "hard_break"}}
    document = _page([{"type": "block", "runs": [br, {"text": "one"}, br, br, {"text": "two"}]}])
    before = document.clocks()[document.client_id]
    new: PlainNode = {
        "type": "block",
        "runs": [
            {"text": "0"},
            br,
            {"text": "one!"},
            br,
            {"text": "mid", "marks": {"bold": {}}},
            br,
            {"text": "2wo"},
        ],
    }
    document.edit_page([(0, 1, [new], [(0, 0, "0"), (4, 0, "!"), (5, 0, "mid"), (6, 1, "2")])])
    assert document.read_page() == [new]
    assert document.clocks()[document.client_id] - before < 16, "nothing that stayed is written again"
    for splices in ([(1, 1, "")], [(0, 0, "x")]):
        with pytest.raises(UsageError):
            document.edit_page([(0, 1, [new], splices)])


def test_words_are_written_into_an_empty_block() -> None:
    document = _page([_block("")])
    document.edit_page([(0, 1, [_block("now", bold={})], [(0, 0, "now")])])
    assert document.read_page() == [_block("now", bold={})]


@pytest.mark.parametrize(
    "edits",
    [
        [(0, 9, [], None)],
        [(-1, 0, [], None)],
        [(1, 1, [], None), (0, 1, [], None)],
        [(0, 2, [_block("x")], [(0, 0, "x")])],
        [(0, 1, [_block("other")], [(0, 0, "x")])],
        [(0, 1, [{"type": "code", "runs": [{"text": "a"}]}], [])],
        [(0, 0, [_block("\ud83d")], None)],
        [(0, 0, [{"type": "block", "attrs": {"kind": "\ud83d"}, "runs": []}], None)],
    ],
)
def test_edits_that_do_not_fit_change_nothing(edits: Any) -> None:
    document = _page([_block("a"), _block("b")])
    before = document.digest()
    with pytest.raises(UsageError):
        document.edit_page(edits)
    assert document.digest() == before


def test_numbers_are_whole_and_booleans_stay_booleans() -> None:
    attrs = _page([PAGE[1]]).read_page()[0]["attrs"]
    assert attrs == {"kind": "todo", "indent": 2, "checked": True}
    assert type(attrs["indent"]) is int
    assert attrs["checked"] is True
