"""The layer table of a page: the cells of the terminal's, each with the number that it is sorted by."""

from dataclasses import dataclass
from math import prod
from typing import Any

from swatcost.counting import Cost
from swatcost.estimate import Estimate
from swatcost.report.estimate import layer_table, merged
from swatcost.report.estimate_data import layer_rows

_SHAPES = ("input_shape", "weight_shape", "output_shape")


@dataclass(frozen=True)
class Cell:
    """The text that is shown and the number that it is sorted by, None for words and empty cells."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class LayerTable:
    """Headings, one row per layer in execution order, and the totals as the last row."""

    headings: list[str]
    rows: list[list[Cell]]
    total: list[str]


def layers_of(estimate: Estimate) -> LayerTable:
    """The layers, numbered in execution order."""
    table = layer_table(estimate, "wide")
    *texts, total = table.rows
    rows = merged(layer_rows(estimate))
    columns = len(table.header)
    recomputed = ("recompute",) if estimate.costs.recompute.dense else ()
    passes = ("forward", "grad_input", "grad_weight", *recomputed, "training")
    keys = [f"{each}_{how}_macs" for each in passes for how in ("dense", "sparse")]

    def numbers(row: dict[str, Any]) -> list[float | None]:
        training = Cost(row["training_dense_macs"], row["training_sparse_macs"])
        sparsities = [row["weight_sparsity"], row["act_sparsity"]] if row["weight"] and training.dense else [None, None]
        reduction = training.reduction if training.dense else None
        found = [None, *(_elements(row[key]) for key in _SHAPES), row["params"], *sparsities]
        return [*found, *(row[key] for key in keys), reduction]

    cells = [
        [Cell(str(place), place), *map(Cell, text, numbers(row))]
        for place, (text, row) in enumerate(zip(texts, rows, strict=True), 1)
    ]
    assert all(len(row) == columns + 1 for row in cells)
    return LayerTable(["#", *(heading.replace("\n", " ") for heading in table.header)], cells, ["", *total])


def _elements(shape: str) -> float | None:
    return float(prod(map(int, shape.split("x")))) if shape else None
