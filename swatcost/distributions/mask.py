"""The zeros of the pruning masks that a network carries."""

from swatcost.common.errors import SwatcostError
from swatcost.distributions.distribution import Distribution, Spread, same_for_activations


def zeros_of_masks(request: Spread) -> dict[str, float]:
    """The fraction of zeros [-] in each layer's pruning mask, as torch.nn.utils.prune keeps it; 0 without one.

    Raises SwatcostError when no layer has a mask, and for a mask without any one left.
    """
    if request.target is not None:
        raise SwatcostError(f"weights {request.target:g}: the masks say how sparse each layer is, leave weights out")
    masked = [layer for layer in request.free if layer.weight in request.mask_zeros]
    if not masked:
        raise SwatcostError("the network carries no pruning masks (torch.nn.utils.prune): choose another distribution")
    return {layer.weight: request.mask_zeros[layer.weight] / layer.weight_elements for layer in masked}


DISTRIBUTION = Distribution(
    name="mask",
    title="The zeros of the pruning masks that the network carries",
    citation="the user's",
    spread=zeros_of_masks,
    acts_follow_weights=False,
    spread_acts=same_for_activations,
    measured=True,
)
