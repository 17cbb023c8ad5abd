"""What a machine's dense operations take: peaks of its data sheet, and measured times by shape."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import msgspec

from swatcost.network.fields import LARGEST, Name
from swatcost.network.passes import Pass

PositiveSeconds = Annotated[float, msgspec.Meta(ge=1e-12, le=1e9)]
Rate = Annotated[float, msgspec.Meta(ge=1, le=1e30)]
PositiveCount = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]
ProductPrecision = Literal["fp32", "tf32", "bf16", "fp16", "fp8"]
"""In what a product is computed. tf32 reads and writes fp32."""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The highest rate of dense products in a precision, and who says so: never one that counts skipped zeros."""

    name: ProductPrecision
    macs_per_second: Rate
    source: Name


class OperationPoint(NamedTuple):
    """The time [s] of an operation on one shape.

    `rows` are images · output positions of a convolution, rows of a linear layer's input or of a product's result;
    `inner` are input channels per group or the dimension that is summed over, `outer` filters per group or columns of
    the result; `window` is R · S; `groups` are a convolution's, or the matrices of a batched product.
    """

    rows: PositiveCount
    inner: PositiveCount
    outer: PositiveCount
    window: PositiveCount
    stride: PositiveCount
    groups: PositiveCount
    seconds: PositiveSeconds

    @property
    def macs(self) -> int:
        """Multiply-accumulates, the same in all three passes."""
        return self.rows * self.inner * self.outer * self.window * self.groups


OperationKind = Literal["conv", "depthwise", "linear", "product"]


@dataclass(frozen=True, kw_only=True)
class OperationTimes:
    """Measured times of dense products of one kind, in one pass and precision."""

    kind: OperationKind
    in_pass: Pass
    precision: ProductPrecision = "fp32"
    points: tuple[OperationPoint, ...]

    def __post_init__(self) -> None:
        _check(self.points, f"{self.kind} {self.in_pass}")


class StreamPoint(NamedTuple):
    """The time [s] of a call that reads and writes so many bytes."""

    moved_bytes: PositiveCount
    seconds: PositiveSeconds


@dataclass(frozen=True, kw_only=True)
class StreamTimes:
    """Measured times of operations that are bound by memory, by the bytes that a call reads and writes.

    `kind` is one of `swatcost.timing.streams.KINDS`, "compressing", or "optimizer" and the name of an optimizer.
    """

    kind: Name
    in_pass: Literal["forward", "backward"] = "forward"
    points: tuple[StreamPoint, ...]

    def __post_init__(self) -> None:
        _check(self.points, f"{self.kind} {self.in_pass}")


def _check(points: tuple[OperationPoint, ...] | tuple[StreamPoint, ...], of: str) -> None:
    shapes = [each[:-1] for each in points]
    if not shapes:
        raise ValueError(f"{of} has no measured points")
    if len(set(shapes)) < len(shapes):
        raise ValueError(f"{of} has two measurements of one shape")
