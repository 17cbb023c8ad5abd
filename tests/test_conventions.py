"""Conventions and sums of costs against MACs written out, with layers that are written down, not traced."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy
import pytest

from swatcost.common.errors import SwatcostError
from swatcost.counting import default_sparsity
from swatcost.counting.conventions import CONVENTIONS, EXACT, Convention
from swatcost.counting.costs import Cost, PassCosts
from swatcost.counting.counting import Counting, summed
from swatcost.counting.default_sparsity import default_act_sparsity
from swatcost.counting.language_conventions import LANGUAGE_CONVENTIONS
from swatcost.counting.switches import SWITCHES
from swatcost.methods import METHODS, LayerSparsity, Phase
from swatcost.network.layer import Layer

from .by_hand import chain, plan_of, weight_of

# 4 filters of 3 channels, 3 × 3 with strides 2 and 1, on two images of 7 × 6 that are padded by 1 and 0: 4 × 4 outputs
STRIDED = Layer(
    name="l", kind="conv", input_shape=(2, 3, 7, 6), output_shape=(2, 4, 4, 4), weight_shape=(4, 3, 3, 3),
    stride=(2, 1), padding=(1, 0), dilation=(1, 1), weight="l", element_bytes=4, input_needs_grad=True,
    weight_trains=True, input_storage=0,
)  # fmt: skip
PER_PLACE = 2 * 4 * 3 * 3 * 3
AT_INPUT, AT_OUTPUT = PER_PLACE * 7 * 6, PER_PLACE * 4 * 4
# padded first and then 'same': (7 + 2) / 2 = 4.5 → 5 rows, (6 + 0) / 1 = 6 columns
PADDED = PER_PLACE * 5 * 6
HALF = 2 * 4 * 4 * 4 // 2  # half a MAC for each output, its bias and ReLU
HALF_PADDED = 2 * 4 * 5 * 6 // 2

GRADIENTS = {
    "swat": (AT_OUTPUT, AT_INPUT, AT_OUTPUT),
    "equations": (AT_OUTPUT, AT_INPUT, AT_INPUT),
    "exact": (AT_OUTPUT, AT_OUTPUT, AT_OUTPUT),
    "rigl": (AT_OUTPUT + HALF,) * 3,
    "rigl-padded": (PADDED + HALF_PADDED,) * 3,
    "exact-causal": (AT_OUTPUT, AT_OUTPUT, AT_OUTPUT),
    **{each.name: (AT_OUTPUT, AT_OUTPUT, AT_OUTPUT) for each in LANGUAGE_CONVENTIONS},
}


def dense(convention: str, layer: Layer) -> tuple[float, ...]:
    costs = CONVENTIONS[convention].count(layer, METHODS["dense"], LayerSparsity())
    assert costs.inference == costs.forward
    assert all(cost.sparse == cost.dense and isinstance(cost.dense, int) for cost in costs.by_pass().values())
    return tuple(cost.dense for cost in costs.by_pass().values())


@pytest.mark.parametrize("convention", CONVENTIONS.names())
def test_a_strided_layer(convention: str) -> None:
    forward, grad_input, grad_weight = GRADIENTS[convention]
    assert dense(convention, STRIDED) == (forward, grad_input, grad_weight)
    # a frozen weight passes a gradient on; a first layer's is counted by all but `exact` and `exact-causal`
    assert dense(convention, replace(STRIDED, weight_trains=False)) == (forward, grad_input, 0)
    first = 0 if convention in ("exact", "exact-causal") else grad_input
    assert dense(convention, replace(STRIDED, input_needs_grad=False)) == (forward, first, grad_weight)
    assert dense(convention, replace(STRIDED, input_needs_grad=False, weight_trains=False)) == (forward, 0, 0)


def test_only_the_convolution_that_reads_the_networks_input_is_padded() -> None:
    assert dense("rigl-padded", replace(STRIDED, input_storage=1)) == GRADIENTS["rigl"]
    linear = Layer(
        name="l", kind="linear", input_shape=(2, 6), output_shape=(2, 5), weight_shape=(5, 6), weight="l",
        element_bytes=4, input_needs_grad=True, weight_trains=True, input_storage=0,
    )  # fmt: skip
    assert dense("rigl-padded", linear) == (2 * 6 * 5 + 2 * 5 // 2,) * 3


def test_half_a_mac_stays_half_a_mac() -> None:
    # one image of 1 × 1 with one filter of one channel: 1 MAC and half a MAC for its output
    one = replace(
        STRIDED, input_shape=(1, 1, 1, 1), output_shape=(1, 1, 1, 1), weight_shape=(1, 1, 1, 1), padding=(0, 0)
    )
    costs = CONVENTIONS["rigl"].count(one, METHODS["set"], LayerSparsity(weight=0.75))
    assert (costs.forward.dense, costs.forward.sparse) == (1.5, 0.25 + 0.5)


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_has_the_values_that_its_type_says_and_no_others(name: str) -> None:
    assert get_args(get_type_hints(Convention)[name]) == tuple(SWITCHES[name].values)
    for value in SWITCHES[name].values:
        assert getattr(replace(EXACT, **{name: value}), name) == value
    for wrong in ("inputs", None, 3, ["input"]):
        with pytest.raises(ValueError, match=rf"^{name} .*: give '{next(iter(SWITCHES[name].values))}' or "):
            replace(EXACT, **{name: wrong})


def test_every_value_of_a_switch_is_some_conventions() -> None:
    for name, switch in SWITCHES.items():
        assert {getattr(each, name) for each in CONVENTIONS} == set(switch.values)


def test_a_formula_of_ones_own_takes_the_place_of_a_passs_switches() -> None:
    def thrice_forward(layer: Layer, density: float) -> float:
        return 3 * EXACT.macs("forward", layer, density)

    mine = replace(EXACT, name="mine", formulas={"grad_input": thrice_forward}, bias_and_relu="half a MAC per output")
    costs = mine.count(STRIDED, METHODS["set"], LayerSparsity(weight=0.75))
    assert costs.grad_input == Cost(3 * AT_OUTPUT + HALF, 3 * AT_OUTPUT / 4 + HALF)
    assert costs.grad_weight == Cost(AT_OUTPUT + HALF, AT_OUTPUT / 4 + HALF)
    with pytest.raises(ValueError, match=r"^formulas of grad_inputs: give forward or grad_input or grad_weight$"):
        replace(EXACT, formulas={"grad_inputs": thrice_forward})  # type: ignore[dict-item]


def test_a_density_of_ones_own_takes_the_place_of_the_switches_of_sparsity() -> None:
    mine = replace(CONVENTIONS["swat"], name="mine", own_density=lambda *given: 0.125)
    costs = mine.count(STRIDED, METHODS["set"], LayerSparsity(weight=0.75), default_act_sparsity=0.5)
    assert [each.sparse for each in costs.by_pass().values()] == [AT_OUTPUT / 8, AT_INPUT / 8, AT_OUTPUT / 8]
    assert CONVENTIONS["swat"].charges_default_sparsity(METHODS["set"])
    assert not mine.charges_default_sparsity(METHODS["set"])
    assert CONVENTIONS["rigl"].counts_weight_sparsity_only
    assert not replace(CONVENTIONS["rigl"], own_density=lambda *given: 0.125).counts_weight_sparsity_only


def test_phases_are_averaged_by_their_shares() -> None:
    phases = (Phase(0.25, scale=0.0), Phase(0.25, scale=0.5), Phase(0.5))
    costs = CONVENTIONS["exact"].count(STRIDED, METHODS["swat"], LayerSparsity(weight=0.8), phases=phases)
    assert costs.forward.sparse == pytest.approx(AT_OUTPUT * (0.25 * 1 + 0.25 * 0.6 + 0.5 * 0.2))
    assert costs.inference.sparse == pytest.approx(AT_OUTPUT * 0.2)  # with what the run ends with


def test_what_checkpointing_runs_again() -> None:
    costs = CONVENTIONS["exact"].count(replace(STRIDED, recomputed=2), METHODS["swat"], LayerSparsity(weight=0.75))
    assert costs.recompute == Cost(2 * AT_OUTPUT, 2 * AT_OUTPUT / 4)
    # 3 × 4 by 4 × 5: 60 MACs, as many for each of two gradients
    product = Layer(
        name="p", kind="product", input_shape=(1, 3, 4), output_shape=(1, 3, 5), weight_shape=(1, 4, 5), weight="",
        element_bytes=4, input_needs_grad=True, weight_trains=True, input_storage=1, recomputed=3,
    )  # fmt: skip
    for convention in CONVENTIONS:
        costs = convention.count(product, METHODS["swat"], LayerSparsity())
        once = 0 if convention.attention == "none" else 60  # no attention kernel runs it: whole, or not at all
        again = 0 if convention.recompute == "left out" else 3 * once
        assert costs == PassCosts(
            forward=Cost(once, once), grad_input=Cost(2 * once, 2 * once), recompute=Cost(again, again),
            inference=Cost(once, once),
        )  # fmt: skip


COSTS = PassCosts(
    forward=Cost(10, 5), grad_input=Cost(20, 8), grad_weight=Cost(30, 9), recompute=Cost(4, 2), inference=Cost(7, 1)
)


def test_costs_add_and_scale() -> None:
    assert COSTS.training == Cost(10 + 20 + 30 + 4, 5 + 8 + 9 + 2)
    twice = PassCosts(Cost(20, 10), Cost(40, 16), Cost(60, 18), Cost(8, 4), Cost(14, 2))
    assert twice == COSTS + COSTS
    assert 3 * Cost(10, 5) == Cost(30, 15)
    assert Cost(10, 4).reduction == pytest.approx(0.6)
    assert Cost().reduction == Cost(0, 5).reduction == 0
    halves = COSTS.per_sample(2)
    assert halves == PassCosts(Cost(5, 2.5), Cost(10, 4), Cost(15, 4.5), Cost(2, 1), Cost(3.5, 0.5))
    assert isinstance(halves.forward.dense, int)


def test_what_is_recomputed_has_a_line_where_there_is_something() -> None:
    assert list(COSTS.totals()) == ["forward", "grad_input", "grad_weight", "recompute", "training", "inference"]
    assert list(PassCosts().totals()) == ["forward", "grad_input", "grad_weight", "training", "inference"]
    assert COSTS.by_part() == {**COSTS.by_pass(), "recompute": Cost(4, 2)}


def test_a_networks_cost_per_sample_is_the_sum_of_its_layers() -> None:
    network = chain(3, 5, 2)  # 15 and 10 weights
    plan = plan_of(network, [0.0, 0.5])
    counting = Counting(convention=CONVENTIONS["exact"])
    total = counting.total(network, plan)
    assert total == summed(counting.layers(network, plan), network)
    assert total.forward == Cost(15 + 10, 15 + 5)
    assert total.grad_input == Cost(10, 5)
    assert total.grad_weight == Cost(25, 15 + 5)


def test_zeros_that_relu_leaves_are_charged_to_sparse_training_only() -> None:
    network = chain(3, 5, 2)
    counting = Counting(convention=CONVENTIONS["swat"], default_act_sparsity=0.25)
    for sparsities, charged in (([0.0, 0.5], 0.75), ([0.0, 0.0], 1.0)):
        plan = plan_of(network, sparsities, method="rigl")
        assert counting.total(network, plan).grad_weight == Cost(25, 25 * charged)
    arrays = plan_of(network, [0.0, 0.0], method="rigl")
    arrays = replace(arrays, layers=(LayerSparsity(), LayerSparsity(weight=numpy.array([0.0, 0.5]))))  # type: ignore[arg-type]
    assert numpy.allclose(counting.total(network, arrays).grad_weight.sparse, [25, 25 * 0.75])


def test_default_activation_sparsity_is_weighted_by_work() -> None:
    network = chain(3, 5, 2)  # weights "0" with 2 · 15 MACs and "1" with 2 · 10
    assert default_act_sparsity(network, {"0": 0.2, "1": 0.7}) == pytest.approx((15 * 0.2 + 10 * 0.7) / 25)
    assert default_act_sparsity(network, {"1": 0.7}) == pytest.approx(0.7)  # of the layers that were measured
    assert default_act_sparsity(network, {}) == 0
    frozen = replace(network, layers=(replace(network.layers[0], weight_trains=False), *network.layers[1:]))
    assert default_act_sparsity(frozen, {"0": 0.2, "1": 0.7}) == pytest.approx(0.7)
    # 4 · 27 weights that meet 4 × 4 outputs of each of 2 images, and 2 · 5 weights that meet 2 samples
    layers = (replace(STRIDED, weight="c", parameters=("c",)), network.layers[1])
    conv = replace(network, layers=layers, parameters=tuple(map(weight_of, layers)))
    expected = (AT_OUTPUT * 0.2 + 20 * 0.7) / (AT_OUTPUT + 20)
    assert default_act_sparsity(conv, {"c": 0.2, "1": 0.7}) == pytest.approx(expected)


def test_a_record_has_to_be_of_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    network = chain(3, 5, 2)

    def measured(**zeros: float) -> float:
        rows = {weight: {"zeros": number} for weight, number in zeros.items()}
        monkeypatch.setattr(default_sparsity, "read_record", lambda source: SimpleNamespace(by_layer=lambda: rows))
        return default_sparsity.measured_default("run.jsonl", network)

    assert measured(**{"0": 0.2, "1": 0.7}) == pytest.approx((15 * 0.2 + 10 * 0.7) / 25)
    for names in (("0",), ("0", "1", "2"), ("0", "2")):
        with pytest.raises(SwatcostError, match=r"run\.jsonl is a run of another network than chain"):
            measured(**dict.fromkeys(names, 0.5))
