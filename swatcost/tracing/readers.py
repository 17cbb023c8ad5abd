"""aten operations → layers: which argument is the input, which the weight, and what shapes they have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from torch import Tensor

from swatcost.layer import Layer

if TYPE_CHECKING:
    from swatcost.tracing.run import Run

# Readers take the arguments and the result of one aten operation and return a layer, or None if it is none.
Reader = Callable[["Run", tuple[Any, ...], Any], Layer | None]
READERS: dict[str, Reader] = {}


def _reads(*operations: str) -> Callable[[Reader], Reader]:
    def register(reader: Reader) -> Reader:
        for operation in operations:
            if operation in READERS:
                raise ValueError(f"aten.{operation} has a reader already")
            READERS[operation] = reader
        return reader

    return register


@_reads("convolution")
def _convolution(run: Run, args: tuple[Any, ...], result: Tensor) -> Layer | None:
    input, weight, bias, stride, padding, dilation, transposed, _, groups = args
    if transposed:
        return None
    spatial = weight.dim() - 2

    def each(sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(sizes) if len(sizes) == spatial else tuple(sizes) * spatial

    return run.layer(
        kind="conv",
        input=input,
        weight=weight,
        others=[bias],
        input_shape=tuple(input.shape),
        weight_shape=tuple(weight.shape),
        output_shape=tuple(result.shape),
        stride=each(stride),
        padding=each(padding),
        dilation=each(dilation),
        groups=groups,
    )


@_reads("addmm")
def _addmm(run: Run, args: tuple[Any, ...], result: Tensor) -> Layer | None:
    return _linear(run, args[1], args[2], args[0])


@_reads("mm", "bmm")
def _mm(run: Run, args: tuple[Any, ...], result: Tensor) -> Layer | None:
    return _linear(run, args[0], args[1], None)


def _linear(run: Run, input: Tensor, weight: Tensor, bias: Tensor | None) -> Layer | None:
    """A product with a parameter, or the one inside an nn.Linear whose weight is computed."""
    features_in, features_out = weight.shape[-2:]
    linear = run.running_linear()
    if not run.is_weight(weight) and (linear is None or linear.module.in_features != features_in):
        return None
    if weight.dim() == 3 and weight.shape[0] > 1 and weight.stride(0) != 0:
        return None  # a different matrix for each item of the batch is no linear layer
    rows = tuple(input.shape[:-1])
    if linear and linear.shapes and linear.shapes[0][-1:] == (features_in,) and prod(linear.shapes[0]) == input.numel():
        rows = linear.shapes[0][:-1]  # as the module was called, before its rows were flattened
    return run.layer(
        kind="linear",
        input=input,
        weight=weight,
        others=[bias],
        input_shape=(*rows, features_in),
        weight_shape=(features_out, features_in),
        output_shape=(*rows, features_out),
    )


@_reads(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)
def _batch_norm(run: Run, args: tuple[Any, ...], result: tuple[Tensor, ...]) -> Layer | None:
    input, weight, bias = args[:3]
    return run.layer(
        kind="batch_norm",
        input=input,
        weight=weight,
        others=[bias],
        input_shape=tuple(input.shape),
        weight_shape=() if weight is None else tuple(weight.shape),
        output_shape=tuple(result[0].shape),
    )
