"""The time of what a method adds to layers, such as low-rank branches, and of what frozen weights save."""

from collections.abc import Sequence
from typing import Any

from swatcost.counting.conventions import EXACT
from swatcost.methods import Phase
from swatcost.network import Network
from swatcost.network.passes import PASSES
from swatcost.sparsity import SparsityPlan
from swatcost.timing.dense_step import StepTime


def added_seconds(network: Network, plan: SparsityPlan, dense: StepTime, phases: Sequence[Phase]) -> Any:
    """The time of the branches in a step [s], averaged over the run; an array if the plan has arrays.

    Their MACs are taken to run at the rate of their layer's forward pass in the dense step, or at the whole step's if
    its parts are not known. Thin products run slower than that: it is the least that they take.
    """
    if plan.method.added is None:
        return 0.0
    forward = {each.layer: each.seconds for each in dense.parts if each.in_pass == "forward"}
    whole = dense.seconds / _training_macs(network)
    total: Any = 0.0
    for place, (layer, sparsity) in enumerate(plan.by_layer(network)):
        if not layer.is_weight_layer:
            continue
        added = plan.method.added_to(layer)
        macs = added.forward + added.grad_input + added.grad_weight
        rate = forward[place] / EXACT.macs("forward", layer, 1) if place in forward else whole
        total = total + plan.changes(sparsity) * macs * rate
    return total * sum(each.share for each in phases if each.adds)


def frozen_seconds(network: Network, plan: SparsityPlan, dense: StepTime) -> float:
    """What frozen weights save of a dense step [s]: its grad_weight, or that pass's share of MACs if the step's parts
    are not known.
    """
    if plan.method.weight_gradient != "none":
        return 0.0
    if dense.parts:
        places = {place for place, layer in enumerate(network.counted_layers) if layer.is_weight_layer}
        return sum(each.seconds for each in dense.parts if each.layer in places and each.in_pass == "grad_weight")
    saved = sum(EXACT.macs("grad_weight", layer, 1) for layer in network.weight_layers)
    return dense.seconds * saved / _training_macs(network)


def spared_update_seconds(network: Network, plan: SparsityPlan, dense: StepTime) -> float:
    """What frozen weights save of the optimizer's update in a dense step [s]: their share of what it updates.

    The weights that the method adds are updated in their place.
    """
    trained = sum(each.elements for each in network.parameters if each.trains)
    if plan.method.weight_gradient != "none" or not trained:
        return 0.0
    frozen = sum(layer.weight_elements for layer, _ in plan.by_weight(network) if layer.weight_trains)
    update = sum(each.seconds for each in dense.parts if each.in_pass == "update")
    return update * (frozen - plan.added_elements(network)) / trained


def _training_macs(network: Network) -> float:
    """MACs of the traced batch in a dense step, those of products of activations included."""
    weights = sum(EXACT.macs(each, layer, 1) for layer in network.weight_layers for each in PASSES)
    return weights + sum(sum(layer.product_macs()) for layer in network.counted_layers if layer.is_product)
