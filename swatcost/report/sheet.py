"""What a report says, whatever its form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LAYER_DETAIL = ("wide", "medium", "narrow")
"""How much a table of layers shows, the most first."""


@dataclass(frozen=True)
class Table:
    """A header and rows of cells; the first `text_columns` hold words, the others numbers.

    `narrow` takes its place in a terminal of fewer than `room` columns; a `divisible` one may be shown in parts, some
    columns of numbers at a time. `footnote` stands below it in a paper.
    """

    header: list[str]
    rows: list[list[str]]
    text_columns: int = 1
    narrow: Table | None = None
    room: int = 0
    divisible: bool = False
    footnote: str = ""

    @property
    def alignment(self) -> list[str]:
        """left or right, by column."""
        return ["left" if column < self.text_columns else "right" for column in range(len(self.header))]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Opening lines, tables and notes for people; the module that gives it has `to_dict` for JSON and `rows` for CSV.

    `layers` gives the table of layers in a detail of LAYER_DETAIL, shown if `shows_layers`, and `left_out` says what
    each detail leaves out. `paper` is the one table that a paper prints: LaTeX and Markdown show it alone.
    """

    opening: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str]
    layers: Callable[[str], Table] | None = None
    shows_layers: bool = False
    left_out: Callable[[str], str] = lambda detail: ""
    paper: Table | None = None
