"""What a reader is given and what it tells: one node of a graph, and the layers that it executes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swatcost.importing.onnx_shapes import attribute
from swatcost.importing.values import Value
from swatcost.network.attention import Attention
from swatcost.network.layer import LayerKind

if TYPE_CHECKING:
    import onnx


class NotReadError(Exception):
    """A node multiplies tensors in a way that no reader covers."""


@dataclass(frozen=True)
class Call:
    """One node with the tensors that it reads and returns; an input that is left out is None.

    `near` are the nodes around it, which tell what a normalisation is part of.
    """

    node: onnx.NodeProto
    inputs: Sequence[Value | None]
    outputs: Sequence[Value]
    near: Neighbours

    def input(self, place: int) -> Value | None:
        """An optional input."""
        return self.inputs[place] if place < len(self.inputs) else None

    def needed(self, place: int) -> Value:
        """An input that the operation cannot do without. Raises ValueError if it is missing."""
        value = self.input(place)
        if value is None:
            raise ValueError(f"its input {place} is missing")
        return value

    def attribute(self, name: str, default: Any = None) -> Any:
        return attribute(self.node, name, default)

    def result_shape(self, place: int = 0) -> tuple[int, ...]:
        """The shape of a result. Raises ValueError if it is unknown."""
        return self.outputs[place].known_shape


@dataclass(frozen=True)
class Neighbours:
    """Which node returned a tensor, which nodes read it, and what is known of it so far."""

    made_by: dict[str, onnx.NodeProto]
    read_by: dict[str, list[onnx.NodeProto]]
    values: dict[str, Value]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One layer, product or normalisation that a node executes; fields of the same name are as in Layer.

    `weight` is the right operand of a product and the scale of a normalisation. `others` are the remaining parameters.
    The shapes of input and weight are the layer's, which may differ from those of the tensors that hold them.
    `stand_ins` are ones and zeros that an exporter gives to a node in place of parameters. `statistics` are the numbers
    that a normalisation keeps for the backward pass: of each part that it normalises, a mean and a deviation.
    """

    kind: LayerKind
    input: Value
    weight: Value | None = None
    others: tuple[Value | None, ...] = ()
    output_shape: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    custom_macs: tuple[int, int] = (0, 0)
    attention: Attention | None = None
    stand_ins: tuple[Value, ...] = ()
    statistics: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to compute."""
        return 0 in self.input.known_shape or 0 in self.output_shape


Reader = Callable[[Call], Iterable[Reading]]
READERS: dict[str, Reader] = {}
"""Every operation of ONNX that multiplies tensors or normalises them, and how it is read."""


def reads(*operations: str) -> Callable[[Reader], Reader]:
    """Registers a reader for these operations."""

    def register(reader: Reader) -> Reader:
        READERS.update(dict.fromkeys(operations, reader))
        return reader

    return register
