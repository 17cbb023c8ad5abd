"""Tensors that are computed from numbers alone, such as positions and masks: their values are known on any device.

Rule: what an operation makes of constants is a constant, and so are its views, until an operation writes into it. On
the meta device, which holds no values, the operations are run on the CPU when a value is needed.
"""

from dataclasses import dataclass
from math import inf, prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from swatcost.tracing.operations import name_of, tensors_of
from swatcost.tracing.storages import Storages

_FROM_NUMBERS = {"arange", "eye", "full", "linspace", "ones", "scalar_tensor", "tril_indices", "triu_indices", "zeros"}
_WITHOUT_VALUES = {"empty_like", "new_empty", "new_empty_strided"}
_MOST_ELEMENTS = 2**27  # of a value and of what it is computed from: a mask of 11,000 positions


@dataclass(frozen=True, eq=False)
class _Made:
    """An operation and its arguments, with what made them in place of tensors; and the layout of its result."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Shown:
    """How a tensor shows the storage that an operation made."""

    made: _Made
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


class _TooLargeError(Exception):
    """Raised where a value has more elements than are worth computing."""


class Constants:
    """Records the operations of a forward pass whose arguments are constants."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._made: dict[int, _Made] = {}  # by the storage's number

    def track(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Records an operation, other than a view, that has run."""
        if func._schema.is_mutable:
            for each in tensors_of(args) + tensors_of(list(kwargs.values())):
                self._made.pop(self._number(each), None)
            return
        if not isinstance(result, Tensor) or result.layout != torch.strided:
            return
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor | list | tuple)]
        name, tensors = name_of(func), tensors_of(given)
        known = all(map(self.knows, tensors)) if tensors else name in _FROM_NUMBERS
        if known and name not in _WITHOUT_VALUES and torch.Tag.nondeterministic_seeded not in func.tags:
            here = {key: each for key, each in kwargs.items() if key not in ("device", "pin_memory")}
            self._made[self._number(result)] = _Made(
                func, self._shown(args), self._shown(here), tuple(result.shape), result.stride()
            )

    def knows(self, tensor: Tensor) -> bool:
        """Whether the tensor is a constant of the forward pass."""
        return self._number(tensor) in self._made

    def value(self, tensor: Tensor) -> Tensor | None:
        """The tensor with its values, on the CPU; None if it is not a constant, or too large to be computed."""
        return self.computed(self._shown(tensor)) if self.knows(tensor) else None

    def _number_in(self, value: Any) -> float | None:
        """A number, or the one in a constant without dimensions."""
        found = self.computed(value) if isinstance(value, Shown) and not value.shape else value
        return float(found) if isinstance(found, Tensor | int | float) else None

    def mask(self, tensor: Tensor) -> Shown | None:
        """What shows an attention mask: the truth values that its numbers were made of, if any; None if not constant.

        Kernels take 0 where a mask is true and −∞ where it is not; each call makes them anew of the same mask.
        """
        if not self.knows(tensor):
            return None
        shown: Shown = self._shown(tensor)
        if name_of(shown.made.func) == "where" and len(shown.made.args) == 3:
            truth, *numbers = shown.made.args
            of_kernel = [self._number_in(each) for each in numbers] == [0, -inf]
            if of_kernel and isinstance(truth, Shown) and truth.shape == shown.shape:
                return truth
        return shown

    def computed(self, shown: Shown) -> Tensor | None:
        """The values that are shown, on the CPU; None if they are too many."""
        try:
            with _disable_current_modes(), torch.no_grad():
                found: Tensor = _computed(shown, {})
                return found
        except Exception:  # what is too large, or does not run on the CPU, stays unknown
            return None

    def _number(self, tensor: Tensor) -> int:
        number = self._storages.known(tensor)
        return -1 if number is None else number

    def _shown(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            made, offset = self._made[self._number(value)], int(value.storage_offset())
            return Shown(made, tuple(value.shape), value.stride(), offset)
        if isinstance(value, dict):
            return {key: self._shown(each) for key, each in value.items()}
        return type(value)(map(self._shown, value)) if type(value) in (list, tuple) else value


def _computed(value: Any, found: dict[_Made, Tensor]) -> Any:
    """A value with tensors of the CPU in place of what made them; `found` holds those that were computed before."""
    if isinstance(value, Shown):
        whole = found.get(value.made)
        if whole is None:
            whole = found[value.made] = _run(value.made, found)
        return whole.as_strided(value.shape, value.stride, value.offset)
    if isinstance(value, dict):
        return {key: _computed(each, found) for key, each in value.items()}
    return type(value)(_computed(each, found) for each in value) if type(value) in (list, tuple) else value


def _run(made: _Made, found: dict[_Made, Tensor]) -> Tensor:
    """What an operation makes, in the layout that its result had."""
    if prod(made.shape) > _MOST_ELEMENTS:
        raise _TooLargeError
    args, kwargs = _computed(made.args, found), _computed(made.kwargs, found)
    result: Tensor = made.func(*args, **kwargs)
    if result.stride() == made.stride:
        return result
    return torch.empty_strided(made.shape, made.stride, dtype=result.dtype, device="cpu").copy_(result)
