"""aten operations → readings: which argument is the input, which the weight, and what shapes they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from swatcost.common.errors import SwatcostError
from swatcost.network.formulas import Formula, counted
from swatcost.network.layer import LayerKind
from swatcost.tracing.operands import Operand, Reading, operands_of
from swatcost.tracing.running_modules import Frame

# A reader takes the positional arguments and the result of one aten operation, with operands in place of tensors, and
# the module that is running. It returns what the operation executed.
Reader = Callable[[tuple[Any, ...], Any, Frame], Iterable[Reading]]
READERS: dict[str, Reader] = {}


def _reads(*operations: str) -> Callable[[Reader], Reader]:
    def register(reader: Reader) -> Reader:
        for operation in operations:
            if operation in READERS:
                raise ValueError(f"aten.{operation} has a reader already")
            READERS[operation] = reader
        return reader

    return register


@_reads("convolution", "convolution_overrideable")
def _convolution(args: tuple[Any, ...], result: Operand, frame: Frame) -> Iterable[Reading]:
    input, kernel, bias, stride, padding, dilation, transposed, _, groups = args
    if not kernel.is_weight and not isinstance(frame.module, _ConvNd):
        yield _convolution_of_activations(input, kernel, result, transposed)
        return
    spatial = len(kernel.shape) - 2

    def each(sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(sizes) if len(sizes) == spatial else tuple(sizes) * spatial

    yield Reading(
        kind="transposed_conv" if transposed else "conv",
        input=input,
        weight=kernel,
        others=(bias,),
        output_shape=result.shape,
        stride=each(stride),
        padding=each(padding),
        dilation=each(dilation),
        groups=groups,
    )


def _convolution_of_activations(input: Operand, kernel: Operand, result: Operand, transposed: bool) -> Reading:
    """A convolution whose kernel the network computes: a product of activations, in a form of its own."""
    positions = (input if transposed else result).shape  # each element of the kernel meets each of them once per image
    macs = positions[0] * prod(positions[2:]) * kernel.elements
    gradients = input.needs_grad + kernel.needs_grad
    return Reading(
        kind="custom",
        input=replace(input, needs_grad=gradients > 0),
        output_shape=result.shape,
        custom_macs=(macs, macs * gradients),
    )


@_reads("mm", "bmm", "mv", "dot", "vdot")
def _mm(args: tuple[Any, ...], result: Operand, frame: Frame) -> Iterable[Reading]:
    yield _matmul(args[0], args[1], None, frame)


@_reads("addmm", "_addmm_activation", "baddbmm", "addbmm", "addmv")
def _addmm(args: tuple[Any, ...], result: Operand, frame: Frame) -> Iterable[Reading]:
    yield _matmul(args[1], args[2], args[0], frame)


@_reads("addr")
def _addr(args: tuple[Any, ...], result: Operand, frame: Frame) -> Iterable[Reading]:
    added, left, right = args[:3]
    yield _matmul(left.reshaped(*left.shape, 1), right.reshaped(1, *right.shape), added, frame)


def _matmul(left: Operand, right: Operand, added: Operand | None, frame: Frame) -> Reading:
    """A product of vectors, matrices or batches of them: with a weight, on either side, it is a linear layer."""
    left = left.reshaped(1, *left.shape) if len(left.shape) == 1 else left
    right = right.reshaped(*right.shape, 1) if len(right.shape) == 1 else right
    if right.is_weight or (_is_linear(frame) and frame.module.in_features == right.shape[-2]):
        return _linear(left, right, added, frame)
    if left.is_weight:
        return _linear(right.transposed, left.transposed, added, frame)
    return _product(left, right)


def _linear(input: Operand, weight: Operand, bias: Operand | None, frame: Frame) -> Reading:
    """Rows by a matrix (in, out), or by several side by side."""
    features_in, features_out = weight.shape[-2:]
    groups = weight.matrices
    rows = input.shape[:-1]
    if groups > 1:
        rows = rows[1:]
    elif _is_linear(frame):
        given = next(iter(frame.shapes), ())
        if given[-1:] == (features_in,) and prod(given) == input.elements:
            rows = given[:-1]  # as the module was called, before its rows were flattened
    return Reading(
        kind="linear",
        input=input.reshaped(*rows, groups * features_in),
        weight=weight.reshaped(groups * features_out, features_in),
        others=(bias,),
        output_shape=(*rows, groups * features_out),
        groups=groups,
    )


def _is_linear(frame: Frame) -> bool:
    """Whether an nn.Linear is running as torch wrote it; a subclass may do something else in its forward."""
    return getattr(type(frame.module), "forward", None) is nn.Linear.forward


def _product(left: Operand, right: Operand) -> Reading:
    return Reading(kind="product", input=left, weight=right, output_shape=(*left.shape[:-1], right.shape[-1]))


@_reads(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
def _attention(args: tuple[Any, ...], result: Any, frame: Frame) -> Iterable[Reading]:
    """Q · Kᵀ and P · V; heads of K and V that several heads of Q share are read by each of them."""
    query, key, value = args[:3]
    yield _product(query, key.transposed)
    scores = query.reshaped(*query.shape[:-1], key.shape[-2])  # in no tensor; their gradient leads to Q and K
    yield _product(replace(scores, needs_grad=query.needs_grad or key.needs_grad), value)


@_reads("mkldnn_rnn_layer")
def _mkldnn_rnn(args: tuple[Any, ...], result: tuple[Operand, ...], frame: Frame) -> Iterable[Reading]:
    input, weight_ih, weight_hh, *biases = args[:5]
    return _recurrent(input, weight_ih, weight_hh, biases, args[5], result[0])


@_reads("_cudnn_rnn")
def _cudnn_rnn(args: tuple[Any, ...], result: tuple[Operand, ...], frame: Frame) -> Iterable[Reading]:
    """Every layer and direction, each with its weights in a row; the first layer reads the input."""
    input, weights, per_direction, _, state = args[:5]
    directions = 1 + args[13]
    for start in range(0, len(weights), per_direction):
        weight_ih, weight_hh, *others = weights[start : start + per_direction]
        read = input if start // per_direction < directions else result[0]
        yield from _recurrent(read, weight_ih, weight_hh, others, state, result[0])


def _recurrent(
    input: Operand, weight_ih: Operand, weight_hh: Operand, others: Sequence[Operand], state: Operand, output: Operand
) -> Iterable[Reading]:
    """One direction of one recurrent layer: input to hidden, and hidden to hidden, whose first step reads the state."""
    rows = prod(input.shape[:-1])  # steps × batch, or the rows of a packed sequence
    first = min(rows, state.shape[-2])
    trains = weight_hh.needs_grad or weight_ih.needs_grad or input.needs_grad

    def linear(input: Operand, weight: Operand, rows: int) -> Reading:
        features_out, features_in = weight.shape
        return Reading(
            kind="linear",
            input=input.reshaped(rows, features_in),
            weight=weight,
            others=tuple(others),
            output_shape=(rows, features_out),
        )

    yield linear(input, weight_ih, rows)
    yield linear(state, weight_hh, first)
    yield linear(replace(output, needs_grad=trains), weight_hh, rows - first)


@_reads(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)
def _batch_norm(args: tuple[Any, ...], result: Any, frame: Frame) -> Iterable[Reading]:
    instance = isinstance(frame.module, nn.modules.instancenorm._InstanceNorm)
    yield _norm("instance_norm" if instance else "batch_norm", *args[:3])


@_reads("native_group_norm")
def _group_norm(args: tuple[Any, ...], result: Any, frame: Frame) -> Iterable[Reading]:
    yield _norm("group_norm", *args[:3])


@_reads("native_layer_norm")
def _layer_norm(args: tuple[Any, ...], result: Any, frame: Frame) -> Iterable[Reading]:
    yield _norm("layer_norm", args[0], *args[2:4])


@_reads("_fused_rms_norm")
def rms_norm(args: tuple[Any, ...], result: Any, frame: Frame) -> Iterable[Reading]:
    """Of its input, the shape it normalises over and its scale, fused or not."""
    yield _norm("rms_norm", args[0], args[2])


def is_rms_norm(module: nn.Module) -> bool:
    """Whether it is torch's own, which most devices execute in several operations."""
    return getattr(type(module), "forward", None) is nn.RMSNorm.forward


def _norm(kind: LayerKind, input: Operand, scale: Operand | None, shift: Operand | None = None) -> Reading:
    return Reading(kind=kind, input=input, weight=scale, others=(shift,), output_shape=input.shape)


def read_by_formula(name: str, formula: Formula, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Reading:
    """What an operation executed, by a formula from outside.

    Raises SwatcostError when the operation takes no tensor or the formula fails.
    """
    operands = [*operands_of(args), *operands_of(tuple(kwargs.values()))]
    if not operands:
        raise SwatcostError(f"{name} takes no tensor: a formula is for operations on tensors")
    named = {key: _shapes(each) for key, each in kwargs.items()}
    given = counted(name, formula, _shapes(args), {**named, "out_shape": _shapes(result)}, len(operands))
    gradients = sum(macs for macs, operand in zip(given[1:], operands, strict=True) if operand.needs_grad)
    output = next(operands_of(result))
    return Reading(kind="custom", input=operands[0], output_shape=output.shape, custom_macs=(given[0], gradients))


def _shapes(value: Any) -> Any:
    """Shapes in place of operands."""
    if isinstance(value, Operand):
        return value.shape
    return type(value)(map(_shapes, value)) if type(value) in (tuple, list) else value
