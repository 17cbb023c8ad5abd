"""Published numbers as data, and the program's number for each.

`cells.csv` has one line per printed number: table, network, method and setting as printed, the quantity, the number,
its unit and tolerance, the settings (a row of `rows.csv`) that should reproduce it, and a reason if they cannot:

- `statistic`: the number needs a statistic of a training run. `supplied_row` names settings that supply one.
- `contradiction`: the paper contradicts itself or does not say how it counted.
- `quoted`: the number is not a cost, or is an input of this program, and is repeated as printed.

The program's own numbers in a reason are in the column `states`, as QUANTITY=NUMBER, and fill the {} of the reason in
order.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from swatcost.common.errors import MissingPackageError, SwatcostError
from swatcost.common.registry import nearest
from swatcost.distributions.tables import read_table
from swatcost.estimate import Estimate, estimate
from swatcost.loading.load import load
from swatcost.network import Network
from swatcost.published.quantities import OVER_ALL_ROWS, QUANTITIES

if TYPE_CHECKING:
    import pandas

Verdict = Literal["reproduced", "needs a statistic", "not reproducible", "quoted", "not computed", "MISMATCH"]
_EXCUSES: dict[str, Verdict] = {"statistic": "needs a statistic", "contradiction": "not reproducible"}
REPEATED = {"6": "11"}
"""Tables that repeat the numbers of another one."""

_DATA = files(__package__)
_EQUAL_SHARES = "equal shares"  # rows for numbers that do not depend on SWAT-M's momentum shares


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A printed number. Percentages are as printed, in per cent."""

    table: str
    network: str
    method: str
    setting: str
    quantity: str
    relation: str
    printed: float
    unit: str
    tolerance: float
    row: str
    supplied_row: str
    status: str
    reason: str

    @property
    def identity(self) -> str:
        """A unique name of the cell."""
        return "/".join(filter(None, (self.table, self.network, self.method, self.setting, self.quantity)))

    def holds(self, computed: float) -> bool:
        """Whether a computed number matches the printed one within the tolerance, or satisfies the printed bound."""
        if self.relation == "=":
            return abs(computed - self.printed) <= self.tolerance + 1e-9
        return computed >= self.printed if self.relation == ">=" else computed <= self.printed


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A cell, the computed number (None if there is none), the number with a supplied statistic, and a verdict.

    A cell whose number matches is reproduced, whatever its status; MISMATCH is a difference without an explanation. A
    cell that needs a package that is not installed is not computed, and its reason says what to install.
    """

    cell: Cell
    computed: float | None
    supplied: float | None
    verdict: Verdict

    @property
    def difference(self) -> float | None:
        """Computed less printed, in the printed unit; with the supplied statistic if there is one."""
        best = self.computed if self.supplied is None else self.supplied
        return None if best is None else best - self.cell.printed

    def to_dict(self) -> dict[str, Any]:
        """The cell and its reproduction as plain data."""
        found = {"computed": self.computed, "supplied": self.supplied, "difference": self.difference}
        return {**asdict(self.cell), **found, "verdict": self.verdict}


def cells(table: str = "all") -> list[Cell]:
    """The printed numbers of a table, or of all. Raises SwatcostError for an unknown table."""
    every = [_cell(line) for line in _lines("cells.csv")]
    tables = list(dict.fromkeys(each.table for each in every))
    table = REPEATED.get(table, table)
    if table != "all" and table not in tables:
        raise SwatcostError(f"unknown table {table!r}: {nearest(table, [*tables, *REPEATED, 'all'])}")
    return [each for each in every if table in ("all", each.table)]


def stated_numbers() -> list[tuple[Cell, dict[str, str]]]:
    """The cells whose reason states numbers of the program, each with these numbers by quantity."""
    return [(_cell(dict(line)), _numbers_stated(line)) for line in _lines("cells.csv") if line["states"]]


def reproduce(table: str = "all") -> Iterator[Reproduction]:
    """Computes the printed numbers of a table, one by one."""
    return map(_reproduced, cells(table))


def frame(table: str = "all") -> pandas.DataFrame:
    """A pandas DataFrame with one row per printed number: printed, computed, and the verdict."""
    import pandas

    return pandas.DataFrame([each.to_dict() for each in reproduce(table)])


def _reproduced(cell: Cell) -> Reproduction:
    if cell.status == "quoted":
        return Reproduction(cell=cell, computed=None, supplied=None, verdict="quoted")
    try:
        computed = _compute(cell.quantity, cell.row)
        supplied = _compute(cell.quantity, cell.supplied_row)
    except MissingPackageError as error:
        return Reproduction(cell=replace(cell, reason=str(error)), computed=None, supplied=None, verdict="not computed")
    if computed is not None and cell.holds(computed):
        verdict: Verdict = "reproduced"
    else:
        verdict = _EXCUSES.get(cell.status, "MISMATCH")
    return Reproduction(cell=cell, computed=computed, supplied=supplied, verdict=verdict)


def _compute(quantity: str, row: str) -> float | None:
    if row == "*":
        return OVER_ALL_ROWS[quantity](
            [estimate_of(name) for name, row in _rows().items() if name[0] in "2345" and row["source"] != _EQUAL_SHARES]
        )
    return QUANTITIES[quantity](estimate_of(row)) if row else None


@cache
def estimate_of(row: str) -> Estimate:
    """The estimate with the settings of a row of `rows.csv`."""
    settings: dict[str, Any] = {key: value for key, value in _rows()[row].items() if value and key != "row"}
    for key in ("weights", "acts", "default_act_sparsity"):
        if key in settings:
            settings[key] = float(settings[key])
    column = settings.pop("source", None)
    if column == _EQUAL_SHARES:
        settings["source"] = {"*": {"share": 1.0}}
    elif column:
        table = read_table(_DATA / "resnet50_layer_sparsities.csv")
        settings["source"] = {layer: {"weights": numbers[column]} for layer, numbers in table.items()}
    return estimate(_network(settings.pop("model"), settings.pop("classes", None)), **settings)


@cache
def _network(model: str, classes: str | None) -> Network:
    return load(model, classes=int(classes) if classes else None)


@cache
def _rows() -> dict[str, dict[str, str]]:
    return {line["row"]: line for line in _lines("rows.csv")}


def _lines(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((_DATA / name).read_text(encoding="utf-8").splitlines()))


def _cell(line: dict[str, str]) -> Cell:
    numbers = {"printed": float(line["printed"]), "tolerance": float(line["tolerance"] or 0)}
    reason = line["reason"].format(*_numbers_stated(line).values())
    return Cell(**{**line, **numbers, "reason": reason})  # type: ignore[arg-type]


def _numbers_stated(line: dict[str, str]) -> dict[str, str]:
    return dict(statement.split("=") for statement in line.pop("states").split())
