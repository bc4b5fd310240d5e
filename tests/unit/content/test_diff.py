"""Differences are small, right, and keep what a format cannot show."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.content.diff import BlockEdit, Splice, diff_page, diff_text
from sheaf.content.markdown_reader import from_markdown
from sheaf.content.markdown_writer import to_markdown
from sheaf.content.plain import from_text, to_text
from sheaf.content.tree import Blocks, block, break_run
from sheaf.content.views import View, exact_view, rich_view, text_view
from sheaf.core.crdt.replica import Replica
from tests.unit.content.strategies import PAGE

TEXT = st.text(st.sampled_from(list("ab \né😀\t\r")), max_size=40)


def _spliced(text: str, splices: list[Splice]) -> str:
    for position, count, insert in reversed(splices):
        text = text[:position] + insert + text[position + count :]
    return text


def _replica(page: Blocks) -> Replica:
    replica = Replica(entropy=random.Random(1).randbytes)
    replica.append_blocks(page)
    return replica


@given(TEXT, TEXT)
def test_splices_lead_from_the_old_text_to_the_new(old: str, new: str) -> None:
    splices = diff_text(old, new)
    assert _spliced(old, splices) == new
    reached = 0
    for position, count, insert in splices:
        assert position >= reached
        assert count or insert
        reached = position + count


@pytest.mark.parametrize(
    ("old", "new", "splices"),
    [
        ("same", "same", []),
        ("", "new", [(0, 0, "new")]),
        ("old", "", [(0, 3, "")]),
        ("one two three", "one 2 three", [(4, 3, "2")]),
        ("a\nb\nc\n", "a\nB\nc\nd\n", [(2, 1, "B"), (5, 0, "\nd")]),
        ("the cat sat", "the fat cat sat down", [(4, 0, "fat "), (11, 0, " down")]),
        ("😀 x 😀", "😀 y 😀", [(2, 1, "y")]),
    ],
)
def test_splices_are_small(old: str, new: str, splices: list[tuple[int, int, str]]) -> None:
    assert diff_text(old, new) == splices


def test_large_texts_are_compared_quickly_and_still_rightly() -> None:
    rng = random.Random(4)
    lines = [f"line {rng.randrange(1000)} of many\n" for _ in range(5_000)]
    old = "".join(lines)
    for _ in range(50):
        lines[rng.randrange(len(lines))] = "changed 😀\n"
    new = "".join(lines)
    splices = diff_text(old, new)
    assert _spliced(old, splices) == new
    assert sum(count + len(insert) for _, count, insert in splices) < 3_000
    assert _spliced("x" * 50_000, diff_text("x" * 50_000, "y" * 50_000)) == "y" * 50_000


@given(PAGE, st.integers(0, 2**32), st.sampled_from([rich_view, text_view, exact_view]))
@settings(max_examples=150)
def test_edits_make_a_page_show_the_new_text(page: list[Any], choice: int, view: View) -> None:
    rng = random.Random(choice)
    document = _replica(page)
    old = document.read_page()
    changed = _replica(_shaken(page, rng)).read_page()
    new = [node for _, node in view(changed)]
    document.edit_page(diff_page(old, new, view))
    assert [node for _, node in view(document.read_page())] == new


def test_a_word_before_a_hidden_first_break_does_not_bring_that_break_to_light() -> None:
    broken = {"text": "", "node": {"type": "hard_break"}}
    attrs = {"kind": "paragraph", "indent": 0, "checked": False}

    def page(*runs: Any) -> list[Any]:
        return [{"type": "block", "attrs": attrs, "runs": list(runs)}]

    document = _replica(page(broken, {"text": "*"}))
    changed = _replica(page({"text": "x"}, broken, {"text": "*"})).read_page()
    new = [node for _, node in rich_view(changed)]
    document.edit_page(diff_page(document.read_page(), new, rich_view))
    assert [node for _, node in rich_view(document.read_page())] == new


def _shaken(page: list[Any], rng: random.Random) -> list[Any]:
    """The page with some blocks gone, moved, and with other words."""
    shaken: list[Any] = []
    for node in page:
        if rng.random() < 0.25:
            continue
        if node.get("runs") and rng.random() < 0.4:
            node = {**node, "runs": [{"text": rng.choice(["x", "new words "])}, *node["runs"][:3]]}
        shaken.insert(rng.choice([len(shaken), len(shaken), 0]), node)
    return shaken


def test_unedited_markdown_is_no_edit_whatever_markdown_cannot_show() -> None:
    page: list[Any] = [
        block("paragraph", []),
        block("paragraph", [{"text": "seen", "marks": {"comment": {"threadId": "t"}}}], indent=3, tint="red"),
        {"type": "embed", "attrs": {"kind": "poll", "data": "{}"}},
        block("paragraph", []),
    ]
    assert diff_page(page, from_markdown(to_markdown(page)), rich_view) == []


def test_an_edited_block_keeps_what_markdown_cannot_show_of_it() -> None:
    page: list[Any] = [
        block("paragraph", []),
        block(
            "paragraph",
            [
                {"text": "The quick ", "marks": {"comment": {"threadId": "t"}}},
                {"text": "fox", "marks": {"highlight": {"color": "red"}}},
            ],
            indent=3,
        ),
        {"type": "embed", "attrs": {"kind": "poll", "data": "{}"}},
    ]
    document = _replica(page)
    markdown = to_markdown(page).replace("quick", "slow").replace("<mark>fox</mark>", "<mark>fox</mark>es")
    document.edit_page(diff_page(document.read_page(), from_markdown(markdown), rich_view))
    after = document.read_page()
    assert after[0] == page[0]
    assert after[2] == page[2]
    assert after[1]["attrs"] == {"kind": "paragraph", "indent": 3}
    assert "".join(run["text"] for run in after[1]["runs"]) == "The slow foxes"
    marks = {run["text"]: run.get("marks", {}) for run in after[1]["runs"]}
    assert marks["The "] == {"comment": {"threadId": "t"}}
    assert marks["fox"] == {"highlight": {"color": "red"}}


def test_editing_around_hidden_inline_nodes_keeps_them_and_the_block() -> None:
    embed: Any = {"text": "", "node": {"type": "inline_embed", "attrs": {"kind": "mention"}}}
    page: list[Any] = [
        block("paragraph", [{"text": "Ask "}, embed, {"text": " today"}, break_run(), {"text": "or later"}])
    ]
    document = _replica(page)
    markdown = to_markdown(page).replace("today", "tomorrow").replace("later", "never")
    (edit,) = diff_page(document.read_page(), from_markdown(markdown), rich_view)
    assert edit.splices is not None
    document.edit_page([edit])
    assert document.read_page() == [
        block(
            "paragraph", [{"text": "Ask "}, embed, {"text": " tomorrow"}, break_run(), {"text": "or never"}]
        )
    ]


def test_a_line_break_taken_out_still_keeps_hidden_marks() -> None:
    comment = {"comment": {"threadId": "t"}}
    page: list[Any] = [
        block("paragraph", [{"text": "one", "marks": comment}, break_run(), {"text": "two three"}])
    ]
    document = _replica(page)
    document.edit_page(diff_page(document.read_page(), from_markdown("one two three\n"), rich_view))
    (after,) = document.read_page()
    assert after["runs"] == [{"text": "one", "marks": comment}, {"text": " two three"}]


def test_turning_a_paragraph_into_a_heading_keeps_the_block() -> None:
    page = [block("paragraph", [{"text": "A title"}]), block("paragraph", [{"text": "words"}])]
    (edit,) = diff_page(page, from_markdown("# A title\n\nwords\n"), rich_view)
    assert edit == BlockEdit(0, 1, [block("h1", [{"text": "A title"}])], [])


def test_a_new_block_goes_between_its_neighbours() -> None:
    page = [block("paragraph", [{"text": text}]) for text in ("one", "two")]
    (edit,) = diff_page(page, from_markdown("one\n\nbetween\n\ntwo\n"), rich_view)
    assert edit == BlockEdit(1, 0, [block("paragraph", [{"text": "between"}])], None)


def test_editing_a_page_as_plain_text_keeps_its_formatting() -> None:
    page: list[Any] = [
        block("h1", [{"text": "Big "}, {"text": "bold", "marks": {"bold": {}}}]),
        block("todo", [{"text": "do"}], checked=True),
    ]
    document = _replica(page)
    new = from_text(to_text(page).replace("Big", "Bigger").replace("do\n", "done\nnext\n"))
    document.edit_page(diff_page(document.read_page(), new, text_view))
    after = document.read_page()
    assert after[0] == block("h1", [{"text": "Bigger "}, {"text": "bold", "marks": {"bold": {}}}])
    assert after[1] == block("todo", [{"text": "done"}], checked=True)
    assert after[2] == block("paragraph", [{"text": "next"}])
