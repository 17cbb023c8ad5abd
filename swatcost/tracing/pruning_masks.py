"""The pruning masks that torch.nn.utils.prune adds to a module."""

from torch import nn

_ORIGINAL, _MASK = "_orig", "_mask"


def zeros_of_masks(model: nn.Module) -> dict[str, int]:
    """The number of zeros in each parameter's pruning mask, by parameter name; masks on the meta device are skipped."""
    buffers = dict(model.named_buffers())
    zeros: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        mask = buffers.get(name.removesuffix(_ORIGINAL) + _MASK) if name.endswith(_ORIGINAL) else None
        if mask is not None and not mask.is_meta and mask.shape == parameter.shape:
            zeros[name] = int((mask == 0).sum())
    return zeros
