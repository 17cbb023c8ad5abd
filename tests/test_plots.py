"""Plots: what their artists show against what was computed, and what is left on the disk."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas
import pytest
from torch import nn

import swatcost
from swatcost import SwatcostError, plots, published
from swatcost.cli import main
from swatcost.plots.ticks import chosen_spans, layer_names, spans
from swatcost.step import training_memory

from .conftest import zoo_network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

matplotlib = pytest.importorskip("matplotlib")

PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
NETWORKS = ("resnet50", "densenet121", "cifar_vgg16", "vit_b_16", "one layer")


def network(name: str) -> swatcost.Network:
    return swatcost.trace(nn.Linear(64, 32), input_shape=(64,)) if name == "one layer" else zoo_network(name)


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
    assert axes.texts[0].get_text() == f"conv_proj: {first / 1e9:.1f} GMAC, cut off"
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
    assert f"The {121 - len(shares)} without a name hold {sum(expected[len(shares) :]):.1f} %" in texts(figure)


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
    assert "breaks even never" in figure.legends[0].get_texts()[0].get_text()
    with pytest.raises(SwatcostError, match="0 estimates on one plot: give 1 to 7"):
        plots.speedup_by_period([])


SPARSITIES = [0.5, 0.7, 0.9]


def swept(period: Sequence[int] = (1000,), **settings: Any) -> pandas.DataFrame:
    """Activations as sparse as weights, unless the settings are others."""
    asked = {"weights": SPARSITIES, "acts": SPARSITIES, "paired": True, **settings}
    return pandas.concat([swatcost.sweep("resnet50", period=each, **asked) for each in period])


def test_lines_are_the_rows_of_the_frame() -> None:
    rigl = swatcost.sweep("resnet50", weights=SPARSITIES, method="rigl", device=["rtx2080ti", "xeon2"])
    frame = pandas.concat([swept(device=["rtx2080ti", "xeon2"]), rigl]).sample(frac=1, random_state=1)
    figure = plots.speedup_by_sparsity(frame, name="resnet50")
    (axes,) = figure.axes
    for method in ("swat", "rigl"):
        for device in ("rtx2080ti", "xeon2"):
            rows = frame[(frame.method == method) & (frame.device == device)].sort_values("weights")
            drawn = line(axes, f"speedup {method} {device}")
            assert list(drawn.get_xdata()) == [100 * each for each in rows.weights]
            assert list(drawn.get_ydata()) == list(rows.speedup)
    colours = {line(axes, f"speedup {method} xeon2").get_color() for method in ("swat", "rigl")}
    kinds = {line(axes, f"speedup rigl {device}").get_linestyle() for device in ("rtx2080ti", "xeon2")}
    assert (len(colours), len(kinds)) == (2, 2)
    assert "convention swat" in texts(figure)
    assert "activation sparsity as on the axis" in texts(figure)


def test_limits_are_drawn_where_one_setting_varies() -> None:
    frame = swept(period=[1, 10])
    (axes,) = plots.speedup_by_sparsity(frame).axes
    assert list(line(axes, "limit 10").get_ydata()) == list(frame[frame.period == 10].speedup_limit)


def test_activations_are_the_axis_where_weights_are_one_number() -> None:
    frame = swatcost.sweep("resnet50", weights=0.8, acts=SPARSITIES)
    (axes,) = plots.speedup_by_sparsity(frame).axes
    assert axes.get_xlabel() == "activation sparsity [%]"
    frame = swatcost.sweep("resnet50", weights=SPARSITIES, acts=[0.5, 0.9])
    (axes,) = plots.speedup_by_sparsity(frame).axes
    assert list(line(axes, "speedup 0.9").get_ydata()) == list(frame[frame.acts == 0.9].speedup)


def test_settings_that_vary_together_are_one() -> None:
    frame = pandas.concat([swept(), swept(distribution="erk", method="swat-structured", period=[10])])
    (axes,) = plots.speedup_by_sparsity(frame).axes
    assert len(line(axes, "speedup swat-structured erk 10").get_ydata()) == 3


def test_lines_that_coincide_are_said_to() -> None:
    figure = plots.speedup_by_sparsity(swept(method=["swat", "swat-structured"]))
    words = [each.get_text() for each in figure.legends[0].get_texts()]
    assert words == ["swat", "swat-structured (= swat)"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": 0.8, "acts": 0.8}, "needs several sparsities"),
        (
            {"period": [1, 2], "batch_size": [1, 2], "device": ["xeon2", "rtx2080ti"], "convention": ["swat", "exact"]},
            r"convention \(2\), device \(2\), batch_size \(2\), period \(2\) vary; choose fewer",
        ),
        ({"period": list(range(1, 10))}, r"period \(9\) vary"),
        ({"period": list(range(1, 6)), "batch_size": list(range(1, 6))}, r"batch_size \(5\), period \(5\) vary"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(settings: dict[str, Any], message: str) -> None:
    grid = {"paired": False, "acts": 0.8, **settings}
    with pytest.raises(SwatcostError, match=message):
        plots.speedup_by_sparsity(swept(**grid))
    with pytest.raises(SwatcostError, match="no column 'device'"):
        plots.speedup_by_sparsity(swept().drop(columns="device"))


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


def test_memory_is_the_timeline() -> None:
    step = training_memory(network("resnet50"), batch_size=32)
    (axes,) = plots.memory_timeline(step, "resnet50").axes
    held = line(axes, "held").get_ydata() * unit(axes)
    constant = sum(step.constant.values())
    assert held == pytest.approx([constant + each for each in step.live])
    assert line(axes, "peak").get_ydata()[0] * unit(axes) == pytest.approx(step.peak.bytes)
    assert line(axes, "backward").get_xdata()[0] == step.backward


def drawn() -> dict[str, Callable[[str], Figure]]:
    step = training_memory(network("resnet50"), batch_size=32)
    frame = swept(method=["swat", "swat-structured"], period=[1, 1000])
    found = list(published.reproduce("2"))
    return {
        "accuracy": lambda size: plots.accuracy_by_reduction(found, size=size),
        "memory": lambda size: plots.memory_timeline(step, "resnet50", size=size),
        "sparsity": lambda size: plots.speedup_by_sparsity(frame, name="resnet50", size=size),
    }


def assert_laid_out(figure: Figure) -> None:
    """Nothing is cut off, nothing lies on another thing, and no type is too small to print."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
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


@pytest.mark.parametrize("size", ["screen", "column"])
@pytest.mark.parametrize("name", ["accuracy", "memory", "sparsity"])
def test_other_plots_are_laid_out(name: str, size: str) -> None:
    assert_laid_out(drawn()[name](size))


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(SwatcostError, match="unknown size 'poster' of a plot: choose from screen, column"):
        plots.cost_by_layer(estimate(), size="poster")


def test_layers_have_names_of_their_own() -> None:
    for name in ("vit_b_16", "resnet50"):
        names = layer_names(estimate(name))
        assert len(set(names)) == len(names)
    assert "blocks.0.attention (product) 1" in layer_names(estimate("vit_b_16"))


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


MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.mark.parametrize("ending", list(MAGIC))
def test_files_are_of_their_kind_and_repeat_to_the_byte(ending: str, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    one, other = tmp_path / f"one{ending}", tmp_path / f"other{ending.upper()}"
    plots.save(plots.cost_by_layer(estimate()), one)
    plots.save(plots.cost_by_layer(estimate()), other)
    assert one.read_bytes().startswith(MAGIC[ending])
    assert one.read_bytes() == other.read_bytes()
    assert sorted(tmp_path.iterdir()) == [one, other]
    assert dict(matplotlib.rcParams) == before


def test_a_png_is_as_sharp_as_it_is_shown(tmp_path: Path) -> None:
    for size, width in (("screen", 8 * 150), ("column", 3.5 * 200)):
        plots.save(plots.cost_by_layer(estimate(), size=size), tmp_path / "p.png")
        assert int.from_bytes((tmp_path / "p.png").read_bytes()[16:20]) == width  # IHDR begins with the width


def test_text_stays_text_in_an_svg_and_fonts_are_truetype_in_a_pdf(tmp_path: Path) -> None:
    figure = plots.cost_by_layer(estimate())
    plots.save(figure, tmp_path / "p.svg")
    assert ">resnet50: cost of training by layer</text>" in (tmp_path / "p.svg").read_text()
    plots.save(figure, tmp_path / "p.pdf")
    content = (tmp_path / "p.pdf").read_bytes()
    assert b"/FontFile2" in content  # an embedded TrueType font
    assert b"/Type3" not in content


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plots.cost_by_layer(estimate())

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(SwatcostError, match=r"cannot write .*p\.png: No space left on device"):
        plots.save(figure, tmp_path / "p.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["resnet50", "--plot", "p.gif"], "p.gif: a plot is a .png, .svg or .pdf file"),
        (["resnet50", "--plot", "p"], "p: a plot is a .png, .svg or .pdf file"),
        (["resnet50", "--plot", "none/p.png"], "cannot write none/p.png: there is no folder none"),
        (["resnet50", "--chart", "period"], "--chart period: name the file to draw it in, such as --plot period.png"),
        (["resnet50", "--plot", "p.png", "--chart", "pie"], "Invalid value for '--chart': 'pie'"),
        (["tables", "3", "--plot", "p.bmp"], "a plot is a .png, .svg or .pdf file"),
        (["tables", "10", "--plot", "p.png"], "no networks with accuracies beside training reductions"),
        (["tables", "--plot", "p.png"], "6 networks with accuracies beside training reductions"),
        (["memory", "cifar_resnet18", "--plot", "p.odd"], "a plot is a .png, .svg or .pdf file"),
    ],
)
def test_misuse_is_one_line_before_anything_is_computed(
    args: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def computes(*_: Any, **__: Any) -> None:
        raise AssertionError("computed first")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("swatcost.estimate", computes)
    monkeypatch.setattr("swatcost.published._reproduced", computes)
    monkeypatch.setattr("swatcost.planning.memory_of", computes)
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("chart", [None, *plots.CHARTS])
def test_the_command_draws_beside_what_it_prints(
    chart: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["resnet50", "--weights", "0.8", "--acts", "0.8"]
    assert main(args) == 0
    plain = capsys.readouterr().out
    path = tmp_path / "p.svg"
    assert main([*args, "--plot", str(path), *(["--chart", chart] if chart else []), "--plot-size", "column"]) == 0
    assert capsys.readouterr() == (plain, "")
    expected = tmp_path / "expected.svg"
    plots.save(plots.CHARTS[chart or "cost"](estimate(), size="column"), expected)
    assert path.read_text() == expected.read_text()


def test_tables_and_memory_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "5", "--plot", str(tmp_path / "t.pdf")]) == 0
    assert main(["memory", "cifar_resnet18", "--plot", str(tmp_path / "m.png")]) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "t.pdf").read_bytes().startswith(MAGIC[".pdf"])
    assert (tmp_path / "m.png").read_bytes().startswith(MAGIC[".png"])


@pytest.mark.parametrize(
    "code",
    [
        "import swatcost, swatcost.plots",
        "from swatcost.cli import main; main(['resnet50', '--weights', '0.8'])",
        "from swatcost.cli import main; main(['memory', 'cifar_resnet18'])",
        "from swatcost.cli import main; main(['resnet50', '--plot', 'p.gif'])",
    ],
)
def test_what_draws_nothing_imports_no_matplotlib(code: str) -> None:
    check = f"import sys; {code}; print({{'matplotlib', 'torch', 'pandas'}} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "set()"


def test_drawing_imports_no_pyplot_and_without_matplotlib_says_what_to_install(tmp_path: Path) -> None:
    draw = f"main(['resnet50', '--weights', '0.8', '--plot', {str(tmp_path / 'p.png')!r}])"
    check = (
        f"import sys; from swatcost.cli import main; {draw}; print('matplotlib.pyplot' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr == "False\n"
    (tmp_path / "p.png").unlink()
    check = f"import sys; sys.modules['matplotlib'] = None; from swatcost.cli import main; sys.exit({draw})"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "swatcost: plots need matplotlib: pip install 'swatcost[plot]'\n"
    assert not list(tmp_path.iterdir())


def test_three_settings_that_vary_are_panels_of_lines() -> None:
    frame = swatcost.sweep(
        network("resnet50"), weights=[0.5, 0.7, 0.9], acts=[0.5, 0.8, 0.9], period=[1, 10, 100, 1000],
        method=["swat", "rigl"],
    )  # fmt: skip
    figure = plots.speedup_by_sparsity(frame, name="resnet50")
    shown = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}
    assert list(shown) == ["activations 50 %", "activations 80 %", "activations 90 %", "no activation sparsity"]
    for acts, axes in zip((0.5, 0.8, 0.9), shown.values(), strict=False):
        for period in (1, 10, 100, 1000):
            (line,) = (each for each in axes.get_lines() if each.get_label() == f"speedup swat {period}")
            rows = frame[(frame["method"] == "swat") & (frame["acts"] == acts) & (frame["period"] == period)]
            assert list(line.get_ydata()) == rows["speedup"].tolist()
    (rigl,) = (each for each in shown["no activation sparsity"].get_lines() if each.get_label() == "speedup rigl 1000")
    assert len(rigl.get_xdata()) == 3


def test_a_method_without_the_axis_target_stands_at_its_own() -> None:
    sparsities = [0.5, 0.7, 0.9]
    frame = swatcost.sweep(
        network("resnet50"), weights=sparsities, grads=sparsities, method=["rigl", "dsg"], paired=True
    )
    figure = plots.speedup_by_sparsity(frame)
    (line,) = (each for each in figure.axes[0].get_lines() if each.get_label() == "speedup dsg")
    assert list(line.get_xdata()) == [50, 70, 90]
    assert list(line.get_ydata()) == frame[frame["method"] == "dsg"]["speedup"].tolist()
    assert any("dsg: at the sparsity of outputs' gradients" in " ".join(t.get_text().split()) for t in figure.texts)


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
def test_names_with_dollar_signs_are_no_formulas(chart: str, tmp_path: Path) -> None:
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
