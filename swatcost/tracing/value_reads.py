"""Whether a forward pass reads values of tensors, or makes tensors whose shapes depend on them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch._C import _len_torch_dispatch_stack

_PAST_THE_DISPATCHER = ("tolist", "numpy", "__array__", "__dlpack__")
_TAGS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class ValueReads:
    """`found` says whether a value was read."""

    def __init__(self) -> None:
        self.found = False
        self._reads: dict[Any, bool] = {}

    def operation(self, func: Any, args: tuple[Any, ...]) -> None:
        """Looks at an operation of the forward pass."""
        reads = self._reads.get(func)
        if reads is None:
            name = func._schema.name
            reads = self._reads[func] = not _TAGS.isdisjoint(func.tags) or name == "torchvision::nms"
        if reads and not self.found:
            self.found = func._schema.name != "aten::index" or any(map(_is_mask, args[1]))

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Sees the methods of tensors that read values without an operation."""
        kind: Any = Tensor
        before = {name: kind.__dict__.get(name) for name in _PAST_THE_DISPATCHER}

        def noting(method: Any) -> Any:
            def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
                self.found |= _len_torch_dispatch_stack() > 0  # or else it is the trace that reads
                return method(tensor, *args, **kwargs)

            return call

        for name in before:
            setattr(kind, name, noting(getattr(kind, name)))
        try:
            yield
        finally:
            for name, method in before.items():
                if method is None:
                    delattr(kind, name)
                else:
                    setattr(kind, name, method)


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
