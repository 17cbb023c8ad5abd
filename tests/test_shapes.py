"""Shapes of products against arithmetic, and their MACs against the layers'."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest

from swatcost.devices.operations import OperationPoint
from swatcost.network import Layer
from swatcost.timing.shapes import Shape, shape_of

from .conftest import zoo_network
from .machines import network_of


def layer(kind: Any, reads: tuple[int, ...], weight: tuple[int, ...], gives: tuple[int, ...], **fields: Any) -> Layer:
    if "conv" in kind:
        fields = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)} | fields
    return Layer(
        name=kind, kind=kind, input_shape=reads, weight_shape=weight, output_shape=gives, weight="(computed)",
        element_bytes=4, input_needs_grad=True, weight_trains=True, input_storage=0, **fields,
    )  # fmt: skip


CONV = layer("conv", (2, 6, 8, 8), (10, 6, 3, 3), (2, 10, 8, 8))
STRIDED = layer("conv", (2, 6, 8, 8), (10, 6, 3, 3), (2, 10, 4, 4), stride=(2, 2))
GROUPED = layer("conv", (2, 6, 8, 8), (10, 3, 3, 3), (2, 10, 8, 8), groups=2)
DEPTHWISE = layer("conv", (2, 6, 8, 8), (12, 1, 3, 3), (2, 12, 8, 8), groups=6)
TRANSPOSED = layer("transposed_conv", (2, 6, 8, 8), (6, 5, 4, 4), (2, 10, 16, 16), stride=(2, 2), groups=2)
LINEAR = layer("linear", (2, 7, 6), (10, 6), (2, 7, 10))
EXPERTS = layer("linear", (2, 7, 12), (10, 6), (2, 7, 10), groups=2)
PRODUCT = layer("product", (2, 3, 5, 7), (2, 3, 7, 4), (2, 3, 5, 4))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (CONV, Shape("conv", 4 * 2 * 8 * 8, 6, 10, window=9, images=4 * 2)),
        (STRIDED, Shape("conv", 4 * 2 * 4 * 4, 6, 10, window=9, stride=2, images=4 * 2)),
        (GROUPED, Shape("conv", 4 * 2 * 8 * 8, 3, 5, window=9, groups=2, images=4 * 2)),
        (DEPTHWISE, Shape("depthwise", 4 * 2 * 8 * 8, 1, 2, window=9, groups=6, images=4 * 2)),
        # every input position by the whole kernel
        (TRANSPOSED, Shape("conv", 4 * 2 * 8 * 8, 3, 5 * 16, groups=2, images=4 * 2)),
        (LINEAR, Shape("linear", 4 * 2 * 7, 6, 10)),
        (EXPERTS, Shape("linear", 4 * 2 * 7, 6, 5, groups=2)),
        (PRODUCT, Shape("product", 5, 7, 4, groups=4 * 2 * 3)),  # a matrix per sample and head
    ],
    ids=lambda each: each.name if isinstance(each, Layer) else "",
)
def test_shapes_by_hand(layer: Layer, shape: Shape) -> None:
    """Traced with 2 samples, in a step of 8."""
    found = shape_of(layer, network_of(layer), 8)
    assert found is not None
    assert found._replace(inputs=0.0) == shape
    assert found.input_elements == (prod(layer.input_shape) * 4 if layer.kind == "conv" else shape.input_elements)
    assert shape.macs == 4 * layer.forward_macs


def test_what_is_done_once_per_step_does_not_grow() -> None:
    once = layer("linear", (5, 6), (10, 6), (5, 10), per_step=True)
    assert shape_of(once, network_of(once), 8) == Shape("linear", 5, 6, 10)


def test_a_custom_operation_has_no_shape() -> None:
    custom = layer("custom", (2, 6), (), (2, 6), custom_macs=(1, 2))
    assert shape_of(custom, network_of(custom), 8) is None


def test_elements_by_hand() -> None:
    """4 · 2 · 4 · 4 = 128 positions read 4 · 128 of 6 channels, strided by 2, and write 10 filters."""
    shape = shape_of(STRIDED, network_of(STRIDED), 8)
    assert shape is not None
    assert (shape.input_elements, shape.weight_elements, shape.output_elements) == (8 * 6 * 8 * 8, 540, 8 * 10 * 4 * 4)
    assert shape.elements == 3072 + 540 + 1280
    assert [shape.written(each) for each in ("forward", "grad_input", "grad_weight")] == [1280, 3072, 540]
    grouped = shape_of(GROUPED, network_of(GROUPED), 8)
    assert grouped is not None
    assert (grouped.input_elements, grouped.weight_elements, grouped.output_elements) == (3072, 270, 8 * 10 * 8 * 8)


def test_a_measurement_has_its_shape() -> None:
    point = OperationPoint(rows=1, inner=2, outer=3, window=4, stride=5, groups=6, seconds=7.0)
    assert Shape.of_point("conv", point) == Shape("conv", 1, 2, 3, 4, 5, 6)
    assert Shape.of_point("conv", point).macs == point.macs == 1 * 2 * 3 * 4 * 6


def test_macs_are_the_layers(zoo_name: str) -> None:
    network = zoo_network(zoo_name)
    for each in network.counted_layers:
        shape = shape_of(each, network, 5)
        assert shape is not None
        assert shape.macs * network.batch_size == 5 * each.forward_macs
