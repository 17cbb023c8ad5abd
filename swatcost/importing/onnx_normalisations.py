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


def _norm(kind: LayerKind, input: Value, scale: Value | None, shift: Value | None, statistics: int) -> Reading:
    """A normalisation; its scale is recorded if it has the shape that this kind of layer has."""
    shape = input.known_shape
    by_channel = kind in ("batch_norm", "instance_norm", "group_norm")
    if scale is not None and by_channel and scale.known_shape != shape[1:2] and scale.elements == prod(shape[1:2]):
        scale = scale.reshaped(scale.elements)
    fits = scale is not None and scale.shape == (shape[1:2] if by_channel else shape[-len(scale.known_shape) :])
    return Reading(
        kind=kind,
        input=input,
        weight=scale if fits else None,
        others=(shift,) if fits else (scale, shift),
        output_shape=shape,
        statistics=statistics,
    )


@reads("BatchNormalization")
def _batch_norm(call: Call) -> Iterable[Reading]:
    input = call.needed(0)
    yield _norm("batch_norm", input, call.needed(1), call.needed(2), 2 * prod(input.known_shape[1:2]))


@reads("LayerNormalization")
def _layer_norm(call: Call) -> Iterable[Reading]:
    input = call.needed(0)
    yield _norm("layer_norm", input, call.input(1), call.input(2), 2 * _rows(call, input))


@reads("RMSNormalization")
def _rms_norm(call: Call) -> Iterable[Reading]:
    input = call.needed(0)
    yield _norm("rms_norm", input, call.input(1), None, _rows(call, input))


def _rows(call: Call, input: Value) -> int:
    """How many parts of its input a node normalises, each by itself."""
    return prod(input.known_shape[: call.attribute("axis", -1)])


@reads("GroupNormalization")
def _group_norm(call: Call) -> Iterable[Reading]:
    input = call.needed(0)
    groups = prod(input.known_shape[:1]) * int(call.attribute("num_groups", 1))
    yield _norm("group_norm", input, call.needed(1), call.needed(2), 2 * groups)


@reads("InstanceNormalization")
def _instance_norm(call: Call) -> Iterable[Reading]:
    """By instance; or by group, where the groups of an input's channels were made the channels of what it reads."""
    input, scale, shift = map(call.needed, (0, 1, 2))
    statistics = 2 * prod(input.known_shape[:2])
    before = call.near.made_by.get(input.name)
    whole = call.near.values.get(before.input[0]) if before is not None and before.op_type == "Reshape" else None
    if whole is None or not _holds_groups(input.known_shape, whole.known_shape):
        yield _norm("instance_norm", input, scale, shift, statistics)
    else:
        reading = _norm("group_norm", whole, *_affine(call, whole.known_shape[1]), statistics)
        yield replace(reading, stand_ins=(scale, shift))


def _holds_groups(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether a shape has the channels of another one, of at least three dimensions, divided into groups."""
    if len(shape) < 2 or len(whole) < 3 or shape[0] != whole[0] or not 0 < shape[1] < whole[1]:
        return False
    return whole[1] % shape[1] == 0 and prod(shape) == prod(whole)


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
