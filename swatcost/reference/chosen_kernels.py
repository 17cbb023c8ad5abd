"""Which passes of which layers run on sparse kernels: none, all that can, or those where it pays on a device."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

from swatcost.estimate import Estimate
from swatcost.network.passes import PASSES, Pass
from swatcost.timing.attainable import attainable_step

KernelChoice = Literal["dense", "sparse", "auto"]
"""What computes the products of sparse operands: torch, on masked dense tensors; sparse kernels; the faster of both."""

KERNEL_CHOICES: tuple[KernelChoice, ...] = get_args(KernelChoice)

OWN_KERNELS = ("swatcost-weights", "swatcost-activations")
"""The program's own kernels, as profiles name them."""


def chosen(choice: KernelChoice, estimate: Estimate) -> Mapping[str, frozenset[Pass]]:
    """The passes that run on sparse kernels, by weight.

    With "auto", those that the estimate's device runs faster so, masking included; none if it has no times for them.
    """
    weights = {layer.weight for layer, _ in estimate.plan.by_weight(estimate.network)}
    if choice != "auto":
        passes: frozenset[Pass] = frozenset(PASSES if choice == "sparse" else ())
        return dict.fromkeys(weights, passes)
    own = tuple(each for each in estimate.device.kernels if each.name in OWN_KERNELS)
    step = attainable_step(
        estimate.network,
        estimate.plan,
        replace(estimate.device, kernels=own),
        estimate.dense_step,
        estimate.batch_size,
        estimate.plan.method.schedule(estimate.setting.steps),
    )
    layers = estimate.network.counted_layers
    found: dict[str, frozenset[Pass]] = dict.fromkeys(weights, frozenset())
    for each in step.choices:
        if each.kernel in OWN_KERNELS:
            weight = layers[each.layer].weight
            found[weight] = found.get(weight, frozenset()) | set(each.passes)
    return found
