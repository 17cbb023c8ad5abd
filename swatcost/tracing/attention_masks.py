"""What a mask of known values leaves of attention: the pairs of a query and a key, and the window that holds them."""

from fractions import Fraction

import torch
from torch import Tensor

from swatcost.network.attention import pairs_of
from swatcost.tracing.operands import Mask


def mask_of(mask: Tensor) -> Mask | None:
    """What a mask (…, queries, keys) leaves: what is true or, of numbers that are added to scores, above −∞.

    The smallest number of the mask's type stands for −∞, too. None if it leaves nothing.
    """
    if mask.dim() < 2:
        return None
    *others, queries, keys = mask.shape
    distinct = mask[tuple(slice(1) if stride == 0 else slice(None) for stride in mask.stride()[: len(others)])]
    left = distinct if mask.dtype == torch.bool else distinct > torch.finfo(mask.dtype).min
    pairs = int(left.sum())
    if not pairs:
        return None
    anywhere = left.reshape(-1, queries, keys).any(0).view(torch.uint8)
    rows = anywhere.any(-1).nonzero().flatten()
    first, last = anywhere.argmax(-1)[rows], keys - 1 - anywhere.flip(-1).argmax(-1)[rows]
    before, behind = max(0, int((rows - first).max())), max(0, int((last - rows).max()))
    causal = queries == keys and behind == 0
    _, _, of_band = pairs_of(left.numel() // (queries * keys), 1, queries, keys, causal=causal, window=(before, behind))
    return Mask(Fraction(pairs, left.numel()), before, behind, causal, is_band=pairs == of_band)
