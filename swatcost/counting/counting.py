"""A plan's work under a convention: per layer, summed over the network, and over a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from swatcost.counting.convention import DEFAULT_ACT_SPARSITY, Convention
from swatcost.counting.costs import PassCosts
from swatcost.counting.language import beside_layers, of_language_model
from swatcost.methods import Phase
from swatcost.network import Network
from swatcost.sparsity import SparsityPlan


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How work is counted: under a convention, as the mean over a run of `steps` steps of `batch_size` samples.

    `default_act_sparsity` is the fraction of zeros that ReLU leaves among activations [-], by which some conventions
    reduce the cost of sparse training; `batch_size` is by default the traced one. Sparse costs are arrays if the plan's
    sparsities are.
    """

    convention: Convention
    steps: int = 1
    batch_size: int | None = None
    default_act_sparsity: float = DEFAULT_ACT_SPARSITY

    def under(self, convention: Convention) -> Counting:
        """The same run under another convention."""
        return replace(self, convention=convention)

    def layers(self, network: Network, plan: SparsityPlan, phases: Sequence[Phase] | None = None) -> list[PassCosts]:
        """Each counted layer's cost over the traced batch [MACs]: the mean over `phases`, by default of the whole run.

        The dense baseline is not reduced by the zeros that ReLU leaves. Raises SwatcostError if the convention cannot
        count the network.
        """
        charged = self.default_act_sparsity * plan.asks_for_sparsity
        phases = self.convention.phases(plan, self.steps) if phases is None else phases
        costs = [
            self.convention.count(layer, plan.method, sparsity, phases=phases, default_act_sparsity=charged)
            for layer, sparsity in plan.by_layer(network)
        ]
        return self.of_network(network, costs)

    def of_network(self, network: Network, layers: list[PassCosts]) -> list[PassCosts]:
        """Each layer's cost, counted on its own, as the convention has it in the network."""
        return layers if self.convention.per == "sample" else of_language_model(self.convention, network, layers)

    def beside_by_parameter(self, network: Network) -> dict[str, PassCosts]:
        """The costs of parameters that the convention counts beside the layers [MACs per sample]."""
        found = beside_layers(self.convention, network)
        return {name: costs.per_sample(network.batch_size) for name, costs in found.items()}

    def beside(self, network: Network) -> PassCosts:
        """Their sum [MACs per sample]."""
        return sum(self.beside_by_parameter(network).values(), PassCosts())

    def total(self, network: Network, plan: SparsityPlan, phases: Sequence[Phase] | None = None) -> PassCosts:
        """The cost of the network [MACs per sample]: the mean over `phases`, by default of the whole run."""
        return summed(self.layers(network, plan, phases), network, self.batch_size) + self.beside(network)

    def stages(self, plan: SparsityPlan) -> Iterator[tuple[Phase, ...]]:
        """The run's phases in order; consecutive ones with the same sparsity are one stage, in which they alternate."""
        for _, phases in groupby(self.convention.phases(plan, self.steps), key=lambda phase: phase.reached):
            yield tuple(phases)


def summed(layers: Sequence[PassCosts], network: Network, batch_size: int | None = None) -> PassCosts:
    """The cost of all layers [MACs per sample of a step of `batch_size`], from their costs over the traced batch."""
    by_samples: dict[int, PassCosts] = {network.batch_size: PassCosts()}
    for layer, costs in zip(network.counted_layers, layers, strict=True):
        samples = network.samples_of(layer, batch_size)
        by_samples[samples] = by_samples.get(samples, PassCosts()) + costs
    return sum((costs.per_sample(samples) for samples, costs in by_samples.items()), PassCosts())
