"""What the operations of a step that multiply no tensors read and write.

Rules: each distinct tensor argument is read once and each result written once; a tensor that is changed in place is
read and written. Views, allocations and changes of a tensor's shape do no work. What a schema does not say is not
counted, such as the running mean that `native_batch_norm` writes, and neither are sparse tensors.

Operations are those that the trace executes: some differ where no trace runs. Dropout is several operations but under
autocast, where CUDA has one; and autograd, while operations are observed, writes into a copy of a gradient (index_put,
scatter_add) where it otherwise writes in place.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from swatcost.network import Movement
from swatcost.network.layer import Layer
from swatcost.tracing.operations import listed_name, may_multiply_tensors, tensors_of
from swatcost.tracing.storages import Storages, address

Pass = Literal["forward", "backward"]

_ALLOCATE = ("empty", "new_empty")
_CHANGE_SHAPES = {
    "as_strided_", "detach_", "resize_", "resize_as_", "set_", "squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_",
    "unsqueeze_",
}  # fmt: skip
_OVERWRITE = {
    "bernoulli_", "cauchy_", "copy_", "exponential_", "fill_", "geometric_", "log_normal_", "normal_", "random_",
    "uniform_", "zero_",
}  # fmt: skip
"""Operations that change a tensor in place without reading it."""

READ_ONLY_THE_SHAPE = {
    "_adaptive_avg_pool2d_backward": 1,
    "_adaptive_avg_pool3d_backward": 1,
    "adaptive_max_pool2d_backward": 1,
    "adaptive_max_pool3d_backward": 1,
    "avg_pool2d_backward": 1,
    "avg_pool3d_backward": 1,
    "max_pool2d_with_indices_backward": 1,
    "max_pool3d_with_indices_backward": 1,
    "nll_loss2d_backward": 1,
    "nll_loss_backward": 1,
    "reflection_pad1d_backward": 1,
    "reflection_pad2d_backward": 1,
    "reflection_pad3d_backward": 1,
    "replication_pad1d_backward": 1,
    "replication_pad2d_backward": 1,
    "replication_pad3d_backward": 1,
}
"""The place of the argument of which an operation needs no values."""


def _of_result(args: tuple[Any, ...], result: Any) -> tuple[int, Tensor]:
    return result.numel(), result


def _of_bags(args: tuple[Any, ...], result: Any) -> tuple[int, Tensor]:
    return args[1].numel() * args[0].shape[-1], args[1]


def _of_targets(args: tuple[Any, ...], result: Any) -> tuple[int, Tensor]:
    return args[1].numel(), args[1]


def _of_index(args: tuple[Any, ...], result: Any) -> tuple[int, Tensor]:
    return args[2].numel(), args[2]


def _of_source(args: tuple[Any, ...], result: Any) -> tuple[int, Tensor]:
    return args[3].numel(), args[3]


def _of_indices(args: tuple[Any, ...], result: Any) -> tuple[int, Tensor]:
    """The numbers that tensors of indices select, which broadcast; a mask, of bytes, may select all."""
    indexed, indices = args[0], args[1]
    given = tensors_of(list(indices))
    if any(each.element_size() == 1 for each in given):
        return indexed.numel(), indexed
    rest = prod(size for size, index in zip(indexed.shape, indices, strict=False) if index is None)
    rest *= prod(indexed.shape[len(indices) :])
    selected = torch.broadcast_shapes(*(each.shape for each in given)).numel() * rest
    largest = max([*given, args[2]], key=Tensor.numel)
    return selected, largest


_SHARES: dict[str, Callable[[tuple[Any, ...], Any], tuple[int, Tensor]]] = {
    "_embedding_bag": _of_bags,
    "_embedding_bag_forward_only": _of_bags,
    "_index_put_impl_": _of_indices,
    "embedding": _of_result,
    "gather": _of_result,
    "index": _of_result,
    "index_add_": _of_source,
    "index_copy_": _of_source,
    "index_put_": _of_indices,
    "index_select": _of_result,
    "nll_loss2d_forward": _of_targets,
    "nll_loss_forward": _of_targets,
    "scatter_": _of_index,
    "scatter_add_": _of_index,
    "take": _of_result,
}
"""Operations that use a part of their first argument: its number of elements, and a tensor that grows as it does."""


@dataclass(frozen=True)
class _Part:
    """Bytes in a storage, whose number is None if it is known not to grow, or `grows` if that is known."""

    bytes: int
    storage: int | None = None
    grows: bool = False


@dataclass(frozen=True)
class _Call:
    operation: str
    in_pass: Pass
    parts: tuple[_Part, ...]


class Movements:
    """Records operations in order. Whether a storage grows with the batch is only known once the step is over."""

    def __init__(self, batch_size: int, own: Set[int], storages: Storages) -> None:
        self._batch_size = batch_size
        self._own = own  # the addresses of parameters and buffers
        self._storages = storages
        self._calls: list[_Call] = []

    def operation(
        self,
        name: str,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        in_pass: Pass,
        layers: Iterable[Layer] = (),
    ) -> None:
        """Records an operation, which these layers were read of, unless it multiplies tensors or writes nothing."""
        multiplies = may_multiply_tensors(listed_name(name, args)) or any(not each.is_norm for each in layers)
        if multiplies or name.startswith(_ALLOCATE) or name in _CHANGE_SHAPES:
            return
        given = [*tensors_of(args), *tensors_of(list(kwargs.values()))]
        places = {address(each) for each in given}
        changed, filled = _changed(func, args, kwargs)
        made = [each for each in tensors_of(result) if address(each) not in places]
        written = [*_distinct([*changed, *filled]), *made]
        if not any(each.numel() for each in written):
            return
        unread = [*_not_read(name, args), *filled]
        read = [each for each in _distinct(given) if not any(each is other for other in unread)]
        share = _SHARES[name](args, result) if name in _SHARES else None
        parts = [
            self._share(each, *share) if share and each is args[0] else self._whole(each) for each in (*read, *written)
        ]
        self._calls.append(_Call(name, in_pass, tuple(parts)))

    def without_backward(self) -> None:
        """Drops what was recorded of a backward pass that failed."""
        self._calls = [each for each in self._calls if each.in_pass == "forward"]

    def all(self) -> tuple[Movement, ...]:
        """The operations, equal ones once, in the order of their first calls."""
        counted: Counter[tuple[str, Pass, int, int]] = Counter()
        for call in self._calls:
            growing = sum(each.bytes for each in call.parts if self._grows(each))
            fixed = sum(each.bytes for each in call.parts) - growing
            counted[call.operation, call.in_pass, fixed, growing] += 1
        return tuple(
            Movement(operation=operation, in_pass=in_pass, calls=calls, fixed_bytes=fixed, batch_bytes=growing)
            for (operation, in_pass, fixed, growing), calls in counted.items()
        )

    def _whole(self, tensor: Tensor) -> _Part:
        """A whole tensor: what is expanded holds less than its shape says."""
        elements = prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
        held = tensor.untyped_storage().nbytes() // tensor.element_size()
        return self._share(tensor, min(elements, held) if tensor.numel() else 0, tensor)

    def _share(self, tensor: Tensor, elements: int, grows_as: Tensor) -> _Part:
        """So many elements of a tensor, which are as many per sample as another tensor's."""
        held = elements * tensor.element_size()
        if address(grows_as) in self._own or elements % self._batch_size:
            return _Part(held)
        number = self._storages.known(grows_as)
        return _Part(held, number, grows=number is None and self._storages.seems_to_grow(grows_as))

    def _grows(self, part: _Part) -> bool:
        return part.grows if part.storage is None else self._storages.sizes[part.storage].scales_with_batch


def _not_read(name: str, args: tuple[Any, ...]) -> list[Tensor]:
    """The arguments of which an operation needs no values."""
    if name.endswith("_like") or name.startswith("new_") or name in _OVERWRITE:
        return tensors_of(args[:1])
    place = READ_ONLY_THE_SHAPE.get(name)
    return [] if place is None else tensors_of(args[place : place + 1])


def _changed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors that an operation changes in place, and those that it is given for its results."""
    changed: list[Tensor] = []
    filled: list[Tensor] = []
    for place, name, is_out in _written_arguments(func):
        value = args[place] if place < len(args) else kwargs.get(name)
        (filled if is_out else changed).extend(tensors_of(value))
    return changed, filled


@cache
def _written_arguments(func: Any) -> tuple[tuple[int, str, bool], ...]:
    return tuple(
        (place, each.name, bool(each.is_out))
        for place, each in enumerate(func._schema.arguments)
        if each.alias_info is not None and each.alias_info.is_write
    )


def _distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The tensors without those that show the same part of a storage in the same way as another."""
    shown = {(address(each), each.storage_offset(), each.shape, each.stride()): each for each in reversed([*tensors])}
    return [*reversed(shown.values())]
