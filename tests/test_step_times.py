"""The time of a dense step from each kind of profile, added up by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.devices import DenseStep, Rates
from swatcost.devices.operations import OperationPoint, OperationTimes, Peak, StreamPoint, StreamTimes
from swatcost.network.passes import PASSES
from swatcost.network.tensors import Movement
from swatcost.timing.dense_step import Numbers, StepTime, Update, dense_step

from .by_hand import BATCH, chain
from .machines import PEAK, SAMPLES, machine, network_of, two_layers
from .test_shapes import layer

MACS = 2 * 8 * 16 + 3 * 16 * 4  # per sample and step of `two_layers`: 448
STEP = 2 * 8.192 + 3 * 5.376 + (8.192 + 12.288)
"""At 64 samples, in the first layer's passes arithmetic takes longest: 8192 MACs; 4 · (512 + 128 + 1024) = 6656 bytes.
In the second's memory: 4096 MACs; 4 · (1024 + 64 + 256) = 5376 bytes. ReLU and its gradient: 8192 and 12,288 bytes."""


def step(device: Any, samples: int = SAMPLES, **options: Any) -> StepTime:
    return dense_step(two_layers(), device, samples, MACS, **options)


def own(**fields: Any) -> DenseStep:
    return DenseStep(**({"network": "chain", "batch_size": 32, "seconds": 5.0, "training_macs": MACS} | fields))


def test_a_bound_from_a_data_sheet() -> None:
    found = step(machine())
    assert found.basis == "bound"
    assert [(each.name, each.kind, each.in_pass, each.seconds) for each in found.parts] == [
        ("0", "linear", "forward", 8.192), ("0", "linear", "grad_weight", 8.192),
        ("1", "linear", "forward", 5.376), ("1", "linear", "grad_input", 5.376), ("1", "linear", "grad_weight", 5.376),
        ("elementwise", "elementwise", "forward", 8.192), ("elementwise", "elementwise", "backward", 12.288),
    ]  # fmt: skip
    assert [each.layer for each in found.parts] == [0, 0, 1, 1, 1, None, None]
    assert found.seconds == pytest.approx(STEP)
    assert found.by_kind() == pytest.approx({"linear": 2 * 8.192 + 3 * 5.376, "elementwise": 20.48})
    assert found.peak_seconds == pytest.approx(64 * MACS / 1000)
    assert found.utilisation == pytest.approx(28.672 / STEP)


def test_every_call_moves_its_bytes() -> None:
    """3 calls of 128 · 64 / 2 + 100 bytes, and no product."""
    calls = Movement(operation="relu", in_pass="forward", calls=3, fixed_bytes=100, batch_bytes=128)
    found = dense_step(replace(network_of(), movements=(calls,)), machine(), SAMPLES, 0)
    assert found.seconds == pytest.approx(3 * 4.196)
    assert (found.peak_seconds, found.utilisation) == (None, None)


def test_an_update_moves_its_bytes() -> None:
    update = Update(optimizer="momentum", parameter_bytes=768, moved_bytes=5 * 768)
    found = step(machine(), update=update)
    assert (found.parts[-1].name, found.parts[-1].in_pass, found.parts[-1].seconds) == ("momentum", "update", 3.84)
    assert found.seconds == pytest.approx(STEP + 3.84)
    measured = machine(streams=(StreamTimes(kind="optimizer momentum", points=(StreamPoint(768, 2.0),)),))
    assert step(measured, update=update).parts[-1].seconds == 2


def test_fewer_bytes_in_another_precision() -> None:
    """Tensor cores ten times as fast, with half the bytes per number: every pass is bound by memory."""
    half = Numbers(convolutions=("fp16",), products=("fp16",), product_bytes=2, movement_scale=0.5)
    fast = machine(precisions=(PEAK, Peak(name="fp16", macs_per_second=10_000, source="round")))
    found = step(fast, numbers=half)
    assert found.seconds == pytest.approx((2 * 6.656 + 3 * 5.376 + 8.192 + 12.288) / 2)
    assert found.peak_seconds == pytest.approx(2.8672)


def test_single_precision_stands_for_one_that_a_device_lacks() -> None:
    fp8 = Numbers(convolutions=("fp8",), products=("fp8",), product_bytes=1)
    assert step(machine(), numbers=fp8) == step(machine())
    assert step(machine(), numbers=fp8).numbers == Numbers()
    only = machine(precisions=(Peak(name="fp16", macs_per_second=1000, source="round"),))
    with pytest.raises(SwatcostError, match="round has no peak in fp32"):
        step(only, numbers=fp8)


def test_the_first_precision_that_a_device_has() -> None:
    """A convolution of 2 · 64 positions, 54 · 10 MACs each, in TF32 if there is any; a linear layer in fp32."""
    conv, linear = layer("conv", (2, 6, 8, 8), (10, 6, 3, 3), (2, 10, 8, 8)), layer("linear", (2, 6), (10, 6), (2, 10))
    network, tf32 = network_of(conv, linear), Peak(name="tf32", macs_per_second=8000, source="round")
    for peaks, rate in (((PEAK,), 1000), ((PEAK, tf32), 8000)):
        found = dense_step(network, machine(precisions=peaks), 2, 0)
        assert found.peak_seconds == pytest.approx(3 * (128 * 54 * 10 / rate + 2 * 6 * 10 / 1000))


def test_a_given_utilisation() -> None:
    found = step(machine(dense_steps=(own(),)), mfu=0.25)
    assert (found.basis, found.seconds, found.utilisation) == ("mfu", pytest.approx(28.672 / 0.25), 0.25)
    assert sum(each.seconds for each in found.parts) == pytest.approx(found.seconds)
    assert found.parts[0].seconds == pytest.approx(8.192 * 28.672 / 0.25 / STEP)  # in the bound's proportions
    with pytest.raises(SwatcostError, match="mfu: round has no peaks"):
        step(machine(precisions=(), dense_steps=(own(),)), mfu=0.25)


def test_a_measured_step_of_the_network() -> None:
    device = machine(dense_steps=(own(), own(batch_size=256, seconds=32.0), own(network="other", seconds=1.0)))
    found = step(device)
    assert (found.basis, found.seconds, found.reference) == ("measured", 10, device.dense_steps[0])  # twice 32 samples
    assert found.same_network
    assert sum(each.seconds for each in found.parts) == pytest.approx(10)
    assert step(device, 512).seconds == 64  # the nearer batch size
    half = Numbers(convolutions=("fp16",), products=("fp16",))
    both = replace(device, precisions=(PEAK, Peak(name="fp16", macs_per_second=1000, source="round")))
    assert step(both, numbers=half).basis == "bound"  # it was measured in fp32


def test_the_throughput_of_another_network() -> None:
    device = machine(precisions=(), bytes_per_second=None, dense_steps=(own(network="other", training_macs=100),))
    found = step(device)
    # 32 · 100 MACs in 5 s: 640 per second
    assert (found.basis, found.parts, found.utilisation) == ("throughput", (), None)
    assert found.seconds == pytest.approx(64 * MACS / 640)
    assert not found.same_network


def test_two_rates() -> None:
    """Fitted rates add up; a data sheet's overlap. The step of `chain` makes what its timeline lists."""
    rates = Rates(macs_per_second=1000, bytes_per_second=1000, worst_residual=0.1)
    moved = 2 * 64 * 4 * (8 + 16 + 16 + 4 + 4 + 16) + 2 * 4 * (128 + 64)  # activations, and gradients of weights
    assert two_layers().traffic_bytes(64) == moved
    fitted = step(machine(precisions=(), bytes_per_second=None, rates=rates, measured=True))
    assert (fitted.basis, fitted.seconds) == ("rates", pytest.approx((64 * MACS + moved) / 1000))
    sheet = step(machine(precisions=(), bytes_per_second=None, rates=rates))
    assert (sheet.basis, sheet.seconds) == ("bound", pytest.approx(max(64 * MACS, moved) / 1000))


def operations(times: dict[str, float], precision: Any = "fp32") -> tuple[OperationTimes, ...]:
    """Times on a machine that takes so long per MAC in each pass, and nothing else."""
    shapes = [(16, 8, 8), (64, 8, 32), (256, 32, 16), (64, 64, 64), (512, 8, 8)]
    return tuple(
        OperationTimes(
            kind=kind, in_pass=in_pass, precision=precision,
            points=tuple(
                OperationPoint(*each, window, 1, 1, times[in_pass] * each[0] * each[1] * each[2] * window)
                for each in shapes
            ),
        )
        for kind, window in (("linear", 1), ("conv", 9))
        for in_pass in PASSES
    )  # type: ignore[arg-type]  # fmt: skip


PER_MAC = {"forward": 1e-3, "grad_input": 2e-3, "grad_weight": 4e-3}


def test_measured_operations_add_up() -> None:
    streams = (
        StreamTimes(kind="elementwise", points=(StreamPoint(8192, 0.25),)),
        StreamTimes(kind="elementwise", in_pass="backward", points=(StreamPoint(12_288, 0.5),)),
        StreamTimes(kind="optimizer sgd", points=(StreamPoint(768, 0.125),)),
    )
    device = machine(operations=operations(PER_MAC), streams=streams)
    found = step(device, update=Update(optimizer="sgd", parameter_bytes=768, moved_bytes=0))
    assert found.basis == "operations"
    products = 8.192 * (1 + 4) + 4.096 * (1 + 2 + 4)
    assert found.seconds == pytest.approx(products + 0.25 + 0.5 + 0.125)
    assert all(each.covered for each in found.parts)
    wide = dense_step(chain(8, 10_000), device, SAMPLES, 0)
    assert not any(each.covered for each in wide.parts if each.layer is not None)


def test_measured_operations_in_another_precision() -> None:
    half = Numbers(convolutions=("fp16",), products=("fp16",), product_bytes=2)
    device = machine(operations=(*operations(PER_MAC), *operations(dict.fromkeys(PASSES, 1e-4), "fp16")))
    found = step(device, numbers=half)
    assert found.by_kind()["linear"] == pytest.approx((2 * 8192 + 3 * 4096) * 1e-4)
    assert found.utilisation is None  # its only peak is in fp32
    with pytest.raises(SwatcostError, match="mfu: round has no peaks in this precision"):
        step(device, numbers=half, mfu=0.5)
    assert step(device, numbers=Numbers(convolutions=("bf16",), products=("bf16",))) == step(device)
    with pytest.raises(SwatcostError, match="round has no measured times of linear grad_weight"):
        step(machine(operations=tuple(each for each in operations(PER_MAC) if each.in_pass != "grad_weight")))


def test_recomputed_and_complex_products_are_run_as_often() -> None:
    """Twice forward under checkpointing; four real products in each pass of complex numbers."""
    once = layer("linear", (BATCH, 6), (10, 6), (BATCH, 10))
    for changed, passes in ((replace(once, recomputed=1), (2, 1, 1)), (replace(once, real_products=4), (4, 4, 4))):
        for device, per_mac in ((machine(bytes_per_second=1e9), dict.fromkeys(PASSES, 1e-3)),
                                (machine(operations=operations(PER_MAC)), PER_MAC)):  # fmt: skip
            found = dense_step(network_of(changed), device, BATCH, 0)
            expected = [each * 120 * per_mac[name] for each, name in zip(passes, PASSES, strict=True)]
            assert [each.seconds for each in found.parts if each.layer == 0] == pytest.approx(expected)


def test_frozen_layers_have_no_gradients() -> None:
    frozen = layer("linear", (BATCH, 6), (10, 6), (BATCH, 10))
    found = dense_step(network_of(replace(frozen, weight_trains=False)), machine(), BATCH, 0)
    assert [each.in_pass for each in found.parts if each.layer == 0] == ["forward", "grad_input"]


def test_a_larger_batch_takes_no_less() -> None:
    for device in (machine(), machine(operations=operations(PER_MAC))):
        times = [step(device, samples).seconds for samples in (1, 2, 16, 64, 1024)]
        assert all(small < large for small, large in pairwise(times))


def test_a_network_in_two_bytes_is_timed_so() -> None:
    full = chain(3, 5, 2)
    half = replace(full, layers=tuple(replace(each, element_bytes=2) for each in full.layers))
    found, asked = (swatcost.estimate(half, device="a100"), swatcost.estimate(full, device="a100", precision="bf16"))
    assert found.precision.name == "bf16"
    assert found.dense_step.peak_seconds == asked.dense_step.peak_seconds
    assert found.dense_step.numbers.movement_scale == 1.0  # the trace has these bytes already
    assert not any("Bytes are as traced" in note for note in found.assumptions)
