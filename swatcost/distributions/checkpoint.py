"""The zeros in a checkpoint's weights."""

from swatcost.common.errors import SwatcostError
from swatcost.distributions.checkpoints import weights_by_name
from swatcost.distributions.distribution import Distribution, Request, same_for_activations


def zeros_of_checkpoint(request: Request) -> dict[str, float]:
    """The fraction of a checkpoint's weights that are exactly zero [-], per layer."""
    if request.target is not None:
        raise SwatcostError(f"weights {request.target:g}: the checkpoint defines the sparsity, leave weights out")
    return {
        weight: 1 - float((magnitudes > 0).mean())
        for weight, magnitudes in weights_by_name(request).items()
        if weight not in request.kept_dense
    }


DISTRIBUTION = Distribution(
    name="checkpoint",
    title="The zeros in a checkpoint's weights (--from)",
    citation="the user's",
    allocate=zeros_of_checkpoint,
    measured=True,
    acts_follow_weights=False,
    allocate_acts=same_for_activations,
    reads_source=True,
)
