"""Markdown for generated pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """A table whose first `words` columns are text, left-aligned; the others are numbers, right-aligned."""
    rule = [":---" if column < words else "---:" for column in range(len(header))]
    lines = [header, rule, *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def listed(words: Iterable[str]) -> str:
    """Words listed as in a sentence: a, b and c."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def paragraphs(*parts: str) -> str:
    """Parts separated by blank lines; empty parts are omitted."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def code_options(text: str) -> str:
    """The text with --options set as code."""
    return re.sub(r"(?<!`)--[a-z][a-z-]*", r"`\g<0>`", text)
