"""Plots: what their artists show against what was computed, and how they are laid out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas
import pytest
from torch import nn

import swatcost
from swatcost import SwatcostError, plots, published
from swatcost.memory.dense_step import training_memory
from swatcost.plots.layer_axis import chosen_spans, spans
from swatcost.report.charts import layer_costs

from .conftest import zoo_network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

pytest.importorskip("matplotlib")

PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
NETWORKS = ("resnet50", "densenet121", "cifar_vgg16", "vit_b_16", "one layer")


@cache
def network(name: str) -> swatcost.Network:
    return swatcost.trace(nn.Linear(64, 32), input_shape=(64,)) if name == "one layer" else zoo_network(name)


@cache
def estimate(name: str = "resnet50", sparsity: float = 0.8, **settings: Any) -> swatcost.Estimate:
    return swatcost.estimate(network(name), weights=sparsity, acts=sparsity, **settings)


def heights(axes: Axes, label: str) -> list[float]:
    (bars,) = [each for each in axes.containers if each.get_label() == label]
    return [each.get_height() for each in bars]


def line(axes: Axes, label: str) -> Any:
    (found,) = [each for each in axes.lines if each.get_label() == label]
    return found


def texts(figure: Figure) -> str:
    return " ".join(" ".join(each.get_text() for each in figure.texts).split()).replace("\N{NO-BREAK SPACE}", " ")


def unit(axes: Axes) -> float:
    match = re.search(r"\[(\w?)(?:MAC|B)\b", axes.get_ylabel())
    assert match
    return PREFIXES[match[1]]


@pytest.mark.parametrize("size", ["screen", "column"])
@pytest.mark.parametrize("name", NETWORKS)
def test_bars_of_cost_add_up_to_the_totals(name: str, size: str) -> None:
    found = estimate(name, first_layer="sparse")
    (axes,) = plots.cost_by_layer(found, size=size).axes
    for in_pass, cost in found.costs.by_pass().items():
        assert sum(heights(axes, in_pass)) * unit(axes) == pytest.approx(cost.sparse)
    assert sum(heights(axes, "dense")) * unit(axes) == pytest.approx(found.costs.training.dense)
    assert len(heights(axes, "dense")) == len(found.layers)


def test_stacked_passes_stand_on_each_other() -> None:
    (axes,) = plots.cost_by_layer(estimate()).axes
    tops = [0.0] * 54
    for bars in axes.containers[1:]:
        assert [each.get_y() for each in bars] == pytest.approx(tops)
        tops = [each.get_y() + each.get_height() for each in bars]


def test_cost_without_sparsity_is_that_of_dense_training() -> None:
    found = swatcost.estimate("resnet50", convention="exact")
    (axes,) = plots.cost_by_layer(found).axes
    assert [each.get_label() for each in axes.containers] == ["forward", "grad_input", "grad_weight"]
    total = sum(sum(heights(axes, in_pass)) for in_pass in ("forward", "grad_input", "grad_weight"))
    assert total * unit(axes) == pytest.approx(found.costs.training.dense)


def test_a_layer_that_dwarfs_all_others_is_cut_off_and_its_height_written() -> None:
    found = estimate("vit_b_16")
    (axes,) = plots.cost_by_layer(found).axes
    first = found.layers[0].costs.training.dense
    others = max(each.costs.training.dense for each in found.layers[1:])
    assert others < axes.get_ylim()[1] * unit(axes) < first
    assert axes.texts[0].get_text() == f"conv_proj: {first / 1e9:.1f} GMAC dense, cut off"
    (axes,) = plots.cost_by_layer(estimate("resnet50")).axes
    assert not axes.texts


def test_reductions_are_those_of_layers_and_passes() -> None:
    found = swatcost.estimate("resnet50", weights=0.9, method="set")
    figure = plots.reduction_by_layer(found)
    assert len(figure.axes) == 4
    expected = [100 * each.costs.training.reduction for each in found.layers]
    assert heights(figure.axes[0], "training") == pytest.approx(expected)
    assert line(figure.axes[0], "network").get_ydata()[0] == pytest.approx(100 * found.training_reduction)
    for axes, in_pass in zip(figure.axes[1:], found.costs.by_pass(), strict=True):
        assert f"{found.costs.by_pass()[in_pass].reduction:.2%}".replace("%", " %") in axes.get_title(loc="left")


def test_what_stays_dense_has_a_cross() -> None:
    figure = plots.reduction_by_layer(estimate())
    for axes, part in zip(figure.axes, ("training", "forward", "grad_input", "grad_weight"), strict=True):
        assert list(line(axes, f"{part}: dense").get_xdata()) == [0]  # uniform keeps the first layer dense


def test_a_pass_without_work_is_neither_bar_nor_cross() -> None:
    """The first layer's input needs no gradient, under the convention that counts as autograd does."""
    figure = plots.reduction_by_layer(estimate(convention="exact", first_layer="sparse"))
    grad_input = figure.axes[2]
    assert len(heights(grad_input, "grad_input")) == 53
    assert not len(line(grad_input, "grad_input: dense").get_xdata())


@pytest.mark.parametrize("size", ["screen", "column"])
def test_what_remains_is_sorted_and_adds_up_to_all(size: str) -> None:
    found = estimate("densenet121")
    figure = plots.remaining_by_layer(found, size=size)
    ranked, adding = figure.axes
    shares = [each.get_width() for each in ranked.containers[0]]
    assert shares == sorted(shares, reverse=True)
    total = found.costs.training.sparse
    expected = sorted((100 * each.costs.training.sparse / total for each in found.layers), reverse=True)
    assert shares == pytest.approx(expected[: len(shares)])
    together = line(adding, "together").get_ydata()
    assert (together[0], len(together)) == (0, 122)
    assert together[-1] == pytest.approx(100)
    assert f"The {121 - len(shares)} layers not listed: {sum(expected[len(shares) :]):.1f} %" in texts(figure)


def test_half_of_what_remains_is_in_as_many_layers_as_it_says() -> None:
    found = estimate()
    left = sorted((each.costs.training.sparse for each in found.layers), reverse=True)
    few, total = 0, 0.0
    while total < found.costs.training.sparse / 2:
        few, total = few + 1, total + left[few]
    assert f"50 % in {few}," in texts(plots.remaining_by_layer(found))


@pytest.mark.parametrize("hidden", [False, True])
def test_break_even_limit_and_period_are_marked(hidden: bool) -> None:
    every = [estimate(hidden=hidden), estimate(hidden=hidden, sparsity=0.5, period=20)]
    (axes,) = plots.speedup_by_period(every).axes
    for found, sparsity in zip(every, (80, 50), strict=True):
        name = f"weights {sparsity} % sparse, activations {sparsity} % sparse"
        assert line(axes, f"break-even {name}").get_xdata() == [found.break_even_period]
        at_first = estimate(hidden=hidden, sparsity=sparsity / 100, period=found.break_even_period)
        assert line(axes, f"break-even {name}").get_ydata() == [at_first.speedup]
        assert line(axes, f"limit {name}").get_ydata()[0] == found.speedup_limit
        own = line(axes, f"asked for {name}")
        assert (own.get_xdata(), own.get_ydata()) == ([found.topk_period], [found.speedup])
    assert axes.get_xscale() == "log"


def test_the_curve_is_the_speedup_at_each_period() -> None:
    (axes,) = plots.speedup_by_period(estimate()).axes
    curve = dict(zip(*line(axes, "speedup ").get_data(), strict=True))
    for period in (1, 10, 1000):
        assert curve[period] == pytest.approx(estimate(period=period).speedup)


def test_what_never_breaks_even_says_so() -> None:
    figure = plots.speedup_by_period(replace(estimate(), simulated_reduction=0.0))
    assert "never breaks even" in figure.legends[0].get_texts()[0].get_text()
    with pytest.raises(SwatcostError, match="0 estimates on one plot: give 1 to 7"):
        plots.speedup_by_period([])


def test_accuracies_are_the_printed_ones_and_reductions_the_computed() -> None:
    found = [each for each in published.reproduce("3") if each.cell.network == "ResNet-50"]
    (axes,) = plots.accuracy_by_reduction(found).axes
    of_swat = [each for each in found if each.cell.method == "SWAT-U"]
    reductions = [each for each in of_swat if each.cell.quantity == "training_reduction"]
    assert list(line(axes, "computed SWAT-U").get_xdata()) == [each.computed for each in reductions]
    assert list(line(axes, "printed SWAT-U").get_xdata()) == [76.1, 85.6]  # Table 3
    assert list(line(axes, "computed SWAT-U").get_ydata()) == [1.63, 4.69]  # Table 3: −1.63 and −4.69
    assert axes.yaxis_inverted()
    assert axes.get_title() == "ResNet-50"


@pytest.mark.parametrize(("table", "networks"), [("2", 3), ("4", 2), ("5", 2)])
def test_a_panel_for_each_network(table: str, networks: int) -> None:
    assert len(plots.accuracy_by_reduction(published.reproduce(table), size="column").axes) == networks


def test_memory_is_the_timeline_and_then_what_the_optimizer_holds() -> None:
    step = training_memory(network("resnet50"), batch_size=32)
    (axes,) = plots.memory_timeline(step, network("resnet50")).axes
    held = line(axes, "held").get_ydata() * unit(axes)
    constant, events = sum(step.constant.values()), len(step.live)
    assert held[:events] == pytest.approx([constant + each for each in step.live])
    assert len(held) > events
    assert held[events:] == pytest.approx([step.at_update] * (len(held) - events))
    assert line(axes, "peak").get_ydata()[0] * unit(axes) == pytest.approx(step.peak.bytes)
    assert line(axes, "backward").get_xdata()[0] == step.backward
    assert line(axes, "optimizer").get_xdata()[0] == events
    assert [each.get_text() for each in axes.texts] == ["forward", "backward", "optimizer"]


def test_copies_that_adam_makes_are_on_top_of_what_the_backward_pass_leaves() -> None:
    step = training_memory(network("one layer"), batch_size=1, optimizer="adam")
    held = 4 * 2080 + 4 * 2 * 2080 + 4 * 2080  # of 64 · 32 + 32 parameters: themselves, two moments, gradients
    copies = 4 * 2080  # one of every parameter
    others = 4 * 64 + 8 + 4  # the input, the label and the loss
    assert step.at_update == held + others + copies == step.peak.bytes
    (axes,) = plots.memory_timeline(step, network("one layer")).axes
    assert line(axes, "held").get_ydata()[-1] * unit(axes) == pytest.approx(step.at_update)


@pytest.mark.parametrize("how", [{"accumulate": 2}, {"update_in_backward": True}])
def test_memory_of_other_executions_is_their_events(how: dict[str, Any]) -> None:
    step = training_memory(network("resnet50"), batch_size=32, optimizer="adam", **how)
    assert len(step.live) > len(network("resnet50").timeline.events)
    (axes,) = plots.memory_timeline(step, network("resnet50")).axes
    constant = sum(step.constant.values())
    held = line(axes, "held").get_ydata()[: len(step.live)] * unit(axes)
    assert held == pytest.approx([constant + each for each in step.live])
    assert line(axes, "optimizer").get_xdata()[0] == len(step.live)


def test_memory_names_layers_forward_and_then_backward() -> None:
    step = training_memory(network("resnet50"), batch_size=32)
    (axes,) = plots.memory_timeline(step, network("resnet50")).axes
    named = [(label.get_text(), label.get_position()[0]) for label in tick_labels(axes.xaxis)]
    stages = [name for name, _ in named if name.startswith("layer")]
    forward = ["layer1", "layer2", "layer3", "layer4"]
    assert stages == [*forward, *reversed(forward)]
    places = [place for _, place in named]
    assert places == sorted(places)
    assert [place < step.backward for name, place in named if name.startswith("layer")] == [True] * 4 + [False] * 4


SPARSITIES = [0.5, 0.7, 0.9]


def swept(period: Sequence[int] = (1000,), **settings: Any) -> pandas.DataFrame:
    """Activations as sparse as weights, unless the settings are others."""
    asked = {"weights": SPARSITIES, "acts": SPARSITIES, "paired": True, **settings}
    return pandas.concat([swatcost.sweep("resnet50", period=each, **asked) for each in period])


@cache
def drawn() -> dict[str, Callable[[str], Figure]]:
    step = training_memory(network("resnet50"), batch_size=32)
    frame = swept(method=["swat", "swat-structured"], period=[1, 1000])
    found = list(published.reproduce("2"))
    return {
        "accuracy": lambda size: plots.accuracy_by_reduction(found, size=size),
        "memory": lambda size: plots.memory_timeline(step, network("resnet50"), size=size),
        "sparsity": lambda size: plots.speedup_by_sparsity(frame, name="resnet50", size=size),
    }


def assert_laid_out(figure: Figure) -> None:
    """Nothing is cut off, nothing lies on another thing, and no type is too small to print."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)  # measures texts; what is only laid out has no pixels
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that the layout could not be made
        figure.draw_without_rendering()
    ticks = [tick_labels(axis) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    others = [label for axes in figure.axes for label in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    words = [each for each in [*figure.texts, *others, *chain(*ticks)] if each.get_text()]
    page = figure.bbox.padded(1)
    for each in (*words, *figure.legends):
        box = each.get_window_extent()
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, each
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, each
    assert min(each.get_fontsize() for each in words) >= 6
    inside = [axes.get_tightbbox() for axes in figure.axes]
    apart = [each.get_window_extent() for each in (*figure.texts, *figure.legends)]
    for place, box in enumerate(apart):
        for other in (*apart[place + 1 :], *inside):
            assert not box.overlaps(other), (box, other)
    for labels in ticks:
        for left, right in pairwise(each.get_window_extent() for each in labels):
            assert not left.overlaps(right)


def tick_labels(axis: Any) -> list[Any]:
    """The labels within the axis's limits, which are those that are drawn."""
    low, high = sorted(axis.get_view_interval())
    both = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)  # none where a neighbour has them
    return [text for at, text in both if low <= at <= high and text.get_text() and text.get_visible()]


@pytest.mark.parametrize("size", ["screen", "column"])
@pytest.mark.parametrize("chart", list(plots.CHARTS))
@pytest.mark.parametrize("name", NETWORKS)
def test_charts_are_laid_out(name: str, chart: str, size: str) -> None:
    figure = plots.CHARTS[chart](estimate(name), size=size)
    assert figure.get_figwidth() == {"screen": 8.0, "column": 3.5}[size]
    assert_laid_out(figure)
    assert "swat" in texts(figure)


UNUSUAL: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("resnet50", {"method": "dense"}),
    "nothing asked for": ("resnet50", {}),
    "only weights": ("resnet50", {"weights": 0.8, "acts": 0.0}),
    "schedule": ("resnet50", {"weights": 0.9, "method": "pruning"}),
    "two levels": ("resnet50", {"weights": 0.8, "method": "rigl"}),
    "all sparse": ("densenet121", {"weights": 0.9, "acts": 0.9, "distribution": "erk"}),
    "one sparse layer": ("one layer", {"weights": 0.8, "acts": 0.8, "first_layer": "sparse"}),
    "one dense layer": ("one layer", {}),
}
"""Estimates at the edges: without a dense layer, without a sparse one, of one layer."""


@pytest.mark.parametrize("size", ["screen", "column"])
@pytest.mark.parametrize("chart", list(plots.CHARTS))
@pytest.mark.parametrize("name", UNUSUAL)
def test_charts_of_unusual_estimates_are_laid_out_and_not_empty(name: str, chart: str, size: str) -> None:
    model, settings = UNUSUAL[name]
    figure = plots.CHARTS[chart](swatcost.estimate(network(model), **settings), size=size)
    assert_laid_out(figure)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        tops = [each.get_y() + each.get_height() for bars in axes.containers for each in bars]
        assert any(tops) or axes.get_lines() or axes.texts
        assert max(tops, default=0) <= max(low, high)


@pytest.mark.parametrize("name", ["dense", "nothing asked for", "one dense layer"])
def test_reductions_of_what_is_dense_are_one_panel_that_says_so(name: str) -> None:
    model, settings = UNUSUAL[name]
    (axes,) = plots.reduction_by_layer(swatcost.estimate(network(model), **settings)).axes
    assert [each.get_text() for each in axes.texts] == ["dense: no layer has a reduction"]


@pytest.mark.parametrize("name", ["dense", "schedule", "two levels"])
def test_a_method_without_topk_has_no_period_that_breaks_even(name: str) -> None:
    model, settings = UNUSUAL[name]
    found = swatcost.estimate(network(model), **settings)
    figure = plots.speedup_by_period(found)
    labels = {each.get_label() for each in figure.axes[0].get_lines()}
    assert not {"break-even ", "asked for ", "limit "} & labels
    said = [each.get_text() for each in figure.legends[0].get_texts()]
    both = f"ideal {found.speedup:.2f}×, attainable {found.attainable_speedup:.2f}×"
    assert said == [f"{both} at every period (no Top-K)", "dense training"]


def test_speedups_are_called_ideal_unless_they_are_simulated() -> None:
    ideal = estimate()
    simulated = replace(ideal, simulated_reduction=0.5)
    for found, kind in ((ideal, "ideal"), (simulated, "simulated")):
        figure = plots.speedup_by_period(found)
        assert figure.axes[0].get_ylabel() == "speedup [×]"
        first = figure.legends[0].get_texts()[0].get_text()
        assert first.startswith(f"{kind} {found.speedup:.2f}×")
        assert (f", attainable {found.attainable_speedup:.2f}× at" in first) == (kind == "ideal")
    legend = plots.speedup_by_sparsity(swept()).legends[0]
    assert {"ideal", "attainable"} <= {each.get_text() for each in legend.get_texts()}


def test_the_attainable_speedup_is_drawn_beside_the_ideal_one() -> None:
    (axes,) = plots.speedup_by_period(estimate()).axes
    curve = dict(zip(*line(axes, "attainable ").get_data(), strict=True))
    for period in (1, 10, 1000):
        assert curve[period] == pytest.approx(estimate(period=period).attainable_speedup)
    frame = swept()
    (axes,) = plots.speedup_by_sparsity(frame).axes
    assert list(line(axes, "attainable").get_ydata()) == list(frame.attainable_speedup)


@pytest.mark.parametrize("size", ["screen", "column"])
@pytest.mark.parametrize("name", ["resnet50", "densenet121", "cifar_vgg16"])
def test_stacked_bars_differ_without_their_colours(name: str, size: str) -> None:
    from matplotlib.colors import to_rgb

    (axes,) = plots.cost_by_layer(estimate(name), size=size).axes
    looks = []
    for bars in axes.containers:
        red, green, blue = to_rgb(bars[0].get_facecolor())
        looks.append((bars[0].get_hatch() or "", 0.299 * red + 0.587 * green + 0.114 * blue))  # ITU-R BT.601
    for place, (hatch, grey) in enumerate(looks):
        for other_hatch, other_grey in looks[place + 1 :]:
            assert hatch != other_hatch or abs(grey - other_grey) > 0.3


@pytest.mark.parametrize("size", ["screen", "column"])
@pytest.mark.parametrize("name", ["accuracy", "memory", "sparsity"])
def test_other_plots_are_laid_out(name: str, size: str) -> None:
    assert_laid_out(drawn()[name](size))


def test_a_pass_too_short_for_its_name_has_none() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    for parameter in module.parameters():
        parameter.requires_grad_(False)  # no backward pass
    frozen = swatcost.trace(module, input_shape=(8,))
    figure = plots.memory_timeline(training_memory(frozen, batch_size=1), frozen, size="column")
    assert [each.get_text() for each in figure.axes[0].texts] == ["forward", "optimizer"]
    assert_laid_out(figure)


@pytest.mark.parametrize("size", ["screen", "column"])
@pytest.mark.parametrize("name", ["densenet121", "cifar_vgg16", "vit_b_16", "one layer"])
def test_memory_of_other_networks_is_laid_out(name: str, size: str) -> None:
    step = training_memory(network(name), batch_size=1, optimizer="adam")
    assert_laid_out(plots.memory_timeline(step, network(name), size=size))


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(SwatcostError, match="unknown size 'poster' of a plot: choose from screen, column"):
        plots.cost_by_layer(estimate(), size="poster")


def test_layers_have_names_of_their_own() -> None:
    for name in ("vit_b_16", "resnet50"):
        names = layer_costs(estimate(name)).names
        assert len(set(names)) == len(names)
    assert "blocks.0.attention (product) 1" in layer_costs(estimate("vit_b_16")).names


def test_spans_are_as_detailed_as_there_is_room_for() -> None:
    names = [
        "stem",
        *(f"stage{stage}.{block}.conv{conv}" for stage in (1, 2, 3) for block in (0, 1) for conv in (1, 2)),
    ]
    assert [span.name for span in chosen_spans(names, 1.0)[0]] == names
    assert [span.name for span in chosen_spans(names, 1.5)[0]][:3] == ["stem", "stage1.0", "stage1.1"]
    assert [tuple(span) for span in chosen_spans(names, 2.5)[0]] == [
        ("stem", 0, 0), ("stage1", 1, 4), ("stage2", 5, 8), ("stage3", 9, 12),
    ]  # fmt: skip
    flat = [f"features.{place}" for place in range(300)]  # there is no room for all, and one name for all tells nothing
    found, labelled = chosen_spans(flat, 10.0)
    assert len(found) == 300
    assert len(labelled) == 30
    assert spans(flat, 1) == [("features", 0, 299)]


@pytest.mark.parametrize("method", ["pruning", "rigl", "dst"])
def test_the_schedules_area_is_what_the_run_costs(method: str) -> None:
    from swatcost.planning import plan_run

    run = plan_run(network("resnet50"), weights=0.9, method=method)
    (axes,) = plots.schedule_over_run(run).axes
    (costs,) = (each for each in axes.get_lines() if each.get_label() == "MACs")
    epochs, values = list(costs.get_xdata()), list(costs.get_ydata())
    area = sum((after - before) * value for (before, after), value in zip(pairwise(epochs), values, strict=False))
    sparse, dense = run.estimate.costs.training.sparse, run.estimate.costs.training.dense
    assert area / 90 == pytest.approx(100 * sparse / dense)


@pytest.mark.parametrize("chart", plots.CHARTS)
def test_names_with_dollar_signs_are_not_formulas(chart: str, tmp_path: Path) -> None:
    # two of them enclose a formula for matplotlib, and this one is no formula
    module = nn.Sequential()
    for name in (r"$\frac$", "a$", "b$"):
        module.add_module(name, nn.Linear(8, 8))
    odd = swatcost.trace(module, input_shape=(8,), name=r"$\q$")
    figure = plots.CHARTS[chart](swatcost.estimate(odd, weights=0.8, acts=0.8))
    plots.save(figure, tmp_path / "odd.svg")
    written = (tmp_path / "odd.svg").read_text(encoding="utf-8")
    assert r"$\q$" in written
    assert chart == "period" or r"$\frac$" in written


def test_powers_of_ten_are_still_formulas(tmp_path: Path) -> None:
    figure = plots.speedup_by_period(estimate(period=1_000_000))
    plots.save(figure, tmp_path / "powers.png")
    powers = [each for each in figure.axes[0].get_xticklabels() if "$" in each.get_text()]
    assert powers
    assert all(each.get_parse_math() for each in powers)
