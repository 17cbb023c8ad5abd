"""What charts show, by arithmetic; and that plots and page, which draw it, agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import swatcost
from swatcost import plots
from swatcost.page.plotly_charts import figures_of
from swatcost.report.charts import executed, layer_costs, spaced, speedups

from .test_plots import estimate, heights, line, unit


def two_layers(**settings: Any) -> swatcost.Estimate:
    """The first layer, 64 × 32 weights, stays dense; in the second, 32 × 8, three of four operands are zero."""
    network = swatcost.trace(nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 8)), input_shape=(64,))
    return swatcost.estimate(network, weights=0.75, acts=0.75, **settings)


def test_shares_are_of_what_is_left_and_of_dense_training() -> None:
    first, second = layer_costs(two_layers()).ranked
    assert (first.layer, second.layer) == (0, 1)
    left = 3 * 2048 + 3 * 256 / 4  # three passes each
    assert (first.left, second.left) == pytest.approx((100 * 6144 / left, 100 * 192 / left))
    assert (first.dense, second.dense) == pytest.approx((100 * 2048 / 2304, 100 * 256 / 2304))
    assert second.by_pass == pytest.approx(dict.fromkeys(("forward", "grad_input", "grad_weight"), 100 * 64 / left))


def test_reductions_are_of_each_layer_as_counted_and_as_executed() -> None:
    costs = layer_costs(two_layers())
    assert costs.training.reductions == [0, 75]
    assert [each.name for each in costs.passes] == ["forward", "grad_input", "grad_weight"]
    # RigL by its authors' convention: all passes at the density of weights; executed, its update steps are dense.
    found = swatcost.estimate("cifar_vgg16", weights=0.8, method="rigl", convention="rigl")
    assert executed(found).reductions == [100 * each.exact.training.reduction for each in found.layers]
    assert executed(found).network == found.exact.training != layer_costs(found).training.network


def test_a_pass_without_work_is_left_out() -> None:
    """The exact convention needs no gradient of a network's input: a single layer has no grad_input."""
    only = swatcost.estimate(swatcost.trace(nn.Linear(64, 32), input_shape=(64,)), convention="exact")
    assert [each.name for each in layer_costs(only).passes] == ["forward", "grad_weight"]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, words: Tensor) -> Tensor:
        outputs: Tensor = self.rnn(words)[0]
        return torch.as_tensor(self.head(outputs[:, -1]))


def test_steps_of_a_recurrent_layer_are_one_bar_in_both() -> None:
    found = swatcost.estimate(swatcost.trace(Recurrent(), input_shape=(5, 8)), weights=0.5)
    costs = layer_costs(found)
    assert costs.names == ["rnn.weight_hh_l0", "rnn.weight_ih_l0", "head"]
    dense = [3 * 5 * 64 * 16, 3 * 5 * 64 * 8, 3 * 16 * 4]  # three passes, five steps, four gates of 16
    assert [each.dense for each in costs.training.layers] == dense
    (axes,) = plots.cost_by_layer(found).axes
    assert [height * unit(axes) for height in heights(axes, "dense")] == pytest.approx(dense)
    assert [len(trace["x"]) for trace in figures_of(found)["work"]["data"]] == [3] * 6


def test_marked_periods_lie_on_the_curve() -> None:
    found = two_layers(period=70)
    assert found.break_even_period
    shown = speedups(replace(found, simulated_reduction=0.5), [1, 10, 10_000])
    assert shown.limit == 2  # half the time
    assert {1, 10, 70, 10_000} <= shown.by_period.keys()
    assert list(shown.by_period) == sorted(shown.by_period)
    assert speedups(replace(found, simulated_reduction=0.0), [1, 10_000]).break_even is None
    assert spaced(2, 1) == [1, 10, 100]


def test_a_break_even_past_the_curve_is_not_marked() -> None:
    found = estimate("resnet50")
    assert found.break_even_period == 5
    often = replace(found, setting=found.setting.but(period=2))
    assert speedups(often, [1, 4]).break_even is None
    assert speedups(often, [1, 5]).break_even == 5


@pytest.mark.parametrize("method", ["swat", "swat-structured"])
def test_plots_and_page_show_the_same_numbers(method: str) -> None:
    found = estimate("vit_b_16", method=method)
    drawn = figures_of(found)
    (axes,) = plots.cost_by_layer(found).axes
    panels = [trace["y"] for trace in drawn["work"]["data"] if trace["name"] == "sparse"]
    for name, panel in zip(("forward", "grad_input", "grad_weight"), panels, strict=True):
        assert heights(axes, name) == pytest.approx(panel)  # stacked, so that a height is a difference
    assert heights(plots.reduction_by_layer(found).axes[0], "training") == list(drawn["reduction"]["data"][0]["y"])
    ranked = [bar.get_width() for bar in plots.remaining_by_layer(found).axes[0].containers[0]]
    by_pass = [trace["x"] for trace in drawn["remaining"]["data"] if trace["type"] == "bar"]
    assert ranked[:15] == pytest.approx([sum(parts) for parts in zip(*by_pass, strict=True)])
    (axes,) = plots.speedup_by_period(found).axes
    curve = dict(zip(*line(axes, "speedup ").get_data(), strict=True))
    page = dict(zip(drawn["period"]["data"][0]["x"], drawn["period"]["data"][0]["y"], strict=True))
    assert {1, 10, 100, 1000} <= curve.keys() & page.keys()
    assert all(curve[period] == page[period] for period in curve.keys() & page.keys())
