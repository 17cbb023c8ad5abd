"""The time of operations that are bound by memory, by the bytes of their operands and results, each counted once.

The bytes are those that `swatcost.tracing.movements` counts for the call.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from swatcost.reference.timer import Arguments, Operation, Timing, copies, in_turn, timed, written
from swatcost.timing.rooflines import LARGE_RESULT

STREAM_BYTES = (
    10_000, 40_000, 160_000, 640_000, 2_500_000, 10_000_000, 32_000_000,
    # on both sides of a large result, where one tensor is read, and where two are
    int(1.9 * LARGE_RESULT), int(2.1 * LARGE_RESULT), int(2.9 * LARGE_RESULT), int(3.1 * LARGE_RESULT), 240_000_000,
)  # fmt: skip
"""What a call reads and writes, nearly [bytes]."""

_VALUE = 4  # bytes of a number in fp32
_INDEX = 8  # bytes of an index
_FEATURES = 256  # of a row that is normalised or put through a softmax
_CHANNELS, _IMAGES = 64, 4  # of images that are normalised or pooled
_DENSITY = 0.2  # of a tensor that is compressed [-]
_PARAMETERS = 8  # that an optimizer updates in a step, unless they are large

aten = torch.ops.aten


@dataclass(frozen=True)
class Prepared:
    """An operation, its operands, and the bytes that it reads and writes, or of one of several parameters."""

    operation: Operation
    arguments: Arguments
    bytes: int
    parameters: int = 1


@dataclass(frozen=True)
class Stream:
    """An operation of a kind of a profile's streams; `prepare` makes its operands, of so many bytes."""

    name: str
    kind: str
    in_pass: Literal["forward", "backward"]
    prepare: Callable[[int, str], Prepared]


@dataclass(frozen=True, kw_only=True)
class StreamTiming(Timing):
    """The time of a call, and the bytes that it reads and writes."""

    bytes: int


def measure(stream: Stream, bytes: int, on: str) -> StreamTiming:
    """The time of a call that reads and writes nearly so many bytes."""
    prepared = stream.prepare(bytes, on)
    with torch.no_grad():
        time = timed(prepared.operation, prepared.arguments, on)
    seconds = time.seconds / prepared.parameters
    return StreamTiming(seconds=seconds, spread=time.spread, repetitions=time.repetitions, bytes=prepared.bytes)


def _numbers(*sizes: int, on: str) -> Tensor:
    return torch.empty(sizes, device=on).normal_()


def _elementwise(operation: Callable[..., Any], operands: int) -> Callable[[int, str], Prepared]:
    """An operation on flat tensors: the first operand was just written, the others were not used for a while.

    Its result, or the changed operand, has the size of an operand.
    """

    def prepare(bytes: int, on: str) -> Prepared:
        elements = max(1, bytes // ((operands + 1) * _VALUE))
        fresh, *others = (_numbers(elements, on=on) for _ in range(operands))
        turns = [in_turn(each) for each in others]
        return Prepared(operation, lambda: (written(fresh), *map(next, turns)), (operands + 1) * elements * _VALUE)

    return prepare


def _relu_backward(grad: Tensor, output: Tensor) -> Any:
    return aten.threshold_backward(grad, output, 0)


def _gelu_backward(grad: Tensor, x: Tensor) -> Any:
    return aten.gelu_backward(grad, x)


def _silu_backward(grad: Tensor, x: Tensor) -> Any:
    return aten.silu_backward(grad, x)


def _zeros(bytes: int, on: str) -> Prepared:
    elements = max(1, bytes // _VALUE)
    return Prepared(lambda: torch.zeros(elements, device=on), lambda: (), elements * _VALUE)


def _cat(bytes: int, on: str) -> Prepared:
    """Channels of images beside others, as in DenseNet."""
    x = _images(bytes, 2, on)
    fresh, stale = x[:, : _CHANNELS // 4].contiguous(), in_turn(x[:, _CHANNELS // 4 :].contiguous())
    return Prepared(lambda *given: torch.cat(given, 1), lambda: (written(fresh), next(stale)), 2 * x.numel() * _VALUE)


def _rows(bytes: int, tensors: int, on: str) -> Tensor:
    return _numbers(max(1, bytes // (tensors * _VALUE * _FEATURES)), _FEATURES, on=on)


def _images(bytes: int, tensors: float, on: str) -> Tensor:
    """Square images, of an even size so that they can be halved."""
    side = 2 * max(1, round(math.sqrt(bytes / (tensors * _VALUE * _IMAGES * _CHANNELS)) / 2))
    return _numbers(_IMAGES, _CHANNELS, side, side, on=on)


def _forward(x: Tensor, operation: Callable[[Tensor], Any], tensors: int) -> Prepared:
    return Prepared(operation, lambda: (written(x),), tensors * x.numel() * _VALUE)


def _backward(x: Tensor, operation: Callable[[Tensor, Tensor], Any], tensors: int) -> Prepared:
    """An operation of the gradient, which was just written, and of a saved tensor of the same size."""
    grad, saved = torch.randn_like(x), in_turn(x)
    return Prepared(operation, lambda: (written(grad), next(saved)), tensors * x.numel() * _VALUE)


def _batch_norm(bytes: int, on: str) -> Prepared:
    weight, bias, mean, variance = (torch.ones(_CHANNELS, device=on) for _ in range(4))
    return _forward(
        _images(bytes, 2, on), lambda x: aten.native_batch_norm(x, weight, bias, mean, variance, True, 0.1, 1e-5), 2
    )


def _batch_norm_backward(bytes: int, on: str) -> Prepared:
    x = _images(bytes, 3, on)
    weight, bias, mean, variance = (torch.ones(_CHANNELS, device=on) for _ in range(4))
    _, *saved = aten.native_batch_norm(x, weight, bias, mean, variance, True, 0.1, 1e-5)

    def operation(grad: Tensor, x: Tensor) -> Any:
        wanted = [True, True, True]
        return aten.native_batch_norm_backward(grad, x, weight, mean, variance, *saved, True, 1e-5, wanted)

    return _backward(x, operation, 3)


def _layer_norm(bytes: int, on: str) -> Prepared:
    weight, bias = (torch.ones(_FEATURES, device=on) for _ in range(2))
    return _forward(_rows(bytes, 2, on), lambda x: aten.native_layer_norm(x, [_FEATURES], weight, bias, 1e-5), 2)


def _layer_norm_backward(bytes: int, on: str) -> Prepared:
    x, shape = _rows(bytes, 3, on), [_FEATURES]
    weight, bias = (torch.ones(_FEATURES, device=on) for _ in range(2))
    _, *saved = aten.native_layer_norm(x, shape, weight, bias, 1e-5)

    def operation(grad: Tensor, x: Tensor) -> Any:
        return aten.native_layer_norm_backward(grad, x, shape, *saved, weight, bias, [True, True, True])

    return _backward(x, operation, 3)


def _softmax(bytes: int, on: str) -> Prepared:
    return _forward(_rows(bytes, 2, on), lambda x: torch.softmax(x, -1), 2)


def _softmax_backward(bytes: int, on: str) -> Prepared:
    output = torch.softmax(_rows(bytes, 3, on), -1)
    return _backward(output, lambda grad, saved: aten._softmax_backward_data(grad, saved, -1, torch.float32), 3)


def _sum(bytes: int, on: str) -> Prepared:
    return _forward(_rows(bytes, 1, on), lambda x: x.sum(0), 1)


_POOLING: tuple[Any, ...] = ([3, 3], [2, 2], [1, 1], [1, 1], False)  # kernel, stride, padding, dilation, ceil_mode
_POOLED = 1 + (_VALUE + _INDEX) / (4 * _VALUE)  # tensors of the input's size: it, and a quarter of values and indices


def _max_pooling(bytes: int, on: str) -> Prepared:
    x = _images(bytes, _POOLED, on)
    size = round(_POOLED * x.numel() * _VALUE)
    return Prepared(lambda x: aten.max_pool2d_with_indices(x, *_POOLING), lambda: (written(x),), size)


def _max_pooling_backward(bytes: int, on: str) -> Prepared:
    x = _images(bytes, _POOLED, on)
    output, indices = aten.max_pool2d_with_indices(x, *_POOLING)
    turn = in_turn(indices)

    def operation(grad: Tensor, indices: Tensor) -> Any:
        return aten.max_pool2d_with_indices_backward(grad, x, *_POOLING, indices)  # of x, only the shape is read

    return Prepared(operation, lambda: (written(output), next(turn)), round(_POOLED * x.numel() * _VALUE))


def _compressing(bytes: int, on: str) -> Prepared:
    """A matrix with a value and an index per non-zero as its result; the rows' ends are not counted."""
    x = _rows(bytes, 1, on)  # the bytes of the result come on top
    x *= torch.rand_like(x) < _DENSITY
    compressed = int(x.count_nonzero()) * (_VALUE + _INDEX)
    return Prepared(lambda x: x.to_sparse_csr(), lambda: (written(x),), x.numel() * _VALUE + compressed)


def _optimizer(make: Callable[..., Optimizer], **settings: Any) -> Callable[[int, str], Prepared]:
    """The update of one parameter of so many bytes, among some that torch.optim updates in one step."""

    def prepare(bytes: int, on: str) -> Prepared:
        elements, count = max(1, bytes // _VALUE), min(_PARAMETERS, copies(bytes, on))

        def optimizer() -> Optimizer:
            parameters = [nn.Parameter(_numbers(elements, on=on)) for _ in range(count)]
            for each in parameters:
                each.grad = torch.full_like(each, 1e-3)
            made = make(parameters, lr=1e-4, **settings)
            made.step()  # makes its state
            return made

        turn = cycle([optimizer() for _ in range(copies(count * bytes, on))])
        return Prepared(lambda each: each.step(), lambda: (next(turn),), elements * _VALUE, count)

    return prepare


STREAMS = (
    Stream("relu", "elementwise", "forward", _elementwise(torch.relu, 1)),
    Stream("add", "elementwise", "forward", _elementwise(torch.add, 2)),
    Stream("threshold_backward", "elementwise", "backward", _elementwise(_relu_backward, 2)),
    Stream("relu_", "in place", "forward", _elementwise(torch.relu_, 1)),
    Stream("add_", "in place", "backward", _elementwise(Tensor.add_, 2)),
    Stream("gelu", "transcendental", "forward", _elementwise(nn.functional.gelu, 1)),
    Stream("silu", "transcendental", "forward", _elementwise(nn.functional.silu, 1)),
    Stream("gelu_backward", "transcendental", "backward", _elementwise(_gelu_backward, 2)),
    Stream("silu_backward", "transcendental", "backward", _elementwise(_silu_backward, 2)),
    Stream("native_batch_norm", "batch normalisation", "forward", _batch_norm),
    Stream("native_batch_norm_backward", "batch normalisation", "backward", _batch_norm_backward),
    Stream("native_layer_norm", "layer normalisation", "forward", _layer_norm),
    Stream("native_layer_norm_backward", "layer normalisation", "backward", _layer_norm_backward),
    Stream("softmax", "softmax", "forward", _softmax),
    Stream("_softmax_backward_data", "softmax", "backward", _softmax_backward),
    Stream("max_pool2d_with_indices", "pooling", "forward", _max_pooling),
    Stream("max_pool2d_with_indices_backward", "pooling", "backward", _max_pooling_backward),
    Stream("sum", "reduction", "forward", _sum),
    Stream("zeros", "fill", "forward", _zeros),
    Stream("clone", "copy", "forward", _elementwise(torch.clone, 1)),
    Stream("cat", "copy", "forward", _cat),
    Stream("to csr", "compressing", "forward", _compressing),
    Stream("sgd", "optimizer sgd", "forward", _optimizer(SGD)),
    Stream("momentum", "optimizer momentum", "forward", _optimizer(SGD, momentum=0.9)),
    Stream("adam", "optimizer adam", "forward", _optimizer(Adam)),
    Stream("adamw", "optimizer adamw", "forward", _optimizer(AdamW)),
)  # fmt: skip
"""What is measured, named as torch names it. A point of a profile is the geometric mean over a kind's operations; an
optimizer's is the update of one parameter by the parameter's bytes.
"""
