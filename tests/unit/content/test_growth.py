"""Twice the text is at most some more than twice the work, whatever the text is made of.

Work is counted, not timed: every line of Python that runs and every call. What native code does
inside one call is not seen by that, so regular expressions are looked at one by one.
"""

from __future__ import annotations

import importlib
import random
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from re import _constants, _parser  # type: ignore[attr-defined]  # what `re` itself reads patterns with
from types import FrameType
from typing import Any, Final

import pytest

from sheaf.content import html, markdown_reader, markdown_writer
from sheaf.content.diff import diff_page, diff_text
from sheaf.content.sequence_match import match
from sheaf.content.tree import PlainNode, block
from sheaf.content.views import rich_view, text_view
from tests.support.hostile_texts import PIECES, changed, deep_list, hostile_text, table
from tests.support.repository import ROOT

SIZE: Final = 300
FACTOR_MAX: Final = 2.8
"""A quadratic part of any size makes this 3 to 4; what is done once makes it less than 2."""

MAKERS: Final[dict[str, Callable[[int], str]]] = {
    **{name: partial(hostile_text, piece) for name, piece in PIECES.items()},
    "a table": table,
    "deep lists": deep_list,
}


STEPS_EACH: Final = 150
"""So many steps a character are nothing to complain about, even if half the text took fewer."""
_REPEATS: Final = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
_LOOKS: Final = (_constants.ASSERT, _constants.ASSERT_NOT)


def work_of(call: Callable[[], object]) -> int:
    """How many lines run and how many functions are called."""
    count = 0

    def step(_frame: FrameType, _event: str, _argument: Any) -> Any:
        nonlocal count
        count += 1
        return step

    before = sys.gettrace()
    sys.setprofile(step)
    sys.settrace(step)
    try:
        call()
    finally:
        sys.settrace(before)
        sys.setprofile(None)
    return count


def lines(text: str) -> list[PlainNode]:
    return [block("paragraph", [{"text": line}] if line else []) for line in text.split("\n")]


def pieces_of_work(text: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Everything that is done with a text, by name."""
    other = changed(text)
    page, tagged, plain = markdown_reader.from_markdown(text), html.from_html(text), lines(text)
    one = [block("paragraph", [{"text": text.replace("\n", " ")}])]
    yield "reading Markdown", lambda: markdown_reader.from_markdown(text)
    yield "reading HTML", lambda: html.from_html(text)
    yield "writing it as Markdown", lambda: markdown_writer.to_markdown(page)
    yield "writing its HTML as Markdown", lambda: markdown_writer.to_markdown(tagged)
    yield "writing it as HTML", lambda: html.to_html(page)
    yield "writing the words as Markdown", lambda: markdown_writer.to_markdown(one)
    yield "comparing texts", lambda: diff_text(text, other)
    yield "comparing pages", lambda: diff_page(page, markdown_reader.from_markdown(other), rich_view)
    yield "comparing lines", lambda: diff_page(plain, lines(other), text_view)


@pytest.mark.parametrize("name", MAKERS)
def test_twice_the_text_is_twice_the_work(name: str) -> None:
    make = MAKERS[name]
    for (what, small), (_, large) in zip(
        pieces_of_work(make(SIZE)), pieces_of_work(make(2 * SIZE)), strict=True
    ):
        once, twice = work_of(small), work_of(large)
        enough = FACTOR_MAX * max(once, STEPS_EACH * SIZE)
        assert twice <= enough, f"{what} of {name}: {once} steps, of twice as much {twice}"


@pytest.mark.parametrize("name", ["nested marks", "marks closed the wrong way", "nested lists", "breaks"])
def test_twice_the_html_is_twice_the_work_however_deep_it_is_nested(name: str) -> None:
    small, large = (hostile_text(PIECES[name], size) for size in (4000, 8000))
    once, twice = work_of(lambda: html.from_html(small)), work_of(lambda: html.from_html(large))
    assert twice <= FACTOR_MAX * once, f"reading {name}: {once} steps, of twice as much {twice}"


def test_comparing_rewritten_paragraphs_is_little_more_work_than_reading_them() -> None:
    words = random.Random(1)

    def paragraph() -> str:
        return " ".join("".join(words.choices("abcdefghij", k=words.randint(2, 8))) for _ in range(20))

    texts = ["\n\n".join(paragraph() for _ in range(30)) for _ in range(2)]
    old, new = (markdown_reader.from_markdown(text) for text in texts)
    reading = work_of(lambda: markdown_reader.from_markdown(texts[1]))
    comparing = work_of(lambda: diff_page(old, new, rich_view))
    assert comparing <= 4 * reading


def test_comparing_what_repeats_is_work_in_proportion_to_its_length() -> None:
    counts = [work_of(partial(match, [0, 1] * n, [1, 0, 0] * n)) for n in (500, 1000)]
    assert counts[1] <= FACTOR_MAX * counts[0]


def test_no_pattern_looks_ahead_without_bound() -> None:
    """Such a pattern searches the rest of the text at every place where it may match."""
    found = [
        f"{path.name}: {pattern.pattern}"
        for path, pattern in patterns_of_content()
        if looks_without_bound(_parser.parse(pattern.pattern, pattern.flags))
    ]
    assert not found


def patterns_of_content() -> Iterator[tuple[Path, re.Pattern[str]]]:
    """Every pattern a module of `content` is compiled with."""
    for path in sorted((ROOT / "daemon" / "sheaf" / "content").glob("*.py")):
        module = importlib.import_module(f"sheaf.content.{path.stem}")
        for value in vars(module).values():
            if isinstance(value, re.Pattern):
                yield path, value


def looks_without_bound(parsed: Any, *, is_inside: bool = False) -> bool:
    """Whether a parsed pattern has an unbounded repeat inside a look-ahead or look-behind."""
    for operator, argument in parsed:
        if is_inside and operator in _REPEATS and argument[1] is _constants.MAXREPEAT:
            return True
        inner = is_inside or operator in _LOOKS
        if any(looks_without_bound(part, is_inside=inner) for part in _parts(argument)):
            return True
    return False


def _parts(argument: Any) -> Iterator[Any]:
    for part in argument if isinstance(argument, tuple | list) else ():
        if isinstance(part, _parser.SubPattern):
            yield part
        elif isinstance(part, list):
            yield from (each for each in part if isinstance(each, _parser.SubPattern))
