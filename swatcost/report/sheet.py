"""What a report says, whatever its form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

LAYER_DETAIL = ("wide", "medium", "narrow")
"""How much a table of layers shows, the most first, unless a sheet has details of its own."""


@dataclass(frozen=True)
class Table:
    """A header and rows of cells; the first `text_columns` hold words, the others numbers.

    `narrow` takes its place in a terminal of fewer than `room` columns.
    """

    header: list[str]
    rows: list[list[str]]
    text_columns: int = 1
    narrow: Table | None = None
    room: int = 0

    @property
    def alignment(self) -> list[str]:
        """left or right, by column."""
        return ["left" if column < self.text_columns else "right" for column in range(len(self.header))]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Opening lines, tables and notes for people; the module that gives it has `to_dict` for JSON and `rows` for CSV.

    `layers` gives the table of layers in one of `details`, shown if `shows_layers`, and `left_out` says what each of
    them leaves out.
    """

    opening: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str]
    layers: Callable[[Any], Table] | None = None
    shows_layers: bool = False
    details: Sequence[Any] = LAYER_DETAIL
    left_out: Callable[[Any], str] = lambda detail: ""

    @property
    def widest(self) -> Table | None:
        """The table of layers with all that it can show."""
        return self.layers(self.details[0]) if self.layers else None
