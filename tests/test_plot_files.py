"""Plots on the disk and from the command line: whole files, one line for misuse, and nothing imported in vain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from swatcost import SwatcostError, plots
from swatcost.cli import main

from .test_plots import estimate

matplotlib = pytest.importorskip("matplotlib")

MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.mark.parametrize("ending", list(MAGIC))
def test_files_are_of_their_kind_and_repeat_to_the_byte(ending: str, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    one, other = tmp_path / f"one{ending}", tmp_path / f"other{ending.upper()}"
    plots.save(plots.cost_by_layer(estimate("cifar_vgg16")), one)
    plots.save(plots.cost_by_layer(estimate("cifar_vgg16")), other)
    assert one.read_bytes().startswith(MAGIC[ending])
    assert one.read_bytes() == other.read_bytes()
    assert sorted(tmp_path.iterdir()) == [one, other]
    assert dict(matplotlib.rcParams) == before


def test_a_png_is_as_sharp_as_it_is_shown(tmp_path: Path) -> None:
    for size, width in (("screen", 8 * 150), ("column", 3.5 * 200)):
        plots.save(plots.cost_by_layer(estimate("cifar_vgg16"), size=size), tmp_path / "p.png")
        assert int.from_bytes((tmp_path / "p.png").read_bytes()[16:20]) == width  # IHDR begins with the width


def test_text_stays_text_in_an_svg_and_fonts_are_truetype_in_a_pdf(tmp_path: Path) -> None:
    figure = plots.cost_by_layer(estimate("cifar_vgg16"))
    plots.save(figure, tmp_path / "p.svg")
    assert ">cifar_vgg16: training MACs by layer</text>" in (tmp_path / "p.svg").read_text()
    plots.save(figure, tmp_path / "p.pdf")
    content = (tmp_path / "p.pdf").read_bytes()
    assert b"/FontFile2" in content  # an embedded TrueType font
    assert b"/Type3" not in content


@pytest.mark.parametrize("chart", plots.CHARTS)
def test_without_a_title_the_rest_stays_as_it_is(chart: str, tmp_path: Path) -> None:
    figure = plots.CHARTS[chart](estimate("cifar_vgg16"), size="column")
    title, caption = (each.get_text() for each in figure.texts[:2])
    whole, bare, again = (tmp_path / f"{name}.png" for name in ("whole", "bare", "again"))
    plots.save(figure, whole)
    plots.save(figure, bare, title=False)
    plots.save(figure, again)
    assert whole.read_bytes() == again.read_bytes()
    high, low = (int.from_bytes(each.read_bytes()[20:24]) for each in (whole, bare))  # IHDR: height after width
    lines = len(title.splitlines() + caption.splitlines())
    assert 0.6 * high < low < high - 200 * lines * 7 / 72  # 200 dots an inch, at least 7 points to a line
    plots.save(figure, tmp_path / "bare.svg", title=False)
    svg = (tmp_path / "bare.svg").read_text(encoding="utf-8")
    drawn = svg[svg.index("</metadata>") :]
    first = title.splitlines()[0]
    assert first not in drawn
    assert figure.legends[0].get_texts()[0].get_text().splitlines()[0] in drawn
    assert first in svg[: svg.index("</metadata>")]  # and what it shows can still be looked up


def test_a_figure_from_elsewhere_can_be_saved(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0.5, 0.5, "theirs")
    plots.save(figure, tmp_path / "theirs.svg", title=False)
    assert "theirs" in (tmp_path / "theirs.svg").read_text()


def test_no_title_reaches_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, args in {
        "cost": ["cifar_vgg16", "--weights", "0.8"],
        "memory": ["memory", "cifar_vgg16"],
        "plan": ["plan", "cifar_vgg16", "--weights", "0.8"],
        "sweep": ["sweep", "cifar_vgg16", "--weights", "0.5,0.9"],
        "tables": ["tables", "5"],
        "simulate": ["simulate", "cifar_vgg16", "--weights", "0.8"],
    }.items():
        path = tmp_path / f"{name}.svg"
        assert main([*args, "--plot", str(path), "--no-title"]) == 0
        svg = path.read_text(encoding="utf-8")
        assert 'id="title"' not in svg
        assert "<dc:title>" in svg
        assert 'id="legend_1"' in svg
    capsys.readouterr()


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plots.cost_by_layer(estimate("cifar_vgg16"))

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
    args = ["cifar_vgg16", "--weights", "0.8", "--acts", "0.8"]
    assert main(args) == 0
    plain = capsys.readouterr().out
    path = tmp_path / "p.svg"
    assert main([*args, "--plot", str(path), *(["--chart", chart] if chart else []), "--plot-size", "column"]) == 0
    assert capsys.readouterr() == (plain, "")
    expected = tmp_path / "expected.svg"
    plots.save(plots.CHARTS[chart or "cost"](estimate("cifar_vgg16"), size="column"), expected)
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
