"""The memory that tensors live in, numbered as it is met."""

from __future__ import annotations

import weakref

from torch import Tensor


class Storages:
    """Numbers for storages, 0 for the first that is asked for. A storage that dies gives its address to another."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[object]] = {}
        self._next = 0

    def number(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        address = storage._cdata
        number = self._numbers.get(address)
        if number is None:
            number = self._numbers[address] = self._next
            self._next += 1

            def forget(_: object) -> None:
                self._numbers.pop(address, None)
                self._watched.pop(address, None)

            self._watched[address] = weakref.ref(storage, forget)
        return number


def address(tensor: Tensor) -> int:
    """Where a tensor's storage is: the same for all that share it, as long as it lives."""
    return int(tensor.untyped_storage()._cdata)
