"""The time of operations that are bound by memory, by the bytes of their operands and results, each counted once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from swatcost.reference.timer import CACHED_BYTES, Arguments, Operation, Timing, in_turn, timed, written

STREAM_BYTES = (10_000, 40_000, 160_000, 640_000, 2_500_000, 10_000_000, 40_000_000, 200_000_000)
"""What a call reads and writes, nearly [bytes]."""

_VALUE = 4  # bytes of a number in fp32
_INDEX = 8  # bytes of an index
_FEATURES = 256  # of a row that is normalised or put through a softmax
_CHANNELS, _IMAGES = 64, 4  # of images that are normalised or pooled
_TENSOR = 2**20  # most elements of a parameter: a 3 × 3 convolution of 256 to 512 channels
_DENSITY = 0.2  # of a tensor that is compressed [-]
_MOST_MODELS = 64  # sets of parameters that take turns

aten = torch.ops.aten


@dataclass(frozen=True)
class Prepared:
    """An operation, its operands, and the bytes that it reads and writes."""

    operation: Operation
    arguments: Arguments
    bytes: int


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
    return StreamTiming(seconds=time.seconds, spread=time.spread, repetitions=time.repetitions, bytes=prepared.bytes)


def _numbers(*sizes: int, on: str) -> Tensor:
    return torch.empty(sizes, device=on).normal_()


def _elementwise(operation: Callable[..., Any], operands: int) -> Callable[[int, str], Prepared]:
    """An operation on flat tensors: the first operand was just written, the others were not used for a while."""

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
    norm = nn.BatchNorm2d(_CHANNELS, device=on)
    return _forward(_images(bytes, 2, on), norm, 2)


def _batch_norm_backward(bytes: int, on: str) -> Prepared:
    x = _images(bytes, 3, on)
    weight, bias, mean, variance = (torch.ones(_CHANNELS, device=on) for _ in range(4))
    _, *saved = aten.native_batch_norm(x, weight, bias, mean, variance, True, 0.1, 1e-5)
    wanted = [True, True, True]

    def operation(grad: Tensor, x: Tensor) -> Any:
        return aten.native_batch_norm_backward(grad, x, weight, mean, variance, *saved, True, 1e-5, wanted)

    return _backward(x, operation, 3)


def _layer_norm(bytes: int, on: str) -> Prepared:
    return _forward(_rows(bytes, 2, on), nn.LayerNorm(_FEATURES, device=on), 2)


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
        return aten.max_pool2d_with_indices_backward(grad, x, *_POOLING, indices)

    return Prepared(operation, lambda: (written(output), next(turn)), round(_POOLED * x.numel() * _VALUE))


def _compressing(bytes: int, on: str) -> Prepared:
    """A matrix with a value and an index per non-zero as its result; the rows' ends are not counted."""
    x = _rows(bytes, 1, on)  # the bytes of the result come on top
    x *= torch.rand_like(x) < _DENSITY
    compressed = int(x.count_nonzero()) * (_VALUE + _INDEX)
    return Prepared(lambda x: x.to_sparse_csr(), lambda: (written(x),), x.numel() * _VALUE + compressed)


def _optimizer(make: Callable[..., Optimizer], tensors: int, **settings: Any) -> Callable[[int, str], Prepared]:
    """A step as torch.optim runs it, on parameters of at most _TENSOR elements each.

    `tensors` is how often a parameter's size is read or written: gradient, parameter and state.
    """

    def prepare(bytes: int, on: str) -> Prepared:
        elements = max(1, bytes // (tensors * _VALUE))
        sizes = [_TENSOR] * (elements // _TENSOR) + [elements % _TENSOR] * (elements % _TENSOR > 0)

        def optimizer() -> Optimizer:
            parameters = [nn.Parameter(_numbers(size, on=on)) for size in sizes]
            for each in parameters:
                each.grad = torch.full_like(each, 1e-3)
            made = make(parameters, lr=1e-4, **settings)
            made.step()  # makes its state
            return made

        models = max(1, min(_MOST_MODELS, CACHED_BYTES // bytes))
        turn = cycle([optimizer() for _ in range(models)])
        return Prepared(lambda each: each.step(), lambda: (next(turn),), tensors * elements * _VALUE)

    return prepare


STREAMS = (
    Stream("relu", "elementwise", "forward", _elementwise(torch.relu, 1)),
    Stream("add", "elementwise", "forward", _elementwise(torch.add, 2)),
    Stream("threshold_backward", "elementwise", "backward", _elementwise(_relu_backward, 2)),
    Stream("gelu", "transcendental", "forward", _elementwise(nn.functional.gelu, 1)),
    Stream("gelu_backward", "transcendental", "backward", _elementwise(_gelu_backward, 2)),
    Stream("batch_norm", "normalisation", "forward", _batch_norm),
    Stream("layer_norm", "normalisation", "forward", _layer_norm),
    Stream("native_batch_norm_backward", "normalisation", "backward", _batch_norm_backward),
    Stream("native_layer_norm_backward", "normalisation", "backward", _layer_norm_backward),
    Stream("softmax", "softmax", "forward", _softmax),
    Stream("_softmax_backward_data", "softmax", "backward", _softmax_backward),
    Stream("max_pool2d_with_indices", "pooling", "forward", _max_pooling),
    Stream("max_pool2d_with_indices_backward", "pooling", "backward", _max_pooling_backward),
    Stream("sum", "reduction", "forward", _sum),
    Stream("clone", "copy", "forward", _elementwise(torch.clone, 1)),
    Stream("to csr", "compressing", "forward", _compressing),
    Stream("momentum", "optimizer momentum", "forward", _optimizer(SGD, 5, momentum=0.9, weight_decay=1e-4)),
    Stream("adamw", "optimizer adamw", "forward", _optimizer(AdamW, 7)),
)  # fmt: skip
"""What is measured, named as torch names it. A point of a profile is the geometric mean over a kind's operations."""
