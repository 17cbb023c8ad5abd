"""What a distribution is, and arithmetic that several share: proportions that keep the total of non-zeros."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

from swatcost.common.errors import SwatcostError
from swatcost.moved import renamed_fields
from swatcost.network.layer import Layer

DenseBudget = Literal["inside", "outside"]
"""Whether the weights of layers kept dense count towards a target that is a total over layers.

Inside, as in SWAT-ERK: the whole network meets the target. Outside, as in the public code of Evci et al. (RigL): the
layers that are not kept dense meet it among themselves.
"""

LAST_BREAKPOINT = 1 - 1e-9
"""The largest target [-] up to which sparsities are interpolated: beyond it they round to 1."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to a distribution: give each of these layers a sparsity.

    `layers` are the conv and linear layers, each weight once; those whose weight is in `kept_dense` must get 0.
    `dense_budget` says whether those count towards the target.
    `target` is the requested sparsity [-] and `source` the file, mapping or state that the distribution reads; None if
    not given. `parameters` are the names of all parameters of the network, in order, `shapes` their shapes, and
    `mask_zeros` the number of zeros in their pruning masks, where they have one. `group` is M of a method that keeps N
    of every M weights. `kinds` are the kinds of matrices (`MATRIX_KINDS`) by weight, for distributions with a source.
    """

    layers: Sequence[Layer]
    kept_dense: frozenset[str]
    target: float | None
    source: Any = None
    parameters: Sequence[str] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    mask_zeros: Mapping[str, int] = field(default_factory=dict)
    dense_budget: DenseBudget = "inside"
    group: int | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def free(self) -> list[Layer]:
        """The layers that may be sparse."""
        return [layer for layer in self.layers if layer.weight not in self.kept_dense]

    @cached_property
    def elements(self) -> int:
        """Number of weights that a total is a share of: those kept dense are left out if outside the budget."""
        counted = self.layers if self.dense_budget == "inside" else self.free
        return sum(layer.weight_elements for layer in counted)

    @cached_property
    def dense_elements(self) -> int:
        """Number of weights in layers kept dense that count towards the total."""
        return self.elements - sum(layer.weight_elements for layer in self.free)

    def required_target(self) -> float:
        """The target. Raises SwatcostError if none was given."""
        if self.target is None:
            raise SwatcostError("this distribution needs a target sparsity: give weights")
        return self.target


@renamed_fields(spread="allocate", spread_acts="allocate_acts", bends="breakpoints")
@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A distribution: `allocate` gives each free layer's weight its sparsity, by the weight's name.

    `first_layer_dense`: its authors keep the network's first layer dense, which is the default here.
    `reads_source`: it takes a file or mapping (`--from`). `measured`: its sparsities are those of an actual network, so
    the layers that the method usually keeps dense are not kept dense. `acts_follow_weights`: a layer's activations get
    the sparsity of its weights unless a target of their own is given (SWAT, Section 3.3.2); otherwise activations are
    dense by default. `allocate_acts` replaces `allocate` for the activation target, where it differs. `breakpoints`
    gives, in ascending order, targets between which every layer's sparsity is linear in the target, from the lowest to
    the highest reachable one; without it, `allocate` is called for each of many targets. `pattern` gives (N, M) if N of
    every M weights along the input channels are kept, or None. `target_of_others`: the target is that of the layers
    which the source does not name. `keeps_total`: the target is the sparsity of all weights
    together; layers kept dense count towards it or not (`Request.dense_budget`).
    """

    name: str
    title: str
    citation: str
    allocate: Callable[[Request], Mapping[str, float]]
    first_layer_dense: bool = False
    measured: bool = False
    reads_source: bool = False
    acts_follow_weights: bool = True
    allocate_acts: Callable[[Request], Mapping[str, float]] | None = None
    breakpoints: Callable[[Request], Sequence[float]] | None = None
    pattern: Callable[[Request], tuple[int, int] | None] | None = None
    target_of_others: bool = False
    keeps_total: bool = False


def from_function(function: Callable[[Sequence[Layer], float | None], Sequence[float]]) -> Distribution:
    """A distribution from a user's function: (layers, target) → the sparsity [-] of each layer's weight, in order.

    The layers are those that are not kept dense. When used, it raises SwatcostError unless the function returns one
    number per layer.
    """
    name = getattr(function, "__name__", type(function).__name__)

    def allocate(request: Request) -> dict[str, float]:
        sparsities = function(request.free, request.target)
        if not isinstance(sparsities, Sequence) or isinstance(sparsities, str):
            raise SwatcostError(f"{name} returned a {type(sparsities).__name__}, not a list of sparsities")
        if len(sparsities) != len(request.free):
            raise SwatcostError(f"{name} returned {len(sparsities)} sparsities for {len(request.free)} layers")
        return {layer.weight: sparsity for layer, sparsity in zip(request.free, sparsities, strict=True)}

    return Distribution(name=name, title="a user's function", citation="the user's", allocate=allocate)


def same_for_activations(request: Request) -> dict[str, float]:
    """The activation target in every layer, for distributions that do not define activation sparsities."""
    return dict.fromkeys((layer.weight for layer in request.free), request.target or 0.0)


def proportional(proportion: Callable[[Layer], float], *, name: str, title: str, citation: str) -> Distribution:
    """A distribution whose densities are proportional to `proportion` of each layer."""
    allocate, breakpoints = partial(in_proportion, proportion), partial(breakpoints_in_proportion, proportion)
    return Distribution(
        name=name, title=title, citation=citation, allocate=allocate, breakpoints=breakpoints, keeps_total=True
    )


def in_proportion(proportion: Callable[[Layer], float], request: Request) -> dict[str, float]:
    """Sparsities by weight: densities in given proportions that keep the total of non-zeros.

    d_l = ε · p_l with Σ d_l · n_l = (1 − s) · Σ n_l over all layers. A layer whose density would exceed 1 becomes
    dense, and the rest is solved again. Layers that the user keeps dense count towards the total unless the request
    leaves them outside: then both sums are over the other layers.

    proportion gives p_l [-] of a layer. Raises SwatcostError if the dense layers alone exceed the total.
    """
    proportions = {layer.weight: proportion(layer) for layer in request.free}
    target = request.required_target()
    budget = (1 - target) * request.elements - request.dense_elements
    if budget < 0:
        share = request.dense_elements / request.elements
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


def breakpoints_in_proportion(proportion: Callable[[Layer], float], request: Request) -> list[float]:
    """The targets [-] at which one more layer becomes dense in `in_proportion`.

    When the layers with larger p are dense, the next one, with p_l, becomes dense at
    (1 − s) · Σ n = Σ_dense n + Σ_rest p · n / p_l. The last breakpoint is just below the largest target that the layers
    kept dense allow, at which every other layer would be empty.
    """
    free = sorted(request.free, key=lambda layer: -proportion(layer))
    if not request.elements:
        return []
    dense = request.dense_elements
    weighted = sum(proportion(layer) * layer.weight_elements for layer in free)
    breakpoints = [LAST_BREAKPOINT * (1 - dense / request.elements)]
    for layer in free:
        breakpoints.append(1 - (dense + weighted / proportion(layer)) / request.elements)
        dense += layer.weight_elements
        weighted -= proportion(layer) * layer.weight_elements
    return sorted({max(0.0, min(each, LAST_BREAKPOINT)) for each in breakpoints})
