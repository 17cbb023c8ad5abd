"""A table of printed numbers as a CSV file: a column `printed`, and one for each setting in which its rows differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.common.reading import LARGEST_TABLE, csv_rows, read
from swatcost.common.registry import nearest
from swatcost.common.units import count_from, fraction_from
from swatcost.planning.printed_number import printed_number
from swatcost.setting import OPTIONS

Row = tuple[str, Mapping[str, Any]]


def read_printed(path: str | Path) -> list[Row]:
    """The rows of the file: each number as it is printed, and its own settings by name.

    Columns are `printed`, `quantity` and the settings of `estimate`. An empty cell states nothing; several patterns in
    keep_dense have blanks between them. Raises SwatcostError if the file cannot be read or has another column.
    """
    return read(path, "table of printed numbers", _rows, LARGEST_TABLE, closed=False)


def _rows(text: str) -> list[Row]:
    rows: list[Row] = []
    for line, printed, cells in csv_rows(text, "printed"):
        try:
            printed_number(printed)
            rows.append((printed, {name: _value(name, cell) for name, cell in cells.items() if cell}))
        except SwatcostError as error:
            raise ValueError(f"line {line}: {error}") from None
    if not rows:
        raise ValueError("it has no rows")
    return rows


def _value(name: str, cell: str) -> Any:
    """What a cell says, as keywords take it."""
    if name == "quantity":
        return cell
    if name not in OPTIONS:
        raise SwatcostError(f"the column {name!r:.40}: {nearest(name, ['printed', 'quantity', *OPTIONS])}")
    kind = OPTIONS[name].kind
    if kind == "sparsity":
        return fraction_from(cell)
    if kind == "count":
        return count_from(cell)
    return cell.split() if kind == "patterns" else cell
