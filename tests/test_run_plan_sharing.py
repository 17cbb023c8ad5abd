"""Plans of several GPUs and micro-batches: who computes and sends what, and when. Arithmetic written out."""

from __future__ import annotations

import json
from dataclasses import replace
from math import ceil
from typing import Any

import pytest
from click.testing import CliRunner
from torch import nn

import swatcost
from swatcost.cli import cli, main
from swatcost.common.errors import SwatcostError
from swatcost.devices import load_device
from swatcost.devices.operations import Peak
from swatcost.memory.sharding import SHARDINGS
from swatcost.network import Network
from swatcost.planning import memory_of, plan_run
from swatcost.planning.communication import backward_share

BUFFERS = 2 * 4 * 26_560 + 53 * 8  # of ResNet-50: mean and variance of its norms' features, a counter per norm
ALL_REDUCED = 102_228_128 * 2 * 7 / 8  # its gradients, in a ring of 8
FORWARD, FIRST = 4_089_184_256, 64 * 3 * 7 * 7 * 112 * 112  # its MACs, and those of its first layer
BACKWARD = (2 * FORWARD - FIRST) / (3 * FORWARD - FIRST)  # the first layer has no grad_input
ONE = {"epochs": 1, "samples": 4000, "batch_size": 40}


@pytest.fixture(scope="module")
def mlp() -> Network:
    """Two layers that two GPUs split, and one of 3 outputs that they do not."""
    body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.Linear(8, 3))
    return swatcost.trace(body, input_shape=(8,))


UNTIMED = replace(
    load_device("rtx2080ti"), precisions=(), bytes_per_second=None, bandwidth_source="", link_bytes_per_second=None
)
"""The paper's GPU with the time of a whole step alone, not of the operations that it consists of."""


def planned(network: Network, **given: Any) -> Any:
    return plan_run(network, **{**ONE, **given})


def test_a_batch_is_split_over_gpus_and_micro_batches(resnet50: Network) -> None:
    found = plan_run(resnet50, batch_size=480, accumulate=5, weights=0.8, acts=0.8)
    assert found.estimate.batch_size == 12  # 480 over 8 GPUs and 5 micro-batches
    assert found.iterations == 90 * 2670  # ceil(1,281,167 / 480)
    assert found.topk_refreshes == 241  # ceil(240,300 / 1000): of iterations, not of micro-batches
    assert found.compute_seconds.dense == pytest.approx(240_300 * 5 * 0.147 * 12 / 32)  # Table 10: 147 ms for 32
    assert found.training_flops.dense == 2 * 14_586_888_192 * 1_281_167 * 90
    alone = memory_of(resnet50, batch_size=12, gpus=8, accumulate=5).memory.dense
    assert found.peak_bytes.dense == alone.peak.bytes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch_size": 100, "gpus": 8}, "100: 8 GPUs cannot split it evenly, give a multiple of 8, such as 96 or 104"),
        (
            {"batch_size": 480, "gpus": 8, "accumulate": 7},
            "480: 8 GPUs with 7 micro-batches each cannot split it evenly, give a multiple of 56, such as 448 or 504",
        ),
        (
            {"batch_size": 3, "gpus": 8, "tensor_parallel": 2},
            "3: 4 groups of GPUs cannot split it evenly, give a multiple of 4, such as 4",
        ),
        ({"gpus": 3, "tensor_parallel": 2}, "tensor_parallel 2: 3 GPUs are not groups of 2"),
        ({"gpus": 2, "accumulate": 2, "sharding": "zero2"}, "accumulate 2 is not modelled with zero2"),
        (
            {"gpus": 2, "tensor_parallel": 2, "weights": 0.5},
            "tensor parallel: the memory of swat is modelled",
        ),
    ],
)
def test_what_gpus_cannot_share(given: dict[str, Any], said: str, mlp: Network) -> None:
    with pytest.raises(SwatcostError) as raised:
        planned(mlp, **given)
    assert said in str(raised.value)


def test_gradients_are_sent_once_per_iteration(resnet50: Network) -> None:
    for accumulate in (1, 5):
        found = plan_run(resnet50, batch_size=480, accumulate=accumulate)
        assert found.traffic_bytes.dense == ALL_REDUCED + BUFFERS
    once, thrice = (planned(resnet50, batch_size=24, gpus=4, sharding="fsdp", accumulate=each) for each in (1, 3))
    assert thrice.traffic_bytes.dense == 3 * once.traffic_bytes.dense  # gathered and reduced for each micro-batch


@pytest.mark.parametrize("sharding", SHARDINGS.names())
def test_a_plan_sends_what_a_step_sends(sharding: str, resnet50: Network) -> None:
    accumulate = 1 if sharding.startswith("zero") else 2
    step = memory_of(resnet50, batch_size=4, gpus=4, sharding=sharding, accumulate=accumulate, precision="bf16")
    found = planned(
        resnet50, batch_size=16 * accumulate, gpus=4, sharding=sharding, accumulate=accumulate, precision="bf16"
    )
    assert found.traffic_bytes.dense == step.memory.dense.sent_bytes > 0
    assert found.gradient_bytes.dense == 102_228_128 / 2  # in 2 bytes per number


@pytest.mark.parametrize(("link", "accumulate"), [(16e9, 1), (1e9, 1), (1e9, 5)])
def test_the_backward_pass_hides_what_it_can(link: float, accumulate: int, resnet50: Network) -> None:
    found = plan_run(resnet50, batch_size=480, accumulate=accumulate, link=link, device=UNTIMED)
    backward = BACKWARD * 0.147 * 480 / 8 / 32 / accumulate  # of the last micro-batch, after which gradients are there
    left = max(0, ALL_REDUCED / link - backward)
    assert (left > 0) == (accumulate == 5)  # 0.179 s at 1 GB/s; 0.183 s for 60 samples, 0.037 s for 12
    assert found.exposed_traffic_seconds is not None
    assert found.exposed_traffic_seconds.dense == pytest.approx(240_300 * (BUFFERS / link + left))
    assert found.traffic_seconds is not None
    assert found.traffic_seconds.dense == pytest.approx(240_300 * (ALL_REDUCED + BUFFERS) / link)
    assert found.seconds.dense == pytest.approx(found.compute_seconds.dense + found.exposed_traffic_seconds.dense)
    assert found.seconds_without_overlap is not None
    assert found.seconds_without_overlap.dense == pytest.approx(
        found.compute_seconds.dense + found.traffic_seconds.dense
    )
    assert found.gpu_hours.dense == pytest.approx(8 * found.seconds.dense / 3600)


def test_parameters_that_are_sharded_hide_behind_every_backward_pass(resnet50: Network) -> None:
    found = plan_run(resnet50, batch_size=480, accumulate=5, sharding="fsdp", link="1GB", device=UNTIMED)
    left = found.traffic_bytes.dense / 1e9 - BACKWARD * 0.147 * 60 / 32  # all five, of 12 samples each
    assert found.exposed_traffic_seconds is not None
    assert left > 0
    assert found.exposed_traffic_seconds.dense == pytest.approx(240_300 * left)


def test_fewer_gradients_of_a_sparse_run_are_sent_sooner(resnet50: Network) -> None:
    found = plan_run(resnet50, weights=0.8, method="set", link="1GB")
    sending, exposed = found.traffic_seconds, found.exposed_traffic_seconds
    assert sending is not None
    assert exposed is not None
    assert 0 < exposed.sparse < sending.sparse < sending.dense
    sent = found.traffic_bytes.sparse - BUFFERS
    assert sent == pytest.approx(found.gradient_bytes.sparse * 2 * 7 / 8)


def test_two_gpus_that_split_layers_by_hand(mlp: Network) -> None:
    found = planned(mlp, gpus=4, tensor_parallel=2, accumulate=4, link=1e6, device="rtx2080ti")
    assert found.estimate.batch_size == 5  # 40 over 2 groups and 4 micro-batches
    # MACs per sample: 8·16 twice (the first layer has no grad_input), 16·8 thrice, and whole on both, 8·3 thrice
    split, whole = 2 * 128 + 3 * 128, 3 * 24
    share = (split / 2 + whole) / (split + whole)
    step = found.estimate.dense_step.seconds
    assert found.compute_seconds.dense == pytest.approx(100 * 4 * share * step)
    # per sample an all-reduce of the second layer's 8 outputs; no gradient of the first one's input
    reduced = 2 * 1 / 2 * 4 * 8 * 40 / 2
    # gradients: half of the weights, of the first biases; all of the second and of the last layer
    gradients = 4 * (64 + 8 + 64 + 8 + 24 + 3)
    assert found.gradient_bytes.dense == gradients
    assert found.traffic_bytes.dense == reduced + 2 * 1 / 2 * gradients
    backward = (712 - 280) / 712 * share * step  # of one micro-batch; 128 + 128 + 24 are forward
    exposed = reduced / 1e6 + max(0, gradients / 1e6 - backward)
    assert found.exposed_traffic_seconds is not None
    assert found.exposed_traffic_seconds.dense == pytest.approx(100 * exposed)
    said = " ".join(found.to_dict()["assumptions"])
    assert "Its all-reduces of activations cannot overlap" in said
    assert "Linear layers that are not split: 3" in said


def test_the_link_is_the_devices_unless_given(resnet50: Network) -> None:
    device = replace(load_device("rtx2080ti"), link_bytes_per_second=2e9)
    assert plan_run(resnet50, device=replace(device, link_bytes_per_second=None)).link is None
    assert plan_run(resnet50, device=device).link == 2e9
    assert "profile" in " ".join(plan_run(resnet50, device=device).to_dict()["assumptions"])
    assert plan_run(resnet50, device=device, link="3GB").link == 3e9
    alone = plan_run(resnet50, device=device, gpus=1)
    assert alone.seconds == alone.compute_seconds == alone.seconds_without_overlap


@pytest.mark.parametrize(
    ("arguments", "label", "says"),
    [
        (["--gpus", "1", "--device", "xeon2"], "time ", "none"),
        (["--device", "xeon2"], "compute time ", "left out"),
        (["--link", "16GB"], "time, full overlap ", "full overlap"),
    ],
)
def test_the_headline_says_what_its_time_covers(arguments: list[str], label: str, says: str) -> None:
    words = ["plan", "resnet50", "--weights", "0.8", *arguments]
    lines = CliRunner().invoke(cli, words).stdout.splitlines()
    assert any(line.startswith(label) for line in lines)
    assert max(map(len, lines)) <= 80
    content = json.loads(CliRunner().invoke(cli, [*words, "--format", "json"]).stdout)
    assert content["communication"] == says
    names = ("compute_seconds", "traffic_seconds", "exposed_traffic_seconds", "seconds_without_overlap")
    rows = CliRunner().invoke(cli, [*words, "--format", "csv"]).stdout
    for name in names:
        assert (content["run"][name] is None) == (says != "full overlap" and name != "compute_seconds")
        assert (f"\n{name}," in rows) == (content["run"][name] is not None)


def test_options_are_the_same_as_in_memory() -> None:
    words = ["plan", "vit_b_16", "--epochs", "1", "--samples", "960", "--batch-size", "480", "--gpus", "8"]
    done = CliRunner().invoke(cli, [*words, "--tensor-parallel", "2", "--accumulate", "5", "--format", "json"])
    assert done.exception is None, done.exception
    content = json.loads(done.stdout)
    # 480 over 4 groups of 2 GPUs is 120, in 5 micro-batches
    assert (content["micro_batch_size"], content["accumulate"], content["tensor_parallel"]) == (24, 5, 2)
    assert content["iterations"] == ceil(960 / 480)


def test_what_does_not_fit_is_said_first(capsys: pytest.CaptureFixture[str], resnet50: Network) -> None:
    assert main(["plan", "resnet50", "--batch-size", "2048", "--quiet"]) == 0
    opening = " ".join(capsys.readouterr().out.split("\n\n")[0].split())
    peak = memory_of(resnet50, batch_size=256, gpus=8).memory.dense.peak.bytes  # 2048 over 8; 11 GiB are 11.811 GB
    said = f"DOES NOT FIT: the dense step takes {peak / 1e9:.3f} GB per GPU, rtx2080ti has 11.811 GB"
    assert said in opening
    assert opening.endswith("`swatcost memory … --batch-size 256 --fit rtx2080ti` lists ways to make it fit.")
    assert plan_run(resnet50, batch_size=2048).fits == (False, False)
    assert plan_run(resnet50).fits == (True, True)
    assert plan_run(resnet50, device="xeon2", gpus=1).fits is None
    # as many GPUs, an eighth of the samples at a time
    assert plan_run(resnet50, batch_size=2048, accumulate=8).fits == (True, True)
    assert main(["plan", "resnet50", "--quiet"]) == 0
    assert "DOES NOT FIT" not in capsys.readouterr().out


def test_2_4_has_its_ceiling_and_others_what_was_reported(resnet50: Network) -> None:
    found = plan_run(resnet50, weights=0.5, distribution="nm")
    assert found.two_four is not None
    assert (found.two_four.element, found.two_four.batch_size) == ("float32", 32)
    data = found.to_dict()
    said = " ".join(data["assumptions"])
    assert f"at most {data['two_four_ceilings']['weights']:.2f}× as fast on sparse tensor cores" in said
    assert "training end to end: 6 % less time on A100" in said
    half = plan_run(resnet50, weights=0.5, distribution="nm", precision="bf16").two_four
    assert half is not None
    assert half.element == "float16"
    other = plan_run(resnet50, weights=0.5).to_dict()
    assert other["two_four_ceilings"] is None
    assert "1.2–2.1 × faster on V100" in " ".join(other["assumptions"])
    for given in ({}, {"weights": 0.5, "method": "swat-structured"}, {"source": "1:4", "distribution": "nm"}):
        said = " ".join(plan_run(resnet50, **given).to_dict()["assumptions"])  # type: ignore[arg-type]
        assert "tensor cores" not in said
        assert ("Reported for" in said) == ("source" in given)


CONFIG = 'method = "rigl"\nperiod = 7\nbatch-size = 512\n[plan]\ngpus = 4\n'


@pytest.mark.parametrize(
    ("arguments", "environment", "found"),
    [
        ([], {}, ("rigl", 7, 512, 4)),
        ([], {"SWATCOST_PERIOD": "9", "SWATCOST_PLAN_METHOD": "snfs"}, ("snfs", 9, 512, 4)),
        (["--method", "set", "--batch-size", "64"], {"SWATCOST_BATCH_SIZE": "128"}, ("set", 7, 64, 4)),
        (["--recipe", "imagenet-structured"], {}, ("rigl", 7, 512, 4)),
        (["--no-config"], {"SWATCOST_PERIOD": "9"}, ("swat", 1000, 256, 8)),  # Table 14
    ],
)
def test_the_users_own_defaults_come_before_the_recipes(
    arguments: list[str],
    environment: dict[str, str],
    found: tuple[Any, ...],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(CONFIG)
    for name, value in ({"SWATCOST_CONFIG": str(file)} | environment).items():
        monkeypatch.setenv(name, value)
    assert main(["plan", "resnet50", "--weights", "0.8", "--format", "json", *arguments]) == 0
    out, err = capsys.readouterr()
    content = json.loads(out)
    said = (content["step"]["method"], content["step"]["topk_period"], content["batch_size"], content["gpus"])
    assert said == found
    assert (f"gpus = 4 from {file}" in err) == ("--no-config" not in arguments)


def test_the_backward_pass_takes_its_share_of_the_operations_times(mlp: Network) -> None:
    # the first layer has 5 · 8 · 16 MACs per pass; 5 · 8 + 8 · 16 + 5 · 16 numbers of 4 bytes take longer at 1 MB/s
    device = replace(
        UNTIMED, dense_steps=(), precisions=(Peak(name="fp32", macs_per_second=1e6, source="made up"),),
        bytes_per_second=1e6,
    )  # fmt: skip
    found = planned(mlp, gpus=8, link=1e6, device=device).estimate
    parts = found.dense_step.parts
    first = {each.in_pass: each.seconds for each in parts if each.layer == 0}
    assert first == {"forward": pytest.approx(992e-6), "grad_weight": pytest.approx(992e-6)}
    backward = sum(each.seconds for each in parts if each.in_pass in ("grad_input", "grad_weight", "backward"))
    share = backward_share(found)
    assert share.dense == pytest.approx(backward / found.dense_step.seconds)
    assert share.dense == share.attainable == share.ideal  # nothing is sparse
    # 128 weights of the first layer, 128 of the second, 24 of the last, and their biases; a ring of 8 sends 7/4 of it
    sent = 4 * (128 + 16 + 128 + 8 + 24 + 3) * 7 / 4
    run = planned(mlp, gpus=8, link=1e6, device=device)
    assert run.exposed_traffic_seconds is not None
    assert run.exposed_traffic_seconds.dense == pytest.approx(100 * max(0, sent / 1e6 - backward))


def test_a_recomputed_forward_pass_runs_in_the_backward_pass() -> None:
    found = plan_run(swatcost.load("resnet50", checkpoint="layer1.*"), device="a100").estimate
    parts, layers = found.dense_step.parts, found.network.counted_layers
    backward = sum(each.seconds for each in parts if each.in_pass in ("grad_input", "grad_weight", "backward"))
    # of two forward passes of the modules that are checkpointed, the second
    again = [
        each.seconds / 2
        for each in parts
        if each.in_pass == "forward" and each.layer is not None and layers[each.layer].recomputed
    ]
    assert len(again) == 10  # layer1: three blocks of three convolutions, and one that downsamples
    assert backward_share(found).dense * found.dense_step.seconds == pytest.approx(backward + sum(again))


def test_attainable_steps_send_what_dense_ones_do(resnet50: Network) -> None:
    found = plan_run(resnet50, weights=0.8, method="set", link="1GB")
    sending = found.traffic_seconds
    assert sending is not None
    assert sending.attainable == sending.dense > sending.ideal
