"""An estimate as JSON: one object, unrounded, with everything that the other forms show."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec

from swatcost.counting.costs import Cost
from swatcost.report.assumptions import assumptions, dense_step_source
from swatcost.report.rows import totals_by_name
from swatcost.version import __version__

if TYPE_CHECKING:
    from swatcost.estimate import Estimate, LayerEstimate

SCHEMA = "swatcost.estimate/1"


def render(estimate: Estimate, *, layers: bool, width: int) -> str:
    return msgspec.json.format(msgspec.json.encode(to_dict(estimate)), indent=2).decode()


def to_dict(estimate: Estimate) -> dict[str, Any]:
    """Plain data: numbers, strings, lists and dicts. MACs are per sample, memory is for the batch."""
    network, plan = estimate.network, estimate.plan
    shapes = [list(network.sample_shape(shape)) for shape in network.input_shapes]
    return {
        "schema": SCHEMA,
        "swatcost_version": __version__,
        "model": network.name,
        "input_shape": shapes[0] if len(shapes) == 1 else shapes,
        "batch_size": estimate.batch_size,
        "method": plan.method.name,
        "distribution": plan.distribution.name,
        "convention": estimate.convention.name,
        "device": estimate.device.name,
        "topk_period": estimate.topk_period,
        "targets": {"weights": plan.weights, "acts": plan.acts, "grads": plan.grads},
        "steps": estimate.steps,
        "default_act_sparsity": estimate.default_act_sparsity,
        "totals": {
            "params": network.parameter_elements,
            "weights": network.weight_elements,
            "weight_sparsity": estimate.weight_sparsity,
            "act_sparsity": estimate.act_sparsity,
            "macs": _by_name({"recompute": Cost(), **totals_by_name(estimate.costs)}),
            "exact_macs": _by_name({"recompute": Cost(), **totals_by_name(estimate.exact)}),
            "run_macs": {
                "dense": estimate.costs.training.dense * estimate.batch_size * estimate.steps,
                "sparse": estimate.costs.training.sparse * estimate.batch_size * estimate.steps,
            },
            "training_reduction": estimate.training_reduction,
            "inference_reduction": estimate.inference_reduction,
            "activation_reduction": estimate.activation_reduction,
            "model_compression": estimate.model_compression,
            "channels_pruned": estimate.channels_pruned,
            "dense_step_seconds": estimate.dense_step.seconds,
            "dense_step_source": dense_step_source(estimate),
            "topk_seconds": estimate.topk_seconds,
            "topk_seconds_by_idea": estimate.topk_seconds_by_idea,
            "masked_step_seconds": estimate.masked_step_seconds,
            "speedup": estimate.speedup,
            "speedup_limit": estimate.speedup_limit,
            "break_even_period": estimate.break_even_period,
            "sparsified_tensors": estimate.memory.sparsified,
            "also_held_tensors": estimate.memory.also_held,
        },
        "memory": {
            **_by_name(estimate.memory.by_holder()),
            "masked_activations": {"dense": estimate.memory.saved_activations.dense, "sparse": estimate.memory.masked},
        },
        "layers": [_layer(estimate, each) for each in estimate.layers],
        "uncounted": [asdict(each) for each in estimate.uncounted],
        "assumptions": assumptions(estimate),
    }


def _by_name(costs: dict[str, Cost]) -> dict[str, dict[str, float]]:
    return {name: {"dense": cost.dense, "sparse": cost.sparse} for name, cost in costs.items()}


def _layer(estimate: Estimate, each: LayerEstimate) -> dict[str, Any]:
    layer, network = each.layer, estimate.network
    return {
        "name": layer.name,
        "kind": layer.kind,
        "params": each.params,
        "macs": _by_name(each.costs.by_part()),
        "weight_sparsity": each.sparsity.weight,
        "act_sparsity": each.sparsity.activation,
        "output_sparsity": each.sparsity.output,
        "kept_dense": estimate.plan.kept_dense.get(layer.weight),
        "input_shape": network.sample_shape(layer.input_shape),
        "weight_shape": layer.weight_shape,
        "output_shape": network.sample_shape(layer.output_shape),
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
        "input_needs_grad": layer.input_needs_grad,
        "weight_trains": layer.weight_trains,
        "recomputed": layer.recomputed,
    }
