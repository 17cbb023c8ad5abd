"""The memory that tensors live in: numbered as it is met, with its size, and when it goes."""

import weakref
from dataclasses import replace

from torch import Tensor

from swatcost.network import Storage


def address(tensor: Tensor) -> int:
    """Where a tensor's storage is: the same for all that share it, as long as it lives."""
    return int(tensor.untyped_storage()._cdata)


class Storages:
    """Numbers for storages in the order in which they are met, and what happens to them.

    `events` are as in Timeline. A storage that dies gives its address to another, so that each is watched.
    """

    def __init__(self, batch_size: int, batch_is_identifiable: bool) -> None:
        self._batch_size = batch_size
        self._batch_is_identifiable = batch_is_identifiable
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
            self.events.append(number + 1)

            def gone(_: object) -> None:
                self.events.append(-number - 1)
                self._numbers.pop(address, None)
                self._watched.pop(address, None)

            self._watched[address] = weakref.ref(storage, gone)
        return number

    def gradient(self, tensor: Tensor) -> int:
        """The number of a parameter's gradient, which no batch makes larger."""
        number = self.number(tensor)
        self.sizes[number] = replace(self.sizes[number], scales_with_batch=False)
        return number

    def _size(self, tensor: Tensor) -> Storage:
        """How large the storage is, and whether it grows with the batch.

        Where the batch size is not identifiable, what has one dimension is taken to be a statistic of channels.
        """
        size = tensor.untyped_storage().nbytes()
        divides = size // tensor.element_size() % self._batch_size == 0
        return Storage(
            bytes=size,
            scales_with_batch=divides and (self._batch_is_identifiable or tensor.dim() != 1),
            float_bytes=tensor.element_size() if tensor.is_floating_point() or tensor.is_complex() else 0,
        )
