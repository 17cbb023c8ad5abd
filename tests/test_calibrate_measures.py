"""What `calibrate` measures: dense operations, streams and sparse kernels, their record, and the profile."""

from __future__ import annotations

import dataclasses
import json
import os
import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.devices import load_device, to_toml
from swatcost.devices.kernels import Kernel, KernelPoint
from swatcost.devices.operations import OperationPoint, OperationTimes, StreamPoint, StreamTimes
from swatcost.memory.optimizers import OPTIMIZERS
from swatcost.network.passes import PASSES, Pass
from swatcost.reference import calibration, measured_kernels, measured_operations, quiet, timer
from swatcost.reference.batch_last import is_batch_last
from swatcost.reference.calibration import PRECISIONS, calibrate
from swatcost.reference.calibration_record import Conditions
from swatcost.reference.chosen_kernels import OWN_KERNELS
from swatcost.reference.left_out import LeftOut, left_out
from swatcost.reference.measured_kernels import BSR_WEIGHTS, CSR_ACTIVATIONS, CSR_WEIGHTS, KernelTiming, SparseKernel
from swatcost.reference.measured_operations import Convolution, Linear, Operands, Product, Shape
from swatcost.reference.measured_own_kernels import OWN_ACTIVATIONS, OWN_WEIGHTS, laid
from swatcost.reference.measured_streams import STREAMS, Stream
from swatcost.reference.measured_tables import tables
from swatcost.reference.measurements import (
    Measurement,
    Sizes,
    conditions,
    kernel_key,
    measured_kernels_of,
)
from swatcost.reference.operation_shapes import SHAPES
from swatcost.reference.semi_structured import semi_structured, two_of_four
from swatcost.reference.timer import Timing, timed, together
from swatcost.timing.streams import KINDS, kind_of
from tests.cases import Applied

pytestmark = pytest.mark.filterwarnings("ignore:Sparse (CSR|BSR) tensor support:UserWarning")  # is in beta state

LINEAR, POINTWISE = Linear(24, 32, 48), Convolution(2, 32, 16, 3, 1)
STRIDED, DEPTHWISE = Convolution(2, 16, 32, 6, 3, 2), Convolution(2, 16, 16, 6, 3, 1, 16)
PRODUCT = Product(3, 8, 4, 6)
WIDE = Convolution(16, 16, 32, 4, 3)
KERNELS = tuple(
    replace(each, shapes=(LINEAR, POINTWISE), densities=(0.5,)) for each in (CSR_WEIGHTS, CSR_ACTIVATIONS, BSR_WEIGHTS)
)
TINY = Sizes(
    shapes=(LINEAR, POINTWISE), streams=STREAMS[:3], stream_bytes=(10_000, 1_500_000), kernels=KERNELS,
    selections=(1000, 3000), copied=2**20,
)  # fmt: skip


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times from a few repetitions, whatever else is running."""
    monkeypatch.setattr("swatcost.reference.quiet.DISTURBED", float("inf"))
    monkeypatch.setattr("swatcost.reference.timer.ENOUGH_SECONDS", 0.0)
    monkeypatch.setattr("swatcost.reference.timer._DISTURBED", float("inf"))
    monkeypatch.setattr("swatcost.reference.timer.last_cache", lambda: 2**16)
    timer.filling.cache_clear()


def test_points_of_operations_are_counted_as_layers_are() -> None:
    # 2 images of 6 × 6 outputs; 16 channels by 32 filters of 3 × 3
    assert STRIDED.point(1.0) == OperationPoint(72, 16, 32, 9, 2, 1, 1.0)
    assert STRIDED.point(1.0).macs == 2 * 6 * 6 * 16 * 32 * 9
    assert DEPTHWISE.kind == "depthwise"
    assert DEPTHWISE.point(1.0) == OperationPoint(72, 1, 1, 9, 1, 16, 1.0)
    assert LINEAR.point(1.0).macs == 24 * 32 * 48
    assert PRODUCT.point(1.0).macs == 3 * 8 * 4 * 6


@pytest.mark.parametrize("shape", [LINEAR, POINTWISE, STRIDED, DEPTHWISE, PRODUCT], ids=lambda each: each.name)
@pytest.mark.parametrize("in_pass", PASSES)
def test_passes_of_an_operation_are_those_of_autograd(shape: Shape, in_pass: Pass) -> None:
    operands = measured_operations.operands_of(shape, "fp32", "cpu")
    x, weight = (each.clone().requires_grad_() for each in (operands.x, operands.weight))
    output = shape.form.forward(x, weight, None)
    assert output.shape == operands.grad.shape
    output.backward(operands.grad)
    expected = {"forward": output, "grad_input": x.grad, "grad_weight": weight.grad}[in_pass]
    found: Any = measured_operations.dense(shape, in_pass, operands)(*operands.read_by(in_pass))
    found = found if in_pass == "forward" else next(each for each in found if each is not None)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shape", [LINEAR, POINTWISE], ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("kernel", "in_pass"),
    [(kernel, in_pass) for kernel in KERNELS for in_pass in kernel.passes],
    ids=lambda each: getattr(each, "name", each),
)
def test_sparse_kernels_compute_what_dense_ones_do_with_zeros(
    kernel: SparseKernel, in_pass: Pass, shape: Shape
) -> None:
    density = 0.3
    given = measured_operations.operands_of(shape, "fp32", "cpu")
    if kernel.operand == "activations":
        masked = Operands(given.x * measured_kernels.mask(given.x.shape, density, "cpu"), given.weight, given.grad)
        given = masked
    else:
        size = given.weight.shape[:2]
        if kernel.pattern == "blocks":
            blocks = measured_kernels.mask((size[0] // 16, size[1] // 16), density, "cpu")
            keep = blocks.repeat_interleave(16, 0).repeat_interleave(16, 1)
        else:
            keep = measured_kernels.mask(size, density, "cpu")
            assert keep.sum() == round(density * keep.numel())
        masked = Operands(given.x, given.weight * keep.view(given.weight.shape), given.grad)
    found: Any = kernel.prepare(shape, in_pass, given, density)(*given.read_by(in_pass))
    expected: Any = measured_operations.dense(shape, in_pass, masked)(*masked.read_by(in_pass))
    expected = expected if in_pass == "forward" else next(each for each in expected if each is not None)
    torch.testing.assert_close(found.view(expected.shape), expected)
    assert found.is_contiguous()


@pytest.mark.parametrize("shape", [LINEAR, POINTWISE, STRIDED, WIDE], ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("kernel", "in_pass"), [(OWN_WEIGHTS, "forward"), (OWN_WEIGHTS, "grad_input"), (OWN_ACTIVATIONS, "grad_weight")]
)
def test_own_kernels_are_measured_on_a_step_s_operands(kernel: SparseKernel, in_pass: Pass, shape: Shape) -> None:
    density = 0.3
    given = measured_operations.operands_of(shape, "fp32", "cpu")
    laid = Operands(kernel.laid(given.x), given.weight, kernel.laid(given.grad))
    sparse = given.x if kernel.operand == "activations" else given.weight
    masked = torch.where(sparse.abs() > 1 - density, sparse, 0)  # magnitudes are spread evenly from 0 to 1
    assert masked.count_nonzero() == pytest.approx(density * masked.numel(), rel=0.2)
    operands = (
        Operands(masked, given.weight, given.grad)
        if kernel.operand == "activations"
        else Operands(given.x, masked, given.grad)
    )
    found: Any = kernel.prepare(shape, in_pass, laid, density)(*laid.read_by(in_pass))
    expected: Any = measured_operations.dense(shape, in_pass, operands)(*operands.read_by(in_pass))
    expected = expected if in_pass == "forward" else next(each for each in expected if each is not None)
    torch.testing.assert_close(found.view(expected.shape), expected, rtol=1e-4, atol=1e-4)


def test_operands_lie_side_by_side_if_a_vector_divides_them() -> None:
    images = torch.arange(16 * 3 * 2 * 2.0).view(16, 3, 2, 2)
    assert is_batch_last(laid(images))
    assert torch.equal(laid(images), images)
    assert laid(images[:8]).is_contiguous()  # as kernels return them
    assert laid(images[:, :, 0, 0]).stride() == (1, 16)


def test_tables_of_own_kernels() -> None:
    """One for each kind of layer; images where rows are of images. 16 · 4 · 4 = 256 and 16 · 2 · 2 = 64 rows."""
    shapes = (LINEAR, WIDE, Convolution(16, 16, 32, 2, 3, 2), Convolution(16, 16, 32, 4, 1))
    own = replace(OWN_WEIGHTS, shapes=shapes, densities=(0.5,))
    sizes = Sizes(shapes=(), streams=(), kernels=(own,))
    results = {
        kernel_key(*each): KernelTiming(seconds=1.0, dense_seconds=4.0, spread=0.0, repetitions=1)
        for each in measured_kernels_of(sizes, "cpu")
    }
    found = tables(sizes, ("fp32",), "cpu", "here", results).kernels
    assert [(each.kinds, each.window, each.stride, each.points[0]) for each in found] == [
        (("linear",), None, None, ("forward", 24, 32, 48, 0.5, 0.25, None)),
        (("conv",), 9, 1, ("forward", 256, 144, 32, 0.5, 0.25, 16)),
        (("conv",), 9, 2, ("forward", 64, 144, 32, 0.5, 0.25, 16)),
        (("conv",), 1, 1, ("forward", 256, 16, 32, 0.5, 0.25, 16)),
    ]
    assert {each.name for each in Sizes().kernels_on("cpu")} >= set(OWN_KERNELS)


def test_a_profile_with_images_can_be_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tomli_w")
    points = (KernelPoint("forward", 64, 9, 4, 0.5, 0.25, 16), KernelPoint("forward", 64, 9, 4, 0.1, 0.125, 16))
    own = Kernel(
        name="k", title="k", pattern="unstructured", operand="weights", kinds=("conv",), measures="m", source="s",
        points=points,
    )  # fmt: skip
    device = replace(load_device("xeon2"), kernels=(own,))
    (tmp_path / "own.toml").write_text(to_toml(device))
    assert load_device(tmp_path / "own.toml") == device


def test_the_lists_have_what_a_profile_needs() -> None:
    kinds = [each.kind for each in SHAPES]
    assert set(kinds) == {"conv", "depthwise", "linear", "product"}
    assert len(set(SHAPES)) == len(SHAPES)
    assert {each.point(1.0).window for each in SHAPES if each.kind == "conv"} >= {1, 9, 49}
    named = [each for each in STREAMS if "optimizer" not in each.kind and each.kind != "compressing"]
    assert {each.name: each.kind for each in named} == {each.name: kind_of(each.name) for each in named}
    assert {each.kind for each in named} == set(KINDS)
    optimizers = {each.kind.removeprefix("optimizer ") for each in STREAMS if "optimizer" in each.kind}
    assert optimizers <= set(OPTIMIZERS.names())
    for kernel in (CSR_WEIGHTS, CSR_ACTIVATIONS, BSR_WEIGHTS):
        assert len([each for each in kernel.shapes if kernel.runs(each)]) >= 9


MOVING: dict[str, Callable[..., Any]] = {
    "relu": torch.relu, "add": torch.add, "relu_": torch.relu_, "gelu": F.gelu, "silu": F.silu,
    "native_batch_norm": nn.BatchNorm2d(64), "native_layer_norm": nn.LayerNorm(256),
    "softmax": lambda x: x.softmax(-1), "max_pool2d_with_indices": nn.MaxPool2d(3, 2, 1), "clone": torch.clone,
    "sum": lambda x: x.sum(0), "cat": lambda x, y: torch.cat([x, y], 1),
}  # fmt: skip
"""The operations by the forward pass's name of them, as networks call them."""

BACKWARD = {
    "threshold_backward": "relu", "gelu_backward": "gelu", "silu_backward": "silu",
    "native_batch_norm_backward": "native_batch_norm", "native_layer_norm_backward": "native_layer_norm",
    "_softmax_backward_data": "softmax", "max_pool2d_with_indices_backward": "max_pool2d_with_indices",
}  # fmt: skip


@pytest.mark.parametrize("stream", STREAMS, ids=lambda each: each.name)
def test_streams_move_nearly_the_bytes_that_were_asked_for(stream: Stream, at_once: None) -> None:
    prepared = stream.prepare(400_000, "cpu")
    with torch.no_grad():
        prepared.operation(*prepared.arguments())
    # images have even sides, rows 256 features; a compressed matrix comes on top: 0.2 · 12 / 4 of it
    assert prepared.bytes == pytest.approx(400_000 * (1.6 if stream.kind == "compressing" else 1), rel=0.15)


@pytest.mark.parametrize(
    "stream", [each for each in STREAMS if each.name in (*MOVING, *BACKWARD)], ids=lambda each: each.name
)
def test_streams_move_the_bytes_that_a_trace_counts(stream: Stream, at_once: None) -> None:
    """Those of the operation in a traced step on operands of the same shapes, but for statistics and parameters."""
    name = BACKWARD.get(stream.name, stream.name)
    prepared, forward = stream.prepare(400_000, "cpu"), next(each for each in STREAMS if each.name == name)
    # two tensors of the input's size in the forward pass, three in the backward pass; pooling: the same in both
    share = 1.0 if forward is stream or stream.kind == "pooling" else 2 / 3
    inputs = forward.prepare(round(share * 400_000), "cpu").arguments()
    scales = nn.ParameterList([torch.ones(1)] * len(inputs))
    function = MOVING[name]

    def scaled(self: Any, *given: torch.Tensor) -> Any:
        return function(*(each * scale for each, scale in zip(given, self.scales, strict=True)))

    parts: dict[str, Any] = {"scales": scales} | ({"own": function} if isinstance(function, nn.Module) else {})
    network = swatcost.trace(Applied(scaled, parts), example_inputs=inputs, loss=lambda found: found.square().sum())
    counted = [
        network.moved_bytes(each, network.batch_size)
        for each in network.movements
        if each.operation.lstrip("_") == stream.name.lstrip("_") and each.in_pass == stream.in_pass
    ]
    assert max(counted) / prepared.bytes == pytest.approx(1, rel=0.1)


def test_operations_that_take_turns_are_repeated_equally(at_once: None) -> None:
    calls: list[str] = []

    def noted(name: str) -> Callable[[], None]:
        return lambda: calls.append(name)

    found = together([(noted("a"), tuple), (noted("b"), tuple)], "cpu")
    # each is tried three times and warms up a chain of 64 calls; then three chains of 64 each take turns
    assert calls == ["a"] * 67 + ["b"] * 67 + (["a"] * 64 + ["b"] * 64) * 3
    assert [each.repetitions for each in found] == [3 * 64] * 2
    assert timed(lambda: None, tuple, "cpu").seconds > 0


def test_a_chain_has_results_of_its_own_that_fill_the_caches(at_once: None) -> None:
    """The caches are filled by six times 2¹⁶ bytes: by 24 results of 2¹⁴, which stay until newer ones replace them."""
    alive: set[int] = set()
    most = 0

    def operation() -> torch.Tensor:
        nonlocal most
        result = torch.empty(2**12)
        number = len(alive) + 1000 * most
        alive.add(number)
        weakref.finalize(result, alive.discard, number)
        most = max(most, len(alive))
        return result

    assert timed(operation, tuple, "cpu").repetitions == 3 * 24
    assert most == 24 + 1  # one is made before the oldest goes
    assert timer.copies(2**30, "cpu") == 1


def test_operands_are_prepared_before_each_call(at_once: None) -> None:
    order: list[str] = []

    def arguments() -> tuple[()]:
        order.append("arguments")
        return ()

    timed(lambda: order.append("call"), arguments, "cpu")
    assert order == ["arguments", "call"] * (len(order) // 2)


def test_the_last_cache_is_the_largest(tmp_path: Path) -> None:
    for index, size in enumerate(("32K", "1024K", "32768K")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size + "\n")
    assert timer.last_cache(tmp_path) == 32 * 2**20
    assert timer.last_cache(tmp_path / "none") == timer._UNKNOWN_CACHE


def test_two_of_four() -> None:
    assert two_of_four((8, 16), "cpu").view(-1, 4).sum(1).tolist() == [2] * 32
    if not torch.cuda.is_available():
        assert semi_structured() == ()


def test_a_profile_of_everything_can_be_read_back(at_once: None, tmp_path: Path) -> None:
    pytest.importorskip("tomli_w")
    found = calibrate(unseen=(), count_instructions=False, precisions=("bf16",), sizes=TINY)
    device = found.device
    assert {(each.kind, each.in_pass, each.precision) for each in device.operations} == {
        (kind, in_pass, precision)
        for kind in ("linear", "conv")
        for in_pass in PASSES
        for precision in PRECISIONS["cpu"]
    }
    assert [(each.kind, each.in_pass, len(each.points)) for each in device.streams] == [
        ("elementwise", "forward", 2), ("elementwise", "backward", 2),
    ]  # fmt: skip
    assert {(each.name, each.kinds) for each in device.kernels} == {
        (kernel.name, (kind,)) for kernel in KERNELS for kind in ("linear", "conv")
    }
    weights = next(each for each in device.kernels if each.name == "torch-csr" and each.kinds == ("conv",))
    assert (weights.window, weights.stride) == (1, 1)
    # 2 images of 3 × 3 positions, 32 channels, 16 filters
    assert [each[:5] for each in weights.points] == [(each, 18, 32, 16, 0.5) for each in ("forward", "grad_input")]
    assert device.rates is None  # which dense steps alone are summed up by
    path = tmp_path / "mine.toml"
    text = to_toml(device)
    path.write_text(text)
    assert load_device(path) == device
    point = device.kernels[0].points[0]  # each on a line of its own
    assert f'    ["forward", 24, 32, 48, 0.5, {point.time_over_dense}],' in text.splitlines()
    assert "torch-csr-activations" in repr(found)
    rows = found.to_dict()["operations"]
    assert len(rows) == 2 * 3 * 2 + 3 * 2  # shapes, passes, precisions; streams, sizes


def test_what_no_step_could_be_timed_by_is_refused() -> None:
    with pytest.raises(SwatcostError, match="give networks, or shapes of operations"):
        calibration.calibrate(sizes=Sizes(shapes=(), streams=(), kernels=()))


def test_a_shape_that_is_left_out_is_predicted_from_the_others() -> None:
    """On a machine of 10¹¹ MAC/s and 10¹⁰ B/s each is predicted exactly, until one takes twice as long."""
    sizes = list(product((8, 64, 512, 4096), (32, 256, 2048), (64, 1024)))

    def points(slow: int | None) -> tuple[OperationPoint, ...]:
        found = []
        for place, (rows, inner, outer) in enumerate(sizes):
            elements = rows * inner + inner * outer + rows * outer
            seconds = rows * inner * outer / 1e11 + 4 * elements / 1e10 + 1e-6
            found.append(OperationPoint(rows, inner, outer, 1, 1, 1, seconds * (2 if place == slow else 1)))
        return tuple(found)

    def errors(slow: int | None) -> LeftOut:
        times = (OperationTimes(kind="linear", in_pass="forward", points=points(slow)),)
        (found,) = left_out(dataclasses.replace(load_device("xeon2"), operations=times))
        return found

    exact, disturbed = errors(None), errors(15)
    assert (exact.name, exact.in_pass, exact.precision, exact.shapes) == ("linear", "forward", "fp32", 24)
    assert exact.worst == pytest.approx(0, abs=1e-6)
    assert disturbed.worst == pytest.approx(0.5)  # the others predict half of its time


def test_an_optimizer_takes_its_time_for_each_parameter() -> None:
    # parameters of 4 · 8 and 8 numbers: 128 and 32 bytes, between and at the measured sizes; 2 µs for the smaller
    streams = (
        StreamTimes(kind="optimizer sgd", points=(StreamPoint(32, 2e-6), StreamPoint(512, 8e-6))),
        StreamTimes(kind="elementwise", points=(StreamPoint(1000, 1e-6),)),
    )
    times = tuple(
        OperationTimes(kind="linear", in_pass=each, points=(OperationPoint(8, 4, 8, 1, 1, 1, 1e-6),)) for each in PASSES
    )
    device = dataclasses.replace(load_device("xeon2"), operations=times, streams=streams, dense_steps=())
    network = swatcost.trace(nn.Linear(4, 8), input_shape=(4,))
    parts = swatcost.estimate(network, device=device, optimizer="sgd").dense_step.parts
    # 128 is halfway from 32 to 512 in logarithms: √(2 · 8) = 4 µs
    assert [each.seconds for each in parts if each.in_pass == "update"] == [pytest.approx(4e-6 + 2e-6)]


@pytest.mark.parametrize(("shares", "kept"), [((0.0,), 0), ((0.5, 0.05), 1), ((0.5, 0.3, 0.2, 0.4), 2)])
def test_what_others_disturb_is_measured_again(
    shares: tuple[float, ...], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One second each, on processors of which others have a share; the clock is read before and after each run."""
    readings = []
    for share in shares:
        readings += [quiet._Clock(0.0, 0.0, 0.0), quiet._Clock(1.0, 1.0 + share * (os.cpu_count() or 1), 1.0)]
    clock, runs = iter(readings), iter(range(len(shares)))
    monkeypatch.setattr(quiet, "_clock", lambda: next(clock))
    monkeypatch.setattr(quiet, "_PAUSES", (0.0, 0.0, 0.0))
    assert quiet.quietest(lambda: next(runs)) == (kept, pytest.approx(shares[kept]))
    assert next(clock, None) is None


HERE = Conditions(machine="A", torch="2.0", threads=2, on="cpu")


def counted(done: list[str]) -> list[Measurement]:
    """Three measurements that only say that they were done."""

    def run(key: str) -> Timing:
        done.append(key)
        return Timing(seconds=float(len(done)), spread=0.0, repetitions=5)

    return [Measurement(key, 1.0, lambda key=key: run(key), Timing) for key in "abc"]  # type: ignore[misc]


def test_a_calibration_goes_on_from_a_cut_record(tmp_path: Path) -> None:
    record, done = tmp_path / "r.jsonl", list[str]()

    def interrupted(standing: calibration.Standing) -> None:
        if standing.key == "c":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibration.measure(counted(done), HERE, record, interrupted)
    assert done == ["a", "b"]
    whole = record.read_text()
    record.write_text(whole[:-5])  # as a full disk or a killed machine leaves it: the line of b is lost
    seen: list[calibration.Standing] = []
    results = calibration.measure(counted(done), HERE, record, seen.append).results
    assert done == ["a", "b", "b", "c"]
    assert [(each.key, each.done, each.of, each.done_seconds) for each in seen] == [("b", 1, 3, 1.0), ("c", 2, 3, 2.0)]
    assert [results[each].seconds for each in "abc"] == [1.0, 3.0, 4.0]
    assert calibration.measure(counted(done), HERE, record, seen.append).results == results
    assert len(done) == 4
    assert [json.loads(line).get("key") for line in record.read_text().splitlines()] == [None, "a", "b", "c"]


@pytest.mark.parametrize(
    ("other", "words"),
    [({"machine": "B"}, "another machine: 'A', here 'B'"), ({"torch": "3.0"}, "torch version: '2.0', here '3.0'"),
     ({"threads": 4}, "number of threads: 2, here 4"), ({"on": "cuda"}, "device: 'cpu', here 'cuda'")],
)  # fmt: skip
def test_a_record_of_other_conditions_is_refused_by_name(other: dict[str, Any], words: str, tmp_path: Path) -> None:
    record = tmp_path / "r.jsonl"
    calibration.measure(counted([]), HERE, record, lambda standing: None)
    before = record.read_bytes()
    under = Conditions(**({"machine": "A", "torch": "2.0", "threads": 2, "on": "cpu"} | other))
    with pytest.raises(SwatcostError, match=words):
        calibration.measure(counted([]), under, record, lambda standing: None)
    assert record.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [("anything", "not the record of a calibration"), ("{}\n", "not the record of a calibration"),
     ("\xff\n", "not the record of a calibration"), ("HEADER{\n", "damaged record of a calibration: line 2"),
     ('HEADER{"key": 1, "result": 2}\n', "damaged record of a calibration: line 2"),
     ('HEADER{"key": "a", "result": {"seconds": -1}}\n', "damaged record of a calibration: 'a'")],
)  # fmt: skip
def test_a_file_that_is_not_a_usable_record_is_left_alone(text: str, words: str, tmp_path: Path) -> None:
    record = tmp_path / "r.jsonl"
    calibration.measure([], HERE, record, lambda standing: None)
    content = text.replace("HEADER", record.read_text()).encode("latin-1")
    record.write_bytes(content)
    with pytest.raises(SwatcostError, match=words):
        calibration.measure(counted([]), HERE, record, lambda standing: None)
    assert record.read_bytes() == content


def test_misuse_of_calibrate_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "Sizes", lambda: TINY)
    other = Conditions(machine="somebody's", torch=conditions("cpu").torch, threads=1, on="cpu")
    calibration.measure([], other, tmp_path / "theirs.jsonl", lambda standing: None)
    for words, said in {
        ("--record", str(tmp_path / "theirs.jsonl")): 'measurements of another machine: "somebody\'s"',
        ("--record", str(tmp_path)): "is not a file",
        ("--precision", "fp16"): "precision 'fp16' on cpu: choose from fp32, bf16",
    }.items():
        assert main(["calibrate", "--no-instructions", *words]) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert said in err
