"""Whole estimates: the paper's numbers, and laws that hold for any network."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import swatcost
from swatcost.counting.conventions import CONVENTIONS
from swatcost.devices import load_device
from swatcost.methods import LayerSparsity, Method, Operand, Phase
from swatcost.network import Network
from swatcost.network.passes import Pass

from .conftest import zoo_network

POINTS = ("model", "convention", "sparsity", "training", "inference")

# Table 3 prints 76.1/77.7 and 85.6/87.4 for ResNet-50 and 78.6/88.4 for WRN-50-2; Table 4 prints 49.8, 59.8, 69.8
# for ResNet-18. More digits, and the rows of other conventions, were computed from the layer shapes by hand.
PUBLISHED = [
    ("resnet50", "swat", 0.8, 76.12, 77.69),
    ("resnet50", "swat", 0.9, 85.63, 87.40),
    ("wide_resnet50_2", "swat", 0.8, 78.57, 79.17),
    ("wide_resnet50_2", "swat", 0.9, 88.39, 89.07),
    ("cifar_resnet18", "swat", 0.5, 49.86, 49.84),
    ("cifar_resnet18", "swat", 0.6, 59.83, 59.81),
    ("cifar_resnet18", "swat", 0.7, 69.80, 69.78),
    ("resnet50", "equations", 0.8, 74.97, 77.69),
    ("resnet50", "equations", 0.9, 84.35, 87.40),
    ("resnet50", "exact", 0.8, 78.45, 77.69),
    ("resnet50", "exact", 0.9, 88.25, 87.40),
]


@pytest.mark.parametrize(POINTS, PUBLISHED)
def test_published_reductions(model: str, convention: str, sparsity: float, training: float, inference: float) -> None:
    estimate = swatcost.estimate(zoo_network(model), weights=sparsity, acts=sparsity, convention=convention)
    assert 100 * estimate.training_reduction == pytest.approx(training, abs=0.005)
    assert 100 * estimate.inference_reduction == pytest.approx(inference, abs=0.005)


@pytest.mark.parametrize(("sparsity", "printed"), [(0.8, 39.2), (0.9, 44.0)])
def test_activation_reduction(resnet50: Network, sparsity: float, printed: float) -> None:
    """Table 3's Act ↓. Entering conv and linear layers: 10,664,448 elements; entering BN: 11,113,984."""
    estimate = swatcost.estimate(resnet50, weights=sparsity, acts=sparsity)
    by_hand = sparsity * 10_664_448 / (10_664_448 + 11_113_984)
    assert estimate.activation_reduction == pytest.approx(by_hand, rel=1e-12)
    assert 100 * estimate.activation_reduction == pytest.approx(printed, abs=0.1)
    # What is really masked leaves the first layer's 3 · 224 · 224 elements out.
    honest = swatcost.estimate(resnet50, weights=sparsity, acts=sparsity, convention="exact")
    assert honest.activation_reduction == pytest.approx(sparsity * 10_513_920 / (10_664_448 + 11_113_984), rel=1e-12)


def test_macs_of_a_run(resnet50: Network) -> None:
    """Steps · batch · MACs per sample, of which a step at 80 % under `swat` has 14,586,888,192 densely."""
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8, batch_size=7, steps=1000)
    assert estimate.run_macs.dense == 1000 * 7 * 14_586_888_192
    assert estimate.run_macs.sparse == pytest.approx(1000 * 7 * estimate.costs.training.sparse)
    assert estimate.to_dict()["totals"]["run_macs"]["dense"] == estimate.run_macs.dense


def test_model_compression(resnet50: Network) -> None:
    # 25,502,912 weights; 9,408 of them stay dense and a fifth of the others remains
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8)
    assert estimate.model_compression == pytest.approx(25_502_912 / (9_408 + 0.2 * 25_493_504), rel=1e-12)


def test_saw_ends_with_a_dense_model(resnet50: Network) -> None:
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8, method="saw")
    assert (estimate.inference_reduction, estimate.model_compression) == (0, 1)
    assert estimate.memory.backward_weights.reduction == pytest.approx(0.8 * 25_493_504 / 25_502_912)


@pytest.mark.parametrize(("sparsity", "printed", "unrounded"), [(0.8, 4.13, 4.13), (0.9, 6.79, 6.81)])
def test_speedup_of_equations_7_and_8(resnet50: Network, sparsity: float, printed: float, unrounded: float) -> None:
    """Eq. 8 puts in 0.856; from the unrounded 0.8563 the same equation gives 6.81, and the program says so."""
    estimate = swatcost.estimate(resnet50, weights=sparsity, acts=sparsity, period=1000, batch_size=32)
    assert estimate.dense_step.seconds == 0.147
    assert estimate.topk_seconds == pytest.approx(0.470, rel=1e-12)
    assert estimate.speedup_at(round(estimate.training_reduction, 3)) == pytest.approx(printed, abs=0.005)
    assert estimate.speedup == pytest.approx(unrounded, abs=0.005)
    says_so = any("Eqs. 7 and 8" in sentence for sentence in estimate.assumptions)
    assert says_so == (printed != unrounded)
    other = swatcost.estimate(resnet50, weights=sparsity, acts=sparsity, convention="exact")
    assert not any("Eqs. 7 and 8" in sentence for sentence in other.assumptions)


def test_period_one_is_slower_than_dense_and_five_breaks_even(resnet50: Network) -> None:
    # 0.470 s over a saving of 0.7612 · 0.147 s = 0.1119 s a step: after 4.2 steps
    at = {period: swatcost.estimate(resnet50, weights=0.8, acts=0.8, period=period) for period in (1, 4, 5)}
    assert at[1].speedup == pytest.approx(0.147 / (0.147 * (1 - at[1].training_reduction) + 0.470), rel=1e-12)
    assert at[4].speedup < 1 < at[5].speedup
    assert at[1].break_even_period == 5


def test_topk_scales_with_what_the_plan_makes_sparse(resnet50: Network) -> None:
    def seconds(**settings: object) -> float:
        return swatcost.estimate(resnet50, **settings).topk_seconds  # type: ignore[arg-type]

    assert seconds(weights=0.8) == pytest.approx(0.018)
    assert seconds(acts=0.8) == pytest.approx(0.452)
    assert seconds(acts=0.8, batch_size=64) == pytest.approx(0.904)
    assert seconds(weights=0.8, batch_size=64) == pytest.approx(0.018)
    assert seconds(weights=0.8, first_layer="sparse") == pytest.approx(0.018 * 25_502_912 / 25_493_504)
    assert seconds() == 0


def test_dense_step_of_other_networks_comes_from_the_throughput(resnet50: Network) -> None:
    twice = swatcost.estimate(resnet50, batch_size=64)
    assert twice.dense_step.seconds == pytest.approx(0.294)
    assert any("measured at batch 32 and scaled to 64" in sentence for sentence in twice.assumptions)
    other = swatcost.estimate(zoo_network("resnet18"), batch_size=32)
    assert other.dense_step.seconds == pytest.approx(0.147 * other.exact.training.dense / 12_149_538_816)
    assert any("not measured, estimated from the throughput of resnet50" in each for each in other.assumptions)
    renamed = swatcost.estimate(swatcost.load("resnet50", classes=10))
    assert not renamed.dense_step.same_network  # the name is not enough


def test_the_profile_counts_what_the_trace_counts(resnet50: Network) -> None:
    profile, dense = load_device("rtx2080ti"), swatcost.estimate(resnet50)
    sparse_layers = resnet50.weight_layers[1:]
    assert profile.dense_steps[0].training_macs == dense.exact.training.dense
    assert profile.topk.weights.elements == sum(layer.weight_elements for layer in sparse_layers)
    assert profile.topk.activations.elements == 32 * sum(resnet50.input_elements(layer) for layer in sparse_layers)


def test_layers_add_up_to_the_totals(zoo_name: str) -> None:
    estimate = swatcost.estimate(zoo_network(zoo_name), weights=0.9, acts=0.5)
    frame = estimate.to_frame()
    assert frame["params"].sum() == estimate.network.parameter_elements
    assert frame["training_dense_macs"].sum() == estimate.costs.training.dense
    assert frame["training_sparse_macs"].sum() == pytest.approx(estimate.costs.training.sparse)
    assert frame["forward_dense_macs"].sum() == estimate.costs.forward.dense


SPARSITIES = st.just(0.0) | st.floats(1e-6, 0.999)
MODELS = st.sampled_from(["cifar_resnet18", "cifar_vgg16", "cifar_wrn_16_8", "resnet50"])
NAMES = st.sampled_from([each.name for each in CONVENTIONS if each.per == "sample"])


@given(MODELS, NAMES, st.sampled_from(["dense", "saw", "swat"]))
def test_sparsity_zero_equals_dense_exactly(model: str, convention: str, method: str) -> None:
    estimate = swatcost.estimate(zoo_network(model), convention=convention, method=method)
    for cost in estimate.costs.by_pass().values():
        assert cost.sparse == cost.dense
    assert estimate.speedup == 1
    assert estimate.memory.saved_activations.sparse == estimate.memory.saved_activations.dense


@settings(deadline=None)
@given(MODELS, NAMES, SPARSITIES, SPARSITIES, SPARSITIES, SPARSITIES)
def test_more_sparsity_never_costs_more(
    model: str, convention: str, w1: float, w2: float, a1: float, a2: float
) -> None:
    (w1, w2), (a1, a2) = sorted((w1, w2)), sorted((a1, a2))
    less = swatcost.estimate(zoo_network(model), weights=w1, acts=a1, convention=convention)
    more = swatcost.estimate(zoo_network(model), weights=w2, acts=a2, convention=convention)
    for name, cost in less.costs.by_pass().items():
        assert more.costs.by_pass()[name].sparse <= cost.sparse * (1 + 1e-12)
    assert more.speedup_limit >= less.speedup_limit * (1 - 1e-12)
    assert more.model_compression >= less.model_compression * (1 - 1e-12)


@given(MODELS, NAMES, SPARSITIES, st.integers(1, 10**9))
def test_speedup_approaches_its_limit_from_below(model: str, convention: str, sparsity: float, period: int) -> None:
    at = [
        swatcost.estimate(zoo_network(model), weights=sparsity, acts=sparsity, convention=convention, period=each)
        for each in (period, 10**12)
    ]
    assert at[0].speedup <= at[1].speedup * (1 + 1e-12)
    assert at[1].speedup == pytest.approx(at[1].speedup_limit, rel=1e-6)
    if (even := at[0].break_even_period) is not None and at[0].topk_seconds:
        reached = swatcost.estimate(
            zoo_network(model), weights=sparsity, acts=sparsity, convention=convention, period=even
        )
        assert reached.speedup >= 1 - 1e-9


def test_a_convention_that_counts_far_more_than_is_executed_says_so() -> None:
    """Eq. 5 at the input resolution counts a 16 × 16 patch embedding 256 times as much as its forward pass."""
    said = [
        each
        for each in swatcost.estimate(zoo_network("vit_b_16")).assumptions
        if "times the MACs that autograd" in each
    ]
    excess = 768 * 3 * 16**2 * 224**2  # executed: nothing, the input needs no gradient
    executed = swatcost.estimate(zoo_network("vit_b_16")).exact.training.dense  # no other layer strides
    assert (f"{excess / 1e9:.3f}", f"{(executed + excess) / executed:.2f}") == ("29.595", "1.56")
    assert said == [
        "In dense training, convention swat counts 1.56 times the MACs that autograd executes; 29.595 GMAC of the "
        "difference are grad_input of conv_proj. Speedups use the convention's counts."
    ]
    assert not any(
        "times the MACs that autograd" in each for each in swatcost.estimate(zoo_network("resnet50")).assumptions
    )


def test_exact_passes_are_equal_when_dense_but_for_the_first_input(zoo_name: str) -> None:
    network = zoo_network(zoo_name)
    costs = swatcost.estimate(network, convention="exact").layers
    first = 0 if network.embeds_input else 1  # the gradient of an embedding is needed
    assert all(each.costs.grad_input.dense == 0 for each in costs[:first])
    for each in costs[first:]:
        gradients = (each.costs.grad_input.dense, each.costs.grad_weight.dense)
        work = each.costs.forward.dense
        assert gradients == ((2 * work, 0) if each.layer.is_product else (work, work))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": 1.0}, "weights 1.0 is not a sparsity"),
        ({"weights": -0.1}, "weights -0.1 is not a sparsity"),
        ({"acts": math.nan}, "acts nan is not a sparsity"),
        ({"acts": math.inf}, "acts inf is not a sparsity"),
        ({"weights": "0.8"}, "weights '0.8' is not a sparsity"),
        ({"weights": True}, "weights True is not a sparsity"),
        ({"weights": 80}, "for 80 % write 0.8"),
        ({"period": 0}, "period 0: give a whole number from 1"),
        ({"period": 1.5}, "period 1.5: give a whole number"),
        ({"batch_size": 0}, "batch_size 0: give a whole number"),
        ({"batch_size": 10**400}, "batch_size"),
        ({"method": "swta"}, "unknown method 'swta': did you mean swat"),
        ({"distribution": "unifrom"}, "did you mean uniform"),
        ({"convention": "excat"}, "did you mean exact"),
        ({"device": "rtx2080"}, "did you mean rtx2080ti"),
        ({"method": "dense", "weights": 0.8}, "method 'dense' has no sparse weights"),
        ({"keep_dense": ["layer9.*"]}, "keep_dense 'layer9.\\*' matches no layer"),
        ({"first_layer": "maybe"}, "first_layer 'maybe'"),
        ({"weights": 10**400}, "is not a sparsity"),
        ({"method": 5}, "unknown method 5"),
        ({"device": 5}, "unknown device 5"),
    ],
)
def test_unusable_settings(resnet50: Network, settings: dict[str, object], message: str) -> None:
    with pytest.raises(swatcost.SwatcostError, match=message):
        swatcost.estimate(resnet50, **settings)  # type: ignore[arg-type]


class ByHand(nn.Module):
    """A frozen stem, a layer that is called twice on five rows a sample, and a strided convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 3, 1).requires_grad_(False)
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.twice = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.stem(x)).flatten(2).mT[:, :5]
        return self.head(self.twice(self.twice(x)))


def by_hand(**settings: object) -> swatcost.Estimate:
    network = swatcost.trace(ByHand(), input_shape=(2, 6, 6))
    return swatcost.estimate(network, weights=0.75, acts=0.5, batch_size=10, **settings)  # type: ignore[arg-type]


STEM, CONV, CONV_IN, TWICE, HEAD = 3 * 2 * 36, 4 * 27 * 9, 4 * 27 * 36, 5 * 16, 5 * 28


@pytest.mark.parametrize(
    ("convention", "grad_input", "grad_weight"),
    [
        # the stem is frozen and nothing before it trains, so the first gradient is that of conv's weight; the paper's
        # conventions also count the gradient of the first trained layer's input
        ("swat", [0, CONV_IN, TWICE, TWICE, HEAD], [0, CONV, TWICE, TWICE, HEAD]),
        ("equations", [0, CONV_IN, TWICE, TWICE, HEAD], [0, CONV_IN, TWICE, TWICE, HEAD]),
        ("exact", [0, 0, TWICE, TWICE, HEAD], [0, CONV, TWICE, TWICE, HEAD]),
    ],
)
def test_layers_by_hand(convention: str, grad_input: list[int], grad_weight: list[int]) -> None:
    estimate = by_hand(convention=convention)
    costs = [each.costs for each in estimate.layers]
    assert [each.forward.dense for each in costs] == [STEM, CONV, TWICE, TWICE, HEAD]
    assert [each.grad_input.dense for each in costs] == grad_input
    assert [each.grad_weight.dense for each in costs] == grad_weight
    # the stem is dense, elsewhere a quarter of the weights and half of the activations are left
    assert [each.grad_input.sparse for each in costs] == [grad_input[0], *(macs / 4 for macs in grad_input[1:])]
    assert [each.grad_weight.sparse for each in costs] == [grad_weight[0], *(macs / 2 for macs in grad_weight[1:])]


def test_totals_by_hand() -> None:
    estimate = by_hand()
    found = estimate.to_dict()
    weights = 6 + 108 + 16 + 28  # the layer that is called twice has its weight once
    entering = [72, 108, 20, 20, 20]
    assert found["totals"]["weights"] == weights
    assert found["totals"]["params"] == weights + 3 + 4 + 4
    assert found["totals"]["weight_sparsity"] == pytest.approx(0.75 * 152 / weights)
    assert found["totals"]["act_sparsity"] == pytest.approx(0.5 * 168 / sum(entering))
    assert found["totals"]["activation_reduction"] == pytest.approx(0.5)  # the first input counted as sparse, no BN
    assert found["totals"]["model_compression"] == pytest.approx(weights / (6 + 152 / 4))
    assert found["totals"]["exact_macs"]["training"]["dense"] == by_hand(convention="exact").costs.training.dense
    assert found["totals"]["topk_seconds"] == pytest.approx(152 * 0.018 / 25_493_504 + 1680 * 0.452 / 336_445_440)
    reduction = found["totals"]["training_reduction"]
    assert found["totals"]["speedup_limit"] == pytest.approx(1 / (1 - reduction))
    assert found["totals"]["speedup"] < found["totals"]["speedup_limit"]
    assert [layer["weight_sparsity"] for layer in found["layers"]] == [0, 0.75, 0.75, 0.75, 0.75]
    assert [layer["act_sparsity"] for layer in found["layers"]] == [0, 0.5, 0.5, 0.5, 0.5]
    assert list(estimate.to_frame()["act_sparsity"]) == [0, 0.5, 0.5, 0.5, 0.5, 0]
    assert list(estimate.to_frame()["input_shape"])[:3] == ["2x6x6", "3x6x6", "5x4"]
    assert found["memory"]["parameters"] == {"dense": 4 * 169, "sparse": 4 * 169}
    assert found["memory"]["gradients"] == {"dense": 4 * (169 - 9), "sparse": 4 * (169 - 9)}
    # the backward pass does not come by the stem, whose 6 weights are frozen
    assert found["memory"]["backward_weights"] == {"dense": 4 * (weights - 6), "sparse": 4 * 152 / 4}


def test_half_precision_takes_half_the_bytes() -> None:
    full, half = (
        swatcost.estimate(swatcost.trace(nn.Linear(8, 4).to(dtype), input_shape=(8,))).memory.by_holder()
        for dtype in (torch.float32, torch.float16)
    )
    assert [each.dense for each in full.values()] == [2 * each.dense for each in half.values()]


def test_two_sparse_operands_multiply() -> None:
    passes: dict[Pass, frozenset[Operand]] = {
        "forward": frozenset({"weight", "activation"}),
        "grad_input": frozenset(),
        "grad_weight": frozenset({"activation"}),
    }
    method = Method(name="both", title="", citation="", sparse=passes)
    assert method.density("forward", LayerSparsity(weight=0.75, activation=0.5), Phase(1.0)) == 0.125
