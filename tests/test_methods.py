"""Methods as data: Table 1, schedules, and what conventions make of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import swatcost
from swatcost.cli import main
from swatcost.counting.conventions import CONVENTIONS, conventions_of
from swatcost.methods import METHODS, LayerSparsity, Phase
from swatcost.methods.method import Method, sparse_in
from swatcost.methods.pruning import cubic
from swatcost.network import Network
from swatcost.network.layer import Layer
from swatcost.planning import compare

NAMES = ["dense", "pruning", "meprop", "dsg", "set", "dsr", "snfs", "rigl", "dst", "saw", "swat", "swat-structured"]
SINCE_2020 = [
    "ac-dc", "granet", "mest", "mest-soft", "powerpropagation", "rigl-itop", "set-itop", "spdf", "srigl", "str",
    "top-kast",
]  # fmt: skip
LATER = [  # which have tests of their own
    "sr-ste", "asp", "transposable-nm", "bi-mask", "fst", "s-ste", "slope", "lora", "moe", "galore", "sparse-ift",
]  # fmt: skip

# 3 × 3 convolution, 8 filters of 8 channels, 6 × 6 outputs: every pass has 8 · 72 · 36 = 20736 MACs
LAYER = Layer(
    name="l", kind="conv", input_shape=(1, 8, 6, 6), output_shape=(1, 8, 6, 6), weight_shape=(8, 8, 3, 3),
    stride=(1, 1), padding=(1, 1), dilation=(1, 1), weight="(computed in l)", element_bytes=4, input_needs_grad=True,
    weight_trains=True, input_storage=0,
)  # fmt: skip
MACS = 8 * 72 * 36


def test_all_methods_are_there() -> None:
    assert sorted(METHODS.names()) == sorted([*NAMES, *LATER, *SINCE_2020])


@pytest.mark.parametrize(
    ("method", "forward", "grad_input", "grad_weight", "unstructured", "structured"),
    [  # Table 1: sparse forward pass, input gradient, weight gradient; unstructured and structured networks
        ("meprop", False, True, True, False, False),
        ("dsg", True, True, True, True, False),
        ("set", True, True, False, True, False),
        ("dsr", True, True, False, True, False),
        ("snfs", True, True, False, True, False),
        ("rigl", True, True, False, True, False),
        ("swat", True, True, True, True, False),
        ("swat-structured", True, True, True, False, True),
    ],
)
def test_table_1(
    method: str, forward: bool, grad_input: bool, grad_weight: bool, unstructured: bool, structured: bool
) -> None:
    data = METHODS[method]
    assert [bool(data.sparse[each]) for each in ("forward", "grad_input", "grad_weight")] == [
        forward, grad_input, grad_weight,
    ]  # fmt: skip
    assert (data.unstructured, data.structured) == (unstructured, structured)


def sparse_macs(method: str, convention: str, sparsity: LayerSparsity, **options: object) -> list[float]:
    phases = CONVENTIONS[convention].phases(METHODS[method], 32_000)
    costs = CONVENTIONS[convention].count(LAYER, METHODS[method], sparsity, phases=phases, **options)  # type: ignore[arg-type]
    return [each.sparse / MACS for each in (*costs.by_pass().values(), costs.inference)]


@pytest.mark.parametrize(
    ("method", "convention", "fractions"),
    [  # weights 75 %, activations 50 %, outputs 60 % zeros: what is left of forward, grad_input, grad_weight, inference
        ("dense", "swat", [1, 1, 1, 1]),
        ("swat", "swat", [0.25, 0.25, 0.5, 0.25]),
        ("saw", "swat", [1, 0.25, 0.5, 1]),
        ("set", "swat", [0.25, 0.25, 0.5, 0.25]),  # the default activation sparsity
        ("snfs", "swat", [0.25, 0.25, 0.5, 0.25]),
        ("meprop", "swat", [1, 0.4, 0.4, 1]),
        ("set", "exact", [0.25, 0.25, 0.25, 0.25]),  # gradients of active weights only
        ("dsr", "exact", [0.25, 0.25, 0.25, 0.25]),
        ("snfs", "exact", [0.25, 0.25, 1, 0.25]),  # gradients of all weights
        ("swat", "exact", [0.25, 0.25, 0.5, 0.25]),
        # floor(25000 / 100) + 1 = 251 of 32000 steps with a dense gradient
        ("rigl", "exact", [0.25, 0.25, 0.25 + 0.75 * 251 / 32_000, 0.25]),
        ("dst", "exact", [0.25 + 0.75 / 160, 0.25 + 0.75 / 160, 1, 0.25]),
    ],
)
def test_what_is_left_of_each_pass(method: str, convention: str, fractions: list[float]) -> None:
    found = sparse_macs(method, convention, LayerSparsity(weight=0.75, activation=0.5, output=0.6))
    assert found == pytest.approx(fractions, rel=1e-12)


def test_the_default_activation_sparsity_can_be_set() -> None:
    assert sparse_macs("rigl", "swat", LayerSparsity(weight=0.75), default_act_sparsity=0.3)[2] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("method", "training"),
    [  # appendix H with f_S = 0.25 f_D: static and SET 3 f_S, SNFS 2 f_S + f_D, RigL's mixture; O is 8 · 36 outputs
        ("set", 0.75),
        ("snfs", 1.5),
        ("rigl", (3 * 0.25 * 100 + 2 * 0.25 + 1) / 101),
    ],
)
def test_rigls_training_rules(method: str, training: float) -> None:
    phases = CONVENTIONS["rigl"].phases(METHODS[method], 32_000)
    costs = CONVENTIONS["rigl"].count(LAYER, METHODS[method], LayerSparsity(weight=0.75), phases=phases)
    outputs = 3 * 0.5 * 8 * 36
    assert costs.training.sparse == pytest.approx(training * MACS + outputs)
    assert costs.training.dense == 3 * MACS + outputs


def test_the_cubic_schedule() -> None:
    # 10 dense intervals, 16 along the curve at k/15 and 6 at the end: Σ (1 − (1 − k/15)³) = 16 − (15 · 16 / 2)² / 15³
    phases = METHODS["pruning"].schedule(32_000)
    assert sum(phase.share for phase in phases) == pytest.approx(1)
    mean = sum(phase.share * phase.scale for phase in phases)
    assert mean == pytest.approx((16 - 14_400 / 3_375 + 6) / 32)
    # RigL's mean also takes the sample at the end of the run: 33 samples, 7 of them at the end
    published = CONVENTIONS["rigl"].phases(METHODS["pruning"], 32_000)
    assert sum(each.share * each.scale for each in published) == pytest.approx((16 - 14_400 / 3_375 + 7) / 33)
    assert [cubic(each) for each in (-1, 0, 1, 2)] == [0, 0, 1, 1]


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("steps", [1, 50, 1_000, 32_000])
def test_schedules_cover_the_run(method: str, steps: int) -> None:
    for convention in CONVENTIONS:
        phases = convention.phases(METHODS[method], steps)
        assert math.isclose(sum(phase.share for phase in phases), 1)
        assert all(phase.share >= 0 and 0 <= phase.scale <= 1 for phase in phases)


@pytest.mark.parametrize("method", NAMES)
def test_no_sparsity_is_dense_training_under_every_convention(resnet50: Network, method: str) -> None:
    for convention in conventions_of(resnet50):
        estimate = swatcost.estimate(resnet50, method=method, convention=convention)
        assert (estimate.training_reduction, estimate.inference_reduction, estimate.speedup) == (0, 0, 1)


def test_dsg_pays_for_its_search() -> None:
    # k = floor(4 ln 8 / (1/8 − 1/24)) = 99 is more than the 72 dimensions there are: the search costs a dense pass
    free = sparse_macs("dsg", "exact", LayerSparsity(output=0.6))
    assert free == pytest.approx([0.4 + 1, 0.4, 0.4, 0.4 + 1])
    assert sparse_macs("dsg", "exact", LayerSparsity()) == [1, 1, 1, 1]


@pytest.mark.parametrize("method", NAMES)
def test_rigls_convention_never_adds_work(method: str) -> None:
    for convention in ("rigl", "rigl-padded"):
        found = sparse_macs(method, convention, LayerSparsity(weight=0.8, activation=0.8, output=0.8))
        dense = sparse_macs(method, convention, LayerSparsity())
        assert all(sparse <= whole for sparse, whole in zip(found, dense, strict=True))


def test_work_that_a_method_adds_counts_whatever_it_makes_sparse() -> None:
    method = Method(
        name="x",
        title="",
        citation="",
        sparse=sparse_in(forward=("weight",)),
        extra_macs=lambda layer: 100 * layer.images,
    )
    costs = CONVENTIONS["exact"].count(LAYER, method, LayerSparsity(weight=0.75))
    assert costs.forward.sparse == 0.25 * MACS + 100
    assert CONVENTIONS["exact"].count(LAYER, method, LayerSparsity()).forward.sparse == MACS


def test_structured_swat_prunes_whole_kernels(resnet50: Network) -> None:
    estimate = swatcost.estimate(resnet50, weights=0.7, acts=0.7, method="swat-structured")
    for each in estimate.layers[1:]:
        F, C = each.layer.weight_shape[:2]
        assert each.sparsity.weight * F * C == pytest.approx(round(0.7 * F * C))
    assert estimate.channels_pruned == pytest.approx(0.7, abs=1e-4)
    assert swatcost.estimate(resnet50, weights=0.7).channels_pruned is None


def test_layers_left_dense(resnet50: Network) -> None:
    assert list(swatcost.estimate(resnet50, weights=0.8, method="set", keep_dense=[]).plan.kept_dense) == [
        "conv1.weight"
    ]
    measured = swatcost.estimate(resnet50, method="dsr", distribution="file", source={"*downsample*": 0.5})
    assert measured.plan.kept_dense == {}
    kept = swatcost.estimate(resnet50, weights=0.8, method="set").plan.kept_dense
    assert sorted(kept) == ["conv1.weight", *(f"layer{stage}.0.downsample.0.weight" for stage in (1, 2, 3, 4))]


@pytest.mark.parametrize("method", [each.name for each in METHODS if each.keeps_dense])
def test_the_command_leaves_the_same_layers_dense(
    method: str, resnet50: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = swatcost.estimate(resnet50, weights=0.8, method=method).to_dict()["totals"]
    assert main(["resnet50", "--weights", "0.8", "--method", method, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"] == expected


@pytest.mark.parametrize(
    ("method", "distribution", "weights", "test", "train"),
    [  # RigL's ratios for ResNet-50, to the two decimals that it prints
        ("rigl", "uniform", 0.8, 0.23, None),
        ("rigl", "erk", 0.8, 0.42, None),
        ("rigl", "erk", 0.9, 0.24, 0.25),
        ("snfs", "erk", 0.8, None, 0.61),
        ("snfs", "erk", 0.9, None, 0.50),
        ("pruning", "uniform", 0.8, None, 0.56),
        ("pruning", "uniform", 0.9, None, 0.51),
    ],
)
def test_rigls_ratios(
    resnet50: Network, method: str, distribution: str, weights: float, test: float | None, train: float | None
) -> None:
    estimate = swatcost.estimate(
        resnet50, method=method, distribution=distribution, weights=weights, convention="rigl-padded"
    )
    assert test is None or round(1 - estimate.inference_reduction, 2) == test
    assert train is None or round(1 - estimate.training_reduction, 2) == train


def test_comparison(resnet50: Network) -> None:
    comparison = compare(resnet50, weights=0.8, default_act_sparsity=0.459)
    assert [each for each in METHODS.names() if each not in comparison.refused] == list(comparison.by_method)
    assert list(comparison.by_convention) == [each.name for each in conventions_of(resnet50)]
    # RigL at 80 %: 77 % in its own paper, 67.2 % in SWAT's, and the weight gradient is where they differ
    assert comparison.by_convention["rigl"].training_reduction == pytest.approx(0.7733, abs=5e-5)
    assert comparison.by_method["rigl"].training_reduction == pytest.approx(0.6720, abs=5e-5)


def test_a_comparison_names_what_cannot_be_reached(resnet50: Network) -> None:
    comparison = compare(resnet50, weights=0.9, distribution="erk", methods=["swat", "set"])
    assert "layers kept dense hold" in comparison.refused["set"]
    assert "set is left out: weights 0.9 cannot be reached" in repr(comparison)
    every = repr(compare(resnet50, weights=0.9))
    assert "sr-ste and transposable-nm are left out, as they cannot take these settings" in " ".join(every.split())


def test_a_comparison_refuses_what_no_method_can_take(resnet50: Network) -> None:
    for settings in ({"convention": "nope"}, {"method": "nope"}, {"acts": 2}):
        with pytest.raises(swatcost.SwatcostError, match=r"nope|is not a sparsity"):
            compare(resnet50, weights=0.5, **settings)  # type: ignore[arg-type]


def test_a_third_party_adds_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thirdparty.py").write_text(
        "from swatcost.methods import Method, sparse_in\n"
        "METHOD = Method(name='half', title='Half', citation='here', sparse=sparse_in(forward=('weight',)))\n"
    )
    metadata = tmp_path / "thirdparty-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[swatcost.methods]\nhalf = thirdparty:METHOD\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(METHODS, "_pending_group", "swatcost.methods")
    monkeypatch.setattr(METHODS, "_members", dict(METHODS._members))
    assert METHODS["half"].title == "Half"
    assert "half" in METHODS.names()
    (metadata / "entry_points.txt").write_text("[swatcost.methods]\nbroken = thirdparty:NONE\n")
    monkeypatch.setattr(METHODS, "_pending_group", "swatcost.methods")
    with pytest.raises(swatcost.SwatcostError, match=r"the method 'broken' \(thirdparty:NONE\) cannot be used"):
        METHODS.names()


@pytest.mark.parametrize("schedule", [lambda steps: (Phase(0.5),), lambda steps: (Phase(0.5), Phase(0.6))])
def test_a_schedule_has_to_cover_the_run(schedule: Callable[[int], tuple[Phase, ...]]) -> None:
    with pytest.raises(ValueError, match="do not add up to 1"):
        Method(name="x", title="", citation="", sparse=sparse_in(), schedule=schedule)
