"""aten operations → readings: which argument is the input, which the weight, and their shapes."""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from swatcost.common.errors import SwatcostError
from swatcost.network.formulas import Formula, counted
from swatcost.network.layer import LayerKind
from swatcost.tracing.operands import Call, Operand, Reading, operands_of
from swatcost.tracing.running_modules import Frame

Reader = Callable[[Call], Iterable[Reading]]
READERS: dict[str, Reader] = {}


def _reads(*operations: str) -> Callable[[Reader], Reader]:
    def register(reader: Reader) -> Reader:
        for operation in operations:
            if operation in READERS:
                raise ValueError(f"aten.{operation} already has a reader")
            READERS[operation] = reader
        return reader

    return register


@_reads("convolution", "convolution_overrideable")
def _convolution(call: Call) -> Iterable[Reading]:
    input, kernel, bias, stride, padding, dilation, transposed, _, groups = call.args
    if not kernel.is_weight and not isinstance(call.frame.module, _ConvNd):
        yield _convolution_of_activations(input, kernel, call.result, transposed)
        return
    spatial = len(kernel.shape) - 2

    def each(sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(sizes) if len(sizes) == spatial else tuple(sizes) * spatial

    yield Reading(
        kind="transposed_conv" if transposed else "conv",
        input=input,
        weight=kernel,
        others=(bias,),
        output_shape=call.result.shape,
        stride=each(stride),
        padding=each(padding),
        dilation=each(dilation),
        groups=groups,
    )


def _convolution_of_activations(input: Operand, kernel: Operand, result: Operand, transposed: bool) -> Reading:
    """A convolution whose kernel the network computes: a product of activations, recorded as custom."""
    positions = (input if transposed else result).shape  # each kernel element is multiplied once per position and image
    macs = positions[0] * prod(positions[2:]) * kernel.elements
    gradients = input.needs_grad + kernel.needs_grad
    return Reading(
        kind="custom",
        input=input._replace(needs_grad=gradients > 0),
        output_shape=result.shape,
        custom_macs=(macs, macs * gradients),
    )


_reads("mm", "bmm", "mv", "dot", "vdot")(lambda call: [_matmul(call.args[0], call.args[1], None, call.frame)])
_reads("addmm", "_addmm_activation", "baddbmm", "addbmm", "addmv")(
    lambda call: [_matmul(call.args[1], call.args[2], call.args[0], call.frame)]
)


@_reads("addr")
def _outer_product(call: Call) -> Iterable[Reading]:
    added, left, right = call.args[:3]
    yield _matmul(left.reshaped(*left.shape, 1), right.reshaped(1, *right.shape), added, call.frame)


def _matmul(left: Operand, right: Operand, added: Operand | None, frame: Frame) -> Reading:
    """A product of vectors, matrices or batches of them; a linear layer if either operand is a weight."""
    left = left.reshaped(1, *left.shape) if len(left.shape) == 1 else left
    right = right.reshaped(*right.shape, 1) if len(right.shape) == 1 else right
    if right.is_weight or (is_torchs(nn.Linear, frame) and frame.module.in_features == right.shape[-2]):
        return _linear(left, right, added, frame)
    if left.is_weight:
        return _linear(right.transposed, left.transposed, added, frame)
    return _product(left, right)


def _linear(input: Operand, weight: Operand, bias: Operand | None, frame: Frame) -> Reading:
    """Rows times a matrix (in, out), or times one matrix per group."""
    features_in, features_out = weight.shape[-2:]
    groups = weight.matrices
    rows = input.shape[:-1]
    if groups > 1:
        rows = rows[1:]
    elif is_torchs(nn.Linear, frame):
        given = next(iter(frame.shapes), ())
        if given[-1:] == (features_in,) and prod(given) == input.elements:
            rows = given[:-1]  # the module's input shape, before its rows were flattened
    return Reading(
        kind="linear",
        input=input.reshaped(*rows, groups * features_in),
        weight=weight.reshaped(groups * features_out, features_in),
        others=(bias,),
        output_shape=(*rows, groups * features_out),
        groups=groups,
    )


def _product(left: Operand, right: Operand) -> Reading:
    return Reading(kind="product", input=left, weight=right, output_shape=(*left.shape[:-1], right.shape[-1]))


@_reads(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
def _attention(call: Call) -> Iterable[Reading]:
    """Q · Kᵀ and P · V; in grouped-query attention each head of Q counts its own products with K and V."""
    query, key, value = call.args[:3]
    yield _product(query, key.transposed)
    scores = query.reshaped(*query.shape[:-1], key.shape[-2])  # no tensor holds them; their gradient is that of Q and K
    yield _product(scores._replace(needs_grad=query.needs_grad or key.needs_grad), value)


@_reads("mkldnn_rnn_layer")
def _mkldnn_rnn(call: Call) -> Iterable[Reading]:
    input, weight_ih, weight_hh, *biases, state = call.args[:6]
    return _recurrent(input, weight_ih, weight_hh, biases, state, call.result[0])


@_reads("_cudnn_rnn")
def _cudnn_rnn(call: Call) -> Iterable[Reading]:
    """Every layer and direction, in the order of their weights; the first layer reads the input."""
    input, weights, per_direction, _, state = call.args[:5]
    directions = 1 + call.args[13]
    for start in range(0, len(weights), per_direction):
        weight_ih, weight_hh, *others = weights[start : start + per_direction]
        read = input if start // per_direction < directions else call.result[0]
        yield from _recurrent(read, weight_ih, weight_hh, others, state, call.result[0])


def _recurrent(
    input: Operand, weight_ih: Operand, weight_hh: Operand, others: Sequence[Operand], state: Operand, output: Operand
) -> Iterable[Reading]:
    """One direction of a recurrent layer: input to hidden, and hidden to hidden, whose first step reads the state."""
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
    yield linear(output._replace(needs_grad=trains), weight_hh, rows - first)


def _norm(kind: LayerKind, input: Operand, scale: Operand | None, shift: Operand | None = None) -> list[Reading]:
    return [Reading(kind=kind, input=input, weight=scale, others=(shift,), output_shape=input.shape)]


@_reads(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)
def _batch_norm(call: Call) -> Iterable[Reading]:
    instance = isinstance(call.frame.module, nn.modules.instancenorm._InstanceNorm)
    return _norm("instance_norm" if instance else "batch_norm", *call.args[:3])


_reads("native_group_norm")(lambda call: _norm("group_norm", *call.args[:3]))
_reads("native_layer_norm")(lambda call: _norm("layer_norm", call.args[0], *call.args[2:4]))
_reads("_fused_rms_norm")(lambda call: _norm("rms_norm", call.args[0], call.args[2]))


def is_torchs(kind: type[nn.Module], frame: Frame) -> bool:
    """Whether torch's own forward of this kind of module is running; a subclass may override it."""
    return getattr(type(frame.module), "forward", None) is kind.forward


def formula_reader(operation: str, formula: Formula) -> Reader:
    """A reader for a user-supplied formula. It raises SwatcostError if the call has no tensor or the formula fails."""

    def read(call: Call) -> Iterable[Reading]:
        operands = [*operands_of(call.args), *operands_of(tuple(call.kwargs.values()))]
        if not operands:
            raise SwatcostError(f"{operation} takes no tensor: formulas are for operations on tensors")
        named = {key: _shapes(each) for key, each in (*call.kwargs.items(), ("out_shape", call.result))}
        forward, *gradients = counted(operation, formula, _shapes(call.args), named, len(operands))
        wanted = sum(macs for macs, operand in zip(gradients, operands, strict=True) if operand.needs_grad)
        output = next(operands_of(call.result))
        yield Reading(kind="custom", input=operands[0], output_shape=output.shape, custom_macs=(forward, wanted))

    return read


def _shapes(value: Any) -> Any:
    """The value with shapes in place of operands."""
    if isinstance(value, Operand):
        return value.shape
    return type(value)(map(_shapes, value)) if type(value) in (tuple, list) else value
