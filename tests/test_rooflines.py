"""Rooflines fitted to the times of a machine whose coefficients are known."""

from __future__ import annotations

import pytest

from swatcost.devices.operations import OperationPoint, OperationTimes
from swatcost.timing.rooflines import LARGE_RESULT, Rooflines
from swatcost.timing.shapes import Shape

PER_MAC, PER_BYTE, PER_WEIGHT_BYTE, PER_FRESH_BYTE, PER_CALL = 1e-11, 1e-10, 2e-10, 3e-10, 1e-5

SMALL = [(64, 32, 32), (64, 512, 512), (4096, 64, 64), (4096, 32, 1024), (256, 2048, 256), (1024, 1024, 1024)]
LARGE = [(4096, 64, 4096), (8192, 16, 2048)]  # results of 64 MiB each


def taken(shape: Shape, written: float, fresh: float = 0.0) -> float:
    activations, weights = 4 * (shape.input_elements + shape.output_elements), 4 * shape.weight_elements
    moving = PER_BYTE * activations + PER_WEIGHT_BYTE * weights
    return PER_MAC * shape.macs + moving + fresh * written * (written > 32 * 2**20) + PER_CALL


def times_of(kind: str = "linear", window: int = 1, precision: str = "fp32", times: float = 1.0) -> OperationTimes:
    """Forward passes on a machine with these coefficients."""
    shapes = [Shape(kind, *each, window=window) for each in SMALL + LARGE]  # type: ignore[arg-type]
    points = [
        OperationPoint(*each[1:7], seconds=times * taken(each, 4 * each.output_elements, PER_FRESH_BYTE))  # type: ignore[arg-type]
        for each in shapes
    ]
    return OperationTimes(kind=kind, in_pass="forward", precision=precision, points=tuple(points))  # type: ignore[arg-type]


def test_a_machines_coefficients_are_recovered() -> None:
    line = Rooflines.of([times_of()], "fp32", 4).by_kind["linear", "forward"]
    assert line.fit.coefficients == pytest.approx(
        (PER_MAC, PER_BYTE, PER_WEIGHT_BYTE, PER_FRESH_BYTE, PER_CALL), rel=1e-6
    )
    # 2000 · 500 · 300 = 3e8 MACs; 2000 · 500 + 2000 · 300 = 1.6e6 activations, 500 · 300 = 1.5e5 weights
    other = Shape("linear", 2000, 500, 300)
    assert line.at(other) == pytest.approx(1e-11 * 3e8 + 1e-10 * 4 * 1.6e6 + 2e-10 * 4 * 1.5e5 + 1e-5, rel=1e-6)
    assert line.left_out() == pytest.approx([0.0] * 8, abs=1e-6)


def test_a_shape_that_the_others_do_not_predict() -> None:
    """Predicted from the others, whose times are exact, it takes twice as long."""
    points = [
        each._replace(seconds=each.seconds * (2 if place == 3 else 1)) for place, each in enumerate(times_of().points)
    ]
    slow = OperationTimes(kind="linear", in_pass="forward", points=tuple(points))
    line = Rooflines.of([slow], "fp32", 4).by_kind["linear", "forward"]
    assert line.left_out()[3] == pytest.approx(1)


def test_a_result_of_more_than_32_mib_is_new_memory() -> None:
    assert LARGE_RESULT == 32 * 2**20
    line = Rooflines.of([times_of()], "fp32", 4).by_kind["linear", "forward"]
    at, above = Shape("linear", 8192, 16, 1024), Shape("linear", 8193, 16, 1024)  # 8192 · 1024 · 4 B = 32 MiB
    # one row more: 16 · 1024 MACs and 4 · (16 + 1024) bytes, and all 8193 · 1024 · 4 bytes are touched first
    row = PER_MAC * 16 * 1024 + PER_BYTE * 4 * (16 + 1024)
    assert line.at(above) - line.at(at) == pytest.approx(row + PER_FRESH_BYTE * 8193 * 1024 * 4, rel=1e-4)
    halves = Rooflines.of([times_of()], "fp32", 2).by_kind["linear", "forward"]
    assert halves.element_bytes == 2
    activations = 8193 * (16 + 1024)
    assert halves._terms(above)[1:4] == (2 * activations, 2 * 16 * 1024, 0)  # the result has 16 MiB


def test_what_a_pass_writes_is_its_own() -> None:
    """A result that is large forward, 8192 · 2048, is small in the gradients: 8192 · 16 and 16 · 2048."""
    shape = Shape("linear", 8192, 16, 2048)
    for in_pass, written in (("forward", 8192 * 2048), ("grad_input", 0), ("grad_weight", 0)):
        times = OperationTimes(kind="linear", in_pass=in_pass, points=times_of().points)  # type: ignore[arg-type]
        (line,) = Rooflines.of([times], "fp32", 4).by_kind.values()
        assert line._terms(shape)[3] == 4 * written


def test_what_measurements_cover() -> None:
    line = Rooflines.of([times_of()], "fp32", 4).by_kind["linear", "forward"]
    assert all(line.covers(each) for each in line.shapes)
    assert line.covers(Shape("linear", 2000, 500, 300))
    assert not line.covers(Shape("linear", 1000, 1, 64))  # 64,000 MACs; the fewest were 64 · 32 · 32 = 65,536
    assert not line.covers(Shape("linear", 40, 41, 41))  # 67,240 MACs, but 4961 numbers; the fewest were 5120
    assert not line.covers(Shape("linear", 1025, 1024, 1024))  # more work: 1024³ MACs were measured
    assert not line.covers(Shape("linear", 10**7, 1, 3))  # 3e7 MACs, but 4e7 numbers; the most were 1.7e7


def test_kernels_have_rooflines_of_their_own() -> None:
    measured = [
        times_of("conv", 9), times_of("depthwise", 9, times=2), times_of("linear", times=3),
        times_of("linear", precision="bf16", times=5),
    ]  # fmt: skip
    points = tuple(each._replace(rows=each.rows + 1) for each in times_of("conv", 1, times=4).points)
    measured[0] = OperationTimes(kind="conv", in_pass="forward", points=measured[0].points + points)
    lines = Rooflines.of(measured, "fp32", 4)

    def slope(kind: str, window: int = 1) -> float:
        line = lines.of_pass(Shape(kind, 2000, 500, 300, window), "forward")  # type: ignore[arg-type]
        assert line is not None
        return line.fit.coefficients[0] / PER_MAC

    assert slope("conv", 9) == pytest.approx(1, rel=1e-6)
    assert slope("depthwise", 9) == pytest.approx(2, rel=1e-6)
    assert slope("linear") == pytest.approx(3, rel=1e-6)
    assert slope("conv", 1) == pytest.approx(4, rel=0.02)  # a row more was timed
    assert slope("product") == slope("linear")  # not measured: the nearest kind stands in
    assert lines.of_pass(Shape("linear", 1, 1, 1), "grad_input") is None


@pytest.mark.parametrize(
    ("measured", "asked", "window"), [("conv", "depthwise", 9), ("linear", "conv", 1), ("product", "linear", 1)]
)
def test_what_stands_in_for_a_kind_that_was_not_measured(measured: str, asked: str, window: int) -> None:
    lines = Rooflines.of([times_of(measured, 9 if measured == "conv" else 1)], "fp32", 4)
    (only,) = lines.by_kind.values()
    assert lines.of_pass(Shape(asked, 1, 1, 1, window), "forward") is only  # type: ignore[arg-type]
