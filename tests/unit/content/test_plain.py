"""Plain text and outlines."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sheaf.content.links import canonical_href
from sheaf.content.plain import Heading, from_text, outline, to_text
from sheaf.content.tree import block, break_run, code_block, indent_of
from sheaf.content.views import text_view
from tests.unit.content.strategies import PAGE

PAGE_OF_ALL: list[Any] = [
    block("h1", [{"text": "Top "}, {"text": "bold", "marks": {"bold": {}}}]),
    block("paragraph", [{"text": "one"}, break_run(), {"text": "two"}]),
    block("h3", [{"text": "Deep"}]),
    block("h2", []),
    code_block("x = 1"),
    {"type": "divider"},
    {
        "type": "table",
        "children": [
            {"type": "row", "children": [{"type": "cell", "runs": [{"text": text}]} for text in ("a", "b")]}
        ],
    },
    {"type": "newer", "children": [block("paragraph", [{"text": "kept"}])]},
]


def test_every_word_of_a_page_is_in_its_text() -> None:
    assert to_text(PAGE_OF_ALL) == "Top bold\none\ntwo\nDeep\n\nx = 1\n\na\nb\nkept\n"


def test_an_outline_has_the_headings_with_words() -> None:
    assert outline(PAGE_OF_ALL) == [Heading(1, "Top bold", 0), Heading(3, "Deep", 2)]


def test_text_is_a_paragraph_for_each_line() -> None:
    assert from_text("a\r\n\nb\rc") == [
        block("paragraph", [{"text": "a"}]),
        block("paragraph", []),
        block("paragraph", [{"text": "b"}]),
        block("paragraph", [{"text": "c"}]),
    ]
    assert from_text("") == []


@given(st.text(st.sampled_from(list("ab \n\r")), max_size=30))
def test_text_comes_back(text: str) -> None:
    page = from_text(text)
    assert from_text(to_text(page)) == page
    assert [node for _, node in text_view(page)] == page


@given(PAGE)
def test_any_page_has_text_and_an_outline(page: list[Any]) -> None:
    to_text(page)
    outline(page)


def test_indents_are_bounded_whatever_is_stored() -> None:
    values = [-1, 3, 99, 2.0, "x", None, float("nan"), float("inf"), True]
    assert [indent_of({"type": "block", "attrs": {"indent": value}}) for value in values] == [
        *(0, 3, 8, 2, 0, 0, 0, 8, 1)
    ]


@given(st.text(max_size=40))
def test_a_link_target_that_is_allowed_stays_as_it_is(href: str) -> None:
    once = canonical_href(href)
    if once is not None:
        assert canonical_href(once) == once


def test_only_followable_link_targets_are_allowed() -> None:
    allowed = ["https://a.b/c?d#e", "mailto:a@b.c", "tel:+41", "/path", "#part", "page.html", "sheaf:join#x"]
    refused = ["javascript:x", " javascript:x", "java\tscript:x", "data:x", "x:y/z", "", "file:///x", None, 5]
    assert [canonical_href(href) for href in allowed] == allowed
    assert [canonical_href(href) for href in refused] == [None] * len(refused)
