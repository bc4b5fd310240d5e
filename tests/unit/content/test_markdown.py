"""Markdown: what is written is read back, any text is some page, nothing hostile comes alive."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.content.markdown_reader import from_markdown
from sheaf.content.markdown_writer import to_markdown
from sheaf.content.tree import KINDS, MARKS, block, break_run, code_block
from sheaf.content.views import rich_view
from tests.unit.content.strategies import NASTY, PAGE, TEXT

MARKDOWN = st.lists(
    st.one_of(NASTY, TEXT, st.sampled_from(["\n", "\n\n", "    ", "```", "| a | b |\n| - | - |\n"])),
    max_size=25,
).map("".join)


@given(PAGE)
@settings(max_examples=150)
def test_a_page_comes_back_as_markdown_shows_it(page: list[Any]) -> None:
    assert from_markdown(to_markdown(page)) == [node for _, node in rich_view(page)]


@given(MARKDOWN)
@settings(max_examples=150)
def test_any_text_is_a_page_that_is_stable_from_then_on(text: str) -> None:
    page = from_markdown(text)
    written = to_markdown(page)
    assert from_markdown(written) == page
    assert to_markdown(from_markdown(written)) == written


@given(st.text(max_size=80))
def test_reading_never_fails(text: str) -> None:
    from_markdown(text)


def test_every_kind_and_mark_has_its_plain_spelling() -> None:
    page = [block(kind, [{"text": kind}]) for kind in KINDS]
    page[KINDS.index("todo")]["attrs"]["checked"] = True
    page += [
        block(
            "paragraph",
            [
                piece
                for mark in MARKS
                for piece in (
                    {
                        "text": mark,
                        "marks": {mark: {"href": "https://example.org/"} if mark == "link" else {}},
                    },
                    {"text": " "},
                )
            ][:-1],
        ),
        block("paragraph", [{"text": "one"}, break_run(), {"text": "two"}]),
        code_block("if x:\n    ```", "python"),
        {"type": "divider"},
        {
            "type": "table",
            "children": [
                {"type": "row", "children": [{"type": "cell", "runs": [{"text": text}]} for text in cells]}
                for cells in (("a", "b"), ("c|d", "e"))
            ],
        },
        {"type": "image", "attrs": {"blob": "abc", "alt": "A cat", "width": 320}},
    ]
    written = to_markdown(page)
    assert written == (
        "paragraph\n\n# h1\n\n## h2\n\n### h3\n\n"
        "- bullet\n1. ordered\n- [x] todo\n\n"
        "> quote\n\n> [!NOTE]\n> callout\n\n"
        "[link](https://example.org/) **bold** *italic* ~~strike~~ "
        "<u>underline</u> <mark>highlight</mark> `code`\n\n"
        "one\\\ntwo\n\n"
        "````python\nif x:\n    ```\n````\n\n"
        "---\n\n"
        "| a | b |\n| --- | --- |\n| c\\|d | e |\n\n"
        "![A cat](sheaf-blob:abc?width=320)\n"
    )
    assert from_markdown(written) == page


def test_nested_lists_are_indented_under_their_items() -> None:
    page = [
        block("ordered", [{"text": "one"}]),
        block("bullet", [{"text": "below"}], indent=1),
        block("todo", [{"text": "deeper"}], indent=2, checked=False),
        block("ordered", [{"text": "two"}]),
    ]
    assert to_markdown(page) == "1. one\n   - below\n     - [ ] deeper\n2. two\n"
    assert from_markdown(to_markdown(page)) == page


def test_ordinary_markdown_of_others_is_understood() -> None:
    text = "Heading\n=======\n\nSoft\nbreak and __bold__, a [ref].\n\n* star\n+ plus\n\n#### small\n\n[ref]: https://e.org\n"
    assert from_markdown(text) == [
        block("h1", [{"text": "Heading"}]),
        block(
            "paragraph",
            [
                {"text": "Soft break and "},
                {"text": "bold", "marks": {"bold": {}}},
                {"text": ", a "},
                {"text": "ref", "marks": {"link": {"href": "https://e.org"}}},
                {"text": "."},
            ],
        ),
        block("bullet", [{"text": "star"}]),
        block("bullet", [{"text": "plus"}]),
        block("h3", [{"text": "small"}]),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html;base64,AAAA)",
        "[x](vbscript:x)",
        "[x](file:///etc/passwd)",
        "<javascript:alert(1)>",
        "![x](data:image/svg+xml;base64,AAAA)",
        '<a href="javascript:alert(1)">x</a>',
    ],
)
def test_hostile_link_targets_never_become_links(text: str) -> None:
    assert "'link'" not in repr(from_markdown(text))


def test_words_that_need_no_escaping_get_none() -> None:
    text = "snake_case, 3 - 2 = 1 (see #4), C++ & a > b; 100% ~5 e-mail@example.org!"
    assert to_markdown([block("paragraph", [{"text": text}])]) == text + "\n"


def test_an_empty_page_is_an_empty_text() -> None:
    assert to_markdown([]) == ""
    assert from_markdown("") == []
