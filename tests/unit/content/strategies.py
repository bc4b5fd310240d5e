"""Pages for property tests: every kind and mark, and text that formats stumble over."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sheaf.content.tree import KINDS

NASTY = st.sampled_from(
    [
        *"*_`~[]()<>#|\\&!-+=.:1 \t\n\u00a0\u200b",
        "a",
        "B",
        "é",
        "e\u0301",
        "😀",
        "👩‍👩‍👧",
        "**",
        "~~",
        "``",
        "1. ",
        "- ",
        "> ",
        "# ",
        "[ ] ",
        "[!NOTE]",
        "&amp;",
        "<b>",
        "</b>",
        "<br>",
        "<!--",
        "-->",
        "<script>",
        "---",
        "http://a.b",
        "word ",
        " word",
        "snake_case",
    ]
)
TEXT = st.one_of(
    st.lists(NASTY, min_size=1, max_size=8).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(["plain words", "Two sentences. Here.", "x"]),
)
LINK = st.sampled_from(
    [
        "https://example.org/a?b=c&d=e",
        "http://x/(y)",
        "mailto:a@b.c",
        "/local#part",
        "https://é.example/ü",
        "javascript:alert(1)",
        "http://a/%zz<>",
        "",
    ]
)
MARKS = st.fixed_dictionaries(
    {},
    optional={
        "bold": st.just({}),
        "italic": st.just({}),
        "strike": st.just({}),
        "underline": st.just({}),
        "highlight": st.sampled_from([{}, {"color": "red"}]),
        "code": st.just({}),
        "link": LINK.map(lambda href: {"href": href}),
        "comment": st.just({"threadId": "t1"}),
    },
)
TEXT_RUN = st.one_of(
    TEXT.map(lambda text: {"text": text}),
    st.tuples(TEXT, MARKS).map(lambda pair: {"text": pair[0], "marks": pair[1]}),
)
RUNS: st.SearchStrategy[list[Any]] = st.lists(
    st.one_of(TEXT_RUN, TEXT_RUN, st.just({"text": "", "node": {"type": "hard_break"}})), max_size=5
)
BLOCK = st.builds(
    lambda kind, indent, checked, runs: {
        "type": "block",
        "attrs": {"kind": kind, "indent": indent, "checked": checked},
        "runs": runs,
    },
    st.sampled_from([*KINDS, "from-the-future"]),
    st.integers(0, 9),
    st.booleans(),
    RUNS,
)
CODE = st.builds(
    lambda text, language: {"type": "code", "attrs": {"language": language}, "runs": [{"text": text}]},
    TEXT,
    st.sampled_from(["", "python", "c++", "a b", "`"]),
)
TABLE = st.lists(
    st.lists(RUNS.map(lambda runs: {"type": "cell", "runs": runs}), max_size=3).map(
        lambda cells: {"type": "row", "children": cells}
    ),
    max_size=3,
).map(lambda rows: {"type": "table", "children": rows})
IMAGE = st.builds(
    lambda blob, alt, width: {"type": "image", "attrs": {"blob": blob, "alt": alt, "width": width}},
    st.sampled_from(["abc123", "../x", ""]),
    TEXT,
    st.sampled_from([None, 320, "wide"]),
)
OTHER = st.sampled_from(
    [{"type": "divider"}, {"type": "embed", "attrs": {"kind": "k", "data": "{}"}}, {"type": "newer-block"}]
)
PAGE: st.SearchStrategy[list[Any]] = st.lists(
    st.one_of(BLOCK, BLOCK, BLOCK, CODE, TABLE, IMAGE, OTHER), max_size=6
)
