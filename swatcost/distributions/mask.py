"""The zeros in a network's own pruning masks."""

from swatcost.common.errors import SwatcostError
from swatcost.distributions.distribution import Distribution, Request, same_for_activations


def zeros_of_masks(request: Request) -> dict[str, float]:
    """The fraction of zeros [-] in each layer's torch.nn.utils.prune mask; 0 without a mask.

    Raises SwatcostError if no layer has a mask.
    """
    if request.target is not None:
        raise SwatcostError(f"weights {request.target:g}: the masks define the sparsities, leave weights out")
    masked = [layer for layer in request.free if layer.weight in request.mask_zeros]
    if not masked:
        raise SwatcostError("the network has no pruning masks (torch.nn.utils.prune): choose another distribution")
    return {layer.weight: request.mask_zeros[layer.weight] / layer.weight_elements for layer in masked}


DISTRIBUTION = Distribution(
    name="mask",
    title="The zeros in the network's own pruning masks",
    citation="the user's",
    allocate=zeros_of_masks,
    acts_follow_weights=False,
    allocate_acts=same_for_activations,
    measured=True,
)
