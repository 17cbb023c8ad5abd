"""How each printed quantity is computed from an estimate, in its printed unit."""

from collections.abc import Callable, Sequence
from functools import cache

from swatcost.accelerator.cycles import Cycles
from swatcost.counting.costs import FLOPS_PER_MAC, PassCosts
from swatcost.counting.deviations import batch_norm_elements
from swatcost.estimate import Estimate
from swatcost.network.passes import PASSES, Pass
from swatcost.timing.topk import speedup_limit

# Training steps and samples per step of RigL's ResNet-50 (Evci et al., "Rigging the Lottery", ICML 2020, and its public
# code), over which it gives 3.2e18 FLOPs of dense training.
_STEPS_OF_RIGL, _BATCH_OF_RIGL = 32_000, 4_096
# Per element entering batch normalisation: 2 FLOPs forward (as in AC/DC's counter and fvcore), and three times that for
# a step. A.9 does not say how it counts.
BN_FLOPS_PER_ELEMENT = 2 * 3


QUANTITIES: dict[str, Callable[[Estimate], float]] = {
    "training_reduction": lambda of: 100 * of.training_reduction,
    "training_flops_ratio": lambda of: of.costs.training.dense / of.costs.training.sparse,
    "inference_reduction": lambda of: 100 * of.inference_reduction,
    "activation_reduction": lambda of: 100 * of.activation_reduction,
    "act_sparsity": lambda of: 100 * of.act_sparsity,
    "model_compression": lambda of: of.model_compression,
    "channels_pruned": lambda of: 100 * (of.channels_pruned or 0.0),
    "speedup_of_rounded": lambda of: of.speedup_at(round(of.training_reduction, 3)),
    "dense_test_gflops": lambda of: FLOPS_PER_MAC * of.costs.inference.dense / 1e9,
    "dense_train_eflops": lambda of: FLOPS_PER_MAC * of.costs.training.dense * _STEPS_OF_RIGL * _BATCH_OF_RIGL / 1e18,
    "test_ratio": lambda of: 1 - of.inference_reduction,
    "train_ratio": lambda of: 1 - of.training_reduction,
    "backward_over_forward": lambda of: _backward_over_forward(of.costs),
    "last_layer_backward_over_forward": lambda of: _backward_over_forward(of.layers[-1].costs),
    "default_act_sparsity": lambda of: 100 * of.default_act_sparsity,
    "first_and_last_parameters": lambda of: (
        100 * (of.layers[0].params + of.layers[-1].params) / of.network.parameter_elements
    ),
    "dense_step_ms": lambda of: 1e3 * of.dense_step.seconds,
    "topk_ms": lambda of: 1e3 * of.topk_seconds,
    "topk_weight_ms": lambda of: 1e3 * of.device.topk.weights.seconds,
    "topk_activation_ms": lambda of: 1e3 * of.device.topk.activations.seconds,
    "forward_flops": lambda of: FLOPS_PER_MAC * of.costs.forward.dense,
    "training_flops": lambda of: FLOPS_PER_MAC * of.costs.training.dense,
    "logits_forward_flops": lambda of: _forward_flops(of, -1),
    "blocks_forward_flops": lambda of: FLOPS_PER_MAC * of.costs.forward.dense - _forward_flops(of, -1),
}
COUNTED = frozenset(
    {
        "training_reduction", "training_flops_ratio", "inference_reduction", "activation_reduction",
        "speedup_of_rounded", "dense_test_gflops", "dense_train_eflops", "test_ratio", "train_ratio",
        "backward_over_forward", "least_activation_reduction", "most_activation_reduction", "forward_flops",
        "training_flops",
    }
)  # fmt: skip
"""Quantities that depend on the convention."""


def _forward_flops(of: Estimate, place: int) -> float:
    return FLOPS_PER_MAC * of.layers[place].costs.forward.dense


def _of_layer(place: int) -> Callable[[Estimate], float]:
    return lambda of: _forward_flops(of, place)


for _place, _name in enumerate(("kqv", "scores", "values", "projection", "mlp_up", "mlp_down")):  # of a block of GPT-2
    QUANTITIES[f"{_name}_forward_flops"] = _of_layer(_place)


def _backward_over_forward(costs: PassCosts) -> float:
    by_pass = costs.by_pass()
    return (by_pass["grad_input"].dense + by_pass["grad_weight"].dense) / by_pass["forward"].dense


# Bit-Tactical's shapes, and our full crossbar over nine lines.
_SHAPES = ("L1,6", "L2,5", "L4,3", "T2,5", "X8")


@cache
def _cycles(model: str, weights: float, acts: float, shape: str, in_pass: Pass) -> Cycles:
    from swatcost.simulation.simulation import simulate

    return simulate(model, weights=weights, acts=acts, shape=shape, passes=(in_pass,)).of(in_pass)


def _simulated(shape: str, *passes: Pass) -> Callable[[Estimate], float]:
    """The speedup of passes together, in cycles."""

    def speedup(of: Estimate) -> float:
        plan = of.plan
        every = [_cycles(of.network.name, plan.weights or 0.0, plan.acts or 0.0, shape, each) for each in passes]
        return float(sum(every, Cycles()).speedup)

    return speedup


def _ideal(in_pass: Pass) -> Callable[[Estimate], float]:
    return lambda of: speedup_limit(of.exact.by_pass()[in_pass].reduction)


_TABLE_11: tuple[Pass, ...] = ("forward", "grad_input")
for _pass in _TABLE_11:
    QUANTITIES[f"{_pass}_ideal"] = _ideal(_pass)
    for _shape in _SHAPES:
        QUANTITIES[f"{_pass}_cycles {_shape}"] = _simulated(_shape, _pass)
QUANTITIES["step_cycles T2,5"] = _simulated("T2,5", *PASSES)


def _bn_parameters(of: Estimate) -> float:
    names = {name for layer in of.network.layers if layer.kind == "batch_norm" for name in layer.parameters}
    sizes = {parameter.name: parameter.elements for parameter in of.network.parameters}
    return 100 * sum(sizes[name] for name in names) / of.network.parameter_elements


def _bn_computation(of: Estimate) -> float:
    norms = BN_FLOPS_PER_ELEMENT * batch_norm_elements(of.network)
    return 100 * norms / (norms + FLOPS_PER_MAC * of.exact.training.dense)


def _of_swat(estimates: Sequence[Estimate]) -> list[Estimate]:
    return [each for each in estimates if each.plan.method.name.startswith("swat")]


OVER_ALL_ROWS: dict[str, Callable[[Sequence[Estimate]], float]] = {
    "least_activation_reduction": lambda every: min(100 * each.activation_reduction for each in _of_swat(every)),
    "most_activation_reduction": lambda every: max(100 * each.activation_reduction for each in _of_swat(every)),
    "least_weight_sparsity": lambda every: min(100 * (each.plan.weights or 0.0) for each in _of_swat(every)),
    "most_weight_sparsity": lambda every: max(100 * (each.plan.weights or 0.0) for each in _of_swat(every)),
    "most_bn_parameters": lambda every: max(map(_bn_parameters, every)),
    "most_bn_computation": lambda every: max(map(_bn_computation, every)),
}
