"""Speedup against sparsity: the lines that a sweep's frame is drawn as, and what cannot be told apart."""

from __future__ import annotations

from typing import Any

import pandas
import pytest

import swatcost
from swatcost import SwatcostError, plots

from .test_plots import SPARSITIES, line, network, swept, texts

pytest.importorskip("matplotlib")


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
    assert words[:2] == ["swat", "swat-structured (= swat)"]


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
