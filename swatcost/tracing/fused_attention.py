"""Attention on the meta device, and with dropout, as a fused kernel executes it.

On the meta device torch decomposes attention into matrix products, which save all scores for the backward pass; a fused
kernel saves one number per row. The MACs are the same. Where values and keys differ in their features, as in latent
attention, it is CUDA's memory-efficient kernel: CPUs have none. With dropout a CPU has no such kernel. CUDA's draw what
they drop anew in the backward pass and keep no mask of it, as if nothing were dropped.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from swatcost.tracing.autocast import Autocast

_OF_TORCH = F.scaled_dot_product_attention


@contextlib.contextmanager
def fused_attention(casting: Autocast | None) -> Iterator[None]:
    """Calls torch's fused attention kernel where it applies: without dropout but on CUDA.

    Autocast has cast what it is given before, as where queries and keys are normalised in fp32 and values are not.
    """
    thread = threading.get_ident()

    def attention(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return _OF_TORCH(*args, **kwargs)
        if casting is not None:
            args, kwargs = casting.lowered(args, kwargs)
        return _attention(*args, **kwargs, is_of_cuda=casting is not None and casting.is_of_cuda)

    F.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        F.scaled_dot_product_attention = _OF_TORCH


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    is_of_cuda: bool = False,
) -> Any:
    operands = (query, key, value)
    heads = all(each.dim() == 4 and each.is_meta for each in operands) and key.shape[-1] == query.shape[-1]
    together = all(each.stride(-1) == 1 and each.dtype == query.dtype and each.numel() for each in operands)
    masked = attn_mask is not None and (attn_mask.requires_grad or is_causal)
    grouped = query.dim() == 4 and key.dim() == 4 and query.shape[1] != key.shape[1] and not enable_gqa
    grouped |= query.dim() == 4 and query.shape[1] != key.shape[1] and value.shape[-1] != query.shape[-1]
    dropout_p = 0.0 if is_of_cuda else dropout_p
    if not heads or not together or masked or grouped or dropout_p or not query.is_floating_point():
        return _OF_TORCH(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    mask = attn_mask
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.where(mask, 0.0, torch.scalar_tensor(-torch.inf, dtype=query.dtype, device=mask.device))
    if value.shape[-1] != query.shape[-1]:
        if mask is not None:
            mask = mask.expand(*query.shape[:-1], key.shape[-2])
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention.default
        return efficient(query, key, value, mask, _needs_gradient(operands), 0.0, is_causal, scale=scale)[0]
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    return fused(query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale)[0]


def _needs_gradient(operands: tuple[Tensor, ...]) -> bool:
    return torch.is_grad_enabled() and any(each.requires_grad for each in operands)
