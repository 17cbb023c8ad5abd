"""Convolutions and recurrent layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod

from swatcost.importing.onnx_readings import Call, Reading, reads
from swatcost.importing.values import Value


@reads("Conv", "ConvTranspose", "ConvInteger")
def _convolution(call: Call) -> Iterable[Reading]:
    bias = None if call.node.op_type == "ConvInteger" else call.input(2)
    yield _read(call, call.needed(0), call.needed(1), bias)


@reads("QLinearConv")
def _quantised(call: Call) -> Iterable[Reading]:
    yield _read(call, call.needed(0), call.needed(3), call.input(8))


def _read(call: Call, input: Value, kernel: Value, bias: Value | None) -> Reading:
    spatial = len(kernel.known_shape) - 2
    output_shape, transposed = call.result_shape(), call.node.op_type == "ConvTranspose"
    if spatial < 1 or len(input.known_shape) != spatial + 2 or len(output_shape) != spatial + 2:
        raise ValueError(f"a kernel {kernel.shape} does not fit an input {input.shape}")
    if not kernel.is_weight:
        return _of_activations(input, kernel, output_shape, transposed)
    stride = tuple(call.attribute("strides", [1] * spatial))
    dilation = tuple(call.attribute("dilations", [1] * spatial))
    if not len(stride) == len(dilation) == spatial or min(*stride, *dilation) < 1:
        raise ValueError(f"it needs {spatial} strides and dilations, of at least 1")
    pads = _pads(call, input.known_shape[2:], kernel.known_shape[2:], stride, dilation)
    if len(pads) != spatial:
        raise ValueError(f"it needs {2 * spatial} pads")
    if any(before != after for before, after in pads):  # as if what it reads or returns were padded or cut by itself
        larger = tuple(
            size + sum(each)
            for size, each in zip((output_shape if transposed else input.known_shape)[2:], pads, strict=True)
        )
        input = input if transposed else input.reshaped(*input.known_shape[:2], *larger)
        output_shape = (*output_shape[:2], *larger) if transposed else output_shape
        pads = [(0, 0)] * spatial
    return Reading(
        kind="transposed_conv" if transposed else "conv",
        input=input,
        weight=kernel,
        others=(bias,),
        output_shape=output_shape,
        stride=stride,
        padding=tuple(before for before, _ in pads),
        dilation=dilation,
        groups=call.attribute("group", 1),
    )


def _pads(
    call: Call, sizes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> list[tuple[int, int]]:
    """The padding before and after each spatial dimension."""
    kind, spatial = call.attribute("auto_pad", "NOTSET"), len(kernel)
    if kind not in ("SAME_UPPER", "SAME_LOWER"):
        given = list(call.attribute("pads", [0] * 2 * spatial)) if kind == "NOTSET" else [0] * 2 * spatial
        if call.node.op_type == "ConvTranspose" and "output_shape" in {each.name for each in call.node.attribute}:
            return _to_output(call, sizes, kernel, stride, dilation)
        return list(zip(given[:spatial], given[spatial:], strict=False))
    if call.node.op_type == "ConvTranspose":
        return _to_output(call, sizes, kernel, stride, dilation)
    found = []
    for size, reach, step, apart in zip(sizes, kernel, stride, dilation, strict=True):
        total = max(0, (-(-size // step) - 1) * step + apart * (reach - 1) + 1 - size)
        less, more = total // 2, total - total // 2
        found.append((less, more) if kind == "SAME_UPPER" else (more, less))
    return found


def _to_output(
    call: Call, sizes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> list[tuple[int, int]]:
    """What a transposed convolution cuts off after each dimension, so that its output has the size that it is given."""
    whole = (
        (size - 1) * step + apart * (reach - 1) + 1
        for size, reach, step, apart in zip(sizes, kernel, stride, dilation, strict=True)
    )
    return [(0, full - out) for full, out in zip(whole, call.result_shape()[2:], strict=True)]


def _of_activations(input: Value, kernel: Value, output_shape: tuple[int, ...], transposed: bool) -> Reading:
    """A convolution whose kernel the network computes: a product of activations, recorded as custom."""
    positions = input.known_shape if transposed else output_shape  # each kernel element meets each position
    macs = positions[0] * prod(positions[2:]) * kernel.elements
    gradients = input.needs_grad + kernel.needs_grad
    return Reading(
        kind="custom",
        input=replace(input, needs_grad=gradients > 0),
        weight=replace(kernel, needs_grad=False),
        output_shape=output_shape,
        custom_macs=(macs, macs * gradients),
    )


@reads("LSTM", "GRU", "RNN")
def _recurrent(call: Call) -> Iterable[Reading]:
    """Per direction: input to hidden, and hidden to hidden, whose first step reads the initial state."""
    input, weight_ih, weight_hh, bias = call.needed(0), call.needed(1), call.needed(2), call.input(3)
    state = call.input(5)
    if not len(input.known_shape) == len(weight_ih.known_shape) == len(weight_hh.known_shape) == 3:
        raise ValueError("its input and weights need three dimensions each")
    steps, batch = input.known_shape[:2]
    if call.attribute("layout", 0):
        steps, batch = batch, steps
    directions, gates, features = weight_ih.known_shape
    hidden = weight_hh.known_shape[2]
    rows = steps * batch
    trains = input.needs_grad or weight_ih.needs_grad or weight_hh.needs_grad
    output = replace(call.outputs[0], name=call.outputs[0].name or input.name)

    def linear(read: Value, weight: Value, rows: int, needs_grad: bool) -> Reading:
        width = weight.known_shape[1]
        return Reading(
            kind="linear",
            input=replace(read, needs_grad=needs_grad).reshaped(rows, width),
            weight=weight,
            others=(bias,),
            output_shape=(rows, gates),
        )

    for direction in range(directions):
        to_hidden = _of_direction(weight_ih, direction, directions).reshaped(gates, features)
        between = _of_direction(weight_hh, direction, directions).reshaped(gates, hidden)
        yield linear(input, to_hidden, rows, input.needs_grad)
        yield linear(state or input, between, min(batch, rows), state is not None and state.needs_grad)
        yield linear(output, between, rows - min(batch, rows), trains)


def _of_direction(weight: Value, direction: int, directions: int) -> Value:
    """One direction's part of a weight that has them one after the other."""
    if directions == 1:
        return weight
    if len(weight.weights) == directions:  # an initializer for each
        return replace(weight, weights=weight.weights[direction : direction + 1], part=None)
    size = weight.elements // directions
    start = (weight.part or (0, 0))[0] + direction * size
    alone = len(weight.weights) == 1
    return replace(weight, part=(start, start + size) if alone else None)
