"""The HTML report: what it says, that it says nothing in markup, and what it needs. How it behaves: test_browser.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import swatcost
from swatcost.cli import command_named, main
from swatcost.methods import METHODS
from swatcost.network import Uncounted
from swatcost.network.passes import PASSES
from swatcost.page import charts, key_figures, save, to_page
from swatcost.page.plotly_charts import figures_of
from swatcost.report import estimate as content
from tests.by_hand import applies, everywhere

HOSTILE = "</script><script>alert('1')</script><b>&amp;"


class Page(HTMLParser):
    """Tables as lists of rows of texts, scripts by their type, and everything that is read as text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.numbers: dict[int, list[float]] = {}
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[str] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self._inside.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            if number := given.get("data-number"):
                self.numbers.setdefault(len(self.tables[-1][-1]), []).append(float(number))
            self.tables[-1][-1].append("")
        elif tag == "script":
            self.scripts.append((given, ""))

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self._inside:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif "style" not in self._inside:
            self.text += data
            if {"td", "th"} & set(self._inside):
                self.tables[-1][-1][-1] += data.strip()


@pytest.fixture(scope="module")
def estimate() -> swatcost.Estimate:
    return swatcost.estimate("resnet50", weights=0.8, acts=0.8)


@pytest.fixture(scope="module")
def text(estimate: swatcost.Estimate) -> str:
    return to_page(estimate, command="swatcost report x --weights 0.8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def hostile(estimate: swatcost.Estimate) -> swatcost.Estimate:
    """The same with markup for names."""
    layers = tuple(replace(each, name=HOSTILE) if each.name == "fc" else each for each in estimate.network.layers)
    uncounted = tuple(replace(each, operation=HOSTILE, places=(HOSTILE,)) for each in estimate.network.uncounted)
    network = replace(estimate.network, name=HOSTILE, layers=layers, uncounted=uncounted)
    return swatcost.estimate(network, weights=0.8, acts=0.8)


def test_it_has_the_terminals_tables_and_sentences(estimate: swatcost.Estimate, page: Page) -> None:
    for table, shown in zip(content.tables(estimate), page.tables, strict=False):
        assert shown == [table.header, *table.rows]
    plain = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "Training FLOPs −76.12 % (−78.45 % under exact)" in plain
    for sentence in [content.headline(estimate), content.setting(estimate), *estimate.assumptions]:
        assert sentence in plain
    for each in estimate.uncounted:
        assert f"{each.operation} ×{each.calls}" in plain
    assert "swatcost report x --weights 0.8" in plain
    assert f"swatcost {swatcost.__version__}" in plain


def test_the_layer_tables_numbers_are_unrounded_and_add_up(estimate: swatcost.Estimate, page: Page) -> None:
    *rows, total = page.tables[-1]
    assert [row[1] for row in rows[1:-1]] == [each.layer.name for each in estimate.layers]
    assert len(rows) == 1 + 54 + 1  # headings, layers, parameters of no layer
    headings = rows[0]
    columns = {heading: page.numbers[place] for place, heading in enumerate(headings) if place in page.numbers}
    assert sum(columns["params"]) == 25_557_032  # torchvision's own count
    for each in PASSES:
        cost = estimate.costs.by_pass()[each]
        assert sum(columns[f"{each} dense [MMAC]"]) == cost.dense
        assert sum(columns[f"{each} sparse [MMAC]"]) == pytest.approx(cost.sparse, rel=1e-12)
    assert total[headings.index("training dense [MMAC]")] == f"{estimate.costs.training.dense / 1e6:.3f}"
    assert columns["output"][0] == 64 * 112 * 112  # conv1's


def test_nothing_is_fetched(text: str) -> None:
    ours = text.replace(_plotly(), "")
    assert len(ours) < 400_000
    assert not re.findall(r"https?:|[\"'(]//|<link|<img|<iframe|@import|\bsrc=|url\(", ours)
    assert "default-src 'none'" in ours  # the browser is told, whatever Plotly's own code mentions


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def test_the_same_estimate_gives_the_same_file(text: str, estimate: swatcost.Estimate) -> None:
    again = swatcost.estimate("resnet50", weights=0.8, acts=0.8)
    assert to_page(again, command="swatcost report x --weights 0.8") == text


def test_names_are_text_wherever_they_stand(estimate: swatcost.Estimate) -> None:
    found = Page(to_page(hostile(estimate), command=f"swatcost report {HOSTILE}"))
    clean = Page(to_page(estimate, command="swatcost report x"))
    assert found.tags.count("script") == clean.tags.count("script") == 4 + 2  # figures, Plotly, ours
    assert found.tags.count("b") == clean.tags.count("b") == 0
    assert "alert" not in " ".join(script for kind, script in found.scripts[-1:])
    layer = next(row for row in found.tables[-1] if "alert" in row[1])
    assert layer[1] == HOSTILE
    for kind, script in found.scripts:
        if kind.get("type") == "application/json":
            json.loads(script)
    drawn = figures_of(hostile(estimate))
    for tag in re.findall(r"<[^>]*>", json.dumps(drawn)):  # Plotly reads these in texts
        assert tag in ("<b>", "</b>", "<br>", "<extra>", "</extra>")


def test_figures_hold_the_estimates_numbers(estimate: swatcost.Estimate) -> None:
    drawn = figures_of(estimate)
    assert list(drawn) == ["work", "reduction", "remaining", "period"]
    for how, total in (("dense", estimate.costs.training.dense), ("sparse", estimate.costs.training.sparse)):
        bars = [trace for trace in drawn["work"]["data"] if trace["name"] == how]
        assert sum(sum(trace["y"]) for trace in bars) * 1e6 == pytest.approx(total, rel=1e-12)
    assert drawn["work"]["layout"]["yaxis"]["title"]["text"] == "MMAC per sample"

    bars = drawn["reduction"]["data"][0]
    assert dict(zip(bars["x"], bars["y"], strict=True))["conv1"] == 0  # kept dense
    assert bars["y"][1:] == pytest.approx([80.0] * 53)  # every operand is 80 % sparse

    shares = [trace for trace in drawn["remaining"]["data"] if trace["type"] == "bar"]
    shown = sum(sum(trace["x"]) for trace in shares)
    others = float(
        re.findall(r"39 other layers: ([\d.]+) %", drawn["remaining"]["layout"]["xaxis"]["title"]["text"])[0]
    )
    assert shown + others == pytest.approx(100, abs=0.006)
    conv1 = 64 * 3 * 7 * 7 * (112**2 + 112**2 + 224**2)  # forward, grad_weight, grad_input at the input resolution
    assert sum(trace["x"][0] for trace in shares) == pytest.approx(100 * conv1 / estimate.costs.training.sparse)


@pytest.mark.parametrize(("sparsity", "printed"), [(0.8, 4.13), (0.9, 6.79)])
def test_the_curve_goes_through_equations_7_and_8(sparsity: float, printed: float) -> None:
    curve, attainable, even, chosen = figures_of(swatcost.estimate("resnet50", weights=sparsity, acts=sparsity))[
        "period"
    ]["data"]
    at = dict(zip(curve["x"], curve["y"], strict=True))
    assert at[1000] == pytest.approx(printed, abs=0.02)
    assert chosen["y"] == [at[1000]]
    assert at[even["x"][0]] >= 1 > at[even["x"][0] - 1]
    assert curve["y"] == sorted(curve["y"])
    assert max(attainable["y"]) < 1  # masked tensors on dense kernels


def test_dense_training_has_no_reductions(page: Page) -> None:
    dense = swatcost.estimate("resnet50", method="dense")
    assert list(figures_of(dense)) == ["work", "remaining"]
    assert page.tags.count("dl") == Page(to_page(dense)).tags.count("dl") + 1  # the key figures


def test_a_method_without_top_k_has_no_period() -> None:
    assert list(figures_of(swatcost.estimate("resnet50", method="rigl", weights=0.8))) == [
        "work",
        "reduction",
        "remaining",
    ]


def test_a_speedup_is_ideal_or_simulated_wherever_it_is_shown(estimate: swatcost.Estimate) -> None:
    simulated = replace(estimate, simulated_reduction=0.5)
    for found, kind in ((estimate, "ideal"), (simulated, "simulated")):
        shown = [name for name, _ in key_figures(found) if "speedup" in name]
        assert shown == ["attainable speedup on rtx2080ti"] * (kind == "ideal") + [f"{kind} speedup on rtx2080ti"]
        (drawn,) = (each for each in charts(found) if each.name == "period")
        assert drawn.title == "Speedup against the Top-K period"
        assert drawn.figure["layout"]["yaxis"]["title"]["text"] == "speedup [×]"
        assert all(f"{kind} speedup" in text for text in drawn.figure["data"][0]["hovertext"])


def test_stacked_bars_differ_without_their_colours(estimate: swatcost.Estimate) -> None:
    bars = [trace for trace in figures_of(estimate)["remaining"]["data"] if trace["type"] == "bar"]
    shapes = [trace["marker"]["pattern"]["shape"] for trace in bars]
    assert len(set(shapes)) == len(shapes) == 3


def test_exact_is_drawn_where_it_differs() -> None:
    estimate = swatcost.estimate("resnet50", method="rigl", weights=0.8)
    drawn = figures_of(estimate)["reduction"]["data"]
    exact = next(trace for trace in drawn if trace["name"] == "exact convention")
    by_name = {each.layer.name: 100 * each.exact.training.reduction for each in estimate.layers}
    assert exact["y"] == pytest.approx([by_name[name] for name in exact["x"]])
    same = swatcost.estimate("resnet50", method="rigl", weights=0.8, convention="exact")
    assert len(figures_of(same)["reduction"]["data"]) == 2  # bars and the network's line


@pytest.mark.parametrize("method", METHODS.names())
def test_plotly_takes_every_figure(method: str) -> None:
    from plotly.graph_objects import Figure  # which knows what a figure may hold, and refuses the rest

    chosen = METHODS[method]
    targets = {"weights": "weight", "acts": "activation", "grads": "output"}
    asked: dict[str, Any] = {name: 0.75 for name, operand in targets.items() if chosen.uses(operand)}
    for network in map(swatcost.load, ("cifar_resnet18", "vit_b_16")):
        if not applies(method, network):
            continue
        for figure in figures_of(swatcost.estimate(network, method=method, **asked, **everywhere(method))).values():
            Figure(figure)
            json.dumps(figure, allow_nan=False)


def test_layers_of_one_name_have_places_of_their_own() -> None:
    network = swatcost.load("resnet50")
    layers = tuple(replace(each, name="same") if each.is_weight_layer else each for each in network.layers)
    drawn = figures_of(swatcost.estimate(replace(network, layers=layers), weights=0.8))
    for trace in drawn["work"]["data"]:
        assert len(set(trace["x"])) == len(trace["x"]) == 54


def test_the_command_writes_what_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a report.html"
    args = ["report", "resnet50", "--weights", "0.8", "--keep-dense", "*.conv1", "--output", str(path)]
    assert main(args) == 0
    assert capsys.readouterr() == ("", "")
    (command,) = re.findall("<pre><code>(.*)</code></pre>", path.read_text(encoding="utf-8"))
    assert unescape(command) == "swatcost resnet50 --weights 0.8 --keep-dense '*.conv1'"


@pytest.mark.parametrize("wrong", [["--weights", "1.5"], ["--method", "swatt"], ["--distribution", "file"]])
def test_misuse_is_one_line_and_no_file(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "resnet50", *wrong, "--output", str(tmp_path / "r.html")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "own"), [("report", {"--output"}), ("explore", {"--port", "--no-browser"})]
)  # fmt: skip
def test_it_takes_whatever_an_estimate_takes(command: str, own: set[str]) -> None:
    def options(command: str) -> set[str]:
        return {option for parameter in command_named(command).params for option in parameter.opts}

    of_plots = {"--chart", "--plot", "--plot-size", "--no-title"}
    of_output = {"--output", "--layers", "--fold", "--per", "--format", "--notes", "--quiet"} | of_plots
    assert {"--weights", "--classes", "--input-shape", "--input-dtype", "--fresh"} <= options(command)
    assert options("estimate") - of_output == options(command) - own


def test_without_the_extra_it_says_what_to_install(
    estimate: swatcost.Estimate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(swatcost.SwatcostError, match=r"pip install 'swatcost\[report\]'"):
        save(estimate, tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_figures_need_neither_plotly_nor_jinja2() -> None:
    program = (
        "import sys, swatcost.cli; from swatcost.page.plotly_charts import figures_of;"
        "figures_of(swatcost.estimate('resnet18', weights=0.8));"
        "assert not {'dash', 'plotly', 'jinja2', 'torch', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def compared(network: swatcost.Network) -> tuple[Any, Any]:
    from swatcost.planning import compare
    from swatcost.report.comparison import sheet

    found = compare(network, weights=0.8)
    return found, sheet(found)


def held(network: swatcost.Network) -> tuple[Any, Any]:
    from swatcost.planning import memory_of
    from swatcost.report.memory import sheet

    found = memory_of(network, weights=0.8, acts=0.8)
    return found, sheet(found)


def simulated(network: swatcost.Network) -> tuple[Any, Any]:
    from swatcost.report.simulation import sheet
    from swatcost.simulation.simulation import simulate

    last = tuple(each for each in network.layers if each.name == "fc")  # one: simulating takes time
    found = simulate(replace(network, layers=last, amp=None), weights=0.8)
    return found, sheet(found)


def fitted(network: swatcost.Network) -> tuple[Any, Any]:
    from swatcost.counting.two_four import two_four
    from swatcost.report.two_four import sheet

    found = two_four(network)
    return found, sheet(found)


@pytest.mark.parametrize("made", [compared, held, simulated, fitted])
def test_notebooks_show_what_terminals_do(made: Callable[[swatcost.Network], tuple[Any, Any]]) -> None:
    found, sheet = made(replace(swatcost.load("cifar_resnet18"), name=HOSTILE))
    shown = Page(found._repr_html_())
    assert shown.tables[bool(sheet.summary) :] == [
        [[cell.replace("\n", "") for cell in row] for row in (table.header, *table.rows)] for table in sheet.tables
    ]
    for line in [*sheet.opening, *sheet.notes]:
        assert line in shown.text
    assert HOSTILE in shown.text
    assert "script" not in shown.tags


def test_notebooks_show_a_network() -> None:
    network = swatcost.load("vit_b_16")
    missed = Uncounted(operation="my::<i>op", products=True, calls=3, places=("blocks.<b>0",))
    first, *others = network.layers
    layers = (replace(first, name=HOSTILE), *others)
    shown = Page(replace(network, name=HOSTILE, layers=layers, uncounted=(*network.uncounted, missed))._repr_html_())
    assert HOSTILE in shown.text
    assert "86.568 M parameters" in shown.text  # torchvision's 86,567,656
    assert "Operation without a formula that may multiply tensors: my::<i>op ×3 in blocks.<b>0" in shown.text
    assert shown.tables[0][1][:5] == [HOSTILE, "conv", "3×224×224", "768×3×16×16", "768×14×14"]
    # of 99 layers 60 and a row for the others, between the header and two rows: other parameters, and the total
    assert len(network.layers) == 99
    assert len(shown.tables[0]) == 1 + 60 + 1 + 2
    assert {"script", "i"} & set(shown.tags) == set()
