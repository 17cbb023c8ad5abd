"""What a report says, whatever its form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

LAYER_DETAIL = ("wide", "medium", "narrow")
"""How much a table of layers shows, the most first, unless a sheet has details of its own."""


@dataclass(frozen=True, kw_only=True)
class View:
    """How a report is shown: `width` in columns, `layers` with one row per layer.

    A terminal shows the notes that may change a decision, and says where the others are, in `more`; `notes` shows all,
    and `quiet` none, nor tables where there is a summary. `colour` adds a terminal's bold and colours. `relative` shows
    shares of dense in a comparison's tables, instead of reductions. `fold` shows equal neighbours in a table of layers
    as one row, or each; None folds where that makes a long table short. `per` is what MACs are given for: "sample", or
    "token" where the inputs are tokens.
    """

    width: int = 80
    layers: bool = False
    notes: bool = False
    quiet: bool = False
    colour: bool = False
    relative: bool = False
    fold: bool | None = None
    per: str = "sample"
    more: str = ".notes"


class Caveat(str):
    """A note that may change a decision."""

    __slots__ = ()


@dataclass(frozen=True)
class Figure:
    """A line of a summary."""

    label: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """A header and rows of cells; the first `text_columns` hold words, the others numbers.

    `narrow` takes its place in a terminal of fewer than `room` columns; a `divisible` one may be shown in parts, some
    columns of numbers at a time. `folded` is the same with equal neighbours as one row, if there are any. `footnote`
    stands below it in a paper.
    """

    header: list[str]
    rows: list[list[str]]
    text_columns: int = 1
    narrow: Table | None = None
    room: int = 0
    divisible: bool = False
    folded: Table | None = None
    footnote: str = ""

    @property
    def alignment(self) -> list[str]:
        """left or right, by column."""
        return ["left" if column < self.text_columns else "right" for column in range(len(self.header))]

    def folding(self, fold: bool | None) -> Table:
        """The table with equal neighbours as one row if asked, or if that halves a long one."""
        if self.folded is None or fold is False:
            return self
        halves = len(self.rows) > _FEW_ROWS and 2 * len(self.folded.rows) <= len(self.rows)
        return self.folded if fold or halves else self


_FEW_ROWS = 12


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What people are shown; the module that gives it has `to_dict` for JSON and `rows` for CSV.

    `opening` says what was asked, and `summary` is the answer in a few figures. `layers` gives the table of layers in
    one of `details`, shown if `shows_layers`, and `left_out` says what each of them leaves out. `paper` is the one
    table that a paper prints: LaTeX and Markdown show it alone.
    """

    opening: Sequence[str]
    summary: Sequence[Figure] = ()
    tables: Sequence[Table]
    notes: Sequence[str]
    layers: Callable[[Any], Table] | None = None
    shows_layers: bool = False
    details: Sequence[Any] = LAYER_DETAIL
    left_out: Callable[[Any], str] = lambda detail: ""
    paper: Table | None = None

    def widest(self, fold: bool | None = None) -> Table | None:
        """The table of layers with all that it can show, folded as in `Table.folding`."""
        return self.layers(self.details[0]).folding(fold) if self.layers else None
