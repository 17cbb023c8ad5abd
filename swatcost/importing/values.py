"""The tensors of an ONNX graph: shapes, the weights that they are made of, and which gradients they need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

_BYTES = {
    "FLOAT": 4, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "INT32": 4, "INT64": 8, "BOOL": 1, "FLOAT16": 2,
    "DOUBLE": 8, "UINT32": 4, "UINT64": 8, "COMPLEX64": 8, "COMPLEX128": 16, "BFLOAT16": 2, "FLOAT8E4M3FN": 1,
    "FLOAT8E4M3FNUZ": 1, "FLOAT8E5M2": 1, "FLOAT8E5M2FNUZ": 1, "FLOAT8E8M0": 1,
}  # fmt: skip
"""Bytes of an element; types that are not here pack several into a byte, which is counted as one each."""


def dtype_name(dtype: int) -> str:
    """ONNX's name of a type of elements. Raises ValueError for a number that is none."""
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(dtype))


@dataclass(frozen=True)
class Value:
    """A tensor of a graph.

    `shape` is None where it is unknown. `data` has the elements of a small tensor that are known without running the
    network. `weights` names the initializers that it is computed from, in order, if it is computed from initializers
    alone; `part` is where it starts and ends in the only one of them. `grows` says that it depends on the network's
    inputs. `origin` names the tensor in whose memory it is a view, and `moved` says that this view has its elements in
    another order.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: int
    data: Any = None
    weights: tuple[str, ...] = ()
    part: tuple[int, int] | None = None
    grows: bool = False
    needs_grad: bool = False
    origin: str = ""
    moved: bool = False

    @property
    def elements(self) -> int:
        return prod(self.known_shape)

    @property
    def known_shape(self) -> tuple[int, ...]:
        """Its shape. Raises ValueError if it is unknown."""
        if self.shape is None:
            raise ValueError(f"the shape of {self.name!r} is unknown")
        return self.shape

    @property
    def is_weight(self) -> bool:
        """Whether it is a weight: an initializer, or computed from initializers only."""
        return bool(self.weights) and not self.grows

    @property
    def is_float(self) -> bool:
        """Whether its elements are floating-point or complex numbers, which can have a gradient."""
        return dtype_name(self.dtype).lstrip("B").startswith(("FLOAT", "DOUBLE", "COMPLEX"))

    @property
    def element_bytes(self) -> int:
        return _BYTES.get(dtype_name(self.dtype), 1)

    @property
    def bytes(self) -> int:
        """Its size [bytes]."""
        return self.elements * self.element_bytes

    def reshaped(self, *shape: int) -> Value:
        """Its elements in another shape."""
        return replace(self, shape=shape)

    @property
    def transposed(self) -> Value:
        """The same matrices, each transposed."""
        *batch, rows, columns = self.known_shape
        return self.reshaped(*batch, columns, rows)
