"""Spoken codes as people say and type them: `7-crossover-clockwork` (PROTOCOL §8).

A code is the number of a nameplate at a relay and two words of a list of 2,048: 22 bits, which is
enough because a code takes one guess. Reading forgives case, spaces, punctuation and shortened
words, and never guesses: a wrong word would burn the code. Knows no list of its own (the words
come in as an argument, for this floor reads no files) and nothing of the exchange.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sheaf.core.base.errors import UsageError
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.hashing import domain_bytes
from sheaf.core.wire.relay_words import NAMEPLATE_MAX

WORDS: Final = 2048
WORD_BITS: Final = 11
CODE_WORDS: Final = 2
PREFIX_CHARS_MIN: Final = 4
"""Four letters tell every word of the list from every other."""
CODE_TEXT_MAX: Final = 80
EXAMPLE: Final = "7-orbit-velvet"

_SEPARATORS: Final = re.compile(r"[\s\-\u2010-\u2015.,;:/_+]+")
_NUMBER: Final = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class SpokenCode:
    """A nameplate and the words that prove one was told the code. The words are a secret."""

    number: int
    words: tuple[str, ...] = field(repr=False)

    @property
    def text(self) -> str:
        """As shown and said."""
        return "-".join((str(self.number), *self.words))

    @property
    def password(self) -> bytes:
        """What both sides put into SPAKE2."""
        words = (word.encode() for word in self.words)
        return domain_bytes("spoken code", str(self.number).encode(), *words)


class WordList:
    """2,048 different lower-case words in a fixed order."""

    def __init__(self, words: Sequence[str]) -> None:
        assert len(set(words)) == WORDS, "a word list has 2,048 different words"
        self._words = tuple(words)
        self._known = frozenset(words)

    def new_code(self, number: int, entropy: Entropy) -> SpokenCode:
        """A fresh code for a nameplate; draws 4 bytes."""
        drawn = (int.from_bytes(entropy(2), "big") % WORDS for _ in range(CODE_WORDS))
        return SpokenCode(number, tuple(self._words[index] for index in drawn))

    def spell(self, data: bytes, count: int) -> tuple[str, ...]:
        """The first `count` × 11 bits of `data` as words."""
        bits = int.from_bytes(data, "big")
        total = len(data) * 8
        assert count * WORD_BITS <= total
        shifts = (total - (place + 1) * WORD_BITS for place in range(count))
        return tuple(self._words[bits >> shift & (WORDS - 1)] for shift in shifts)

    def read(self, text: str) -> SpokenCode:
        """A code as somebody typed it.

        Raises:
            UsageError: not a code, or a word is not in the list; says what to look at.
        """
        if len(text) > CODE_TEXT_MAX:
            raise UsageError(f"This is too long to be a code: codes look like {EXAMPLE}.")
        parts = [part for part in _SEPARATORS.split(text.lower()) if part]
        if not parts or _NUMBER.fullmatch(parts[0]) is None:
            raise UsageError(f"This is not a code: codes begin with a number, like {EXAMPLE}.")
        number = int(parts[0])
        if not 1 <= number <= NAMEPLATE_MAX:
            raise UsageError(f"No code begins with {parts[0]}: look at the number again.")
        if len(parts) != 1 + CODE_WORDS:
            raise UsageError(f"A code is a number and {CODE_WORDS} words, like {EXAMPLE}.")
        return SpokenCode(number, tuple(self._word(part) for part in parts[1:]))

    def _word(self, part: str) -> str:
        if part in self._known:
            return part
        if len(part) >= PREFIX_CHARS_MIN:
            meant = [word for word in self._words if word.startswith(part)]
            if len(meant) == 1:
                return meant[0]
        near = difflib.get_close_matches(part, self._words, n=3, cutoff=0.6)
        hint = f" Perhaps {_or(near)}?" if near else ""
        raise UsageError(f"“{part}” is no word of a code.{hint} Nothing was tried: the code is still good.")


def is_like_code(text: str) -> bool:
    """Whether somebody who typed this meant a code and not a ticket (which begins with letters)."""
    return text.lstrip()[:1].isdigit()


def _or(words: Sequence[str]) -> str:
    quoted = [f"“{word}”" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
