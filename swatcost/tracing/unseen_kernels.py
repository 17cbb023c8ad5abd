"""Detects work that torch's dispatcher does not see: kernels of other libraries that write into a tensor's memory.

Such a kernel gets a tensor that an operation has allocated and none has written; whoever reads it next reads what the
kernel wrote. The result of a custom autograd function may also come from elsewhere, as from numpy.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction

from swatcost.tracing.operations import MOVES, tensors_of
from swatcost.tracing.storages import Storages, address

_OUTSIDE = "kernel outside torch"
_FORWARD = "forward of "
_ALLOCATE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
_ZEROS = {"zeros", "zeros_like", "new_zeros"}  # a function's result of zeros is a kernel's, too


def is_unseen(operation: str) -> bool:
    """Whether an uncounted operation is listed by `UnseenKernels.written_by`."""
    return operation == _OUTSIDE or operation.startswith(_FORWARD)


def read_by(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operation reads and does not write."""
    if kwargs.get("beta") == 0:
        args = args[1:]  # addmm and its kin do not read what they would add
    if not func._schema.is_mutable:
        return tensors_of(args)
    given = zip(func._schema.arguments, args, strict=False)
    return tensors_of([value for each, value in given if each.alias_info is None or not each.alias_info.is_write])


class UnseenKernels:
    """The storages that no operation has written, by address."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._unwritten: set[int] = set()
        self._zeros: set[int] = set()

    def track(self, name: str, func: Any, args: Iterable[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Records which storages an operation allocates and which it writes."""
        made = {address(each) for each in tensors_of(result) if each.numel()}
        inputs = {address(each) for each in tensors_of(args)}
        if name in _ALLOCATE or (name in MOVES and inputs and inputs <= self._unwritten and not inputs & made):
            self._unwritten |= made
            self._zeros -= made
            return
        if func._schema.is_mutable:
            made |= inputs | {address(each) for each in tensors_of(list(kwargs.values()))}
        self._unwritten -= made
        self._zeros = self._zeros | made if name in _ZEROS else self._zeros - made

    def written_by(self, tensor: Tensor) -> str | None:
        """What wrote a tensor that is read now, if no operation did; each storage is reported once."""
        place = address(tensor)
        unwritten = place in self._unwritten
        if not unwritten and place not in self._zeros and self._storages.known(tensor) is not None:
            return None
        self._unwritten.discard(place)
        self._zeros.discard(place)
        function = tensor.grad_fn
        if isinstance(function, BackwardCFunction):
            return f"{_FORWARD}{type(function).__name__.removesuffix('Backward')}"
        return _OUTSIDE if unwritten else None
