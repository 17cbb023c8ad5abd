"""Methods published since 2020: hand counts, laws, and the numbers that their authors print."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.counting import CONVENTIONS
from swatcost.counting.deviations import DEVIATIONS
from swatcost.counting.language import why_not
from swatcost.estimate import Estimate
from swatcost.methods import METHODS, LayerSparsity, Method
from swatcost.methods.granet import schedule as granet_schedule
from swatcost.network import Network

from .test_methods import LAYER, MACS, SINCE_2020
from .transformers_by_hand import GPT

CIFAR = "cifar_resnet18"


def left(method: str, weights: float = 0.8, convention: str = "exact", **more: Any) -> float:
    """Training MACs of a step on average, of dense ones, on a network whose first layer is sparse too."""
    asked = {"weights": weights, "convention": convention, "first_layer": "sparse", **more}
    return 1 - swatcost.estimate(CIFAR, method=method, **asked).training_reduction  # type: ignore[arg-type]


def mean_density(method: Method, target: float, steps: int = 32_000) -> float:
    """The density of the weights, on average over the run."""
    return sum(
        each.share * (1 - target * each.scale if each.density_scale == 1 else (1 - target) * each.density_scale)
        for each in method.phases(steps, target)
    )


@pytest.mark.parametrize(
    ("method", "weights", "fractions"),
    [  # what is left of forward, grad_input, grad_weight and inference
        ("ac-dc", 0.75, [0.5 + 0.5 * 0.25] * 3 + [0.25]),
        ("mest", 0.75, [0.25, 0.25, 0.25, 0.25]),
        ("set-itop", 0.75, [0.25, 0.25, 0.25, 0.25]),
        # density 0.27 in 90 of 160 epochs, 0.26 in 30, 0.25 in 40
        ("mest-soft", 0.75, [(90 * 0.27 + 30 * 0.26 + 40 * 0.25) / 160] * 3 + [0.25]),
        # floor(32000 / 4000) + 1 = 9 of 32000 steps with a dense gradient
        ("rigl-itop", 0.75, [0.25, 0.25, 0.25 + 0.75 * 9 / 32_000, 0.25]),
        # floor(24000 / 100) + 1 = 241
        ("srigl", 0.75, [0.25, 0.25, 0.25 + 0.75 * 241 / 32_000, 0.25]),
        ("str", 0.75, [0.25, 0.25, 1, 0.25]),
        ("powerpropagation", 0.75, [0.25, 0.25, 1, 0.25]),
        ("spdf", 0.75, [0.25, 0.25, 0.25, 1]),
        ("spdf:dense_share=0.2", 0.75, [0.2 + 0.8 * 0.25] * 3 + [1]),
        # gradients of a half of the weights; of those that compute, if these are more
        ("top-kast", 0.75, [0.25, 0.25, 0.5, 0.25]),
        ("top-kast", 0.25, [0.75, 0.75, 0.75, 0.75]),
        ("top-kast:backward=0", 0.75, [0.25, 0.25, 1, 0.25]),
        # mean density 0.2 + 0.3 · 0.3 / 4 = 0.2225; in grad_weight floor(32000 / 4000) = 8 of 32000 steps are dense
        ("granet", 0.8, [0.2225, 0.2225, 0.2225 + 0.7775 / 4000, 0.2]),
    ],
)
def test_what_is_left_of_each_pass(method: str, weights: float, fractions: list[float]) -> None:
    of = METHODS[method]
    costs = CONVENTIONS["exact"].count(LAYER, of, LayerSparsity(weight=weights), phases=of.phases(32_000, weights))
    inference = CONVENTIONS["exact"].count(LAYER, of, LayerSparsity(weight=weights), phases=(of.trained,)).forward
    found = [each.sparse / MACS for each in (*costs.by_pass().values(), inference)]
    assert found == pytest.approx(fractions, rel=1e-12)


@pytest.mark.parametrize("method", SINCE_2020)
def test_no_sparsity_is_dense_training_under_every_convention(resnet50: Network, method: str) -> None:
    for convention in (each for each in CONVENTIONS if why_not(each, resnet50) is None):
        found = swatcost.estimate(resnet50, method=method, convention=convention)
        assert (found.training_reduction, found.inference_reduction, found.speedup) == (0, 0, 1)


@pytest.mark.parametrize("method", SINCE_2020)
@pytest.mark.parametrize("steps", [1, 50, 32_000])
def test_a_sweep_equals_single_estimates(method: str, steps: int) -> None:
    assert sum(each.share for each in METHODS[method].phases(steps, 0.8)) == pytest.approx(1)
    targets = [0.0, 0.3, 0.8, 0.95]
    asked: dict[str, Any] = {"method": method, "convention": "exact", "steps": steps}
    frame = swatcost.sweep(CIFAR, weights=targets, **asked)
    for target, (_, row) in zip(targets, frame.iterrows(), strict=True):
        one = swatcost.estimate(CIFAR, weights=target, **asked)
        assert row["training_reduction"] == pytest.approx(one.training_reduction, rel=1e-12)
        assert row["inference_reduction"] == pytest.approx(one.inference_reduction, rel=1e-12)


@pytest.mark.parametrize("target", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("convention", ["exact", "rigl"])
def test_ac_dc_costs_half_dense_and_half_sparse(target: float, convention: str) -> None:
    # sparse in [10, 15) [20, 25) … [70, 75) of 100 epochs, 7 · 5 = 35, and in [85, 100), 15: half of the run
    found = swatcost.estimate(CIFAR, weights=target, method="ac-dc", convention=convention)
    static = swatcost.estimate(CIFAR, weights=target, method="mest", convention=convention)
    assert found.costs.training.sparse == pytest.approx(
        (static.costs.training.dense + static.costs.training.sparse) / 2, rel=1e-12
    )


def test_the_phases_of_ac_dc() -> None:
    epoch, sparse = 0.0, []
    for phase in METHODS["ac-dc"].phases(32_000):
        if phase.scale:
            sparse.append((round(100 * epoch, 9), round(100 * (epoch + phase.share), 9)))
        epoch += phase.share
    assert sparse == [(10, 15), (20, 25), (30, 35), (40, 45), (50, 55), (60, 65), (70, 75), (85, 100)]


def test_ac_dc_without_sparse_phases_is_dense() -> None:
    assert left("ac-dc:warmup=1,last_dense=0,last_sparse=0") == 1
    assert left("ac-dc:warmup=0,last_dense=0,last_sparse=1") == pytest.approx(left("mest"), rel=1e-12)
    with pytest.raises(SwatcostError, match="add up to more than 1"):
        METHODS["ac-dc:warmup=0.8"]


@pytest.mark.parametrize(
    ("initial", "target", "density"),
    [  # GraNet's closed form: s_f − (s_f − s_i) · t1 / (4T) zeros, t1 = 0.3 T
        (0.5, 0.8, 0.2225),  # 0.2 + 0.3 · 0.075
        (0.5, 0.9, 0.13),  # 0.1 + 0.4 · 0.075
        (0, 0.8, 0.26),  # 0.2 + 0.8 · 0.075
        (0, 0.9, 0.1675),  # 0.1 + 0.9 · 0.075
    ],
)
def test_the_mean_densities_of_granet(initial: float, target: float, density: float) -> None:
    assert mean_density(METHODS["granet"].but(initial=initial), target) == pytest.approx(density, rel=1e-12)


def test_the_stairs_of_the_algorithm_come_to_the_curve() -> None:
    # n updates: Σ (1 − k/n)³ / n = ((n + 1) / 2n)² over k = 0 … n − 1, which is ¼ + 1/2n + …; n = 75 of 4,000 steps
    n = 75
    stairs = sum((1 - k / n) ** 3 for k in range(n)) / n
    assert stairs == pytest.approx(((n + 1) / (2 * n)) ** 2)
    assert 0.3 * 0.3 * (stairs - 0.25) == pytest.approx(0.0006, abs=5e-6)  # what departures states


@given(target=st.floats(0.01, 0.98))
def test_growth_from_the_target_to_the_target_is_static(target: float) -> None:
    assert mean_density(METHODS["granet"].but(initial=target), target) == pytest.approx(1 - target, rel=1e-12)
    assert left(f"granet:initial={target},delta_t=100000", target) == pytest.approx(left("mest", target), rel=1e-9)
    above = granet_schedule(100, target, initial=0.99, end=0.3, delta_t=1000)  # it starts sparser than the target
    assert all(each.scale == each.density_scale == 1 for each in above)


def test_a_pruning_of_no_length_is_static() -> None:
    assert left("granet:end=0,delta_t=100000") == pytest.approx(left("mest"), rel=1e-12)
    assert left("mest-soft:mutation=0") == pytest.approx(left("mest"), rel=1e-12)
    with pytest.raises(SwatcostError, match=r"weights 0\.01: the method's schedule comes to a sparsity of -0\.01"):
        left("mest-soft", 0.01)


@pytest.mark.parametrize("convention", ["swat", "exact", "rigl"])
@pytest.mark.parametrize("distribution", ["uniform", "erk"])
def test_top_kast_with_equal_sets_is_static(convention: str, distribution: str) -> None:
    asked: dict[str, Any] = {"convention": convention, "distribution": distribution}
    assert left("top-kast:backward=0.99", **asked) == left("mest", **asked)
    assert left("top-kast", **asked) >= left("mest", **asked)


def test_methods_that_are_rigl_but_for_their_updates() -> None:
    assert left("rigl-itop:delta_t=100") == left("rigl:t_end=1")
    assert left("srigl:t_end=0.78125") == left("rigl")
    assert left("srigl", convention="rigl") == left("rigl", convention="rigl")
    assert left(
        "rigl-itop", convention="rigl"
    ) == pytest.approx(  # (3 · f · 4000 + 2 · f + 1) / (3 · 4001), f as in mest
        ((3 * 4000 + 2) * left("mest", convention="rigl") + 1) / (3 * 4001), rel=1e-12
    )


@pytest.mark.parametrize(
    ("method", "weights", "test", "train"),
    [("rigl-itop", 0.8, 0.42, 0.42), ("rigl-itop", 0.9, 0.24, 0.25)],  # its README, ResNet-50, ERK
)
def test_itops_ratios_are_rigls(resnet50: Network, method: str, weights: float, test: float, train: float) -> None:
    # With its own ΔT of 4,000, training at 90 % is 0.24: the printed 0.25 is RigL's with ΔT = 100.
    asked: dict[str, Any] = {"distribution": "erk", "convention": "rigl-padded", "weights": weights}
    found = swatcost.estimate(resnet50, method=f"{method}:delta_t=100", **asked)
    assert (round(1 - found.inference_reduction, 2), round(1 - found.training_reduction, 2)) == (test, train)


SRIGL = [  # density, inference and training ratios in SRigL's notebook, and ours: six digits of each
    (0.01, ".025661", ".025659", ".029046", ".029044"),
    (0.05, ".122867", ".122864", ".126573", ".126570"),
    (0.10, ".242868", ".242865", ".246970", ".246967"),
    (0.20, ".414592", ".414590", ".419260", ".419259"),
]


def srigl(network: Network, density: float) -> Estimate:
    return swatcost.estimate(
        network, weights=1 - density, method="srigl", distribution="erk", convention="rigl", first_layer="sparse"
    )


def with_slip(found: Estimate) -> float:
    """The training ratio with 4 · f_S, where RigL's closed form has 2 · f_S."""
    costs = DEVIATIONS["srigl-update"].counted(found.costs, found.plan.method, found.network)
    return 1 - costs.training.reduction


def six_digits(ratio: float) -> str:
    return f"{ratio:.6f}".removeprefix("0")


@pytest.mark.parametrize(("density", "inference", "ours", "training", "trained"), SRIGL)
def test_srigls_ratios_to_five_digits(
    resnet50: Network, density: float, inference: str, ours: str, training: str, trained: str
) -> None:
    found = srigl(resnet50, density)
    assert 2 * found.costs.forward.dense == pytest.approx(8.189482e9, abs=2e3)  # 8,189,483,496 here
    assert six_digits(1 - found.inference_reduction) == ours
    assert six_digits(with_slip(found)) == trained
    # (3 · f · 100 + 4 · f + 1) / (3 · 101) with the printed f, which is rounded, as this is: 5e-7 each
    assert (304 * float(inference) + 1) / 303 == pytest.approx(float(training), abs=1.01e-6)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="3e-6 above plain ERK; no rounding of fan-ins gives it")
@pytest.mark.parametrize(("density", "inference", "ours", "training", "trained"), SRIGL)
def test_srigls_ratios_to_the_last_digit(
    resnet50: Network, density: float, inference: str, ours: str, training: str, trained: str
) -> None:
    found = srigl(resnet50, density)
    assert six_digits(1 - found.inference_reduction) == inference
    assert six_digits(with_slip(found)) == training


@pytest.mark.xfail(
    strict=True, raises=AssertionError,
    reason="Chase's README; .20 with every layer sparse, .22 with the first dense, .27 with downsample layers dense",
)  # fmt: skip
@pytest.mark.parametrize("kept", [{"first_layer": "sparse"}, {}, {"keep_dense": ["*downsample*"]}])
def test_mests_ratios_in_chases_readme(resnet50: Network, kept: dict[str, Any]) -> None:
    found = swatcost.estimate(resnet50, weights=0.8, method="mest-soft", convention="rigl", **kept)
    assert (round(1 - found.inference_reduction, 2), round(1 - found.training_reduction, 2)) == (0.21, 0.23)


@pytest.mark.parametrize(("weights", "test", "train"), [(0.8, 0.21, 0.23), (0.9, 0.11, 0.12)])
def test_mests_training_over_inference_is_that_of_the_soft_bound(weights: float, test: float, train: float) -> None:
    # mean density (90 · 0.22 + 30 · 0.21 + 40 · 0.2) / 160 = 0.213125 at 80 %: 1.066 times 0.2, between .225 / .215 and
    # .235 / .205; with the 5 % and 2.5 % of the CIFAR scripts it is 0.2328, 1.164 times, which is beyond
    soft = mean_density(METHODS["mest-soft"], weights) / (1 - weights)
    lowest, highest = (train - 0.005) / (test + 0.005), (train + 0.005) / (test - 0.005)
    assert lowest <= soft <= highest
    assert mean_density(METHODS["mest-soft:mutation=0.05"], weights) / (1 - weights) > highest


def test_spdf_on_gpt_3_xl() -> None:
    layers, h, s, vocabulary = 24, 2048, 2048, 50_257
    with torch.device("meta"):
        module = GPT(h, 16, layers, vocabulary, s)
        network = swatcost.trace(module, example_inputs=torch.zeros(s, 1, dtype=torch.int64), batch_dim=1)
    asked: dict[str, Any] = {"method": "spdf", "convention": "exact", "keep_dense": ["head"]}
    found = swatcost.estimate(network, weights=0.75, **asked)

    def flops(density: float) -> float:
        """A training step's FLOPs per token: blocks, attention whole, logits."""
        return 72 * layers * h**2 * density + 12 * layers * h * s + 6 * vocabulary * h

    # 72 · 24 · 2048² = 7,247,757,312; 12 · 24 · 2048² = 1,207,959,552; 6 · 50,257 · 2048 = 617,558,016
    assert flops(1) == 9_073_274_880
    assert 2 * found.costs.training.dense == s * flops(1)
    assert 2 * found.costs.training.sparse == pytest.approx(s * flops(0.25), rel=1e-12)
    assert f"{1 / (1 - found.training_reduction):.3f}, {found.training_reduction:.1%}" == "2.494, 59.9%"
    assert found.inference_reduction == 0  # fine-tuning is dense
    # GPT-3 6.7B is pre-trained sparse in 62,523 of 71,902 steps; the same course here, by its share
    variable = swatcost.estimate(network, weights=0.9, **{**asked, "method": f"spdf:dense_share={9_379 / 71_902}"})
    expected = (62_523 * flops(0.1) + 9_379 * flops(1)) / 71_902
    assert 2 * variable.costs.training.sparse == pytest.approx(s * expected, rel=1e-9)


def test_spdf_keeps_logits_dense_whatever_their_name() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.block = torch.nn.Embedding(11, 8), torch.nn.Linear(8, 8)
            self.readout = torch.nn.Linear(8, 11, bias=False)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.readout(self.block(self.embedding(ids)))  # type: ignore[no-any-return]

    network = swatcost.trace(Model(), example_inputs=torch.zeros(1, 5, dtype=torch.int64))
    plan = swatcost.estimate(network, weights=0.75, method="spdf").plan
    assert plan.kept_dense == {"readout.weight": "as SPDF's authors have it"}


def test_sparsities_that_training_finds_come_from_a_file(resnet50: Network) -> None:
    for method in ("str", "powerpropagation", "granet"):
        table = {"*": 0.8, "fc": 0.5}
        found = swatcost.estimate(resnet50, method=method, distribution="file", source=table, convention="exact")
        assert found.layers[-1].sparsity.weight == 0.5
        assert found.plan.kept_dense == {}
