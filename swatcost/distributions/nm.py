"""N:M sparsity: N of every M consecutive input channels are kept."""

import re

from swatcost.common.errors import SwatcostError
from swatcost.distributions.distribution import Distribution, Request, same_for_activations

_AMPERE = 4  # M of Ampere's sparse tensor cores, the default


def nm(request: Request) -> dict[str, float]:
    """N of every M weights along the input channels: sparsity 1 − N / M where M divides the channels, else dense.

    source is a pattern such as "2:8"; without one M is the method's, or else 4, and N follows from the target.
    Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021 (2:4 sparsity).

    Raises SwatcostError for a target that no N gives, and for an invalid pattern.
    """
    N, M = pattern(request)
    return {layer.weight: 1 - N / M if layer.input_channels % M == 0 else 0.0 for layer in request.free}


def pattern(request: Request) -> tuple[int, int]:
    """(N, M) from the source, or else from the target."""
    if request.source is None:
        M = request.group or _AMPERE
        N = round((1 - (request.target or 0.0)) * M)
        if not N or (request.target or 0.0) != 1 - N / M:
            examples = "0.25, 0.5 (2:4) or 0.75" if M == _AMPERE else f"1 − N / {M}"
            raise SwatcostError(f"weights {request.target:g} is not an N:{M} sparsity: give {examples}")
        return N, M
    match = re.fullmatch(r"(\d{1,4}):(\d{1,4})", str(request.source))
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise SwatcostError(f"{request.source!r:.40} is not an N:M pattern: give one such as 2:4")
    N, M = int(match[1]), int(match[2])
    if request.target is not None and request.target != 1 - N / M:
        raise SwatcostError(f"weights {request.target:g}: {N}:{M} has sparsity {1 - N / M:g}, leave weights out")
    return N, M


DISTRIBUTION = Distribution(
    name="nm",
    title="N:M along the input channels (--from 2:8, or weights 0.5 for 2:4); other layers dense",
    citation="Mishra et al. 2021",
    allocate=nm,
    acts_follow_weights=False,
    allocate_acts=same_for_activations,
    reads_source=True,
    pattern=pattern,
)
