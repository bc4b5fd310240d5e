"""Long texts that once stopped the event loop for seconds, and a realistic changelog."""

from __future__ import annotations

import random
from typing import Final

CHANGELOG_CHARS: Final = 456_000
_PHRASES: Final = (
    "fix a crash",
    "when opening",
    "the list of pages",
    "add support for",
    "unicode names",
    "in relay mailboxes",
    "remove an error message",
    "merge of offline edits",
    "memory leak",
    "join with a code",
)


def signs(count: int = 40_000) -> str:
    """One line of number signs between two letters."""
    return f"a{'#' * count}b"


def stars(count: int = 20_000) -> str:
    """Words between doubled stars, without a space."""
    return "a**b" * count


def paragraphs(seed: int, count: int = 1_500) -> str:
    """Paragraphs of twenty words; another seed has no paragraph in common."""
    choice = random.Random(seed)

    def word() -> str:
        return "".join(choice.choices("abcdefghij", k=choice.randint(2, 8)))

    return "".join(" ".join(word() for _ in range(20)) + "\n\n" for _ in range(count))


def changelog(chars: int = CHANGELOG_CHARS) -> str:
    """Releases with headings, nested items, code, emphasis and many links."""
    choice = random.Random(7)

    def words(count: int) -> str:
        return " ".join(choice.choices(_PHRASES, k=count))

    def item() -> str:
        number, commit = choice.randrange(9999), f"{choice.randrange(16**40):040x}"
        return (
            f"* **{words(1)}:** {words(choice.randint(2, 5))} `call_{number}()` "
            f"([#{number}](https://example.org/project/issues/{number})) "
            f"([{commit[:7]}](https://example.org/project/commit/{commit})), _thanks to {words(1)}_\n"
        )

    releases = ["# Changelog\n"]
    written = 0
    while written < chars:
        number = len(releases)
        lines = [f"\n## [{number}.0.0](https://example.org/project/releases/{number})\n"]
        for head in ("Features", "Bug fixes", "Documentation"):
            lines.append(f"\n### {head}\n\n")
            for _ in range(choice.randint(3, 12)):
                lines.append(item())
                if choice.random() < 0.2:
                    lines.append(f"  * {words(3)}\n")
        releases.append("".join(lines))
        written += len(releases[-1])
    return "".join(releases)


def edited(text: str) -> str:
    """The text with words added in two places and at its end, and a part of it taken out."""
    third = len(text) // 3
    begin, middle, end = text[:third], text[third : 2 * third], text[2 * third + 100 :]
    return f"{begin} changed words {middle}\n\nmore\n\n{end}\n\nend\n"
