"""The layers of a step, as a run's record stores them."""

from collections.abc import Callable, Mapping

import torch

from swatcost.common.record import LayerRecord
from swatcost.network.passes import PASSES
from swatcost.reference.conversion import Converted
from swatcost.reference.counts import Counts


def layer_records(
    converted: Converted,
    counts: Mapping[str, list[Counts]],
    topk_seconds: Mapping[str, float],
    shares: Mapping[str, float],
) -> tuple[LayerRecord, ...]:
    """One record per layer, over all its calls. topk_seconds [s] and shares [-] are by weight."""
    return tuple(
        LayerRecord(
            weight=name,
            weight_threshold=layer.weight.threshold,
            act_threshold=layer.activation.threshold,
            weight_sparsity=mean(counts[name], lambda each: (each.weight_sparsity, each.weight_elements)),
            act_sparsity=mean(counts[name], lambda each: (each.act_sparsity, each.act_elements)),
            default_act_sparsity=mean(counts[name], lambda each: (each.default_act_sparsity, each.act_elements)),
            output_sparsity=mean(counts[name], lambda each: (each.output_sparsity, each.output_elements)),
            momentum_share=shares.get(name),
            topk_seconds=topk_seconds[name],
            macs={in_pass: sum(each.macs.get(in_pass, 0) for each in counts[name]) for in_pass in PASSES},
            kept_bytes=sum(each.copied_bytes for each in counts[name]),
        )
        for name, layer in converted.layers.items()
    )


def mean(calls: list[Counts], of: Callable[[Counts], tuple[float, int]]) -> float:
    """The mean of a sparsity over calls, weighted by elements."""
    pairs = [of(each) for each in calls]
    elements = sum(weight for _, weight in pairs)
    return sum(sparsity * weight for sparsity, weight in pairs) / elements if elements else 0.0


def overall_sparsity(counts: Mapping[str, list[Counts]]) -> tuple[float, float]:
    """The sparsity of all weights and of all activations [-]."""
    calls = [each for layer in counts.values() for each in layer]
    return (
        mean(calls, lambda each: (each.weight_sparsity, each.weight_elements)),
        mean(calls, lambda each: (each.act_sparsity, each.act_elements)),
    )


def momentum_shares(converted: Converted, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Each layer's mean |momentum| over its active weights, over the sum of all layers' (SWAT-M).

    Empty before the first step.
    """
    means = {}
    for name, parameter in converted.module.named_parameters():
        buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if buffer is None or name not in converted.layers:
            continue
        active = converted.layers[name].weight.kept(parameter.detach(), training=False)
        chosen = buffer if active is None else buffer[active.expand_as(buffer)]
        means[name] = float(chosen.abs().mean()) if chosen.numel() else 0.0
    total = sum(means.values())
    return {name: mean / total for name, mean in means.items()} if total > 0 else {}
