"""Erdős–Rényi kernel: density falls with a layer's channels and kernel."""

from __future__ import annotations

from math import prod

from swatcost.distributions.distribution import Distribution, Spread, bends_in_proportion, in_proportion


def erk(request: Spread) -> dict[str, float]:
    """Density in proportion to (F + C + R + S) / (F · C · R · S), for every layer, the first and last included.

    Source: Evci et al., 2020, Section 3; SWAT, Section 3.3.2 (SWAT-ERK).
    """
    return in_proportion(request, _proportions(request))


def bends(request: Spread) -> list[float]:
    """The targets at which another layer becomes dense."""
    return bends_in_proportion(request, _proportions(request))


def _proportions(request: Spread) -> dict[str, float]:
    shapes = {layer.weight: layer.weight_shape for layer in request.free}
    return {weight: sum(shape) / prod(shape) for weight, shape in shapes.items()}


DISTRIBUTION = Distribution(
    name="erk",
    title="Erdős–Rényi kernel: density in proportion to (F + C + R + S) / (F · C · R · S)",
    citation="Evci et al. 2020; SWAT-ERK",
    spread=erk,
    bends=bends,
)
