"""An estimate as plain data: one object, one row per layer, one row per quantity. Nothing is rounded here."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from swatcost.counting import Cost, PassCosts
from swatcost.estimate import Estimate, LayerEstimate
from swatcost.network.matrix_kinds import kinds_of
from swatcost.report.assumptions import assumptions
from swatcost.report.time_notes import dense_step_source
from swatcost.version import __version__

SCHEMA = "swatcost.estimate/1"


def to_dict(estimate: Estimate) -> dict[str, Any]:
    """Plain data: numbers, strings, lists and dicts. MACs are per sample, memory is for the batch."""
    network, plan = estimate.network, estimate.plan
    shapes = [list(network.sample_shape(shape)) for shape in network.input_shapes]
    kernels, kinds = _kernels(estimate), kinds_of(network)
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
        "setting": estimate.setting.record(),
        "totals": {
            "params": network.parameter_elements,
            "weights": network.weight_elements,
            "weight_sparsity": estimate.weight_sparsity,
            "act_sparsity": estimate.act_sparsity,
            "macs": _by_name({"recompute": Cost(), **estimate.costs.totals()}),
            "exact_macs": _by_name({"recompute": Cost(), **estimate.exact.totals()}),
            "tokens_per_sample": estimate.tokens_per_sample,
            "macs_per_token": _macs_per_token(estimate),
            "flops_per_token": None if estimate.flops_per_token is None else _plain(estimate.flops_per_token),
            "run_macs": _plain(estimate.run_macs),
            "training_reduction": estimate.training_reduction,
            "inference_reduction": estimate.inference_reduction,
            "activation_reduction": estimate.activation_reduction,
            "model_compression": estimate.model_compression,
            "channels_pruned": estimate.channels_pruned,
            **_of_method(estimate),
            "dense_step_seconds": estimate.dense_step.seconds,
            "dense_step_source": dense_step_source(estimate),
            "dense_step_basis": estimate.dense_step.basis,
            "precision": estimate.precision.name,
            "model_flops_utilisation": estimate.dense_step.utilisation,
            "attainable_step_seconds": estimate.attainable_step.seconds,
            "topk_seconds": estimate.topk_seconds,
            "topk_seconds_by_idea": estimate.topk_seconds_by_idea,
            "masked_step_seconds": estimate.masked_step_seconds,
            "attainable_speedup": estimate.attainable_speedup,
            "ideal_step_seconds": estimate.sparse_step_seconds,
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
        "layers": [
            _layer(estimate, each) | {"matrix_kind": kinds.get(each.layer.weight), "kernels": kernels.get(place)}
            for place, each in enumerate(estimate.layers)
        ],
        "uncounted": [asdict(each) for each in estimate.uncounted],
        "assumptions": [*map(str, assumptions(estimate))],
    }


def _macs_per_token(estimate: Estimate) -> dict[str, dict[str, float]] | None:
    if (tokens := estimate.tokens_per_sample) is None:
        return None
    return _by_name({"recompute": Cost(), **estimate.costs.per_sample(tokens).totals()})


def _of_method(estimate: Estimate) -> dict[str, Any]:
    """What the method adds to the network's parameters, and does between steps, if it does."""
    found: dict[str, Any] = {"added_params": estimate.added_params} if estimate.plan.method.added else {}
    if estimate.off_step:
        found["off_step"] = [
            {
                "name": each.name,
                "period": each.period,
                "flops": each.flops,
                "flops_per_step": each.flops_per_step,
                "share_of_step": each.flops_per_step / estimate.step_flops,
                "source": each.source,
            }
            for each in estimate.off_step
        ]
    return found


def _kernels(estimate: Estimate) -> dict[int, dict[str, str]]:
    """What runs the passes of each layer in an attainable step, by the layer's place, as far as that is known."""
    found: dict[int, dict[str, str]] = {}
    for each in estimate.attainable_step.choices:
        found.setdefault(each.layer, {}).update(dict.fromkeys(each.passes, each.kernel))
    return found


def _by_name(costs: dict[str, Cost]) -> dict[str, dict[str, float]]:
    return {name: _plain(cost) for name, cost in costs.items()}


def _plain(cost: Cost) -> dict[str, float]:
    return {"dense": cost.dense, "sparse": cost.sparse}


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


def other_params(estimate: Estimate) -> int:
    """Parameters that belong to no conv or linear layer, such as those of batch normalisation."""
    return estimate.network.parameter_elements - sum(each.params for each in estimate.layers)


def layer_rows(estimate: Estimate) -> list[dict[str, Any]]:
    """One row per conv or linear layer or product of activations, in execution order.

    It has the shapes of one sample, parameters, sparsities, and MACs per sample by pass. The last row, of kind `other`,
    holds the parameters that belong to no such layer, with their MACs where the convention counts any: with it every
    column adds up to the network's total.
    """
    network, kinds = estimate.network, kinds_of(estimate.network)
    rows = [
        {
            "name": each.layer.name,
            "kind": each.layer.kind,
            "weight": each.layer.weight,
            "matrix_kind": kinds.get(each.layer.weight, ""),
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
    return [*rows, {**other, "weight_sparsity": 0.0, "act_sparsity": 0.0, **_macs(estimate.beside)}]


def _ascii(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _macs(costs: PassCosts) -> dict[str, float]:
    columns: dict[str, float] = {}
    for name, cost in {**costs.by_part(), "training": costs.training}.items():
        columns |= {f"{name}_dense_macs": cost.dense, f"{name}_sparse_macs": cost.sparse}
    return columns


def summary_rows(estimate: Estimate) -> list[dict[str, Any]]:
    """One row per quantity, unrounded."""
    settings, per_token = to_dict(estimate), estimate.flops_per_token
    targets = {f"target_{name}": value for name, value in settings["targets"].items()}
    named = ("swatcost_version", "model", "batch_size", "method", "distribution", "convention", "device", "topk_period")
    return [
        *(_single(name, "", value) for name, value in {**{each: settings[each] for each in named}, **targets}.items()),
        *(_pair(name, "MACs/sample", each) for name, each in estimate.costs.totals().items()),
        _pair("exact_training", "MACs/sample", estimate.exact.training),
        *([] if per_token is None else [_pair("training", "FLOPs/token", per_token), *_per_token_rows(estimate)]),
        _pair("weights", "elements", Cost(estimate.network.weight_elements, estimate.non_zero_weights)),
        *(_pair(name, "bytes", each) for name, each in estimate.memory.by_holder().items()),
        _single("activation_reduction", "fraction of elements", estimate.activation_reduction),
        _single("model_compression", "ratio", estimate.model_compression),
        _single("dense_step", "seconds", estimate.dense_step.seconds),
        _single("attainable_step", "seconds", estimate.attainable_step.seconds),
        _single("topk", "seconds", estimate.topk_seconds),
        _single("attainable_speedup", "ratio", estimate.attainable_speedup),
        _single("speedup", "ratio", estimate.speedup),
        _single("speedup_limit", "ratio", estimate.speedup_limit),
        _single("break_even_period", "iterations", estimate.break_even_period),
    ]


def _per_token_rows(estimate: Estimate) -> list[dict[str, Any]]:
    costs = estimate.costs.per_sample(estimate.tokens_per_sample or 1)
    return [_pair(name, "MACs/token", each) for name, each in costs.totals().items()]


def _pair(quantity: str, unit: str, cost: Cost) -> dict[str, Any]:
    return {"quantity": quantity, "unit": unit, **_plain(cost), "reduction": cost.reduction, "value": ""}


def _single(quantity: str, unit: str, value: str | float | None) -> dict[str, Any]:
    return {"quantity": quantity, "unit": unit, "dense": "", "sparse": "", "reduction": "", "value": value}
