"""A plan's three answers: arithmetic written out, laws, and the sentence that says what is attainable and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

import swatcost
from swatcost.cli import cli
from swatcost.devices import Device, load_device
from swatcost.devices.kernels import Kernel, KernelPoint
from swatcost.network import Network
from swatcost.planning import plan_run
from swatcost.planning.answers import Answers
from swatcost.planning.communication import backward_share
from swatcost.report import render
from swatcost.report.attainable import attainable_sentence
from swatcost.report.numbers import percent
from swatcost.report.speedups import figures

PASSES = 54 * 3 - 1  # of ResNet-50's 53 convolutions and its linear layer; the first has no grad_input
SPARSE = (
    54 - 1 - 4
)  # forward passes, without the first layer and the four downsampling ones, which SWAT kept dense for SET
MACS = 3 * 4_089_184_256 - 64 * 3 * 7 * 7 * 112 * 112  # of its training step per sample, as autograd executes it


def kernel(name: str, over_dense: float, **given: Any) -> Kernel:
    """A kernel that was measured on one shape, forward, at two densities."""
    points = tuple(KernelPoint("forward", 100, 100, 100, density, over_dense) for density in (0.1, 0.9))
    made = {"pattern": "unstructured", "operand": "weights", "kinds": ("conv", "linear"), **given}
    return Kernel(name=name, title=name, measures="the product", source="made up", points=points, **made)


def with_kernels(*kernels: Kernel) -> Device:
    return replace(load_device("rtx2080ti"), kernels=kernels)


def test_answers_add_and_scale() -> None:
    found = 2 * Answers(1, 2, 3) + Answers(10, 20, 30)
    assert found == Answers(12, 24, 36)
    assert Answers(8, 4, 2).attainable_speedup == 2
    assert Answers(8, 4, 2).ideal_speedup == 4
    assert found.sparse == found.ideal  # the name that it had


def test_masked_steps_by_hand(resnet50: Network) -> None:
    found = plan_run(resnet50, weights=0.8, acts=0.8, gpus=8, price=2, pue=1.5)
    step = found.estimate.attainable_step.seconds
    assert found.topk.attainable == pytest.approx(451 * 0.470)  # Table 10, and ceil(450,450 / 1000) refreshes
    assert found.compute_seconds.attainable == pytest.approx(450_450 * step + 451 * 0.470)
    hours = 8 * found.seconds.attainable / 3600
    assert found.gpu_hours.attainable == pytest.approx(hours)
    assert found.money is not None
    assert found.money.attainable == pytest.approx(2 * hours)
    assert found.energy_kwh is not None
    assert found.energy_kwh.attainable == pytest.approx(hours * 0.25 * 1.5)  # 250 W per GPU
    assert found.co2_kg is not None
    assert found.co2_kg.attainable == pytest.approx(0.475 * hours * 0.25 * 1.5)
    assert found.seconds.ideal < found.seconds.dense < found.seconds.attainable  # masking and Top-K take time


@pytest.mark.parametrize("device", ["a100", "rtx2080ti"])
def test_without_sparsity_all_answers_are_the_dense_one(device: str, resnet50: Network) -> None:
    for found in (plan_run(resnet50, device=device), plan_run(resnet50, device=device, weights=0.0, method="set")):
        assert found.seconds == Answers(found.seconds.dense, found.seconds.dense, found.seconds.dense)
        assert found.traffic_seconds is None or len(set(vars(found.traffic_seconds).values())) == 1


def test_the_fastest_kernel_is_what_is_attainable(resnet50: Network) -> None:
    slow, fast = (
        plan_run(resnet50, weights=0.8, method="set", device=with_kernels(kernel("k", each))) for each in (0.9, 0.5)
    )
    dense = slow.seconds.dense
    # forward passes of sparse layers take 0.9 and 0.5 of their time: the rest is the same
    saved = [dense - each.seconds.attainable for each in (slow, fast)]
    assert saved[1] == pytest.approx(5 * saved[0])
    assert fast.seconds.attainable < slow.seconds.attainable < dense


def test_hidden_refreshes_are_exposed_by_the_steps_that_hide_them(resnet50: Network) -> None:
    found = plan_run(resnet50, weights=0.8, acts=0.8, gpus=8, period=2, hidden=True)
    left = [
        max(0, 0.470 - 2 * each)
        for each in (found.estimate.attainable_step.seconds, found.estimate.sparse_step_seconds)
    ]
    assert left[0] < left[1]
    assert found.topk == Answers(0, *(pytest.approx(225_225 * each) for each in left))


def test_a_utilisation_by_hand(resnet50: Network) -> None:
    words = ["plan", "resnet50", "--device", "a100", "--precision", "amp", "--mfu", "0.4", "--format", "json"]
    done = CliRunner().invoke(cli, words)
    assert done.exception is None, done.exception
    content = json.loads(done.stdout)
    # 312 TFLOPS are 156e12 MAC/s, of which 40 %
    assert content["run"]["compute_seconds"]["dense"] == pytest.approx(450_450 * 32 * MACS / (0.4 * 156e12))
    assert content["model_flops_utilisation"] == pytest.approx(0.4)
    # a measured step of 147 ms; 13.45 TFLOPS in fp32 are 6.725e12 MAC/s
    measured = plan_run(resnet50).to_dict()["model_flops_utilisation"]
    peak = {each.name: each.macs_per_second for each in load_device("rtx2080ti").precisions}["fp32"]
    assert measured == pytest.approx(32 * MACS / peak / 0.147)
    assert f"MFU of the dense step: {percent(measured)}" in " ".join(plan_run(resnet50).to_dict()["assumptions"])
    assert plan_run(resnet50, device="xeon2").to_dict()["model_flops_utilisation"] is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "batch 256 (SWAT, Table 14): "),
        ({"batch_size": 512}, "batch 512 (epochs, dataset, GPUs: SWAT, Table 14): "),
        ({"batch_size": 512, "gpus": 4, "epochs": 1}, "batch 512 (dataset: SWAT, Table 14): "),
        ({"batch_size": 512, "gpus": 4, "epochs": 1, "samples": 512}, "batch 512: "),
    ],
)
def test_only_what_is_the_recipes_carries_its_source(given: dict[str, int], says: str, resnet50: Network) -> None:
    assert says in " ".join(str(plan_run(resnet50, **given)).split())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "given", "says"),
    [
        (with_kernels(), {}, "no sparse kernel is known for it"),
        (with_kernels(), {}, "`swatcost calibrate` measures a machine's kernels"),
        (with_kernels(kernel("a", 0.5)), {}, f", with sparse kernels (a in {SPARSE} of {PASSES} passes of layers)"),
        (with_kernels(kernel("a", 0.5)), {}, " EXTRAPOLATED: outside the measured shapes or densities of a."),
        (with_kernels(kernel("a", 1.5)), {}, "a fits but is no faster than dense kernels"),
        (with_kernels(kernel("a", 1.5), kernel("b", 2)), {}, "a, b fit but are no faster than dense kernels"),
        (with_kernels(kernel("a", 0.5, pattern="2:4")), {}, "a needs 2:4 weights, which here are unstructured"),
        (
            with_kernels(kernel("a", 0.5, pattern="2:4")), {"distribution": "nm", "source": "3:4", "weights": None},
            "a needs 2:4 weights, which here are 3:4",
        ),
        (
            with_kernels(kernel("a", 0.5, operand="output gradients")), {},
            "a needs sparse output gradients in passes where set has none",
        ),
        (with_kernels(kernel("a", 0.5, precision="fp16")), {}, "a needs a step in fp16, and this one is in tf32 or"),
        (
            with_kernels(kernel("a", 0.5, kinds=("depthwise",))), {},
            "a needs depthwise layers, of which none here fits",
        ),
        (
            replace(with_kernels(kernel("a", 0.5)), precisions=(), bytes_per_second=None), {},
            "it has sparse kernels (a), but the times of a step's operations are not known",
        ),
        (
            replace(with_kernels(), masking=None, bytes_per_second=None, precisions=()), {"method": "swat"},
            "The time of masking on rtx2080ti is not known and left out.",
        ),
    ],
)  # fmt: skip
def test_why_it_is_no_faster_or_by_which_kernels(
    device: Device, given: dict[str, Any], says: str, resnet50: Network
) -> None:
    found = swatcost.estimate(resnet50, device=device, **{"weights": 0.8, "method": "set", **given})
    said = attainable_sentence(found)
    assert says in said
    assert said.startswith("Attainable on rtx2080ti: " if found.attainable_speedup > 1.005 else "Attainable: no faster")


def test_the_answer_begins_with_it_where_nothing_is_gained(resnet50: Network) -> None:
    for device, gains in ((with_kernels(), False), (with_kernels(kernel("a", 0.5)), True)):
        found = plan_run(resnet50, weights=0.8, method="set", device=device)
        opening, *rest = render(found, notes=True).split("\n\n")
        said = attainable_sentence(found.estimate)
        assert (said in " ".join(opening.split())) != gains
        assert " ".join(" ".join(rest).split()).count(said[:40]) == gains  # once, and never twice
        assert found.to_dict()["assumptions"].count(said) == 1
    assert attainable_sentence(plan_run(resnet50).estimate) == ""


def test_kernels_shorten_the_backward_pass_by_what_they_save_there(resnet50: Network) -> None:
    forward = kernel("forward", 0.5)
    points = tuple(each._replace(in_pass="training") for each in forward.points)
    for one, saves in ((forward, 0), (replace(forward, points=points), 0.5)):
        found = plan_run(resnet50, weights=0.8, method="set", device=with_kernels(one)).estimate
        chosen = {each.layer for each in found.attainable_step.choices if each.kernel == "forward"}
        assert len(chosen) == SPARSE
        parts = [each for each in found.dense_step.parts if each.in_pass in ("grad_input", "grad_weight", "backward")]
        shorter = sum((1 - saves * (each.layer in chosen)) * each.seconds for each in parts)
        share = backward_share(found)
        assert share.dense * found.dense_step.seconds == pytest.approx(sum(each.seconds for each in parts))
        assert share.attainable * found.attainable_step.seconds == pytest.approx(shorter)


def test_the_first_figures_say_so_where_kernels_are_extrapolated() -> None:
    """At a density of 0.2 and one shape, a kernel is within its measurements nowhere but there."""
    found = swatcost.estimate("resnet50", weights=0.8, device=with_kernels(kernel("a", 0.5)))
    assert "passes of layers, EXTRAPOLATED" in figures(found)[0].remark
    without = swatcost.estimate("resnet50", weights=0.8)
    assert "EXTRAPOLATED" not in figures(without)[0].remark
