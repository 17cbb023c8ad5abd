"""How one target sparsity becomes a number for each layer: one function a strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swatcost.layer import Layer
from swatcost.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A strategy: `spread` takes the layers that may be sparse and the target, and gives each its sparsity.

    `first_layer_dense` is what its authors do with the network's first layer unless the user says otherwise.
    """

    name: str
    title: str
    citation: str
    spread: Callable[[Sequence[Layer], float], list[float]]
    first_layer_dense: bool


def uniform(layers: Sequence[Layer], sparsity: float) -> list[float]:
    """Every layer gets the target sparsity [-]: s_l = s.

    Source: SWAT, Section 3.3.2 (SWAT-U).
    """
    return [sparsity] * len(layers)


DISTRIBUTIONS = Registry[Distribution](
    "distribution",
    Distribution(
        name="uniform",
        title="The target sparsity in every layer but the first",
        citation="Raihan and Aamodt, NeurIPS 2020, Section 3.3.2 (SWAT-U)",
        spread=uniform,
        first_layer_dense=True,
    ),
)
