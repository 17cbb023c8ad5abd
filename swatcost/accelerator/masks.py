"""Which weights and activations are zero: drawn at random, or from the Top-K of given weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from swatcost.common.errors import SwatcostError
from swatcost.common.units import checked_seed
from swatcost.distributions.checkpoints import weights_by_name
from swatcost.distributions.distribution import Request
from swatcost.network import Network
from swatcost.network.layer import Layer, first_uses

MaskKind = Literal["gaussian", "random"]
Weights = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class MaskSource:
    """Where masks come from.

    - "gaussian": the Top-K of standard normal weights, which gives every layer exactly its sparsity; `filter_spread`
      multiplies each filter by exp(σ · normal), as filters of trained networks are uneven;
    - "random": each weight is zero independently, with the layer's sparsity as the probability.

    With `weights`, arrays by name, it is the Top-K of those instead. `seed` and a layer's place seed its numbers.
    """

    kind: MaskKind = "gaussian"
    seed: int = 0
    filter_spread: float = 0.0
    weights: Weights | None = field(default=None, repr=False)
    origin: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("gaussian", "random"):
            raise SwatcostError(f"masks {self.kind!r:.40}: choose gaussian or random, or give a checkpoint")
        if not 0 <= self.filter_spread <= 10:
            raise SwatcostError(f"filter spread {self.filter_spread:g}: give a standard deviation from 0 to 10")
        checked_seed(self.seed)

    @property
    def described(self) -> str:
        """The masks in words."""
        if self.weights is not None:
            return f"Top-K of the weights in {self.origin}"
        if self.kind == "random":
            return f"random, seed {self.seed}"
        uneven = f", filters scaled by exp({self.filter_spread:g} · normal)" if self.filter_spread else ""
        return f"Top-K of a Gaussian{uneven}, seed {self.seed}"

    def numbers(self, *place: int) -> np.random.Generator:
        """The random numbers of a place, the same in every thread and process."""
        return np.random.default_rng([self.seed, *place])

    def brings_zeros(self, network: Network) -> bool:
        """Whether the given weights have zeros of their own."""
        layers = network.weight_layers if self.weights is not None else ()
        return any(not self._given(layer).all() for layer in layers)

    def of(
        self,
        layer: Layer,
        sparsity: float,
        place: int,
        *,
        whole_kernels: bool,
        pattern: tuple[int, int] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Which elements of the layer's weight are kept: bool, in the weight's shape.

        With whole_kernels, kernels W[f, c] are kept or pruned as a whole, by their L1 norm. With a pattern (N, M), the
        N largest of every M along the input channels are kept, unless the layer is dense.
        """
        if sparsity == 0 and self.weights is None:
            return np.ones(layer.weight_shape, dtype=bool)
        numbers = self.numbers(place, 0)
        if pattern is not None and sparsity and self.weights is None:
            # which of M independent, identically distributed numbers are largest does not depend on the distribution
            drawn = numbers.random(layer.weight_shape, dtype=np.float32)
            return largest_of_groups(drawn, pattern, _channel_axis(layer))
        if self.weights is not None:
            magnitude = np.abs(self._given(layer))
            if pattern is not None and sparsity:
                kept = largest_of_groups(magnitude, pattern, _channel_axis(layer))
                kept &= magnitude > 0
                return kept
        elif self.kind == "random":
            shape = layer.weight_shape[:2] if whole_kernels else layer.weight_shape
            kept = numbers.random(shape, dtype=np.float32) >= sparsity
            return _spread_over(kept, layer)
        else:
            magnitude = np.abs(numbers.standard_normal(layer.weight_shape, dtype=np.float32))
            if self.filter_spread:
                scale = np.exp(self.filter_spread * numbers.standard_normal(layer.weight_shape[0], dtype=np.float32))
                magnitude *= scale.reshape(-1, *[1] * (magnitude.ndim - 1))
        if whole_kernels:
            magnitude = magnitude.reshape(*layer.weight_shape[:2], -1).sum(axis=-1)
        return _spread_over(largest(magnitude, sparsity), layer)

    def _given(self, layer: Layer) -> npt.NDArray[Any]:
        assert self.weights is not None
        found = self.weights[layer.weight]
        if found.size != layer.weight_elements:
            raise SwatcostError(
                f"{self.origin}: {layer.weight} has {found.size} elements, the network's has {layer.weight_elements}"
            )
        return found.reshape(layer.weight_shape)


GAUSSIAN = MaskSource()
"""The default."""


def largest(magnitude: npt.NDArray[Any], sparsity: float) -> npt.NDArray[np.bool_]:
    """The largest round((1 − sparsity) · size) elements; of ties at the threshold all that are not zero."""
    keep = round((1 - sparsity) * magnitude.size)
    if keep >= magnitude.size:
        return magnitude > 0
    if keep == 0:
        return np.zeros(magnitude.shape, dtype=bool)
    threshold = np.partition(magnitude, magnitude.size - keep, axis=None)[magnitude.size - keep]
    kept: npt.NDArray[np.bool_] = (magnitude >= threshold) & (magnitude > 0)
    return kept


def largest_of_groups(magnitude: npt.NDArray[Any], pattern: tuple[int, int], axis: int) -> npt.NDArray[np.bool_]:
    """The N largest of every M consecutive elements along the axis, whose length is a multiple of M.

    >>> largest_of_groups(np.array([3, 1, 2, 4]), (2, 4), axis=0)
    array([ True, False, False,  True])
    """
    N, M = pattern
    last = np.moveaxis(magnitude, axis, -1)
    groups = last.reshape(*last.shape[:-1], -1, M)
    ranks = groups.argsort(axis=-1).argsort(axis=-1)
    kept = (ranks >= M - N).reshape(last.shape)
    return np.ascontiguousarray(np.moveaxis(kept, -1, axis))


def _channel_axis(layer: Layer) -> int:
    """The axis of a weight's input channels."""
    return 0 if layer.kind == "transposed_conv" else 1


def _spread_over(kept: npt.NDArray[np.bool_], layer: Layer) -> npt.NDArray[np.bool_]:
    """A mask of kernels [F, C] as one of weights."""
    if kept.shape == layer.weight_shape:
        return kept
    return np.broadcast_to(kept.reshape(*kept.shape, *[1] * (len(layer.weight_shape) - 2)), layer.weight_shape)


def masks_from(given: str, network: Network, *, seed: int = 0, filter_spread: float = 0.0) -> MaskSource:
    """Masks by kind, "gaussian" or "random", or by the path of a checkpoint or of a run's record."""
    if given in get_args(MaskKind):
        return MaskSource(kind=cast(MaskKind, given), seed=seed, filter_spread=filter_spread)
    return replace(from_checkpoint(network, given), seed=seed)


def from_checkpoint(network: Network, path: str | Path) -> MaskSource:
    """Masks as the Top-K of a checkpoint's weights. A run's record (.jsonl) names the checkpoint beside it (.pt).

    Raises SwatcostError for a file that cannot be read or lacks a layer's weight.
    """
    place = Path(path)
    if place.suffix == ".jsonl":
        place = place.with_suffix(".pt")
        if not place.is_file():
            raise SwatcostError(
                f"{path}: a run's masks are in the checkpoint beside its record, and {place} is not there"
            )
    request = Request(
        layers=first_uses(network.weight_layers),
        kept_dense=frozenset(),
        target=None,
        source=str(place),
        parameters=[parameter.name for parameter in network.parameters],
        shapes={parameter.name: parameter.shape for parameter in network.parameters},
        mask_zeros={},
    )
    return MaskSource(weights=weights_by_name(request), origin=str(place))
