"""Erdős–Rényi: density falls with a layer's channels."""

from __future__ import annotations

from swatcost.distributions.distribution import Distribution, Spread, in_proportion


def er(request: Spread) -> dict[str, float]:
    """Density in proportion to (F + C) / (F · C); kernel sizes do not matter.

    Source: Mocanu et al., 2018, as generalised to convolutions by Evci et al., 2020, Section 3.
    """
    shapes = {layer.weight: layer.weight_shape[:2] for layer in request.free}
    return in_proportion(request, {weight: (F + C) / (F * C) for weight, (F, C) in shapes.items()})


DISTRIBUTION = Distribution(
    name="er",
    title="Erdős–Rényi: density in proportion to (F + C) / (F · C)",
    citation="Mocanu et al. 2018; Evci et al. 2020",
    spread=er,
)
