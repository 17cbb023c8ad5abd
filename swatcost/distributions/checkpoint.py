"""The zeros that a checkpoint has."""

from swatcost.common.errors import SwatcostError
from swatcost.distributions.checkpoints import weights_by_name
from swatcost.distributions.distribution import Distribution, Spread, same_for_activations


def zeros_of_checkpoint(request: Spread) -> dict[str, float]:
    """The fraction of a checkpoint's weights that are exactly zero [-], layer by layer."""
    if request.target is not None:
        raise SwatcostError(f"weights {request.target:g}: the checkpoint says how sparse it is, leave weights out")
    return {
        weight: 1 - float((magnitudes > 0).mean())
        for weight, magnitudes in weights_by_name(request).items()
        if weight not in request.kept_dense
    }


DISTRIBUTION = Distribution(
    name="checkpoint",
    title="The zeros that a checkpoint has (--from)",
    citation="the user's",
    spread=zeros_of_checkpoint,
    measured=True,
    acts_follow_weights=False,
    spread_acts=same_for_activations,
    reads_source=True,
)
