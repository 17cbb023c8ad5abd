"""From a method, a distribution and targets to the sparsity of every layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, reduce
from numbers import Real
from operator import or_
from typing import Any, Literal

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.distributions import DISTRIBUTIONS, Distribution, Spread
from swatcost.methods import METHODS, LayerSparsity, Method, Operand, checked_sparsity
from swatcost.network import Network
from swatcost.network.layer import Layer, first_uses

DenseOrSparse = Literal["dense", "sparse"]
Sparsity = Any  # a float, or an array of them

_ROUNDING = 1e-12  # [-]: less than one weight of any layer, more than sums of floats are off by


@dataclass(frozen=True, kw_only=True)
class SparsityPlan:
    """The sparsity of each conv and linear layer, in the order of `Network.weight_layers`.

    A plan for many settings holds arrays, an element a setting, in place of numbers.

    `weights`, `acts` and `grads` are the targets, None where none was given. `kept_dense` says why a layer is
    dense, by the name of its weight. `pattern` is (N, M) where sparse weights keep N of every M along input channels.
    """

    method: Method
    distribution: Distribution
    weights: float | None
    acts: float | None
    grads: float | None
    layers: tuple[LayerSparsity, ...]
    kept_dense: dict[str, str]
    pattern: tuple[int, int] | None = None

    @staticmethod
    def dense(network: Network) -> SparsityPlan:
        """No sparsity in any layer."""
        return SparsityPlan(
            method=METHODS["dense"],
            distribution=DISTRIBUTIONS["uniform"],
            weights=None,
            acts=None,
            grads=None,
            layers=(LayerSparsity(),) * len(network.weight_layers),
            kept_dense={},
        )

    @cached_property
    def asks_for_sparsity(self) -> bool:
        """Whether any layer is sparse; an array of answers in a plan for many settings."""
        return reduce(or_, (each.is_sparse for each in self.layers), False)

    def by_layer(self, network: Network) -> list[tuple[Layer, LayerSparsity]]:
        """Every counted layer with its sparsity; products of activations stay dense."""
        of_weights = iter(self.layers)
        return [
            (layer, next(of_weights) if layer.is_weight_layer else LayerSparsity()) for layer in network.counted_layers
        ]

    def non_zero_weights(self, network: Network) -> float:
        """Expected non-zero weights of the model that training ends with, conv and linear layers, shared ones once.

        A method whose forward pass is dense, such as SAW, ends with a dense model.
        """
        return sum(kept for _, kept in self.non_zeros_by_weight(network))

    def non_zeros_by_weight(self, network: Network) -> list[tuple[Layer, float]]:
        """Each weight's first layer and the weight's share of `non_zero_weights`."""
        ends_sparse = "weight" in self.method.sparse["forward"]
        return [
            (layer, layer.weight_elements * (1 - sparsity.weight) if ends_sparse else layer.weight_elements)
            for layer, sparsity in self.by_weight(network)
        ]

    def model_compression(self, network: Network) -> float:
        """Weights over non-zero weights of conv and linear layers: the paper's `MC`; 1 where there are none."""
        return network.weight_elements / self.non_zero_weights(network) if network.weight_elements else 1.0

    def by_weight(self, network: Network) -> list[tuple[Layer, LayerSparsity]]:
        """Each weight's first layer and its sparsity, so that what is shared counts once."""
        sparsity_of = dict(zip((layer.weight for layer in network.weight_layers), self.layers, strict=True))
        return [(layer, sparsity_of[layer.weight]) for layer in first_uses(network.weight_layers)]


def sparsity_plan(
    network: Network,
    *,
    method: Method,
    distribution: Distribution,
    weights: float | None = None,
    acts: float | None = None,
    grads: float | None = None,
    source: Any = None,
    first_layer: DenseOrSparse | None = None,
    last_layer: DenseOrSparse | None = None,
    keep_dense: Sequence[str] | None = None,
) -> SparsityPlan:
    """Gives every conv and linear layer its sparsities.

    weights, acts and grads are target sparsities in [0, 1) of weights, activations and outputs (or their
    gradients). Where acts is None, activations follow the weights if the distribution has it so, or else are
    dense. source is what the distribution reads. first_layer and last_layer say whether the first and the last
    layer in execution order stay dense; None leaves the first to the distribution and the last sparse. keep_dense
    holds patterns of layer or weight names, as in a shell; None keeps what the method's own runs kept dense, unless
    the distribution reads what each layer really was.

    Raises SwatcostError for a target out of range, one that the method cannot use or the distribution cannot
    reach, and a pattern that matches no layer.
    """
    weights = checked_target(method, "weight", weights, "weights")
    acts = checked_target(method, "activation", acts, "acts")
    grads = checked_target(method, "output", grads, "grads")
    request, kept = spread_request(network, method, distribution, source, first_layer, last_layer, keep_dense)
    of_weights: Mapping[str, float] = {}
    of_acts: Mapping[str, float] = {}
    if method.uses("weight"):
        of_weights = checked_sparsities(distribution.spread(replace(request, target=weights)), "weight")
    if method.uses("activation"):
        if distribution.spread_acts is not None:
            of_acts = distribution.spread_acts(replace(request, target=acts))
        elif acts is not None:
            of_acts = distribution.spread(replace(request, target=acts))
        elif distribution.acts_follow_weights:
            of_acts = of_weights
        of_acts = checked_sparsities(of_acts, "activation")
    layers = assembled(network, method, request, of_weights, of_acts, grads or 0.0)
    return SparsityPlan(
        method=method,
        distribution=distribution,
        weights=weights,
        acts=acts,
        grads=grads,
        layers=layers,
        kept_dense=kept,
        pattern=distribution.pattern(replace(request, target=weights)) if distribution.pattern else None,
    )


def assembled(
    network: Network,
    method: Method,
    request: Spread,
    of_weights: Mapping[str, Sparsity],
    of_acts: Mapping[str, Sparsity],
    output: Sparsity,
) -> tuple[LayerSparsity, ...]:
    """The sparsity of each conv and linear layer from those by weight: numbers, or arrays, for many settings."""
    if method.structured:
        of_weights = whole_kernels(request.layers, of_weights)
    return tuple(
        LayerSparsity()
        if layer.weight in request.kept_dense
        else LayerSparsity(
            weight=of_weights.get(layer.weight, 0.0), activation=of_acts.get(layer.weight, 0.0), output=output
        )
        for layer in network.weight_layers
    )


def spread_request(
    network: Network,
    method: Method,
    distribution: Distribution,
    source: Any,
    first_layer: DenseOrSparse | None,
    last_layer: DenseOrSparse | None,
    keep_dense: Sequence[str] | None,
) -> tuple[Spread, dict[str, str]]:
    """What a distribution is asked, but for the target, and why layers are kept dense, by weight."""
    kept = _kept_dense(network, method, distribution, first_layer, last_layer, keep_dense)
    if source is not None and not distribution.reads_source:
        raise SwatcostError(f"distribution {distribution.name!r} reads no file: choose one that does, or leave it out")
    request = Spread(
        layers=first_uses(network.weight_layers),
        kept_dense=frozenset(kept),
        target=None,
        source=source,
        parameters=[parameter.name for parameter in network.parameters],
        mask_zeros={each.name: each.mask_zeros for each in network.parameters if each.mask_zeros is not None},
    )
    return request, kept


def checked_sparsities(sparsities: Mapping[str, float], operand: str) -> dict[str, float]:
    """A strategy's numbers, without the rounding error that may take a dense layer away from zero."""
    checked = {}
    for weight, sparsity in sparsities.items():
        rounded = isinstance(sparsity, Real) and -_ROUNDING < sparsity < _ROUNDING
        if sparsity == 1:
            raise SwatcostError(f"{operand} sparsity of {weight}: not one is left, which no step of training can use")
        checked[weight] = 0.0 if rounded else checked_sparsity(sparsity, f"{operand} sparsity of {weight}:")
    return checked


def whole_kernels(layers: Sequence[Layer], sparsities: Mapping[str, Sparsity]) -> dict[str, Sparsity]:
    """The sparsity that pruning the nearest number of whole R × S kernels W[f, c] gives, at least one being kept.

    What a distribution keeps in total is kept to within half a kernel a layer.
    """
    kernels = {layer.weight: layer.kernels for layer in layers}
    return {weight: _pruned(sparsity, kernels[weight]) / kernels[weight] for weight, sparsity in sparsities.items()}


def _pruned(sparsity: Any, kernels: int) -> Any:
    """The nearest number of kernels, at least one being kept; for one sparsity or an array of them."""
    if isinstance(sparsity, Real):
        return min(round(sparsity * kernels), kernels - 1)  # type: ignore[call-overload]
    return (sparsity * kernels).round().clip(max=kernels - 1)


def checked_target(method: Method, operand: Operand, value: float | None, name: str) -> float | None:
    """The target as a float, or SwatcostError if it is out of range or the method cannot use it."""
    if value is None:
        return None
    value = checked_sparsity(value, name)
    if value and not method.uses(operand):
        raise SwatcostError(f"{name} {value:g}: method {method.name!r} has no sparse {operand}s, leave {name} out")
    return value


def _kept_dense(
    network: Network,
    method: Method,
    distribution: Distribution,
    first_layer: DenseOrSparse | None,
    last_layer: DenseOrSparse | None,
    keep_dense: Sequence[str] | None,
) -> dict[str, str]:
    """Why layers stay dense, by weight: of the rules that apply to a layer, the first gives the reason."""
    layers = network.weight_layers
    for option, choice in (("first_layer", first_layer), ("last_layer", last_layer)):
        if choice not in (None, "dense", "sparse"):
            raise SwatcostError(f"{option} {choice!r}: give 'dense' or 'sparse'")
    own = () if distribution.measured or keep_dense is not None else method.keeps_dense
    named = [keep_dense] if isinstance(keep_dense, str) else () if keep_dense is None else keep_dense
    if not isinstance(named, Iterable):
        raise SwatcostError(f"keep_dense {keep_dense!r:.40}: give patterns of layer names")
    # the first storages of a trace are its inputs; behind an embedding it is the first layer that runs
    reads_input = tuple(layer for layer in layers if layer.input_storage < network.timeline.inputs)
    first_is_dense = (first_layer or ("dense" if distribution.first_layer_dense else "sparse")) == "dense"
    rules: list[tuple[str, Sequence[Layer]]] = [
        ("first layer", (reads_input or layers)[:1] if first_is_dense else ()),
        ("last layer", layers[-1:] if last_layer == "dense" else ()),
        *((f"as SWAT ran {method.name}, Section 4.2", _called(layers, pattern)) for pattern in own),
        *((f"named by {pattern}", _named(layers, pattern)) for pattern in map(str, named)),
    ]
    kept: dict[str, str] = {}
    for reason, chosen in rules:
        for layer in chosen:
            kept.setdefault(layer.weight, reason)
    return kept


def _named(layers: Sequence[Layer], pattern: str) -> list[Layer]:
    """The layers that a user's pattern names; SwatcostError if there is none."""
    if matches := _called(layers, pattern):
        return matches
    names = list(dict.fromkeys(layer.name for layer in layers))
    raise SwatcostError(f"keep_dense {pattern!r} matches no layer: {nearest(pattern, names)}")


def _called(layers: Sequence[Layer], pattern: str) -> list[Layer]:
    """The layers that the pattern names or, where one module has several, whose weight it names."""

    def matches(name: str) -> bool:
        return name == pattern or fnmatchcase(name, pattern)

    return [each for each in layers if matches(each.name) or matches(each.weight)]
