"""Erdős–Rényi: density decreases with a layer's channels."""

from swatcost.distributions.distribution import proportional
from swatcost.network.layer import Layer


def er(layer: Layer) -> float:
    """Density proportional to (F + C) / (F · C), whatever the kernel size.

    Source: Mocanu et al., 2018, as generalised to convolutions by Evci et al., 2020, Section 3.
    """
    F, C = layer.matrix_shape[:2]
    return (F + C) / (F * C)


DISTRIBUTION = proportional(
    er,
    name="er",
    title="Erdős–Rényi: density proportional to (F + C) / (F · C)",
    citation="Mocanu et al. 2018; Evci et al. 2020",
)
