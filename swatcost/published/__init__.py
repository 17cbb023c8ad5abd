"""Published numbers as data, and the program's number for each.

`cells.csv` has one line per printed number: table, network, method and setting as printed, the quantity, the number in
its printed digits, its unit and the stated tolerance, what gives it, and a reason if that does not:

- `row` is a row of `rows.csv`, whose settings should reproduce it; `*` is all rows of Tables 2 to 5; `recipe NAME` and
  `method NAME` are the hyperparameters and methods of this program; `printed` is arithmetic with other printed numbers,
  which tests the paper against itself. `supplied_row` has settings with a statistic that the paper does not give.
- `status` is `statistic` if the number needs a statistic of a training run, `contradiction` if the paper contradicts
  itself or does not say how it counted, `construction` if it holds by construction, as an input or the target itself,
  and `quoted` if it is not a cost and is repeated as printed.

The program's own numbers in a reason are in the column `states`, as QUANTITY=NUMBER, and fill the {} of the reason in
order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from swatcost.common.errors import MissingPackageError
from swatcost.counting import CONVENTIONS, conventions_of
from swatcost.distributions.tables import read_table
from swatcost.estimate import Estimate, estimate, under
from swatcost.loading.load import load
from swatcost.methods import METHODS
from swatcost.network import Network
from swatcost.planning.recipes import RECIPES
from swatcost.published.cell import REPEATED, Cell, Nearness, cells, lines, stated_numbers
from swatcost.published.printed import METHOD, PRINTED, RECIPE
from swatcost.published.quantities import COUNTED, OVER_ALL_ROWS, QUANTITIES

if TYPE_CHECKING:
    import pandas

__all__ = ["REPEATED", "REPRODUCED", "Cell", "Reproduction", "Verdict", "cells", "estimate_of", "frame", "reproduce",
           "stated_numbers"]  # fmt: skip

Verdict = Literal[
    "equal", "within tolerance", "bound holds", "other convention", "needs a statistic", "not computable",
    "not reproducible", "consistent", "inconsistent", "by construction", "quoted", "not computed", "MISMATCH",
]  # fmt: skip
REPRODUCED: tuple[Verdict, ...] = ("equal", "within tolerance", "bound holds")
"""Verdicts on cells that come out."""

_EQUAL_SHARES = "equal shares"  # rows for numbers that do not depend on SWAT-M's momentum shares


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A cell, the computed number (None if there is none), the number with a supplied statistic, and a verdict.

    A number is `equal` if it rounds to the printed digits, or else `within tolerance` of the cell; `bound holds` for a
    printed bound. `by_convention` has the number under every convention, where it depends on one: `other convention` is
    the verdict if the convention of the row does not give the printed number and another does. `consistent` follows
    from other printed numbers. `by construction` holds whatever the network. `not computable` lacks data that the paper
    does not give; `needs a statistic` does, too, but a stand-in was computed: uniform sparsity. MISMATCH is a
    difference without an explanation. A cell that needs a package that is not installed is `not computed`, and its
    reason says what to install.
    """

    cell: Cell
    computed: float | str | None
    supplied: float | None
    verdict: Verdict
    by_convention: Mapping[str, float] = field(default_factory=dict, hash=False)
    own_convention: str = ""

    @property
    def best(self) -> float | None:
        """The computed number, with the supplied statistic if there is one; None for a word."""
        best = self.computed if self.supplied is None else self.supplied
        return None if isinstance(best, str) else best

    @property
    def difference(self) -> float | None:
        """The best number less the printed one, in the printed unit."""
        return None if self.best is None else self.best - self.cell.number

    @property
    def elsewhere(self) -> dict[str, Nearness]:
        """How near the number comes under each convention that gives it, other than the row's own."""
        near = {name: self.cell.nearness(number) for name, number in self.by_convention.items()}
        return {name: each for name, each in near.items() if each and name != self.own_convention}

    def to_dict(self) -> dict[str, Any]:
        """The cell and its reproduction as plain data."""
        found = {"computed": self.computed, "supplied": self.supplied, "difference": self.difference}
        conventions = {"convention": self.own_convention, "by_convention": dict(self.by_convention)}
        return {**asdict(self.cell), **found, "verdict": self.verdict, **conventions, "elsewhere": self.elsewhere}


def reproduce(table: str = "all") -> Iterator[Reproduction]:
    """Computes the printed numbers of a table, one by one."""
    return map(_reproduced, cells(table))


def frame(table: str = "all") -> pandas.DataFrame:
    """A pandas DataFrame with one row per printed number: printed, computed, and the verdict."""
    import pandas

    return pandas.DataFrame([each.to_dict() for each in reproduce(table)])


def _reproduced(cell: Cell) -> Reproduction:
    try:
        computed = _compute(cell, cell.row)
        supplied = _compute(cell, cell.supplied_row)
        counted = _counted(cell)
    except MissingPackageError as error:
        return Reproduction(cell=replace(cell, reason=str(error)), computed=None, supplied=None, verdict="not computed")
    assert not isinstance(supplied, str)
    found = Reproduction(cell=cell, computed=computed, supplied=supplied, verdict="MISMATCH", **counted)
    return replace(found, verdict=_verdict(found))


def _verdict(found: Reproduction) -> Verdict:
    cell, computed = found.cell, found.computed
    if cell.status == "quoted":
        return "quoted"
    if computed is None:
        return "by construction" if cell.status == "construction" else "not computable"
    if cell.status == "statistic":
        return "needs a statistic"  # whatever the stand-in gives
    near = cell.nearness(computed)
    if cell.status == "construction":
        return "by construction" if near else "MISMATCH"
    if cell.row == "printed":
        return "consistent" if near else "inconsistent" if cell.status else "MISMATCH"
    if near:
        return near
    if found.elsewhere:
        return "other convention"
    return "not reproducible" if cell.status == "contradiction" else "MISMATCH"


def _compute(cell: Cell, row: str) -> float | str | None:
    kind, _, name = row.partition(" ")
    match kind:
        case "":
            return None
        case "printed":
            return PRINTED[cell.quantity](cell)
        case "recipe":
            return RECIPE[cell.quantity](RECIPES[name])
        case "method":
            return METHOD[cell.quantity](METHODS[name])
        case "*":
            return OVER_ALL_ROWS[cell.quantity](_all_rows())
    return QUANTITIES[cell.quantity](estimate_of(row))


def _counted(cell: Cell) -> dict[str, Any]:
    """The number under every convention and the row's own, if it is a count; not of a stand-in for a statistic."""
    row = cell.supplied_row if cell.status == "statistic" else cell.row
    if cell.quantity not in COUNTED or cell.status in ("quoted", "construction") or row in ("", "printed"):
        return {}
    if row == "*":
        quantity, own = OVER_ALL_ROWS[cell.quantity], "swat"
        return {
            "by_convention": {
                each.name: quantity(_all_rows(each.name)) for each in conventions_of(_network("resnet50", None))
            },
            "own_convention": own,
        }
    every = conventions_of(estimate_of(row).network)
    return {
        "by_convention": {each.name: QUANTITIES[cell.quantity](_under(row, each.name)) for each in every},
        "own_convention": estimate_of(row).convention.name,
    }


def _all_rows(convention: str | None = None) -> list[Estimate]:
    """The estimates of Tables 2 to 5, under another convention if asked."""
    names = [name for name, row in _rows().items() if name[0] in "2345" and row["source"] != _EQUAL_SHARES]
    return [_under(name, convention) if convention else estimate_of(name) for name in names]


@cache
def _under(row: str, convention: str) -> Estimate:
    return under(estimate_of(row), CONVENTIONS[convention])


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
        table = read_table(files(__package__) / "resnet50_layer_sparsities.csv")
        settings["source"] = {layer: {"weights": numbers[column]} for layer, numbers in table.items()}
    return estimate(_network(settings.pop("model"), settings.pop("classes", None)), **settings)


@cache
def _network(model: str, classes: str | None) -> Network:
    return load(model, classes=int(classes) if classes else None)


@cache
def _rows() -> dict[str, dict[str, str]]:
    return {line["row"]: line for line in lines("rows.csv")}
