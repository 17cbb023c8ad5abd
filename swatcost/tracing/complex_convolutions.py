"""Recognises the three real convolutions by which torch executes a convolution of complex numbers.

With x = a + ib and w = c + id they are a·c, b·d and (a + b)·(c + d), in this order. They are one layer, and one product
of complex numbers counts as four of real ones, as everywhere.
"""

from dataclasses import replace

from torch import Tensor

from swatcost.network.layer import Layer
from swatcost.tracing.storages import address


class ComplexConvolutions:
    """The places of complex convolutions among a trace's layers; their second and third real convolution is dropped."""

    def __init__(self) -> None:
        self._last: tuple[int, tuple[int, ...]] = -1, ()
        self._awaited: Layer | None = None
        self._first: set[int] = set()
        self.dropped: set[int] = set()

    def see(self, place: int, layer: Layer, input: Tensor, kernel: Tensor) -> None:
        """Takes note of the convolution that is the trace's layer number `place`."""
        if self._awaited and self._awaited.output_shape == layer.output_shape and self._awaited.name == layer.name:
            self.dropped.add(place)
            self._awaited = None
            return
        operands = input, kernel
        imaginary = all(each.storage_offset() % 2 and not each.stride(-1) % 2 for each in operands)
        if imaginary and self._last[1] == _halves(operands, 1):
            self._first.add(self._last[0])
            self.dropped.add(place)
            self._awaited = layer
        self._last = place, _halves(operands, 0)

    def counted(self, place: int, layer: Layer) -> Layer:
        """The layer as it is counted: the first of three convolutions stands for the complex one."""
        if place not in self._first:
            return layer
        return replace(layer, real_products=4, element_bytes=2 * layer.element_bytes)


def _halves(operands: tuple[Tensor, Tensor], before: int) -> tuple[int, ...]:
    return tuple(number for each in operands for number in (address(each), int(each.storage_offset()) - before))
