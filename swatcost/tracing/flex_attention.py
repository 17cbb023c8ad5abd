"""Flex attention, which is no operation of the dispatcher's, with what its block mask leaves.

Rule: a block that the mask leaves is counted whole, up to the ends of the sequences; the kernel computes all of it and
then masks single scores. Without compilation torch computes all blocks, which is not counted.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

FRONT = "torch.nn.attention.flex_attention"

Record = Callable[[tuple[Any, ...], Any], None]


@contextlib.contextmanager
def flex_attention_passed_to(record: Record) -> Iterator[None]:
    """Passes each call of flex attention to `record`: (Q, K, V, pairs of positions) and (output, sums, maxima).

    Meanwhile it also runs where torch refuses it: with gradients on the CPU, and on the meta device.
    """
    front: Any = sys.modules.get(FRONT)
    if front is None or not hasattr(front, "_validate_device"):
        yield
        return
    run, validate = front.flex_attention_hop, front._validate_device

    def flex_attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        def call(*operands: Tensor) -> tuple[Tensor, ...]:
            pairs = pairs_left(args[1], query.shape, key.shape)
            with _disable_current_modes():
                result = _laid_out(*operands) if query.is_meta else run(*operands, *args, **kwargs)
            record((*operands, pairs), result)
            return result

        return FlexAttention.apply(query, key, value, call)

    front.flex_attention_hop, front._validate_device = flex_attention, lambda query, key, value: None
    try:
        yield
    finally:
        front.flex_attention_hop, front._validate_device = run, validate


class FlexAttention(torch.autograd.Function):
    """Saves what torch's own saves. Torch's own traces a graph in each call, which hooks on saved tensors crash."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, call: Callable[..., Any]) -> Any:
        """Output, sums and maxima of the scores' exponentials."""
        result = call(query, key, value)
        ctx.mark_non_differentiable(result[2])
        ctx.save_for_backward(query, key, value, *result)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """Gradients without values, as all are in a trace."""
        return (*(torch.empty_like(each) for each in ctx.saved_tensors[:3]), None)


def _laid_out(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Results on the meta device, laid out as torch does: the output as the query, one sum and maximum per query."""
    output = torch.empty_like(query[..., :1].expand(*query.shape[:-1], value.shape[-1]))
    sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
    return output, sums, torch.empty_like(sums)


def pairs_left(block_mask: tuple[Any, ...], query: torch.Size, key: torch.Size) -> int | None:
    """Pairs of a query and a key in the blocks that a mask leaves, over all heads; None if the mask has no values."""
    _, _, *tensors = block_mask
    partial, full = tensors[0:2], tensors[2:4]
    rows, columns = (int(each) for each in block_mask[-3:-1])
    number: Tensor = partial[0]
    if number.is_meta:
        one = partial[1].shape[-2:].numel() == 1  # a single block, as without a mask
        return query[:-1].numel() * key[-2] if one else None
    pairs = 0
    for count, indices in (partial, full):
        if count is not None:
            starts = torch.arange(indices.shape[-1], device="cpu")
            kept = starts < count.cpu()[..., None]
            widths = (key[-2] - indices.cpu() * columns).clamp(0, columns) * kept
            heights = (query[-2] - torch.arange(indices.shape[-2], device="cpu") * rows).clamp(0, rows)
            pairs += int((widths.sum(-1) * heights).sum())
    masks = number.shape[:-1].numel()  # one for all heads, or one for each
    return pairs * query[:-2].numel() // masks
