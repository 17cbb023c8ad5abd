"""A cache of meta kernels' results: an operation gives the same layout for the same input layouts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from swatcost.tracing.operations import tensors_of
from swatcost.tracing.storages import address


@dataclass(frozen=True)
class _Made:
    """The layout of a result tensor. `held` is the number of elements that its storage has if it shows only one."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    held: int = 1


class Kernels:
    """Runs operations on the meta device, each only once per combination of input layouts.

    Networks repeat layers, and meta kernels written in Python are slow: batch normalisation, which torch decomposes
    into two dozen operations, takes longer than everything else together, so its layout is computed here.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}
        self._makes_only: dict[Any, bool] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The operation's result: computed, or an empty tensor of the cached layout."""
        makes_only = self._makes_only.get(func)
        if makes_only is None:
            makes_only = self._makes_only[func] = _makes_only(func)
        if not makes_only:
            return func(*args, **kwargs)
        key = (func, _described(args), _described(tuple(kwargs.items())) if kwargs else None)
        try:
            known = self._known.get(key)
            if known is None and func in _LAID_OUT_HERE:
                known = self._known[key] = _LAID_OUT_HERE[func](args)
        except TypeError:
            return func(*args, **kwargs)
        if known is not None:
            return _remade(known)
        result = func(*args, **kwargs)
        layout = _layout(result, args)
        if layout is not None:
            self._known[key] = layout
        return result


def _batch_norm(args: tuple[Any, ...]) -> tuple[_Made, _Made, _Made] | None:
    """The result, and each channel's mean and inverse deviation; None where torch's own kernel has to be run."""
    input, weight, _, _, _, training = args[:6]
    return _by_channel(input, weight) if training else None


def _batch_norm_backward(args: tuple[Any, ...]) -> tuple[_Made, _Made, _Made] | None:
    """The gradients of the input, and of each channel's scale and shift; None as in `_batch_norm`."""
    grad, input, weight, _, _, _, _, training, _, wanted = args
    same = grad.is_contiguous() and grad.dtype == input.dtype
    return _by_channel(input, weight) if training and same and weight is not None and all(wanted) else None


def _by_channel(input: Tensor, weight: Tensor | None) -> tuple[_Made, _Made, _Made] | None:
    plain = input.dtype == torch.float32 and (weight is None or weight.dtype == torch.float32)
    if not (plain and input.dim() > 1 and input.is_contiguous()):
        return None
    each = _Made((input.shape[1],), (1,), torch.float32)
    return _like(input), each, each


def _group_norm(args: tuple[Any, ...]) -> tuple[_Made, _Made, _Made] | None:
    """The result, and each group's statistics; None where torch's own kernel has to be run.

    Half precision may be normalised with parameters in fp32: the kernels that compute then have statistics in fp32,
    and the gradient in the input's precision; the meta kernels have it the other way round.
    """
    input, weight, _, samples, _, _, groups = args[:7]
    if weight is None or weight.dtype == input.dtype or not input.is_contiguous():
        return None
    each = _Made((samples, groups), (groups, 1), weight.dtype)
    return _like(input), each, each


def _group_norm_backward(args: tuple[Any, ...]) -> tuple[_Made, _Made, _Made] | None:
    """The gradients of the input, the scale and the shift; None as in `_group_norm`."""
    _, input, _, _, weight, *_, wanted = args
    if weight is None or weight.dtype == input.dtype or not input.is_contiguous() or not all(wanted):
        return None
    return _like(input), _like(weight), _like(weight)


def _grouped_mm(args: tuple[Any, ...]) -> _Made:
    """The result, whose rows are padded to 16 bytes, as by the kernels that compute.

    The meta kernels take bfloat16 only and, where torch is built without CUDA, do not pad.
    """
    left, right, ends, _, dtype = (*args, *[None] * 5)[:5]
    dtype = dtype or left.dtype
    sizes = (*left.shape[:-1], right.shape[-1])
    if left.dim() == right.dim():
        sizes = (ends.shape[0] if left.dim() == 2 else left.shape[0], *sizes[-2:])
    elif left.dim() == 3:
        sizes = sizes[1:]
    aligned = 16 // dtype.itemsize
    padded = -(-sizes[-1] // aligned) * aligned
    return _Made(sizes, (sizes[-2] * padded, padded, 1)[-len(sizes) :], dtype)


def _like(tensor: Tensor) -> _Made:
    return _Made(tuple(tensor.shape), tensor.stride(), tensor.dtype)


def _reduced(place: int) -> Callable[[tuple[Any, ...]], _Made | None]:
    """The mean or sum of a loss, in the storage that torch made for the loss of each element, which is not shrunk.

    The kernels that compute have it so, the meta kernels do not. `place` is that of the reduction among the arguments.
    """

    def made(args: tuple[Any, ...]) -> _Made | None:
        if len(args) > place and args[place] == 0:  # no reduction
            return None
        held = torch.broadcast_shapes(args[0].shape, args[1].shape).numel()
        return _Made((), (), torch.result_type(args[0], args[1]), held)

    return made


_LAID_OUT_HERE: dict[Any, Callable[[tuple[Any, ...]], Any]] = {
    torch.ops.aten.native_group_norm.default: _group_norm,
    torch.ops.aten.native_group_norm_backward.default: _group_norm_backward,
    torch.ops.aten.mse_loss.default: _reduced(2),
    torch.ops.aten.smooth_l1_loss.default: _reduced(2),
    torch.ops.aten.soft_margin_loss.default: _reduced(2),
    torch.ops.aten.binary_cross_entropy.default: _reduced(3),
    torch.ops.aten.native_batch_norm.default: _batch_norm,
    torch.ops.aten.native_batch_norm_backward.default: _batch_norm_backward,
}

if hasattr(torch.ops.aten, "_grouped_mm"):  # since torch 2.7
    _LAID_OUT_HERE[torch.ops.aten._grouped_mm.default] = _grouped_mm


def _makes_only(func: Any) -> bool:
    """Whether the operation returns new tensors and does not modify its arguments."""
    schema = func._schema
    return not schema.is_mutable and all(each.alias_info is None for each in schema.returns)


_UNKNOWN: list[None] = []  # for a tensor that its layout does not describe fully: a list makes the key unhashable


def _described(values: Any) -> tuple[Any, ...]:
    """Arguments as a key: tensors as their layout, other values with their type, since 1 == True == 1.0."""
    key: list[Any] = []
    for value in values:
        kind = type(value)
        if isinstance(value, Tensor):
            plain = kind in (Tensor, torch.nn.Parameter) and value.is_meta and not value.is_complex()
            key.append((value.shape, value.stride(), value.dtype) if plain else _UNKNOWN)
        elif kind is list or kind is tuple:
            key.append(_described(value))
        elif kind is int or kind is str or value is None:
            key.append(value)
        else:
            key.append((kind, value))
    return tuple(key)


def _layout(result: Any, args: tuple[Any, ...]) -> Any:
    """The result's layout; None if a tensor shares memory or its storage is larger than its layout needs."""
    if isinstance(result, Tensor):
        stride = result.stride()
        reach = 1 + sum((size - 1) * step for size, step in zip(result.shape, stride, strict=True))
        needed = 0 if 0 in result.shape else reach * result.element_size()
        own = type(result) is Tensor and result.is_meta and result.untyped_storage().nbytes() == needed
        shared = any(address(result) == address(each) for each in tensors_of(args))
        return _Made(tuple(result.shape), stride, result.dtype) if own and not shared else None
    if isinstance(result, tuple | list):
        storages = [address(each) for each in result if isinstance(each, Tensor)]
        parts = [_layout(each, args) if isinstance(each, Tensor) else each for each in result]
        shares = any(isinstance(each, Tensor) and part is None for each, part in zip(result, parts, strict=True))
        whole = not shares and all(part is None or isinstance(part, _Made | int | float) for part in parts)
        return type(result)(parts) if whole and len(set(storages)) == len(storages) else None
    return None


def _remade(layout: Any) -> Any:
    if type(layout) is _Made and layout.held > 1:
        return torch.empty(layout.held, dtype=layout.dtype, device="meta").resize_(layout.shape)
    if type(layout) is _Made:
        return torch.empty_strided(layout.shape, layout.stride, dtype=layout.dtype, device="meta")
    if isinstance(layout, tuple | list):
        return type(layout)(_remade(each) for each in layout)
    return layout
