"""Method + distribution + targets → the sparsity of every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import prod
from numbers import Real
from operator import or_
from typing import Any

from swatcost.common.elementwise import any_of, where
from swatcost.common.errors import SwatcostError
from swatcost.distributions import DISTRIBUTIONS, DenseBudget, Distribution, Request
from swatcost.methods import METHODS, LayerSparsity, Method, Operand, Phase, checked_sparsity
from swatcost.methods.passes import OPERANDS
from swatcost.network import Network
from swatcost.network.layer import Layer, first_uses
from swatcost.network.matrix_kinds import kinds_of
from swatcost.network.passes import Pass
from swatcost.sparsity.kept_dense import DenseOrSparse, layers_kept_dense

Sparsity = Any  # a float, or an array of them

_ROUNDING = 1e-12  # [-]: less than one weight of any layer, more than the rounding error of sums of floats


@dataclass(frozen=True, kw_only=True)
class SparsityPlan:
    """The sparsity of each conv and linear layer, in the order of `Network.weight_layers`.

    A plan for many settings has arrays with one element per setting instead of numbers.

    `weights`, `acts` and `grads` are the targets, None if not given. `reached` is the sparsity [-] over the weights
    that the target speaks of: all, or those of layers not kept dense (`dense_budget`); `dense_share` [-] of them
    are in layers without zeros. `kept_dense` gives the reason for each layer that is kept dense, by the name of its
    weight; `dense_budget` says whether those layers count towards a target that is a total. `pattern` is (N, M) if
    sparse weights keep N of every M along input channels.
    """

    method: Method
    distribution: Distribution
    weights: float | None
    acts: float | None
    grads: float | None
    layers: tuple[LayerSparsity, ...]
    kept_dense: dict[str, str]
    pattern: tuple[int, int] | None = None
    dense_budget: DenseBudget = "inside"
    reached: Sparsity = 0.0
    dense_share: Sparsity = 0.0

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
        """Whether a step differs from a dense one: some layer is sparse, or the method changes dense ones.

        An array in a plan for many settings.
        """
        return reduce(or_, (each.is_sparse for each in self.layers), self.method.differs_when_dense)

    def changes(self, sparsity: LayerSparsity) -> Sparsity:
        """Whether the method changes a layer of this sparsity; an array in a plan for many settings."""
        return sparsity.is_sparse if self.method.makes_sparse else True

    def added_weights(self, network: Network) -> list[tuple[Layer, tuple[int, ...]]]:
        """The shapes of the weights that the method adds, with the layer that each is beside."""
        return [
            (layer, shape)
            for layer, sparsity in self.by_weight(network)
            if any_of(self.changes(sparsity))
            for shape in self.method.added_to(layer).weights
        ]

    def added_elements(self, network: Network) -> int:
        """The elements of the weights that the method adds."""
        return sum(prod(shape) for _, shape in self.added_weights(network))

    def added_bytes(self, network: Network) -> int:
        """The bytes of the weights that the method adds, in the precision of the layers' own."""
        return sum(prod(shape) * network.weight_bytes(layer) for layer, shape in self.added_weights(network))

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """The phases of a run of `steps` steps, whose scales are those of every layer that is sparse.

        Raises SwatcostError for a phase that is denser or sparser than the plan's layers can be.
        """
        return tuple(map(self._for_layers, self.method.phases(steps, self._target)))

    def published_phases(self, steps: int) -> tuple[Phase, ...]:
        """The same as the method's authors count them."""
        return tuple(map(self._for_layers, self.method.published_phases(steps, self._target)))

    @property
    def _target(self) -> Sparsity:
        """The weight sparsity that was asked for, or else the one that is there."""
        if self.weights is None or self.distribution.target_of_others:
            return self.reached
        return where(self.weights == self.weights, self.weights, self.reached)  # NaN was not asked for

    def _for_layers(self, phase: Phase) -> Phase:
        """A phase for the layers that are sparse: the others keep all their weights when the network gets sparser.

        d' = (d − f) / (d_f − f) for d / d_f, with the share f in layers that stay dense.
        """
        if not any_of(phase.density_scale != 1):
            return phase
        all_left = phase.density_scale * (1 - self.reached)
        if any_of((all_left <= self.dense_share) & (phase.density_scale != 1)):
            raise SwatcostError(
                f"method {self.method.name!r}: a phase is sparser than the target and would leave fewer weights than "
                "the layers that stay dense have: give a lower weight sparsity, or keep fewer layers dense"
            )
        sparse = 1 - self.reached - self.dense_share
        rest = (all_left - self.dense_share) / where(sparse == 0, 1.0, sparse)
        return replace(phase, density_scale=where(self.dense_share == 0, phase.density_scale, rest))

    def during(self, phase: Phase) -> SparsityPlan:
        """The plan of a phase, as if its sparsities were the target."""
        return replace(self, layers=tuple(each.during(phase) for each in self.layers))

    def weight_sparsity(self, network: Network) -> Sparsity:
        """The fraction of zeros [-] among all conv and linear weights that the forward pass reads, in a step at the
        target; 0 if there are none.
        """
        read_sparse = "weight" in self.method.sparse["forward"]
        zeros = sum(layer.weight_elements * each.weight * read_sparse for layer, each in self.by_weight(network))
        return zeros / network.weight_elements if network.weight_elements else 0.0

    def set_sparsity(self, network: Network, in_pass: Pass) -> Sparsity:
        """The fraction of zeros [-] among all conv and linear weights in the set of a pass (`Method.weight_sets`)."""
        zeros = sum(
            layer.weight_elements * self.method.sparsity_in(in_pass, each.weight)
            for layer, each in self.by_weight(network)
        )
        return zeros / network.weight_elements if network.weight_elements else 0.0

    def by_layer(self, network: Network) -> list[tuple[Layer, LayerSparsity]]:
        """Every counted layer with its sparsity; products of activations stay dense."""
        of_weights = iter(self.layers)
        return [
            (layer, next(of_weights) if layer.is_weight_layer else LayerSparsity()) for layer in network.counted_layers
        ]

    def non_zero_weights(self, network: Network) -> float:
        """Expected non-zero weights of the trained model in conv and linear layers, shared ones counted once.

        A method with a dense forward pass, such as SAW, trains a dense model, as does one that ends dense.
        """
        return sum(kept for _, kept in self.non_zeros_by_weight(network))

    def sparsity_but_kept_dense(self, network: Network) -> float:
        """The fraction of zeros [-] among the weights of layers that are not kept dense; 0 where there are none."""
        others = [each for each in self.non_zeros_by_weight(network) if each[0].weight not in self.kept_dense]
        elements = sum(layer.weight_elements for layer, _ in others)
        return 1 - sum(kept for _, kept in others) / elements if elements else 0.0

    def non_zeros_by_weight(self, network: Network) -> list[tuple[Layer, float]]:
        """Each weight's first layer and the weight's share of `non_zero_weights`."""
        ends_sparse = "weight" in self.method.sparse["forward"] and not self.method.ends_dense
        return [
            (layer, layer.weight_elements * (1 - sparsity.weight) if ends_sparse else layer.weight_elements)
            for layer, sparsity in self.by_weight(network)
        ]

    def model_compression(self, network: Network) -> float:
        """Weights over non-zero weights of conv and linear layers: the paper's `MC`; 1 where there are none."""
        return network.weight_elements / self.non_zero_weights(network) if network.weight_elements else 1.0

    def by_weight(self, network: Network) -> list[tuple[Layer, LayerSparsity]]:
        """The first layer that uses each weight, and its sparsity, so that shared weights count once."""
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
    keep_dense: tuple[str, ...] | None = None,
    dense_budget: DenseBudget | None = None,
) -> SparsityPlan:
    """The sparsities of every conv and linear layer.

    weights, acts and grads are target sparsities in [0, 1) of weights, activations and outputs (or their
    gradients). If acts is None, activations follow the weights where the distribution's `acts_follow_weights` is set,
    and are dense otherwise. source is what the distribution reads. first_layer and last_layer are "dense" or "sparse"
    for the first layer that reads the network's input and the last layer in execution order; None leaves the first to
    the distribution, unless an embedding reads the input, and makes the last sparse. keep_dense holds shell-style
    patterns of layer or weight names; None keeps the layers dense that the method's own runs kept dense, unless the
    distribution is `measured`. dense_budget is "inside" (the default) or "outside": whether layers kept dense count
    towards a target that is a total.

    Raises SwatcostError for a target that is out of range, that the method cannot use or that the distribution cannot
    reach, and for a pattern that matches no layer. A target that is None is the method's own, if it has one.
    """
    given = {"weights": weights, "acts": acts, "grads": grads}
    own = own_targets(method, distribution, source)
    weights, acts, grads = (
        checked_target(method, OPERANDS[name], own.get(name) if each is None else each, name)
        for name, each in given.items()
    )
    request, kept = allocation_request(
        network, method, distribution, source, first_layer, last_layer, keep_dense,
        dense_budget,
    )  # fmt: skip
    of_weights: Mapping[str, float] = {}
    of_acts: Mapping[str, float] = {}
    if method.uses("weight"):
        of_weights = checked_sparsities(distribution.allocate(replace(request, target=weights)), "weight")
    if method.uses("activation"):
        if distribution.allocate_acts is not None:
            of_acts = distribution.allocate_acts(replace(request, target=acts))
        elif acts is not None:
            of_acts = distribution.allocate(replace(request, target=acts))
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
        pattern=pattern_of(method, distribution, replace(request, target=weights)),
        dense_budget=request.dense_budget,
        **reached(network, distribution, request, layers),
    )


def reached(
    network: Network, distribution: Distribution, request: Request, layers: Sequence[LayerSparsity]
) -> dict[str, Sparsity]:
    """`SparsityPlan.reached` and `dense_share`, by name, from the sparsity of each conv and linear layer."""
    of_total = distribution.keeps_total and request.dense_budget == "inside"
    sparsity_of = {layer.weight: each.weight for layer, each in zip(network.weight_layers, layers, strict=True)}
    counted = [each for each in request.layers if of_total or each.weight not in request.kept_dense]
    elements = sum(each.weight_elements for each in counted) or 1
    zeros = sum(each.weight_elements * sparsity_of[each.weight] for each in counted)
    dense = sum(each.weight_elements * (sparsity_of[each.weight] == 0) for each in counted)
    return {"reached": zeros / elements, "dense_share": dense / elements}


def assembled(
    network: Network,
    method: Method,
    request: Request,
    of_weights: Mapping[str, Sparsity],
    of_acts: Mapping[str, Sparsity],
    output: Sparsity,
) -> tuple[LayerSparsity, ...]:
    """The sparsity of each conv and linear layer, from sparsities by weight: numbers, or arrays for many settings."""
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


def allocation_request(
    network: Network,
    method: Method,
    distribution: Distribution,
    source: Any,
    first_layer: DenseOrSparse | None,
    last_layer: DenseOrSparse | None,
    keep_dense: tuple[str, ...] | None,
    dense_budget: DenseBudget | None = None,
) -> tuple[Request, dict[str, str]]:
    """The request to a distribution, without a target, and the reasons for layers kept dense, by weight."""
    kept = layers_kept_dense(network, method, distribution, first_layer, last_layer, keep_dense)
    if source is not None and not distribution.reads_source:
        raise SwatcostError(f"distribution {distribution.name!r} reads no file: choose one that does, or omit the file")
    request = Request(
        layers=first_uses(network.weight_layers),
        kept_dense=frozenset(kept),
        target=None,
        source=source,
        parameters=[parameter.name for parameter in network.parameters],
        shapes={parameter.name: parameter.shape for parameter in network.parameters},
        mask_zeros={each.name: each.mask_zeros for each in network.parameters if each.mask_zeros is not None},
        dense_budget=dense_budget or "inside",
        group=method.group,
        kinds={} if source is None else kinds_of(network),
    )
    return request, kept


def checked_sparsities(sparsities: Mapping[str, float], operand: str) -> dict[str, float]:
    """A distribution's sparsities, with rounding errors around zero removed. Raises SwatcostError outside [0, 1)."""
    checked = {}
    for weight, sparsity in sparsities.items():
        rounded = isinstance(sparsity, Real) and -_ROUNDING < sparsity < _ROUNDING
        if sparsity == 1:
            raise SwatcostError(f"{operand} sparsity of {weight} is 1: a layer without non-zeros cannot be trained")
        checked[weight] = 0.0 if rounded else checked_sparsity(sparsity, f"{operand} sparsity of {weight}:")
    return checked


def whole_kernels(layers: Sequence[Layer], sparsities: Mapping[str, Sparsity]) -> dict[str, Sparsity]:
    """Sparsities rounded to whole R × S kernels W[f, c], keeping at least one kernel per layer.

    The distribution's total is kept to within half a kernel per layer.
    """
    kernels = {layer.weight: layer.kernels for layer in layers}
    return {weight: _pruned(sparsity, kernels[weight]) / kernels[weight] for weight, sparsity in sparsities.items()}


def _pruned(sparsity: Any, kernels: int) -> Any:
    """The nearest number of pruned kernels, with at least one kept; for one sparsity or an array of them."""
    if isinstance(sparsity, Real):
        return min(round(sparsity * kernels), kernels - 1)  # type: ignore[call-overload]
    return (sparsity * kernels).round().clip(max=kernels - 1)


def own_targets(method: Method, distribution: Distribution, source: Any) -> Mapping[str, float]:
    """The method's own targets, by name, where the distribution takes one: those of an actual network have theirs, and
    a pattern is given in place of that of weights.
    """
    if distribution.measured:
        return {}
    given = distribution.pattern is not None and source is not None
    return {name: target for name, target in method.targets.items() if not (given and OPERANDS[name] == "weight")}


def pattern_of(method: Method, distribution: Distribution, request: Request) -> tuple[int, int] | None:
    """(N, M) of the distribution, or else of a method that prunes in groups of M, where the target is N of M."""
    if distribution.pattern is not None:
        return distribution.pattern(request)
    if method.group is None or not request.target:
        return None
    kept = round((1 - request.target) * method.group)
    return (kept, method.group) if request.target == 1 - kept / method.group else None


def checked_target(method: Method, operand: Operand, value: float | None, name: str) -> float | None:
    """The target as a float. Raises SwatcostError if it is out of range or the method cannot use it."""
    if value is None:
        return None
    value = checked_sparsity(value, name)
    if value and not method.uses(operand):
        raise SwatcostError(f"{name} {value:g}: method {method.name!r} has no sparse {operand}s; leave {name} out")
    if value != method.asked_targets.get(name, value):
        raise SwatcostError(f"{name} {value:g}: method {method.name!r} sets it, leave one of the two out")
    if operand == "weight" and method.group is not None:
        _check_groups(method, value, name)
    return value


def _check_groups(method: Method, value: float, name: str) -> None:
    """Raises SwatcostError unless the target keeps a whole number of every group of weights."""
    group = method.group or 1
    kept = (1 - value) * group
    if abs(kept - round(kept)) > _ROUNDING * group or round(kept) == 0:
        raise SwatcostError(
            f"{name} {value:g}: method {method.name!r} keeps N of every {group} weights: give 1 − N / {group} for a "
            f"whole N, or leave {name} out"
        )
