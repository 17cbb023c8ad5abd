"""SWAT-U: the target sparsity in every layer but the first."""

from swatcost.distributions.distribution import LAST_BEND, Distribution, Spread


def uniform(request: Spread) -> dict[str, float]:
    """Every layer that may be sparse gets the target sparsity [-]: s_l = s.

    Source: SWAT, Section 3.3.2 (SWAT-U).
    """
    return dict.fromkeys((layer.weight for layer in request.free), request.target or 0.0)


def bends(request: Spread) -> list[float]:
    """Linear in the target throughout."""
    return [0.0, LAST_BEND]


DISTRIBUTION = Distribution(
    name="uniform",
    title="The target sparsity in every layer but the first",
    citation="SWAT, Section 3.3.2 (SWAT-U)",
    spread=uniform,
    bends=bends,
    first_layer_dense=True,
    acts_follow_weights=False,
)
