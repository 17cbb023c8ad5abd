"""SWAT-U: the target sparsity in every layer but the first."""

from swatcost.distributions.distribution import LAST_BREAKPOINT, Distribution, Request


def uniform(request: Request) -> dict[str, float]:
    """Every layer that may be sparse gets the target sparsity [-]: s_l = s.

    Source: SWAT, Section 3.3.2 (SWAT-U).
    """
    return dict.fromkeys((layer.weight for layer in request.free), request.target or 0.0)


def breakpoints(request: Request) -> list[float]:
    """Linear over the whole range of targets."""
    return [0.0, LAST_BREAKPOINT]


DISTRIBUTION = Distribution(
    name="uniform",
    title="The target sparsity in every layer but the first",
    citation="SWAT, Section 3.3.2 (SWAT-U)",
    allocate=uniform,
    breakpoints=breakpoints,
    first_layer_dense=True,
    acts_follow_weights=False,
)
