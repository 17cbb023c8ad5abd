"""The speedups, overheads and periods of A.4 against arithmetic, and A.4's three ideas for a cheaper Top-K."""

from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swatcost.common.errors import SwatcostError
from swatcost.devices import SelectionTime, load_device
from swatcost.methods import METHODS
from swatcost.timing.selection import Selecting, masked_sizes, selected, topk_seconds
from swatcost.timing.times import Times
from swatcost.timing.topk import break_even_period, exposed_seconds

from .by_hand import chain, fork, plan_of

TIMES = Times(  # a sparse step takes 1 s, and on known kernels 2 s
    reduction=0.75, dense_step_seconds=4.0, topk_seconds=10.0, attainable_step_seconds=2.0
)
HIDDEN = replace(TIMES, hidden=True)


def test_times_by_hand() -> None:
    assert (TIMES.sparse_step_seconds, TIMES.speedup_limit) == (1, 4)
    assert TIMES.speedup(5) == pytest.approx(5 * 4 / (5 * 1 + 10))
    assert HIDDEN.speedup(5) == pytest.approx(5 * 4 / (5 * 1 + 10 - 5))
    assert HIDDEN.speedup(20) == 4  # all of it fits behind the period


def test_attainable_times_by_hand() -> None:
    assert (TIMES.attainable.sparse_step_seconds, TIMES.attainable.speedup_limit) == (2, 2)
    assert TIMES.attainable.speedup(5) == pytest.approx(5 * 4 / (5 * 2 + 10))
    assert replace(HIDDEN, attainable_step_seconds=1.5).attainable.speedup(4) == pytest.approx(
        4 * 4 / (4 * 1.5 + 10 - 6)
    )
    assert TIMES.exposed_topk_seconds(4) == 10 - 4
    assert TIMES.exposed_topk_seconds(10) == TIMES.exposed_topk_seconds(11) == 0
    assert TIMES.overhead(5) == pytest.approx(10 / 5)
    assert HIDDEN.overhead(5) == pytest.approx((10 - 5) / 5)


def test_periods_by_hand() -> None:
    assert TIMES.period_of_overhead(0.5) == 20  # 10 / (20 · 1) = 0.5
    assert HIDDEN.period_of_overhead(0.25) == 8  # (10 − 8) / 8 = 0.25
    assert HIDDEN.period_of_overhead(0.3) == 8  # 10 / 1.3 = 7.7
    assert TIMES.period_of_speedup(2.0) == 10  # 40 / (10 + 10)
    assert TIMES.period_of_speedup(2.1) == 12  # 2.1 · 10 / (4 − 2.1) = 11.05
    assert HIDDEN.period_of_speedup(2.0) == 5  # 20 / (5 + 5)
    assert TIMES.break_even_period() == 4  # 12 saved in four steps, 9 in three
    assert HIDDEN.break_even_period() == 3  # three dense steps take 12, two take 8
    longest = 10**12
    assert TIMES.period_of_speedup(4.0) == HIDDEN.period_of_speedup(4.0) == TIMES.period_of_speedup(5.0) == longest
    assert TIMES.period_of_overhead(1e-15) == longest
    free = replace(TIMES, topk_seconds=0.0)
    assert free.period_of_overhead(0.5) == free.period_of_speedup(2.0) == free.break_even_period() == 1


def test_arrays_are_many_settings() -> None:
    times = Times(
        reduction=numpy.array([0.75, 0.0]), dense_step_seconds=4.0, topk_seconds=numpy.array([10.0, 10.0]),
        attainable_step_seconds=4.0,
    )  # fmt: skip
    assert times.period_of_speedup(2.0).tolist() == [10, 10**12]
    assert times.period_of_overhead(0.5).tolist() == [20, 5]
    numpy.testing.assert_array_equal(times.break_even_period(), [4, numpy.nan])
    numpy.testing.assert_array_equal(replace(times, topk_seconds=numpy.zeros(2)).break_even_period(), [1, 1])
    assert times.exposed_topk_seconds(4).tolist() == [10 - 4, 0]
    assert not numpy.signbit(times.exposed_topk_seconds(4)).any()


@pytest.mark.parametrize(
    ("reduction", "topk", "hidden", "period"),
    [
        (0.5, 2.0, False, 1),  # a step of 4 s saves 2
        (0.5, 5e-324, False, 1),  # which a step saves more than once over
        (0.5, 2.1, False, 2),
        (0.5, 4.0, True, 1),
        (0.5, 4.1, True, 2),
        (0.0, 1.0, False, None),
        (0.0, 1.0, True, None),
        (-0.5, 1.0, False, None),
        (-0.5, 0.0, False, 1),
    ],
)
def test_break_even_at_its_edges(reduction: float, topk: float, hidden: bool, period: int | None) -> None:
    found = break_even_period(dense_step_seconds=4.0, training_reduction=reduction, topk_seconds=topk, hidden=hidden)
    assert found == period


positive = st.floats(1e-3, 1e3)


@given(st.floats(0.01, 0.99), positive, positive, st.booleans(), st.floats(0.01, 1), st.floats(0.1, 0.99))
def test_periods_are_the_shortest(
    reduction: float, dense: float, topk: float, hidden: bool, share: float, part: float
) -> None:
    times = Times(
        reduction=reduction, dense_step_seconds=dense, topk_seconds=topk, attainable_step_seconds=dense, hidden=hidden
    )
    wanted = part * times.speedup_limit
    for period, holds in (
        (times.period_of_overhead(share), lambda p: times.overhead(p) - share),
        (times.period_of_speedup(wanted), lambda p: wanted / times.speedup(p) - 1),
        (times.break_even_period(), lambda p: 1 / times.speedup(p) - 1),
    ):
        assert holds(float(period)) <= 1e-9
        assert period == 1 or holds(float(period - 1)) >= -1e-9


def test_what_is_exposed_is_never_negative() -> None:
    assert exposed_seconds(topk_seconds=3.0, sparse_step_seconds=1.0, period=3) == 0
    assert str(exposed_seconds(topk_seconds=3.0, sparse_step_seconds=2.0, period=3)) == "0.0"


# Layers of 3 · 5 and 5 · 2 weights that read 3 and 5 numbers of each sample.
CHAIN = chain(3, 5, 2)
RTX = load_device("rtx2080ti")
PER_WEIGHT, PER_ACTIVATION = 0.018 / 25_493_504, 0.452 / 336_445_440  # Table 10
TIMED = SelectionTime(algorithm="radix", fixed=7.0, per_element=0.5, smallest=1, largest=100, worst_residual=0.0)


def test_what_is_selected() -> None:
    plan = plan_of(CHAIN, [(0.5, 0.0), (0.0, 0.5)])
    assert selected(CHAIN, plan) == ([(15, True), (10, False)], [(3, False), (5, True)])
    assert masked_sizes(CHAIN, plan, 4) == [15, 4 * 5]
    assert topk_seconds(CHAIN, plan, RTX, 4) == pytest.approx(15 * PER_WEIGHT + 4 * 5 * PER_ACTIVATION)
    once = topk_seconds(CHAIN, plan, RTX, 4, Selecting(one_sample=True))
    assert once == pytest.approx(15 * PER_WEIGHT + 5 * PER_ACTIVATION)
    assert selected(CHAIN, plan_of(CHAIN, [0.5, 0.5], method="rigl")) == ([], [])


def test_a_timed_algorithm_pays_for_every_array() -> None:
    device = replace(RTX, selections=(TIMED,))
    plan = plan_of(CHAIN, [0.5, (0.0, 0.5)])
    # the first weight, and both inputs of four samples
    by_hand = (7 + 0.5 * 15) + (7 + 0.5 * 4 * 3) + (7 + 0.5 * 4 * 5)
    assert topk_seconds(CHAIN, plan, device, 4, Selecting("radix")) == pytest.approx(by_hand)
    once = (7 + 0.5 * 15) + (7 + 0.5 * 3) + (7 + 0.5 * 5)
    assert topk_seconds(CHAIN, plan, device, 4, Selecting("radix", one_sample=True)) == pytest.approx(once)


def test_a_frozen_layers_input_is_not_selected() -> None:
    network = fork(frozen=True)
    weights, activations = selected(network, plan_of(network, [0.5] * len(network.weight_layers)))
    trained = [layer for layer in network.weight_layers if layer.weight_trains]
    assert len(weights) == len(network.weight_layers)
    assert [elements for elements, _ in activations] == [layer.input_shape[-1] for layer in trained]


@pytest.mark.parametrize("asked", [{"algorithm": "radix"}, {"one_sample": True}, {"hidden": True}])
def test_a_method_that_selects_nothing_is_not_asked_how(asked: dict[str, object]) -> None:
    Selecting(**asked).check(METHODS["swat"])  # type: ignore[arg-type]
    Selecting().check(METHODS["rigl"])
    with pytest.raises(SwatcostError, match=f"{next(iter(asked)).replace('algorithm', 'selection')}: method 'rigl'"):
        Selecting(**asked).check(METHODS["rigl"])  # type: ignore[arg-type]
