"""The time of what a method adds to layers, such as low-rank branches."""

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
    adds = plan.method.added
    if adds is None:
        return 0.0
    forward = {each.layer: each.seconds for each in dense.parts if each.in_pass == "forward"}
    whole = sum(EXACT.macs(each, layer, 1) for layer in network.weight_layers for each in PASSES)
    total: Any = 0.0
    for place, (layer, sparsity) in enumerate(plan.by_layer(network)):
        if not layer.is_weight_layer:
            continue
        added = adds(layer)
        macs = added.forward + added.grad_input + added.grad_weight
        rate = forward[place] / EXACT.macs("forward", layer, 1) if place in forward else dense.seconds / whole
        total = total + plan.changes(sparsity) * macs * rate
    return total * sum(each.share for each in phases if each.adds)
