"""Finds what docstrings, comments and documents name: files, modules and other documents."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tests.support.repository import committed_texts

_ENDINGS = "py|pyi|ts|tsx|mjs|js|cjs|css|html|md|toml|sql|service|yml|yaml|conf|sh"
FILE = re.compile(rf"(?<![\w./@:*~…-])((?:\.\./|\./)*[\w-][\w./-]*\.(?:{_ENDINGS}))(?![\w/(-]|\.\w)")
FOLDERS = (
    "api cli content core daemon discovery docs keystore node ports relay signaling storage systemd tests "
    "transport webui"
)
"""The folders that a name of a module or folder may begin with."""
MODULE = re.compile(
    rf"(?<![\w./@:*~-])((?:sheaf[./])?(?:{FOLDERS.replace(' ', '|')})(?:/[a-z_][\w-]*)+)(?![\w/(.*{{<-])"
)
DOTTED = re.compile(r"`((?:sheaf|tests)(?:\.[a-z_]\w*)+)`")
DOCUMENT = re.compile(r"\b(?:TRAPS|FAULTS|STYLE|INTERFACES|PROTOCOL|THREAT_MODEL|HACKING|ARCHITECTURE)\b")
FAULTS = re.compile(r"FAULTS ((?:[SNA]\d+(?:, |–| and )?)+)")
DECISION = re.compile(r"\bdecisions? (\d{4})")


def prose() -> Iterator[tuple[str, str]]:
    """(file, text): docstrings and comments of the code, and the documents as they are."""
    for under in ("daemon/", "tests/", "hatch_build.py"):
        for name, text in committed_texts(".py", under=under):
            yield name, "\n".join([*_docstrings(text), *_comments(text)])
    for under in ("webui/src/", "tests/"):
        for name, text in committed_texts(".ts", ".tsx", ".mjs", ".css", under=under):
            yield name, "\n".join(re.findall(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", text, re.DOTALL))
    for under in ("docs/", "README.md"):
        yield from committed_texts(".md", under=under)


def _docstrings(text: str) -> Iterator[str]:
    """Every string that stands alone: docstrings, and what is said below an attribute."""
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value


def _comments(text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
