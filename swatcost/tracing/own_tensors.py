"""The parameters and buffers of the module that is traced, and where they are stored."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from swatcost.tracing.storages import address

# Operations that put tensors that they are given into another storage; cuDNN's puts all weights of a module into one.
_REPLACE_STORAGES = (torch.ops.aten._cudnn_rnn_flatten_weight, torch.ops.aten.set_)


class OwnTensors:
    """The names of parameters and buffers, by their storages and their places in them: several may share one."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self._storages = [each.untyped_storage() for each in tensors.values()]  # held: their addresses are not reused
        self.addresses: set[int] = set()
        self._ranges: dict[int, list[tuple[int, int, str]]] = {}
        self._locate()

    def operation_ended(self, func: Any) -> None:
        """Looks where the tensors are, after an operation that may have moved them."""
        if func.overloadpacket in _REPLACE_STORAGES:
            self._locate()

    def _locate(self) -> None:
        ranges = defaultdict(list)
        for name, each in self.tensors.items():
            ranges[address(each)].append((*_extent(each), name))
        self._ranges |= ranges
        self.addresses |= ranges.keys()

    def name(self, tensor: Tensor) -> str | None:
        """The name of the parameter or buffer that the tensor is, or is a part of."""
        ranges = self._ranges.get(address(tensor))
        if ranges is None:
            return None
        first, end = _extent(tensor)
        return next((name for start, stop, name in ranges if start <= first and end <= stop), None)


def _extent(tensor: Tensor) -> tuple[int, int]:
    """The first element of its storage that a tensor holds, and the one after the last."""
    first = int(tensor.storage_offset())
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return first, first + reach + 1
