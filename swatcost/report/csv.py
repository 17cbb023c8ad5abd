"""An estimate as CSV, unrounded: a row a quantity, or a row a layer."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from swatcost.report.rows import layer_rows, totals_by_name

if TYPE_CHECKING:
    from swatcost.estimate import Estimate


def render(estimate: Estimate, *, layers: bool, width: int) -> str:
    rows = layer_rows(estimate) if layers else _summary(estimate)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _summary(estimate: Estimate) -> list[dict[str, Any]]:
    def pair(quantity: str, unit: str, dense: float, sparse: float) -> dict[str, Any]:
        reduction = 1 - sparse / dense if dense else 0.0
        return {"quantity": quantity, "unit": unit, "dense": dense, "sparse": sparse, "reduction": reduction}

    def single(quantity: str, unit: str, value: float | None) -> dict[str, Any]:
        return {"quantity": quantity, "unit": unit, "dense": "", "sparse": value, "reduction": ""}

    network, memory = estimate.network, estimate.memory
    return [
        *(pair(name, "MACs/sample", each.dense, each.sparse) for name, each in totals_by_name(estimate.costs).items()),
        pair("exact_training", "MACs/sample", estimate.exact.training.dense, estimate.exact.training.sparse),
        pair("weights", "elements", network.weight_elements, estimate.non_zero_weights),
        pair("parameters", "bytes", memory.parameters.dense, memory.parameters.sparse),
        pair("gradients", "bytes", memory.gradients.dense, memory.gradients.sparse),
        pair("saved_activations", "bytes", memory.saved_activations.dense, memory.saved_activations.sparse),
        single("activation_reduction", "fraction of elements", estimate.activation_reduction),
        single("model_compression", "ratio", estimate.model_compression),
        single("dense_step", "seconds", estimate.dense_step.seconds),
        single("topk", "seconds", estimate.topk_seconds),
        single("topk_period", "iterations", estimate.topk_period),
        single("speedup", "ratio", estimate.speedup),
        single("speedup_limit", "ratio", estimate.speedup_limit),
        single("break_even_period", "iterations", estimate.break_even_period),
    ]
