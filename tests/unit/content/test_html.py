"""HTML: what is written is inert (FAULTS A13) and read back; what is read is only words and marks."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.content.html import from_html, to_html
from sheaf.content.tree import block, code_block
from sheaf.content.views import rich_view
from tests.unit.content.strategies import PAGE

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "JaVa\tScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "\u0001javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "//evil.example/x",
    "</code></pre><script>alert(1)</script>",
    "<!--><script>alert(1)</script>-->",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "{{constructor.constructor('alert(1)')()}}",
    "\u202egnp.exe",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
]
TAGS = {
    *[
        "p",
        "h1",
        "h2",
        "h3",
        "ul",
        "ol",
        "li",
        "input",
        "blockquote",
        "pre",
        "code",
        "hr",
        "table",
        "tr",
        "td",
    ],
    *["img", "br", "a", "strong", "em", "s", "u", "mark"],
}
ATTRIBUTES = {"class", "href", "rel", "type", "disabled", "checked", "alt", "data-blob", "data-width"}


class _Audit(HTMLParser):
    """Fails on any tag, attribute or link target that is not on the list."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, value in attrs:
            assert name in ATTRIBUTES, name
            if name == "href":
                scheme = (value or "").split(":")[0].lower() if ":" in (value or "") else ""
                assert scheme in ("", "http", "https", "mailto", "tel", "sheaf") or "/" in scheme, value
            if name == "class":
                assert value == "callout" or (value or "").startswith("language-"), value

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)


def _audit(html: str) -> None:
    parser = _Audit()
    parser.feed(html)
    parser.close()


@pytest.mark.parametrize("text", HOSTILE)
def test_a13_hostile_text_is_inert_wherever_it_stands(text: str) -> None:
    page: list[Any] = [
        block("paragraph", [{"text": text, "marks": {"link": {"href": text}, "bold": {}, text: {}}}]),
        block(text, [{"text": text}], **{"indent": text, "checked": text}),
        block("callout", [{"text": text, "marks": {"comment": {"threadId": text}}}]),
        {"type": "code", "attrs": {"language": text}, "runs": [{"text": text}]},
        {"type": "image", "attrs": {"blob": text, "alt": text, "width": text}},
        {"type": "image", "attrs": {"blob": "abc", "alt": text, "width": 3}},
        {"type": "embed", "attrs": {"kind": text, "data": text}},
        {"type": text, "attrs": {text: text}, "runs": [{"text": text}]},
        {
            "type": "table",
            "children": [{"type": "row", "children": [{"type": "cell", "runs": [{"text": text}]}]}],
        },
    ]
    _audit(to_html(page))


@given(PAGE)
@settings(max_examples=150)
def test_a_page_comes_back_as_html_shows_it_and_is_inert(page: list[Any]) -> None:
    html = to_html(page)
    _audit(html)
    assert from_html(html) == [node for _, node in rich_view(page)]


@given(st.text(st.sampled_from(list("<>/=\"' abhtdlrupe123!-&;\n")), max_size=60))
def test_reading_never_fails_and_what_is_read_is_stable(text: str) -> None:
    page = from_html(text)
    assert from_html(to_html(page)) == page


def test_html_of_others_is_understood() -> None:
    html = (
        "<html><head><title>t</title><style>p{}</style></head><body><h2>Top</h2><script>alert(1)</script>"
        "<div><p>One <b>two</b><br>three</p></div>loose<ul><li>a<ol><li>b</li></ol></li></ul>"
        "<table><thead><tr><th>x</th></tr></thead><tbody><tr><td><p>y</p></td></tr></tbody></table>"
        "<pre>code\n</pre><svg><text>no</text></svg>"
    )
    page = from_html(html)
    assert page[0] == block("h2", [{"text": "Top"}])
    assert [node["type"] for node in page] == ["block"] * 5 + ["table", "code"]
    assert page[2] == block("paragraph", [{"text": "loose"}])
    assert page[4] == block("ordered", [{"text": "b"}], indent=1)
    assert page[6] == code_block("code\n")
    assert "alert" not in repr(page)
    assert "'no'" not in repr(page)
