"""The attainable step of a network of two layers, whose choices can be made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy
import pytest
from torch import nn

import swatcost
from swatcost.devices import Device, Rates, SelectionTime, load_device
from swatcost.devices.kernels import Kernel, KernelPoint
from swatcost.methods import Phase
from swatcost.network.passes import PASSES
from swatcost.planning.vectorised import Vectorised
from swatcost.setting import Setting
from swatcost.sparsity import SparsityPlan
from swatcost.timing import attainable
from swatcost.timing.attainable import AttainableStep, attainable_step
from swatcost.timing.dense_step import SINGLE, Numbers, StepTime, dense_step

from .by_hand import plan_of
from .machines import PEAK, SAMPLES, machine, network_of, two_layers
from .test_shapes import layer

MASKING = SelectionTime(
    algorithm="masking", fixed=0.5, per_element=0.001, smallest=1, largest=10**9, worst_residual=0.0
)
FIRST, SECOND = (SAMPLES, 8, 16), (SAMPLES, 16, 4)
"""Rows, inner and outer sizes of the layers; a pass takes 8.192 s and 4.096 s, where memory is fast."""

DENSE = 2 * 8.192 + 3 * 4.096
WEIGHTS = (0.5 + 0.128) + (0.5 + 0.064)
"""Masking 8 · 16 and 16 · 4 weights."""
INPUTS = (0.5 + 0.512) + (0.5 + 1.024)
"""Masking 64 · 8 and 64 · 16 activations."""


@pytest.fixture(autouse=True)
def small_multiples(monkeypatch: pytest.MonkeyPatch) -> None:
    """2:4 kernels run sizes of multiples of 4, so that networks may be small."""
    monkeypatch.setattr(attainable, "_MULTIPLE", 4)


def kernel(name: str = "k", *points: tuple[Any, ...], **fields: Any) -> Kernel:
    given = {"pattern": "unstructured", "operand": "weights", "kinds": ("linear",), "title": "", "measures": "",
             "source": ""} | fields  # fmt: skip
    return Kernel(name=name, points=tuple(KernelPoint(*each) for each in points), **given)  # type: ignore[arg-type]


def everywhere(in_pass: str, ratio: float, *sizes: tuple[int, int, int]) -> list[tuple[Any, ...]]:
    """The same ratio for both layers, or these sizes, at density 0.1 to 0.5."""
    return [(in_pass, *each, density, ratio) for each in sizes or (FIRST, SECOND) for density in (0.1, 0.5)]


def of(*kernels: Kernel, **fields: Any) -> Device:
    return machine(bytes_per_second=1e12, masking=MASKING, kernels=kernels, **fields)


def attained(
    device: Device, plan: SparsityPlan, phases: tuple[Phase, ...] = (Phase(1.0),), numbers: Numbers = SINGLE
) -> AttainableStep:
    dense = dense_step(two_layers(), device, SAMPLES, 0, numbers)
    return attainable_step(two_layers(), plan, device, dense, SAMPLES, phases)


def swat(weights: float = 0.8, acts: float = 0.8, **fields: Any) -> SparsityPlan:
    return plan_of(two_layers(), [(weights, acts)] * 2, **fields)


SLOW = kernel("slow", *everywhere("forward", 1.5))


def test_masked_dense() -> None:
    """Without a sparse kernel, or with one that is slower: the dense step, and masking of both operands."""
    for device in (of(), of(SLOW)):
        found = attained(device, swat())
        assert found.seconds == pytest.approx(DENSE + WEIGHTS + INPUTS)
        assert found.kernels == {}
        assert found.masking_known
    assert [each.kernel for each in attained(of(SLOW), swat()).choices] == ["masked dense"] * 5
    assert attained(of(SLOW), swat(0.8, 0.0)).seconds == pytest.approx(DENSE + WEIGHTS)
    assert attained(of(SLOW), swat(0.0, 0.0)).seconds == pytest.approx(DENSE)
    assert attained(of(SLOW), swat(method="rigl")).seconds == pytest.approx(DENSE)  # which selects nothing


def test_masking_that_was_not_measured() -> None:
    """Reading and writing 4 bytes per element at the memory's rate; left out if that is not known either."""
    elements = 8 * 16 + 16 * 4 + 64 * 8 + 64 * 16
    device = replace(of(SLOW), masking=None, bytes_per_second=1e6)
    found = attained(device, swat())
    dense = dense_step(two_layers(), device, SAMPLES, 0).seconds
    assert found.seconds == pytest.approx(dense + 8 * elements / 1e6)
    assert found.masking_known
    rated = replace(device, bytes_per_second=None, rates=Rates(macs_per_second=1, bytes_per_second=1))
    rates = StepTime(seconds=3.0, basis="rates")
    without = attainable_step(two_layers(), swat(), rated, rates, SAMPLES, (Phase(1.0),))
    assert (without.seconds, without.masking_known) == (3, False)


def test_a_kernel_runs_the_passes_in_which_it_is_faster() -> None:
    """Forward it halves the time of the first layer and triples that of the second; in grad_input the reverse."""
    both = kernel(
        "both",
        *everywhere("forward", 0.5, FIRST), *everywhere("forward", 3.0, SECOND),
        *everywhere("grad_input", 3.0, FIRST), *everywhere("grad_input", 0.25, SECOND),
    )  # fmt: skip
    found = attained(of(both), swat())
    chosen = {(each.layer, each.passes): each.kernel for each in found.choices}
    assert chosen == {
        (0, ("forward",)): "both", (0, ("grad_weight",)): "masked dense",
        (1, ("forward",)): "masked dense", (1, ("grad_input",)): "both", (1, ("grad_weight",)): "masked dense",
    }  # fmt: skip
    second = 0.5 + 0.064 + 4.096 + 0.25 * 4.096 + 4.096
    assert found.seconds == pytest.approx(0.5 * 8.192 + 8.192 + second + INPUTS, rel=1e-4)
    assert found.kernels == {"both": (2, True)}
    assert found.choices[0].dense_seconds == pytest.approx(8.192)


def test_a_kernel_beyond_its_measurements() -> None:
    """At density 0.05 it takes as long as at 0.1, the least that was measured; this is said."""
    found = attained(of(kernel("k", *everywhere("forward", 0.5))), swat(0.95))
    assert found.kernels == {"k": (2, False)}
    assert found.choices[0].seconds == pytest.approx(0.5 * 8.192)


def test_weights_are_no_operand_of_grad_weight() -> None:
    fast = kernel("k", *everywhere("grad_weight", 0.01))
    assert attained(of(fast), swat()).kernels == {}
    on_activations = replace(fast, operand="activations")
    found = attained(of(on_activations), swat())
    assert found.kernels == {"k": (2, True)}
    # masking of the activations is the kernel's
    assert found.seconds == pytest.approx(8.192 + 2 * 4.096 + WEIGHTS + 0.01 * (8.192 + 4.096))
    assert attained(of(on_activations), swat(method="rigl")).kernels == {}  # its activations are dense


def test_output_gradients() -> None:
    fast = kernel("k", *everywhere("grad_input", 0.5), operand="output gradients")
    meprop = replace(swat(method="meprop"), layers=tuple(replace(each, output=0.8) for each in swat().layers))
    found = attained(of(fast), meprop)
    assert found.kernels == {"k": (1, True)}  # the first layer has no grad_input
    assert found.seconds == pytest.approx(DENSE - 0.5 * 4.096)
    assert attained(of(fast), swat()).kernels == {}


def test_both_gradients_by_one_kernel() -> None:
    """For output gradients, which both read; the first layer has grad_weight only."""
    fast = kernel("k", *everywhere("backward", 0.25), operand="output gradients")
    meprop = replace(swat(method="meprop"), layers=tuple(replace(each, output=0.8) for each in swat().layers))
    found = attained(of(fast), meprop)
    assert [each.passes for each in found.choices if each.kernel == "k"] == [
        ("grad_weight",), ("grad_input", "grad_weight")
    ]  # fmt: skip
    assert found.seconds == pytest.approx(8.192 + 4.096 + 0.25 * (8.192 + 2 * 4.096))


def test_a_kernel_of_all_passes_against_others() -> None:
    """0.6 of 3 · 4.096 s beats single passes at 0.5, 1 and 1 of it, and loses to 0.25, 0.25 and 1."""
    whole = kernel("whole", *everywhere("training", 0.6))
    plan = replace(swat(), method=swat(method="rigl").method)  # which needs no masking
    for ratio, wins, seconds in ((0.5, True, 0.6 * 3), (0.25, False, 0.5 + 1)):
        single = kernel("single", *everywhere("forward", ratio), *everywhere("grad_input", ratio))
        found = attained(of(whole, single), plan)
        assert ("whole" in {each.kernel for each in found.choices if each.layer == 1}) == wins
        assert sum(each.seconds for each in found.choices if each.layer == 1) == pytest.approx(seconds * 4.096)
        # of the first layer, whole runs two passes: 1.2; forward 0.5 or 0.25, and 1
        first = min(1.2, ratio + 1)
        assert found.seconds == pytest.approx(first * 8.192 + seconds * 4.096)
    assert len(attained(of(whole), plan).choices) == 2  # one for each layer


@pytest.mark.parametrize(
    ("pattern", "asked", "runs"),
    [
        ("2:4", None, False), ("2:4", (2, 4), True), ("2:4", (1, 4), True), ("2:4", (4, 8), False),
        ("2:4", (2, 8), False), ("constant fan-in", None, False), ("constant fan-in", (2, 4), True),
        ("neurons", (2, 4), False), ("unstructured", (2, 4), True),
    ],
)  # fmt: skip
def test_a_kernel_needs_its_pattern(pattern: str, asked: tuple[int, int] | None, runs: bool) -> None:
    fast = kernel("k", *everywhere("forward", 0.5), pattern=pattern)
    assert bool(attained(of(fast), swat(0.5, 0.5, pattern=asked)).kernels) == runs


def test_a_pattern_that_a_schedule_has_not_reached() -> None:
    """At 7/8 of the target, 0.4375, some groups of four have three non-zeros left."""
    fast = kernel("k", *everywhere("training", 0.5), pattern="2:4")
    pruning = swat(0.5, 0.5, method="pruning", pattern=(2, 4))
    found = attained(of(fast), pruning, (Phase(0.5, 0.875), Phase(0.5, 1.0)))
    assert found.seconds == pytest.approx(0.5 * DENSE + 0.5 * 0.5 * DENSE)


def test_a_kernel_for_weights_does_not_mask_activations() -> None:
    """Training as a whole with a kernel for weights: grad_weight reads activations that are masked before."""
    found = attained(of(kernel("k", *everywhere("training", 0.5))), swat())
    assert found.kernels == {"k": (5, True)}
    assert found.seconds == pytest.approx(0.5 * DENSE + INPUTS)


def test_a_layer_kept_dense_stays_dense() -> None:
    fast = kernel("k", *everywhere("training", 0.5), pattern="2:4")
    found = attained(of(fast), plan_of(two_layers(), [0.0, 0.5], pattern=(2, 4)))
    assert found.kernels == {"k": (3, True)}
    assert [each.kernel for each in found.choices if each.layer == 0] == ["dense", "dense"]


@pytest.mark.parametrize(
    ("field", "value", "runs"),
    [
        ("kinds", ("conv",), False), ("precision", "fp16", False), ("precision", "fp32", True), ("window", 9, False),
        ("window", 1, True), ("stride", 2, False),
    ],
)  # fmt: skip
def test_a_kernel_needs_its_layer(field: str, value: Any, runs: bool) -> None:
    fast = replace(kernel("k", *everywhere("forward", 0.5)), **{field: value})
    assert bool(attained(of(fast), swat()).kernels) == runs


def test_bf16_and_fp16_stand_for_each_other() -> None:
    fast = kernel("k", *everywhere("forward", 0.5), precision="fp16")
    bf16 = Numbers(convolutions=("bf16",), products=("bf16",))
    device = of(fast, precisions=(PEAK, replace(PEAK, name="bf16")))
    assert attained(device, swat(), numbers=bf16).kernels == {"k": (2, True)}
    assert attained(device, swat()).kernels == {}


def test_convolutions_that_a_kernel_for_matrices_runs() -> None:
    """1 × 1 convolutions without stride or groups are products of matrices of 2 · 64 rows."""
    linear, conv = kernel("k", *everywhere("forward", 0.5, (128, 8, 16))), {"padding": (0, 0)}
    point = layer("conv", (2, 8, 8, 8), (16, 8, 1, 1), (2, 16, 8, 8), **conv)
    strided = layer("conv", (2, 8, 8, 8), (16, 8, 1, 1), (2, 16, 4, 4), stride=(2, 2), **conv)
    grouped = layer("conv", (2, 16, 8, 8), (16, 8, 1, 1), (2, 16, 8, 8), groups=2, **conv)
    window = layer("conv", (2, 8, 8, 8), (16, 8, 3, 3), (2, 16, 8, 8))
    for each, runs in ((point, True), (strided, False), (grouped, False), (window, False)):
        network = network_of(each)
        dense = dense_step(network, of(linear), 2, 0)
        found = attainable_step(network, plan_of(network, [0.8]), of(linear), dense, 2, (Phase(1.0),))
        assert bool(found.kernels) == runs
    # the sizes of a window are C · R · S by filters
    by_window = kernel("w", *everywhere("forward", 0.5, (128, 72, 16)), kinds=("conv",), window=9, stride=1)
    network = network_of(window)
    dense = dense_step(network, of(by_window), 2, 0)
    found = attainable_step(network, plan_of(network, [0.8]), of(by_window), dense, 2, (Phase(1.0),))
    assert found.kernels == {"w": (1, True)}


def test_phases_are_weighed() -> None:
    """A quarter of the run dense, the rest at the target."""
    device, plan = of(kernel("k", *everywhere("training", 0.5))), swat()
    half = 0.5 * DENSE
    found = attained(device, plan, (Phase(0.25, 0.0), Phase(0.75, 1.0)))
    assert found.seconds == pytest.approx(0.25 * DENSE + 0.75 * attained(device, plan).seconds)
    assert attained(device, replace(plan, method=swat(method="rigl").method)).seconds == pytest.approx(half)
    assert found.choices == attained(device, plan).choices  # those of the target


def test_what_is_not_a_product_stays() -> None:
    """ReLU and its gradient, 20.48 s at 1000 bytes per second; all else as above."""
    slow = replace(of(kernel("k", *everywhere("training", 0.5))), bytes_per_second=1000.0)
    found = attained(slow, swat(method="rigl"))
    assert found.seconds == pytest.approx(0.5 * (2 * 8.192 + 3 * 5.376) + 20.48)


def test_a_step_whose_parts_are_not_known() -> None:
    """It is the dense one and masking, whatever kernels there are."""
    device = of(kernel("k", *everywhere("training", 0.5)))
    dense = StepTime(seconds=100.0, basis="throughput")
    found = attainable_step(two_layers(), swat(), device, dense, SAMPLES, (Phase(1.0),))
    assert (found.seconds, found.choices) == (pytest.approx(100 + WEIGHTS + INPUTS), ())
    plan = swat(0.8, 0.0)
    found = attainable_step(two_layers(), plan, device, dense, SAMPLES, (Phase(1.0),))
    assert found.seconds == pytest.approx(100 + WEIGHTS)


@pytest.mark.parametrize("method", ["swat", "rigl", "pruning"])
@pytest.mark.parametrize("distribution", ["uniform", "nm"])
def test_arrays_give_the_same(method: str, distribution: str) -> None:
    kernels = (
        kernel("a", ("forward", *FIRST, 0.1, 0.4), ("forward", *FIRST, 0.5, 1.1), ("forward", *SECOND, 0.2, 0.7)),
        kernel("b", *everywhere("grad_weight", 0.5), operand="activations"),
        kernel("c", ("training", *SECOND, 0.1, 0.5), ("training", *SECOND, 0.4, 1.0)),
        kernel("d", *everywhere("training", 0.6), pattern="2:4"),
    )
    targets = [0.0, 0.25, 0.5, 0.75]
    setting = Setting.of(
        method=method, distribution=distribution, device=of(*kernels), batch_size=SAMPLES, first_layer="sparse"
    )
    weights = numpy.array(targets)
    acts = weights if method == "swat" else numpy.full(len(targets), numpy.nan)
    found = Vectorised(network=two_layers(), setting=setting).columns(weights, acts, numpy.full(4, numpy.nan))
    one_by_one = [
        swatcost.estimate(
            two_layers(), weights=each, acts=each if method == "swat" else None, method=method,
            distribution=distribution, device=setting.device, batch_size=SAMPLES, first_layer="sparse",
        ).attainable_step.seconds
        for each in targets
    ]  # fmt: skip
    assert numpy.broadcast_to(found["attainable_step_seconds"], 4) == pytest.approx(one_by_one)
    assert len(set(one_by_one)) >= 2


def test_never_slower_than_on_dense_kernels() -> None:
    kernels = [kernel(f"{in_pass}", *everywhere(in_pass, 1.2)) for in_pass in (*PASSES, "training", "backward")]
    assert attained(of(*kernels), swat()).seconds == attained(of(SLOW), swat()).seconds


def test_sizes_that_2_4_kernels_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = kernel("k", *everywhere("forward", 0.5), pattern="2:4")
    assert attained(of(fast), swat(0.5, 0.5, pattern=(2, 4))).kernels == {"k": (2, True)}
    monkeypatch.setattr(attainable, "_MULTIPLE", 8)
    assert attained(of(fast), swat(0.5, 0.5, pattern=(2, 4))).kernels == {"k": (1, True)}  # the second has 4 rows


def test_masked_copies_are_paid_by_who_reads_them() -> None:
    """A kernel that takes masked activations leaves masking to be paid; one that reads all weights itself does not."""
    on_masked = kernel("k", *everywhere("grad_weight", 0.01), operand="activations", takes_masked=True)
    found = attained(of(on_masked), swat())
    assert found.seconds == pytest.approx(8.192 + 2 * 4.096 + WEIGHTS + INPUTS + 0.01 * (8.192 + 4.096))
    # forward on a kernel; grad_input of the second layer reads masked weights: 0.5 + 0.064
    forward = kernel("k", *everywhere("forward", 0.5))
    found = attained(of(forward), swat())
    assert found.seconds == pytest.approx(DENSE - 0.5 * (8.192 + 4.096) + 0.564 + INPUTS)
    # SAW's forward pass is dense: no kernel of weights runs grad_input, which reads masked ones
    saw = swat(method="saw")
    assert attained(of(SLOW), saw).seconds == pytest.approx(DENSE + 0.564 + INPUTS)


def test_a_convolution_is_read_as_a_linear_layer_where_the_kernel_has_no_times_of_one() -> None:
    """16 images of 4 × 4 positions; ten times as fast on linear layers as on 1 × 1 convolutions."""
    network = swatcost.trace(nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 1)), input_shape=(8, 4, 4))
    device = load_device("epyc2")
    sizes = (16 * 16, 16, 4)
    linear = kernel("own", *everywhere("forward", 0.01, sizes))
    pointwise = kernel("own", *[(*each, 16) for each in everywhere("forward", 0.1, sizes)], kinds=("conv",), window=1,
                       stride=1)  # fmt: skip
    for kernels, ratio in (((linear,), 0.01), ((linear, pointwise), 0.1)):
        estimate = swatcost.estimate(
            network, weights=0.5, acts=0.5, batch_size=16, device=replace(device, kernels=kernels),
            first_layer="dense",
        )  # fmt: skip
        chosen = [each for each in estimate.attainable_step.choices if each.kernel == "own"]
        assert [each.seconds / each.dense_seconds for each in chosen] == [pytest.approx(ratio)]
