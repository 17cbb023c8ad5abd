"""Erdős–Rényi: density falls with a layer's channels."""

from __future__ import annotations

from swatcost.distributions.distribution import Distribution, Spread, bends_in_proportion, in_proportion


def er(request: Spread) -> dict[str, float]:
    """Density in proportion to (F + C) / (F · C); kernel sizes do not matter.

    Source: Mocanu et al., 2018, as generalised to convolutions by Evci et al., 2020, Section 3.
    """
    return in_proportion(request, _proportions(request))


def bends(request: Spread) -> list[float]:
    """The targets at which another layer becomes dense."""
    return bends_in_proportion(request, _proportions(request))


def _proportions(request: Spread) -> dict[str, float]:
    shapes = {layer.weight: layer.weight_shape[:2] for layer in request.free}
    return {weight: (F + C) / (F * C) for weight, (F, C) in shapes.items()}


DISTRIBUTION = Distribution(
    name="er",
    title="Erdős–Rényi: density in proportion to (F + C) / (F · C)",
    citation="Mocanu et al. 2018; Evci et al. 2020",
    spread=er,
    bends=bends,
)
