"""The commands in a text for people: in fenced `sh` blocks, between backquotes, in the comments of a unit.

Nothing is left out silently: every line of an `sh` block is a command, and words between backquotes that
look like one (a known program first) are one, too. Who walks a text decides what to do with each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = frozenset(
    {
        "cp",
        "curl",
        "echo",
        "git",
        "journalctl",
        "loginctl",
        "make",
        "mkdir",
        "mv",
        "nats-server",
        "pip",
        "pipx",
    }
    | {"podman", "python3", "rm", "scp", "sheaf", "ssh", "systemctl"}
)
"""First words of a command in running text."""

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
REMARK = re.compile(r"\s{2,}[#(].*$")
HEADER = re.compile(r"^#   ([a-z/][^\s:]* .*)$", re.MULTILINE)
ASIDE = re.compile(r"^\s*#.*?(?:: +|(?<=#) )((?:sheaf|nats-server|systemctl) [^\n.]\S.*)$", re.MULTILINE)
ALTERNATIVES = re.compile(r"(?<=^sheaf )(\w+ )[a-z]+(?:/[a-z]+)+(?= |$)")
OPTIONAL = re.compile(r" \[[^\]]+\]")


@dataclass(frozen=True, slots=True)
class Command:
    """One command as somebody would type it, and what the text says behind it."""

    document: str
    line: int
    text: str
    remark: str = ""
    block: tuple[str, ...] = ()
    """The lines of its fenced block, or nothing if it stands in running text."""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"


def commands_of_page(document: Path, name: str) -> list[Command]:
    """Return the commands of a Markdown page, in the order of the page."""
    text = document.read_text()
    found = []
    for match in FENCE.finditer(text):
        if match.group(2) == "sh":
            lines = [line.strip() for line in match.group(3).splitlines() if line.strip()]
            first = text.count("\n", 0, match.start()) + 2
            found += [_command(name, first + at, line, tuple(lines)) for at, line in enumerate(lines)]
    prose = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    for match in INLINE.finditer(prose):
        words = " ".join(match.group(1).split())
        if " " in words and words.split()[0] in PROGRAMS:
            line = text.count("\n", 0, match.start()) + 1
            found += [Command(name, line, each) for each in alternatives(words)]
    return sorted(found, key=lambda command: command.line)


def commands_of_comments(document: Path, name: str) -> list[Command]:
    """Return the commands in the comments of a unit or a configuration file, in their order."""
    text = re.sub(r"\\\n#\s+", "", document.read_text())
    found = []
    for pattern in (HEADER, ASIDE):
        for match in pattern.finditer(text):
            found.append(_command(name, text.count("\n", 0, match.start()) + 1, match.group(1)))
    return sorted(found, key=lambda command: command.line)


def alternatives(words: str) -> list[str]:
    """Return the commands that a row such as `sheaf space list/show SPACE [URL…]` stands for."""
    match = ALTERNATIVES.search(words)
    if match:
        group, choices = match.group(1), match.group()[len(match.group(1)) :].split("/")
        return [words[: match.start()] + group + choice + words[match.end() :] for choice in choices]
    bare = OPTIONAL.sub("", words)
    return [words] if bare == words else [bare, words.replace("[", "").replace("]", "")]


def _command(name: str, line: int, text: str, block: tuple[str, ...] = ()) -> Command:
    remark = REMARK.search(text)
    return Command(
        name,
        line,
        text[: remark.start()] if remark else text,
        remark.group().strip(" #") if remark else "",
        block,
    )
