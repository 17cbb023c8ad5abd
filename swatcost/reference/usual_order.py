"""Has a network's own code see tensors in the usual order, although sparse kernels write the samples last.

The order of a tensor in memory shows in two ways: `view` refuses another one, and functions that draw a random number
for each element draw in it. Here, `view` copies where it must, and numbers are drawn in the usual order, as in the
masked run.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from swatcost.reference.batch_last import is_batch_last

_IN_PLACE = {functional.dropout: 3, functional.alpha_dropout: 3, functional.rrelu: 4}
"""Functions that draw, and may write to their input: where they are told so."""

_DRAWING = {
    torch.rand_like, torch.randn_like, torch.randint_like, torch.bernoulli, Tensor.bernoulli,
    functional.gumbel_softmax, *_IN_PLACE,
}  # fmt: skip


def lies_samples_last(x: Any) -> bool:
    """Whether it is a tensor that lies as sparse kernels write images, sequences and rows."""
    if not isinstance(x, Tensor) or x.dim() < 2 or x.is_contiguous():
        return False
    orders = x.permute(*range(x.dim() - 1, -1, -1)), x.movedim(-1, 0), x.movedim(0, -1)
    return is_batch_last(x) or any(each.is_contiguous() for each in orders)


def _written(function: Any, args: Any, kwargs: Any) -> Iterator[Any]:
    """The arguments that a function changes: the first of a function in place, and `out`."""
    name = getattr(function, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    if args and (in_place or name == "__setitem__" or kwargs.get("inplace")):
        yield args[0]
    yield kwargs.get("out")


def _is_copy(x: Any) -> bool:
    """Whether it is, or is a view of, what `view` copied: in torch, changes of it would change the original."""
    if not isinstance(x, Tensor):
        return False
    base = x._base if x._is_view() else x
    return hasattr(base, "is_swatcost_copy")


def in_own_order() -> AbstractContextManager[Any]:
    """The context of the program's own layers, which see tensors as they lie, and whose views do not copy."""
    return torch._C.DisableTorchFunction()


class _InUsualOrder(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if any(map(_is_copy, _written(function, args, kwargs))):
            raise RuntimeError("a view of a sparse kernel's result is a copy, which cannot be changed in place")
        if not args or not lies_samples_last(args[0]):
            return function(*args, **kwargs)
        x, *others = args
        if function is Tensor.view and not any(isinstance(each, torch.dtype) for each in (*others, *kwargs.values())):
            with contextlib.suppress(RuntimeError):  # where the order allows it, a view is torch's own
                return function(*args, **kwargs)
            copy = x.contiguous()
            copy.is_swatcost_copy = True
            return copy.view(*(others or kwargs.values()))
        if function not in _DRAWING:
            return function(*args, **kwargs)
        place = _IN_PLACE.get(function, len(args))
        in_place = kwargs.pop("inplace", False) or any(args[place:])
        found = function(x.contiguous(), *args[1:place], **kwargs)
        return x.copy_(found) if in_place else found


class UsualOrder:
    """Hooks with which a module's forward pass sees the usual order, once however its parts are nested."""

    _within = threading.local()

    def enter(self, module: nn.Module, args: Any) -> None:
        """Before a forward pass."""
        entered = self._within.__dict__.setdefault("entered", [])
        entered.append(None if entered else _InUsualOrder())
        if entered[-1] is not None:
            entered[-1].__enter__()

    def leave(self, module: nn.Module, args: Any, output: Any) -> Any:
        """After it; what the outermost module returns is in the usual order, too."""
        entered = self._within.__dict__.get("entered")
        if not entered or (mode := entered.pop()) is None:
            return None
        mode.__exit__(None, None, None)
        return output.contiguous() if lies_samples_last(output) else None

    def close(self) -> None:
        """Ends what an interrupted forward pass of this thread left."""
        for mode in reversed(self._within.__dict__.pop("entered", [])):
            if mode is not None:
                mode.__exit__(None, None, None)
