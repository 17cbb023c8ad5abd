"""A plan's work as a convention counts it: layer by layer, and summed over the network."""

from __future__ import annotations

from collections.abc import Sequence

from swatcost.counting.conventions import Convention
from swatcost.counting.costs import PassCosts
from swatcost.network import Network
from swatcost.sparsity import SparsityPlan


def counted_layers(
    network: Network, plan: SparsityPlan, convention: Convention, steps: int, default_act_sparsity: float
) -> list[PassCosts]:
    """What each counted layer costs over the traced batch [MACs], a step on average over a run of so many steps.

    default_act_sparsity is what conventions charge for zeros that ReLU leaves [-]. Sparse costs are arrays if the
    plan's sparsities are.
    """
    phases = convention.phases(plan.method, steps)
    return [
        convention.count(layer, plan.method, sparsity, phases=phases, default_act_sparsity=default_act_sparsity)
        for layer, sparsity in plan.by_layer(network)
    ]


def summed(layers: Sequence[PassCosts], network: Network) -> PassCosts:
    """All layers together [MACs per sample], from what each costs over the traced batch."""
    return sum(layers, PassCosts()).per_sample(network.batch_size)


def counted_costs(
    network: Network, plan: SparsityPlan, convention: Convention, steps: int, default_act_sparsity: float
) -> PassCosts:
    """What the network costs [MACs per sample]; see `counted_layers`."""
    return summed(counted_layers(network, plan, convention, steps, default_act_sparsity), network)
