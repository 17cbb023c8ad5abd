"""Which layers a plan keeps dense, and why."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.distributions import Distribution
from swatcost.methods import Method
from swatcost.methods.method import OUTPUT_LAYER
from swatcost.network import Network
from swatcost.network.layer import Layer
from swatcost.network.matrix_kinds import MATRIX_KINDS, kinds_of, none_of_kind

DenseOrSparse = Literal["dense", "sparse"]


def layers_kept_dense(
    network: Network,
    method: Method,
    distribution: Distribution,
    first_layer: DenseOrSparse | None,
    last_layer: DenseOrSparse | None,
    keep_dense: tuple[str, ...] | None,
) -> dict[str, str]:
    """Why layers are kept dense, by weight; if several rules apply to a layer, the first gives the reason."""
    layers = network.weight_layers
    if layers and method.adds_to and not any(map(method.adds_to, layers)):
        raise SwatcostError(f"method {method.name!r} changes {method.added_layers}, and {network.name} has none")
    by_method = not distribution.measured and keep_dense is None
    own = method.keeps_dense if by_method else ()
    whose = f"as {method.kept_by} have it" if method.kept_by else f"as SWAT ran {method.name}, Section 4.2"
    # the first storages of a trace are its inputs; if no layer reads them, take the first to run
    reads_input = tuple(layer for layer in layers if layer.input_storage < network.timeline.inputs)
    by_default = distribution.first_layer_dense and bool(reads_input or not network.embeds_input)
    first_is_dense = by_default if first_layer is None else first_layer == "dense"
    rules: list[tuple[str, Sequence[Layer]]] = [
        ("first layer", (reads_input or layers)[:1] if first_is_dense else ()),
        ("last layer", layers[-1:] if last_layer == "dense" else ()),
        *((whose, _kept_by_runs(network, pattern)) for pattern in own),
        (f"{method.name} makes only {method.sparse_layers} sparse", _others(network, method) if by_method else ()),
        *((f"named by {pattern}", _named(network, pattern)) for pattern in keep_dense or ()),
    ]
    kept: dict[str, str] = {}
    for reason, chosen in rules:
        for layer in chosen:
            kept.setdefault(layer.weight, reason)
    return {} if method.differs_when_dense else kept  # what it changes, it changes in every layer


def _kept_by_runs(network: Network, pattern: str) -> Sequence[Layer]:
    """The layers that a method's pattern names."""
    if pattern == OUTPUT_LAYER:
        return () if network.output_layer is None else (network.output_layer,)
    return _called(network.weight_layers, pattern)


def _others(network: Network, method: Method) -> Sequence[Layer]:
    """The layers that the method does not make sparse. Raises SwatcostError if it would make none sparse."""
    layers, only = network.weight_layers, method.sparse_only
    if not only:
        return ()
    if callable(only):
        sparse = [each for each in layers if only(each)]
    else:
        sparse = [each for pattern in only for each in _called(layers, pattern)]
    if layers and not sparse:
        raise SwatcostError(
            f"method {method.name!r} makes only {method.sparse_layers} sparse, and {network.name} has none: keep_dense "
            "(--keep-dense) none makes every layer sparse"
        )
    names = {each.weight for each in sparse}
    return [each for each in layers if each.weight not in names]


def _named(network: Network, pattern: str) -> Sequence[Layer]:
    """The layers that a user's pattern, or the name of a kind of matrices, stands for.

    Raises SwatcostError if there are none.
    """
    layers = network.weight_layers
    if matches := _called(layers, pattern) or _of_kind(network, pattern):
        return matches
    if pattern in MATRIX_KINDS:
        raise SwatcostError(f"keep_dense {pattern!r} matches no layer: {none_of_kind(pattern, network.name)}")
    names = list(dict.fromkeys([*(layer.name for layer in layers), *MATRIX_KINDS]))
    raise SwatcostError(f"keep_dense {pattern!r} matches no layer: {nearest(pattern, names)}")


def _of_kind(network: Network, kind: str) -> Sequence[Layer]:
    kinds = kinds_of(network) if kind in MATRIX_KINDS else {}
    return [layer for layer in network.weight_layers if kinds.get(layer.weight) == kind]


def _called(layers: Sequence[Layer], pattern: str) -> list[Layer]:
    """The layers whose name or weight's name matches the pattern."""

    def matches(name: str) -> bool:
        return name == pattern or fnmatchcase(name, pattern)

    return [each for each in layers if matches(each.name) or matches(each.weight)]
