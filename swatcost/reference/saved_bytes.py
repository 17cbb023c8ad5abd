"""The bytes that autograd really saves for a backward pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def saved_bytes(module: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes of the storages that autograd saves while forward runs, each once, without parameters and buffers.

    forward runs the module and returns a tensor that keeps its graph alive.
    """
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # held, so that no other storage gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()
    own = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    total = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)
    del output
    return total
