"""What a distribution is, and the arithmetic that several share: a total that is kept, overflow that goes dense."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.network.layer import Layer

LAST_BEND = 1 - 1e-9
"""The largest target [-] up to which sparsities are drawn as lines: beyond it they round to 1."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What a strategy is asked: give each of these layers a sparsity.

    `layers` are the conv and linear layers, each weight once; those whose weight is in `kept_dense` must get 0.
    `target` is the sparsity asked for [-], None where none was given. `source` is the file, mapping or state that
    the strategy reads, None where none was given. `parameters` are the names of all the network's parameters, in
    order, and `mask_zeros` the zeros of the pruning masks that some of them have.
    """

    layers: Sequence[Layer]
    kept_dense: frozenset[str]
    target: float | None
    source: Any = None
    parameters: Sequence[str] = ()
    mask_zeros: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def free(self) -> list[Layer]:
        """The layers that may be sparse."""
        return [layer for layer in self.layers if layer.weight not in self.kept_dense]

    @cached_property
    def elements(self) -> int:
        """Weights of all layers, the dense ones included."""
        return sum(layer.weight_elements for layer in self.layers)

    def required_target(self) -> float:
        """The target, or SwatcostError where none was given."""
        if self.target is None:
            raise SwatcostError("this distribution needs a target sparsity: give weights")
        return self.target


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A strategy: `spread` gives each free layer's weight its sparsity, by the weight's name.

    `first_layer_dense` is what its authors do with the network's first layer unless the user says otherwise.
    `reads_source`: it takes a file or mapping (`--from`). `measured`: it says what each layer is, so what a method
    usually keeps dense has no say. `acts_follow_weights`: a layer's activations get the sparsity of its weights
    unless a target of their own is given (SWAT, Section 3.3.2); otherwise activations are dense unless asked for.
    `spread_acts` does what `spread` does for a target of activations, where that is something else. `bends` gives, in
    rising order, targets between which every layer's sparsity is linear in the target, from the least to the most
    that can be reached; without it many estimates at once ask for each target. `pattern` gives (N, M) where N of every
    M weights along the input channels are kept.
    """

    name: str
    title: str
    citation: str
    spread: Callable[[Spread], Mapping[str, float]]
    first_layer_dense: bool = False
    measured: bool = False
    reads_source: bool = False
    acts_follow_weights: bool = True
    spread_acts: Callable[[Spread], Mapping[str, float]] | None = None
    bends: Callable[[Spread], Sequence[float]] | None = None
    pattern: Callable[[Spread], tuple[int, int]] | None = None


def from_function(function: Callable[[Sequence[Layer], float | None], Sequence[float]]) -> Distribution:
    """A distribution from a user's function: (layers, target) → the sparsity [-] of each layer's weight, in order.

    The layers are those that are not kept dense. Raises SwatcostError, when it is used, unless the function gives
    one number a layer.
    """
    name = getattr(function, "__name__", type(function).__name__)

    def spread(request: Spread) -> dict[str, float]:
        sparsities = function(request.free, request.target)
        if not isinstance(sparsities, Sequence) or isinstance(sparsities, str):
            raise SwatcostError(f"{name} gave a {type(sparsities).__name__}, no list of sparsities")
        if len(sparsities) != len(request.free):
            raise SwatcostError(f"{name} gave {len(sparsities)} sparsities for {len(request.free)} layers")
        return {layer.weight: sparsity for layer, sparsity in zip(request.free, sparsities, strict=True)}

    return Distribution(name=name, title="a user's function", citation="the user's", spread=spread)


def same_for_activations(request: Spread) -> dict[str, float]:
    """For strategies that say nothing of activations: their target in every layer."""
    return dict.fromkeys((layer.weight for layer in request.free), request.target or 0.0)


def proportional(proportion: Callable[[Layer], float], *, name: str, title: str, citation: str) -> Distribution:
    """A distribution whose densities are in proportion to a number of each layer."""
    spread, bends = partial(in_proportion, proportion), partial(bends_in_proportion, proportion)
    return Distribution(name=name, title=title, citation=citation, spread=spread, bends=bends)


def in_proportion(proportion: Callable[[Layer], float], request: Spread) -> dict[str, float]:
    """Densities in given proportions that keep the total of non-zeros, as sparsities by weight.

    d_l = ε · p_l with Σ d_l · n_l = (1 − s) · Σ n_l over all layers. A layer whose density would exceed 1 becomes
    dense and the rest is solved again. Layers that the user keeps dense count towards the total.

    proportion gives p_l [-] of a layer. Raises SwatcostError when the dense layers alone exceed the total.
    """
    proportions = {layer.weight: proportion(layer) for layer in request.free}
    target = request.required_target()
    dense = sum(layer.weight_elements for layer in request.layers if layer.weight in request.kept_dense)
    budget = (1 - target) * request.elements - dense
    if budget < 0:
        share = dense / request.elements
        raise SwatcostError(
            f"weights {target:g} cannot be reached: layers kept dense hold {100 * share:.1f} % of all weights"
        )
    remaining = {layer.weight: layer.weight_elements for layer in request.free}
    sparsities: dict[str, float] = {}
    while remaining:
        weighted = sum(proportions[weight] * elements for weight, elements in remaining.items())
        scale = budget / weighted if weighted else 0.0
        overflowing = [weight for weight in remaining if scale * proportions[weight] > 1]
        if not overflowing:
            sparsities |= {weight: 1 - scale * proportions[weight] for weight in remaining}
            break
        for weight in overflowing:
            sparsities[weight] = 0.0
            budget -= remaining.pop(weight)
    return sparsities


def bends_in_proportion(proportion: Callable[[Layer], float], request: Spread) -> list[float]:
    """The targets [-] at which one more layer becomes dense in `in_proportion`.

    With the layers of the largest p dense already, the next one is when (1 − s) · Σ n = Σ_dense n + Σ_rest p · n / p.
    The last is short of what layers that are kept dense leave to be reached, where every other layer is empty.
    """
    free = sorted(request.free, key=lambda layer: -proportion(layer))
    dense = sum(layer.weight_elements for layer in request.layers if layer.weight in request.kept_dense)
    weighted = sum(proportion(layer) * layer.weight_elements for layer in free)
    bends = [LAST_BEND * (1 - dense / request.elements)]
    for layer in free:
        bends.append(1 - (dense + weighted / proportion(layer)) / request.elements)
        dense += layer.weight_elements
        weighted -= proportion(layer) * layer.weight_elements
    return sorted({max(0.0, min(each, LAST_BEND)) for each in bends})
