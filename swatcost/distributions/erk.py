"""Erdős–Rényi kernel: density decreases with a layer's channels and kernel."""

from math import prod

from swatcost.distributions.distribution import proportional
from swatcost.network.layer import Layer


def erk(layer: Layer) -> float:
    """Density proportional to (F + C + R + S) / (F · C · R · S), for every layer, including the first and last.

    The sum is over the dimensions that a weight has, as in the public code of Evci et al.: (F + C) / (F · C) for a
    linear layer, which has no kernel, and (F + C + 2) / (F · C) for a 1 × 1 convolution.

    Source: Evci et al., 2020, Section 3; SWAT, Section 3.3.2 (SWAT-ERK).
    """
    return sum(layer.matrix_shape) / prod(layer.matrix_shape)


DISTRIBUTION = proportional(
    erk,
    name="erk",
    title="Erdős–Rényi kernel: density proportional to (F + C + R + S) / (F · C · R · S)",
    citation="Evci et al. 2020; SWAT-ERK",
)
