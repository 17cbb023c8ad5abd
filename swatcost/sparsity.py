"""From a method, a distribution and targets to the sparsity of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from swatcost.distributions import Distribution
from swatcost.errors import SwatcostError
from swatcost.layer import Layer, first_uses
from swatcost.methods import LayerSparsity, Method, Operand, checked_sparsity
from swatcost.network import Network
from swatcost.registry import nearest

DenseOrSparse = Literal["dense", "sparse"]


@dataclass(frozen=True, kw_only=True)
class SparsityPlan:
    """The sparsity of each conv and linear layer, in the order of `Network.weight_layers`.

    `weights` and `acts` are the targets. `kept_dense` says why a layer is dense, by the key of its weight.
    """

    method: Method
    distribution: Distribution
    weights: float
    acts: float
    layers: tuple[LayerSparsity, ...]
    kept_dense: dict[str, str]

    @property
    def asks_for_sparsity(self) -> bool:
        return self.weights > 0 or self.acts > 0

    def non_zero_weights(self, network: Network) -> float:
        """Expected non-zero weights of the model that training ends with, conv and linear layers, shared ones once.

        A method whose forward pass is dense, such as SAW, ends with a dense model.
        """
        if "weight" not in self.method.sparse["forward"]:
            return network.weight_elements
        by_key = {
            layer.weight: 1 - sparsity.weight
            for layer, sparsity in zip(network.weight_layers, self.layers, strict=True)
        }
        return sum(layer.weight_elements * by_key[layer.weight] for layer in first_uses(network.weight_layers))


def sparsity_plan(
    network: Network,
    *,
    method: Method,
    distribution: Distribution,
    weights: float = 0.0,
    acts: float = 0.0,
    first_layer: DenseOrSparse | None = None,
    last_layer: DenseOrSparse | None = None,
    keep_dense: Sequence[str] = (),
) -> SparsityPlan:
    """Gives every conv and linear layer its sparsities.

    weights and acts are target sparsities in [0, 1). first_layer and last_layer say whether the first and the
    last layer in execution order stay dense; None leaves the first to the distribution and the last sparse.
    keep_dense holds patterns of layer or weight names, as in a shell.

    Raises SwatcostError for a target out of range, one that the method cannot use, and a pattern that matches
    no layer.
    """
    weights = _target(method, "weight", weights, "weights")
    acts = _target(method, "activation", acts, "acts")
    kept = _kept_dense(network, distribution, first_layer, last_layer, keep_dense)
    free = [layer for layer in first_uses(network.weight_layers) if layer.weight not in kept]
    keys = [layer.weight for layer in free]
    weight_of = dict(zip(keys, distribution.spread(free, weights), strict=True))
    activation_of = dict(zip(keys, distribution.spread(free, acts), strict=True))
    return SparsityPlan(
        method=method,
        distribution=distribution,
        weights=weights,
        acts=acts,
        layers=tuple(
            LayerSparsity(weight=weight_of.get(layer.weight, 0.0), activation=activation_of.get(layer.weight, 0.0))
            for layer in network.weight_layers
        ),
        kept_dense=kept,
    )


def _target(method: Method, operand: Operand, value: float, name: str) -> float:
    value = checked_sparsity(value, name)
    if value and not method.uses(operand):
        raise SwatcostError(f"{name} {value:g}: method {method.name!r} has no sparse {operand}s, leave {name} out")
    return value


def _kept_dense(
    network: Network,
    distribution: Distribution,
    first_layer: DenseOrSparse | None,
    last_layer: DenseOrSparse | None,
    keep_dense: Sequence[str],
) -> dict[str, str]:
    layers = network.weight_layers
    kept: dict[str, str] = {}
    for option, choice in (("first_layer", first_layer), ("last_layer", last_layer)):
        if choice not in (None, "dense", "sparse"):
            raise SwatcostError(f"{option} {choice!r}: give 'dense' or 'sparse'")
    if layers and (first_layer or ("dense" if distribution.first_layer_dense else "sparse")) == "dense":
        kept[layers[0].weight] = "first layer"
    if layers and last_layer == "dense":
        kept.setdefault(layers[-1].weight, "last layer")
    for pattern in [keep_dense] if isinstance(keep_dense, str) else keep_dense:
        matches = [layer for layer in layers if _is_called(layer, pattern)]
        if not matches:
            raise SwatcostError(f"keep_dense {pattern!r} matches no layer: {_names(pattern, layers)}")
        for layer in matches:
            kept.setdefault(layer.weight, f"named by {pattern}")
    return kept


def _is_called(layer: Layer, pattern: str) -> bool:
    """Whether the pattern names the layer or, where one module has several, its weight."""
    return fnmatchcase(layer.name, pattern) or fnmatchcase(layer.weight or "", pattern)


def _names(pattern: str, layers: Sequence[Layer]) -> str:
    names = list(dict.fromkeys(layer.name for layer in layers))
    return nearest(pattern, names) if len(names) <= 8 else nearest(pattern, [*names[:4], "…", *names[-3:]])
