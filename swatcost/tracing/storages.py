"""Tensor storages: their numbers, sizes and lifetimes."""

import weakref
from collections.abc import Set
from dataclasses import replace

from torch import Tensor

from swatcost.network import Storage


def address(tensor: Tensor) -> int:
    """The address of a tensor's storage: the same for all tensors that share it, as long as it is alive."""
    return int(tensor.untyped_storage()._cdata)


class Storages:
    """Numbers storages in the order in which they are seen, and records their lifetimes.

    `events` are as in Timeline; parameters and buffers have none, as they are resident throughout. The address of a
    freed storage may be reused, so each storage has a weak reference that removes its number.
    """

    def __init__(self, batch_size: int, batch_is_identifiable: bool, own: Set[int]) -> None:
        self._batch_size = batch_size
        self._batch_is_identifiable = batch_is_identifiable
        self._fixed_shapes: set[tuple[int, ...]] = set()  # of tensors that do not grow with the batch
        self._growing_shapes: set[tuple[int, ...]] = set()
        self._own = own  # the addresses of parameters and buffers, which live through the step
        self._numbers: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[object]] = {}
        self.sizes: list[Storage] = []
        self.events: list[int] = []

    def number(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        address = storage._cdata
        number = self._numbers.get(address)
        if number is None:
            number = self._numbers[address] = len(self.sizes)
            self.sizes.append(self._size(tensor))
            if address in self._own:
                return number
            self.events.append(number + 1)

            def freed(_: object) -> None:
                self.events.append(-number - 1)
                self._numbers.pop(address, None)
                self._watched.pop(address, None)

            self._watched[address] = weakref.ref(storage, freed)
        return number

    def known(self, tensor: Tensor) -> int | None:
        """The number of a storage that was seen before."""
        return self._numbers.get(address(tensor))

    def seems_to_grow(self, tensor: Tensor) -> bool:
        """Whether a tensor that is in no numbered storage, such as a constant of a module, grows with the batch."""
        return self._batch_is_identifiable and self._size(tensor).scales_with_batch

    def constant(self, tensor: Tensor) -> int:
        """The number of a storage that does not grow with the batch, such as a parameter gradient's."""
        number = self.number(tensor)
        self.fixed(tensor)
        self.sizes[number] = replace(self.sizes[number], scales_with_batch=False)
        return number

    def grows(self, tensor: Tensor) -> int:
        """The number of a storage that does grow with the batch, such as one of labels."""
        number = self.number(tensor)
        self.growing(tensor)
        self.sizes[number] = replace(self.sizes[number], scales_with_batch=True)
        return number

    def fixed(self, tensor: Tensor) -> None:
        """Notes that there is a tensor of this shape that does not grow with the batch."""
        self._fixed_shapes |= {tuple(tensor.shape), tuple(reversed(tensor.shape))}

    def growing(self, tensor: Tensor) -> None:
        """Notes that tensors of this shape may grow with the batch."""
        if not self._batch_is_identifiable:
            self._growing_shapes.add(tuple(tensor.shape))

    def _size(self, tensor: Tensor) -> Storage:
        """The storage's size, and whether it grows with the batch.

        If the batch size is not identifiable, a tensor without dimensions is one number, such as a loss, one with one
        dimension is assumed to hold channel statistics, and one whose shape only tensors have that do not grow, the
        gradient of such a tensor.
        """
        size = tensor.untyped_storage().nbytes()
        divides = size // tensor.element_size() % self._batch_size == 0
        return Storage(
            bytes=size,
            scales_with_batch=divides and (self._batch_is_identifiable or not self._seems_fixed(tensor)),
            float_bytes=tensor.element_size() if tensor.is_floating_point() or tensor.is_complex() else 0,
        )

    def _seems_fixed(self, tensor: Tensor) -> bool:
        shape = tuple(tensor.shape)
        return len(shape) <= 1 or (shape in self._fixed_shapes and shape not in self._growing_shapes)
