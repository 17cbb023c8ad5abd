"""N:M sparsity: N of every M consecutive input channels are kept."""

from __future__ import annotations

from swatcost.distributions.distribution import Distribution, Spread
from swatcost.errors import SwatcostError

_M = 4  # what Ampere's sparse tensor cores take


def nm(request: Spread) -> dict[str, float]:
    """N of every 4 weights along the input channels: sparsity 1 − N / 4 where 4 divides the channels, else dense.

    Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021 (2:4 sparsity).

    Raises SwatcostError for a target that is no multiple of a quarter.
    """
    target = request.target or 0.0
    if (target * _M) % 1:
        raise SwatcostError(f"weights {target:g} is no N:{_M} sparsity: give 0.25, 0.5 (2:{_M}) or 0.75")
    return {layer.weight: target if layer.weight_shape[1] % _M == 0 else 0.0 for layer in request.free}


def same_for_activations(request: Spread) -> dict[str, float]:
    """Activations have no N:M pattern: the target in every layer."""
    return dict.fromkeys((layer.weight for layer in request.free), request.target or 0.0)


DISTRIBUTION = Distribution(
    name="nm",
    title="N:4 along the input channels (weights 0.5 is 2:4); other layers dense",
    citation="Mishra et al. 2021",
    spread=nm,
    acts_follow_weights=False,
    spread_acts=same_for_activations,
)
