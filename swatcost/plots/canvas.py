"""What all plots share: sizes, colours, and how title, caption, axes and legend are laid on the page."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from swatcost.common.colours import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from swatcost.common.errors import SwatcostError
from swatcost.plots.sizes import POINTS, Size

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    Entry: TypeAlias = tuple[Artist, str]

# As lightness differs too, the first six can be told apart in grey.
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
PALE, GREY = "#DDDDDD", "#555555"
TITLE, CAPTION = "title", "caption"
"""How the texts above a plot's axes are found in its figure: their `gid`."""


def matplotlib_or_error() -> Any:
    """The module matplotlib, or SwatcostError that says how to get it."""
    try:
        import matplotlib
    except ImportError:
        raise SwatcostError("plots need matplotlib: pip install 'swatcost[plot]'") from None
    return matplotlib


def panels(size: Size, *, down: int = 1, across: int = 1, height: float | None = None, **shape: Any) -> list[Axes]:
    """Axes of a new figure, row by row, each as plain as all plots have it. height [in] is that of all rows."""
    matplotlib_or_error()
    from matplotlib.figure import Figure

    from swatcost.plots.layout import RoundedLayout

    figure = Figure(
        figsize=(size.width, height or size.height), dpi=size.dpi, layout=RoundedLayout(), facecolor="white"
    )
    found: list[Axes] = list(figure.subplots(down, across, squeeze=False, **shape).flat)
    for axes in found:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=size.small)
        axes.xaxis.label.set_fontsize(size.text)
        axes.yaxis.label.set_fontsize(size.text)
        axes.grid(axis="y", color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)
    return found


def finish(axes: Axes, size: Size, *, title: str, caption: str, legend: Sequence[Entry] = ()) -> Figure:
    """Puts a title and a caption above all axes of the figure and the legend below them: neither covers data.

    The figure grows by what they take, so that the axes keep their height. The caption says what was computed, the
    legend what every mark means, so that the plot can still be read `untitled`.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    across = POINTS * size.width
    titles = _wrapped(title, across, size.title * 1.06)  # bold is wider
    captions = _wrapped(caption, across, size.small)
    above = 1.25 * (size.title * len(titles) + size.small * len(captions)) + size.small
    texts = ["\n".join(_wrapped(text, across - 4 * size.small, size.small)) for _, text in legend]
    columns, rows = _legend_shape(texts, across, size.small)
    below = 1.4 * size.small * rows + (1.2 * size.small if rows else 0.3 * size.small)
    inside = POINTS * figure.get_figheight()
    whole = above + inside + below
    figure.set_figheight(whole / POINTS)
    _layout(figure).set(rect=(0, below / whole, 1 - size.small / across, inside / whole))
    left = size.small / across
    top = 1 - 0.5 * size.small / whole
    figure.text(
        left, top, "\n".join(titles), fontsize=size.title, fontweight="bold", va="top", linespacing=1.2, gid=TITLE
    )
    under = top - 1.25 * size.title * len(titles) / whole
    figure.text(
        left, under, "\n".join(captions), fontsize=size.small, color=GREY, va="top", linespacing=1.2, gid=CAPTION
    )
    if legend:
        figure.legend(
            [handle for handle, _ in legend], texts, loc="lower center", bbox_to_anchor=(0.5, 0.0), borderaxespad=0.3,
            ncols=columns, fontsize=size.small, frameon=False, handlelength=2.6, columnspacing=1.5, labelspacing=0.35,
        )  # fmt: skip
    _as_written(figure)
    return figure


_MARGIN = 4.0  # points above the axes where there is no title


@contextmanager
def untitled(figure: Figure) -> Iterator[None]:
    """The figure without its title and caption, for papers, which say both below it; inside the `with` only."""
    above = [text for text in figure.texts if text.get_gid() in (TITLE, CAPTION)]
    engine, before = _layout(figure), figure.get_figheight()
    left, bottom, across, up = rect = engine.get()["rect"]
    within = bottom + up + _MARGIN / (POINTS * before)
    for text in above:
        text.set_visible(False)
    figure.set_figheight(within * before)
    engine.set(rect=(left, bottom / within, across, up / within))
    try:
        yield
    finally:
        for text in above:
            text.set_visible(True)
        figure.set_figheight(before)
        engine.set(rect=rect)


def _layout(figure: Figure) -> ConstrainedLayoutEngine:
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    return engine


def said_above(figure: Figure) -> dict[str, str]:
    """The title and the caption of a figure by their `gid`, each on one line; nothing of a figure that is not ours."""
    above = [text for text in figure.texts if text.get_gid() in (TITLE, CAPTION)]
    return {str(text.get_gid()): " ".join(text.get_text().split()) for text in above}


def _as_written(figure: Figure) -> None:
    """Has names that hold a $ shown as they are: to matplotlib two of them enclose a formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text) and "$" in text.get_text():
            text.set_parse_math(False)


_EM = 0.56  # the average width of DejaVu Sans' letters, of its size


def text_points(text: str, points: float) -> float:
    """About how wide [pt] a line of text is at that type size [pt]."""
    return _EM * points * len(text)


# spaces where a line must not end: between a number and its unit, and before the number of a batch
_BOUND = re.compile(r"(?<=\d) (?=(?:%|[kMGTPE]?(?:MAC|B|bytes)\b))|(?<=batch) (?=\d)")


def _wrapped(text: str, across: float, points: float) -> list[str]:
    text = _BOUND.sub("\N{NO-BREAK SPACE}", text)
    return textwrap.wrap(text, int((across - 2 * points) / (_EM * points)), break_long_words=False)


def _legend_shape(texts: Sequence[str], across: float, points: float) -> tuple[int, int]:
    """As many columns as fit beside each other, and the lines that leaves."""
    if not texts:
        return 1, 0
    lines = [text.splitlines() for text in texts]
    widest = max(text_points(line, points) for each in lines for line in each) + 5 * points  # handle and space
    rows = -(-len(texts) // max(1, int(across / widest)))
    columns = -(-len(texts) // rows)
    return columns, max(sum(len(each) for each in lines[place : place + rows]) for place in range(0, len(lines), rows))


def halo(size: Size) -> list[Any]:
    """A white border around text or lines over data, so that both can be read."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=size.line + 1, foreground="white")]


def short(text: str, most: int) -> str:
    """The text, or its beginning and end where it is longer than `most` letters."""
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - end - 1].rstrip('.')}…{text[-end:].lstrip('.')}"
