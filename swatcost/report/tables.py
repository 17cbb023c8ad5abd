"""A table of cells, which every form lays out."""

from __future__ import annotations

from dataclasses import dataclass


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
