"""Which passes of which layers run on sparse kernels: none, all that can, or those where it pays on a device."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Literal, get_args

from swatcost.common.errors import SwatcostError
from swatcost.estimate import Estimate
from swatcost.network.passes import PASSES, Pass
from swatcost.timed_step import attainable_of
from swatcost.timing.attainable import AttainableStep

KernelChoice = Literal["dense", "sparse", "auto"]
"""What computes the products of sparse operands: torch, on masked dense tensors; sparse kernels; the faster of both."""

KERNEL_CHOICES: tuple[KernelChoice, ...] = get_args(KernelChoice)

OWN_KERNELS = ("swatcost-weights", "swatcost-activations")
"""The program's own kernels, as profiles name them."""


def has_numba() -> bool:
    """Whether the program's own kernels can run: numba is installed."""
    return find_spec("numba") is not None


def chosen(choice: KernelChoice, estimate: Estimate) -> Mapping[str, frozenset[Pass]]:
    """The passes that run on sparse kernels, by weight.

    With "auto", those that the estimate's device profile predicts to be faster on them, counting the masking that they
    save. Raises SwatcostError if it has no times for them.
    """
    weights = {layer.weight for layer, _ in estimate.plan.by_weight(estimate.network)}
    if choice != "auto":
        passes: frozenset[Pass] = frozenset(PASSES if choice == "sparse" else ())
        return dict.fromkeys(weights, passes)
    if not any(each.name in OWN_KERNELS for each in estimate.device.kernels):
        raise SwatcostError(
            f"kernels 'auto': the profile of {estimate.device.name} has no times of swatcost's own kernels; name a "
            "device that has, such as epyc2 or one that swatcost calibrate writes"
        )
    layers = estimate.network.counted_layers
    found: dict[str, frozenset[Pass]] = dict.fromkeys(weights, frozenset())
    for each in step_on_own_kernels(estimate).choices:
        if each.kernel in OWN_KERNELS:
            weight = layers[each.layer].weight
            found[weight] = found.get(weight, frozenset()) | set(each.passes)
    return found


def step_on_own_kernels(estimate: Estimate) -> AttainableStep:
    """The attainable step with the program's own kernels alone, by the estimate's device."""
    own = tuple(each for each in estimate.device.kernels if each.name in OWN_KERNELS)
    plain = replace(estimate.setting, device=replace(estimate.device, kernels=own))
    return attainable_of(estimate.network, estimate.plan, plain, estimate.dense_step)
