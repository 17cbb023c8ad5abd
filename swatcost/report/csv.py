"""An estimate as CSV, unrounded: a row a quantity, or a row a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swatcost.report.json import to_dict
from swatcost.report.rows import layer_rows, totals_by_name
from swatcost.report.sheet import as_csv

if TYPE_CHECKING:
    from swatcost.estimate import Estimate


def render(estimate: Estimate, *, layers: bool, width: int) -> str:
    return as_csv(layer_rows(estimate) if layers else _summary(estimate))


def _summary(estimate: Estimate) -> list[dict[str, Any]]:
    settings = to_dict(estimate)
    targets = {f"target_{name}": value for name, value in settings["targets"].items()}
    named = ("swatcost_version", "model", "batch_size", "method", "distribution", "convention", "device", "topk_period")
    return [
        *(_single(name, "", value) for name, value in {**{each: settings[each] for each in named}, **targets}.items()),
        *(_pair(name, "MACs/sample", each.dense, each.sparse) for name, each in totals_by_name(estimate.costs).items()),
        _pair("exact_training", "MACs/sample", estimate.exact.training.dense, estimate.exact.training.sparse),
        _pair("weights", "elements", estimate.network.weight_elements, estimate.non_zero_weights),
        *(_pair(name, "bytes", each.dense, each.sparse) for name, each in estimate.memory.by_holder().items()),
        _single("activation_reduction", "fraction of elements", estimate.activation_reduction),
        _single("model_compression", "ratio", estimate.model_compression),
        _single("dense_step", "seconds", estimate.dense_step.seconds),
        _single("topk", "seconds", estimate.topk_seconds),
        _single("speedup", "ratio", estimate.speedup),
        _single("speedup_limit", "ratio", estimate.speedup_limit),
        _single("break_even_period", "iterations", estimate.break_even_period),
    ]


def _pair(quantity: str, unit: str, dense: float, sparse: float) -> dict[str, Any]:
    reduction = 1 - sparse / dense if dense else 0.0
    row = {"quantity": quantity, "unit": unit, "dense": dense, "sparse": sparse}
    return {**row, "reduction": reduction, "value": ""}


def _single(quantity: str, unit: str, value: str | float | None) -> dict[str, Any]:
    return {"quantity": quantity, "unit": unit, "dense": "", "sparse": "", "reduction": "", "value": value}
