"""An estimate as rows that the output forms share. Nothing is rounded here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from swatcost.counting.costs import Cost, PassCosts

if TYPE_CHECKING:
    from swatcost.estimate import Estimate


def totals_by_name(costs: PassCosts) -> dict[str, Cost]:
    """The three passes, what is recomputed if anything is, their sum, and inference."""
    recompute = {"recompute": costs.recompute} if costs.recompute.dense else {}
    return {**costs.by_pass(), **recompute, "training": costs.training, "inference": costs.inference}


def other_params(estimate: Estimate) -> int:
    """Parameters that belong to no conv or linear layer, such as those of batch normalisation."""
    return estimate.network.parameter_elements - sum(each.params for each in estimate.layers)


def layer_rows(estimate: Estimate) -> list[dict[str, Any]]:
    """A row a conv or linear layer or product of activations, in execution order.

    It has the shapes of one sample, parameters, sparsities, and MACs per sample by pass. The last row, of kind `other`,
    holds the parameters that belong to no such layer: with it every column adds up to the network's total.
    """
    network = estimate.network
    rows = [
        {
            "name": each.layer.name,
            "kind": each.layer.kind,
            "weight": each.layer.weight,
            "input_shape": _ascii(network.sample_shape(each.layer.input_shape)),
            "weight_shape": _ascii(each.layer.weight_shape),
            "output_shape": _ascii(network.sample_shape(each.layer.output_shape)),
            "stride": _ascii(each.layer.stride),
            "padding": _ascii(each.layer.padding),
            "dilation": _ascii(each.layer.dilation),
            "groups": each.layer.groups,
            "params": each.params,
            "kept_dense": estimate.plan.kept_dense.get(each.layer.weight, ""),
            "weight_sparsity": each.sparsity.weight,
            "act_sparsity": each.sparsity.activation,
            **_macs(each.costs),
        }
        for each in estimate.layers
    ]
    other = dict.fromkeys(rows[0], "") | {"name": "(other)", "kind": "other", "params": other_params(estimate)}
    return [*rows, {**other, "weight_sparsity": 0.0, "act_sparsity": 0.0, **_macs(PassCosts())}]


def _ascii(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _macs(costs: PassCosts) -> dict[str, float]:
    columns: dict[str, float] = {}
    for name, cost in {**costs.by_part(), "training": costs.training}.items():
        columns |= {f"{name}_dense_macs": cost.dense, f"{name}_sparse_macs": cost.sparse}
    return columns
