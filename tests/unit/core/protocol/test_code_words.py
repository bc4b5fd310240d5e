"""Reading and making spoken codes: forgiving in form, never in content."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from sheaf.core.base.errors import UsageError
from sheaf.core.protocol.code_words import (
    CODE_TEXT_MAX,
    EXAMPLE,
    WORDS,
    SpokenCode,
    WordList,
    is_like_code,
)

WORD_LIST = Mnemonic("english").wordlist
LIST = WordList(WORD_LIST)
CODE = SpokenCode(7, ("orbit", "velvet"))

codes = st.builds(
    SpokenCode, st.integers(1, 99_999), st.tuples(st.sampled_from(WORD_LIST), st.sampled_from(WORD_LIST))
)


@given(codes)
def test_a_code_reads_as_it_is_shown(code: SpokenCode) -> None:
    assert LIST.read(code.text) == code
    assert is_like_code(code.text)


@pytest.mark.parametrize(
    "typed",
    [
        "7 orbit velvet",
        " 7-Orbit-VELVET\n",
        "7. orbit, velvet",
        "07 - orbit - velvet",
        "7-orbi-velv",
        "7–orbit—velvet",
        "7_orbit:velvet",
    ],
)
def test_the_form_is_forgiven(typed: str) -> None:
    assert LIST.read(typed) == CODE


@given(codes, st.data())
def test_four_letters_of_a_word_are_enough(code: SpokenCode, data: st.DataObject) -> None:
    shortened = [word[: data.draw(st.integers(4, max(4, len(word))))] for word in code.words]
    separator = data.draw(st.sampled_from(["-", " ", ", ", " - "]))
    assert LIST.read(separator.join([str(code.number), *shortened]).upper()) == code


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "number"),
        ("orbit-velvet", "begin with a number"),
        ("0-orbit-velvet", "number"),
        ("100000-orbit-velvet", "number"),
        ("7-orbit", "2 words"),
        ("7-orbit-velvet-able", "2 words"),
        ("7-orbti-velvet", "“orbit”"),
        ("7-orb-velvet", "“orb” is no word"),
        ("7-xylograph-velvet", "“xylograph” is no word"),
        ("٧-orbit-velvet", "number"),
        ("7-" + "a" * CODE_TEXT_MAX, "too long"),
    ],
)
def test_what_is_no_code_is_said_so(typed: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        LIST.read(typed)


def test_a_wrong_word_is_never_made_right_silently() -> None:
    with pytest.raises(UsageError, match="the code is still good"):
        LIST.read("7-orbits-velvet")


@given(st.text(max_size=200))
def test_any_text_is_a_code_or_a_usage_error(text: str) -> None:
    try:
        code = LIST.read(text)
    except UsageError:
        return
    assert LIST.read(code.text) == code


def test_codes_are_drawn_from_the_whole_list() -> None:
    entropy = random.Random(5).randbytes
    drawn = {word for _ in range(20_000) for word in LIST.new_code(1, entropy).words}
    assert drawn == set(WORD_LIST)


def test_bits_become_words_from_the_front() -> None:
    bits = (0b00000000001 << 33) | (0b11111111111 << 22) | (5 << 11) | 2047
    data = (bits << 4).to_bytes(6, "big")
    assert LIST.spell(data, 4) == (WORD_LIST[1], WORD_LIST[2047], WORD_LIST[5], WORD_LIST[2047])


def test_every_code_has_a_password_of_its_own() -> None:
    others = [SpokenCode(8, CODE.words), SpokenCode(7, ("velvet", "orbit")), SpokenCode(7, ("orbit", "able"))]
    assert len({code.password for code in [CODE, *others]}) == 4


def test_the_words_stay_out_of_logs() -> None:
    assert "orbit" not in repr(CODE)
    assert "velvet" not in repr(CODE)


def test_tickets_and_links_are_not_taken_for_codes() -> None:
    assert not is_like_code("sheaf1abc")
    assert not is_like_code("sheaf:join#sheaf1abc")
    assert not is_like_code("")
    assert is_like_code("  7 orbit velvet")


def test_the_example_is_a_code_and_the_list_is_whole() -> None:
    assert LIST.read(EXAMPLE).text == EXAMPLE
    assert len(set(WORD_LIST)) == WORDS
    assert len({word[:4] for word in WORD_LIST}) == WORDS
