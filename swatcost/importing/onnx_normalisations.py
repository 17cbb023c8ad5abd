"""Normalisations, which are listed and not counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from swatcost.importing.onnx_readings import Call, Reading, reads
from swatcost.importing.values import Value
from swatcost.network.layer import LayerKind

if TYPE_CHECKING:
    import onnx


def _norm(kind: LayerKind, input: Value, scale: Value | None, shift: Value | None = None) -> list[Reading]:
    """A normalisation; its scale is recorded if it has the shape that this kind of layer has."""
    shape = input.known_shape
    by_channel = kind in ("batch_norm", "instance_norm", "group_norm")
    if scale is not None:
        channels = shape[1] if by_channel and len(shape) > 1 else 0
        fits = (channels,) if by_channel else shape[len(shape) - len(scale.known_shape) :]
        if by_channel and scale.elements == channels:
            scale = scale.reshaped(channels)
        others = (shift,) if scale.known_shape == fits else (scale, shift)
        scale = scale if scale.known_shape == fits else None
        return [Reading(kind=kind, input=input, weight=scale, others=others, output_shape=shape)]
    return [Reading(kind=kind, input=input, others=(shift,), output_shape=shape)]


reads("BatchNormalization")(lambda call: _norm("batch_norm", *map(call.needed, (0, 1, 2))))
reads("LayerNormalization")(lambda call: _norm("layer_norm", call.needed(0), call.input(1), call.input(2)))
reads("RMSNormalization", "SimplifiedLayerNormalization")(lambda call: _norm("rms_norm", call.needed(0), call.input(1)))
reads("GroupNormalization")(lambda call: _norm("group_norm", *map(call.needed, (0, 1, 2))))


@reads("InstanceNormalization")
def _instance_norm(call: Call) -> Iterable[Reading]:
    """By instance; or by group, where the groups of an input's channels were made the channels of what it reads."""
    input, scale, shift = map(call.needed, (0, 1, 2))
    before = call.near.made_by.get(input.name)
    whole = call.near.values.get(before.input[0]) if before is not None and before.op_type == "Reshape" else None
    if whole is None or not whole.shape or len(whole.shape) < 3 or whole.shape[:2] == input.known_shape[:2]:
        return _norm("instance_norm", input, scale, shift)
    channels, groups = whole.shape[1], input.known_shape[1]
    if channels % groups or whole.shape[0] != input.known_shape[0] or prod(whole.shape) != input.elements:
        return _norm("instance_norm", input, scale, shift)
    (reading,) = _norm("group_norm", whole, *_affine(call, channels))
    return [replace(reading, stand_ins=(scale, shift))]


def _affine(call: Call, channels: int) -> tuple[Value | None, Value | None]:
    """The scale and the shift, one number per channel, by which what was normalised is multiplied and then moved."""
    found: list[Value | None] = []
    node = _only_reader(call, call.outputs[0].name, "Reshape")
    for operation in ("Mul", "Add"):
        node = _only_reader(call, node.output[0], operation) if node is not None else None
        operands = [call.near.values.get(each) for each in (node.input if node is not None else ())]
        weights = [each for each in operands if each is not None and each.is_weight and each.elements == channels]
        found.append(weights[0] if weights else None)
    return found[0], found[1]


def _only_reader(call: Call, name: str, operation: str) -> onnx.NodeProto | None:
    """The only node that reads a tensor, if it is this operation."""
    readers = call.near.read_by.get(name, [])
    return readers[0] if len(readers) == 1 and readers[0].op_type == operation else None
