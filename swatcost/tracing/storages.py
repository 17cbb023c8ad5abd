"""The memory that tensors live in: numbered as it is met, and known by what it was computed from."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping

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


class Origins:
    """Which parameters a storage was computed from, and from nothing else of the network's but buffers and constants.

    So a masked, scaled or converted weight is still known as a weight. What a product gives is an activation.
    """

    def __init__(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        self._origins: dict[int, frozenset[str]] = {
            **{_address(tensor): frozenset() for tensor in buffers.values()},
            **{_address(tensor): frozenset((name,)) for name, tensor in parameters.items()},
        }

    def of(self, tensor: Tensor) -> frozenset[str]:
        """The names of the parameters; empty for anything else."""
        return self._origins.get(_address(tensor), frozenset())

    def follow(self, read: Iterable[Tensor], made: Iterable[Tensor], *, is_product: bool) -> None:
        """Notes what an operation made of what it read."""
        names: frozenset[str] | None = frozenset()
        if is_product:
            names = None
        else:
            for tensor in read:
                origin = self._origins.get(_address(tensor))
                if origin is None:
                    names = None
                    break
                names |= origin  # type: ignore[operator]
        for tensor in made:
            if names is None:
                self._origins.pop(_address(tensor), None)
            else:
                self._origins[_address(tensor)] = names


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
