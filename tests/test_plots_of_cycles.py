"""The plot of a simulation: its cycles and slots, layer by layer."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from swatcost import plots
from swatcost.cli import main

from .conftest import zoo_network
from .test_plots import assert_laid_out, heights, texts

if TYPE_CHECKING:
    from swatcost.simulation.simulation import Simulation

pytest.importorskip("matplotlib")
pytest.importorskip("numba")

USES = ("utilisation", "edge", "no weight in reach", "filter sync", "tile sync")


@cache
def simulated() -> Simulation:
    from swatcost.simulation.simulation import simulate

    return simulate(zoo_network("cifar_vgg16"), weights=0.8, acts=0.8)


def test_cycles_are_those_of_the_layers_and_add_up() -> None:
    found = simulated()
    above, _ = plots.cycles_by_layer(found).axes
    assert above.get_ylabel() == "kcycles per sample"
    for how in ("dense", "sparse"):
        each = heights(above, how)
        assert each == pytest.approx([getattr(layer.training, how) / 1000 for layer in found.layers])
        assert 1000 * sum(each) == pytest.approx(getattr(found.training, how))


def test_slots_are_stacked_by_what_they_are_used_for() -> None:
    found = simulated()
    figure = plots.cycles_by_layer(found)
    _, below = figure.axes
    stacks = [heights(below, use) for use in USES]
    assert [sum(parts) for parts in zip(*stacks, strict=True)] == pytest.approx([100] * len(found.layers))
    for use, field in zip(USES, ("busy", "ragged", "unfilled", "filters", "tiles"), strict=True):
        slots = [layer.training.slots for layer in found.layers]
        assert heights(below, use) == pytest.approx([100 * getattr(each, field) / each.total for each in slots])
    words = [each.get_text().replace("\N{NO-BREAK SPACE}", " ") for each in figure.legends[0].get_texts()]
    assert f"utilisation: {100 * found.training.utilisation:.1f} %" in words
    assert f"sparse: {found.training.sparse:,.0f} cycles, speedup {found.training.speedup:.2f}×" in words
    tops = [0.0] * len(found.layers)
    for bars in below.containers:
        assert [each.get_y() for each in bars] == pytest.approx(tops)
        tops = [each.get_y() + each.get_height() for each in bars]


@pytest.mark.parametrize("size", ["screen", "column"])
def test_it_is_laid_out_and_says_what_was_simulated(size: str) -> None:
    figure = plots.cycles_by_layer(simulated(), size=size)
    assert_laid_out(figure)
    for words in ("simulated cycles by layer", "bit-tactical", "Gaussian, seed 0", "forward, grad_input, grad_weight"):
        assert words in texts(figure)
    hatches = [bars[0].get_hatch() for bars in figure.axes[1].containers]
    assert len(set(hatches[1:4])) == 3  # utilisation is blue, and tile sync black: both differ in grey


def test_simulate_draws_beside_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["simulate", "cifar_vgg16", "--weights", "0.8", "--acts", "0.8"]
    assert main(args) == 0
    plain = capsys.readouterr().out
    assert main([*args, "--plot", str(tmp_path / "cycles.png")]) == 0
    assert capsys.readouterr().out == plain
    assert (tmp_path / "cycles.png").read_bytes().startswith(b"\x89PNG")
    assert main(["simulate", "cifar_vgg16", "--plot", "cycles.odd"]) == 2
    assert "a plot is a .png, .svg or .pdf file" in capsys.readouterr().err
