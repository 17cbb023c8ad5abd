"""An axis of layers, one or hundreds, that can be read: it names layers, or the modules that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from swatcost.plots.canvas import GREY, short, text_points
from swatcost.plots.sizes import Size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HATCHED = 5.0
"""Points that a layer needs on the axis for slanted hatches."""
_APART = 3.0  # the same for gaps between bars
_DWARFS = 4.0  # times as tall as the next: a bar that is cut off
_LINE = 1.15  # a label's height, of its type size
_FEWEST = 4  # names on an axis, if there are more layers
_LONGEST = 24  # letters of a name


class Span(NamedTuple):
    """Layers first to last, counted from 0, that one name stands for."""

    name: str
    first: int
    last: int

    @property
    def centre(self) -> float:
        return (self.first + self.last) / 2


def spans(names: Sequence[str], depth: int) -> list[Span]:
    """Layers in order; neighbours whose qualified names begin with the same `depth` words are one."""
    found: list[Span] = []
    for place, name in enumerate(names):
        beginning = ".".join(name.split(".")[:depth])
        if found and found[-1].name == beginning:
            found[-1] = found[-1]._replace(last=place)
        else:
            found.append(Span(beginning, place, place))
    return found


def chosen_spans(names: Sequence[str], least: float) -> tuple[list[Span], list[Span]]:
    """The most detailed spans whose centres are at least `least` layers apart, and those of them to label.

    Where only a few names are left that way, the next more detailed ones, with as many labels as there is room for.
    """
    deepest = max(name.count(".") for name in names) + 1
    finer: list[Span] | None = None
    for depth in range(deepest, 0, -1):
        found = spans(names, depth)
        if all(right.centre - left.centre >= least for left, right in pairwise(found)):
            if len({span.name for span in found} - {""}) < _FEWEST and finer is not None:
                break
            return found, found
        finer = found
    assert finer is not None
    return finer, _thinned(finer, least)


def _thinned(found: Sequence[Span], least: float) -> list[Span]:
    """Those of the spans that are at least `least` layers apart; longer ones take precedence."""
    kept: list[Span] = []
    for span in sorted(found, key=lambda each: (each.first - each.last, each.first)):
        if all(abs(span.centre - other.centre) >= least for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda each: each.first)


def points_per_layer(layers: int, size: Size) -> float:
    """The width [pt] of one layer on the axis."""
    return size.across / max(layers, 2)


def name_layers(axes: Axes, names: Sequence[str], size: Size) -> None:
    """Labels the axis x, whose whole numbers from 0 are the layers; ticks are where a span begins and ends."""
    each = points_per_layer(len(names), size)
    found, labelled = chosen_spans(names, _LINE * size.small / each)
    texts = [short(span.name, _LONGEST) for span in labelled]
    widths = [text_points(text, size.small) + size.small for text in texts]
    level = all(
        each * (right.centre - left.centre) >= (width + next_width) / 2
        for (left, width), (right, next_width) in pairwise(zip(labelled, widths, strict=True))
    )
    axes.set_xticks([span.centre for span in labelled], texts, rotation=0 if level else 90, fontsize=size.small)
    axes.tick_params(axis="x", which="major", length=0)
    axes.set_xticks([-0.5, *(span.last + 0.5 for span in found)], minor=True)
    axes.tick_params(axis="x", which="minor", length=0.4 * size.small, color=GREY)
    margin = 0.8 if len(names) > 1 else 1.0  # a single bar does not fill the page
    axes.set_xlim(-margin, len(names) - 1 + margin)


def bar_width(layers: int, size: Size) -> float:
    """The width of a layer's bar as a share of its room on the axis: many layers leave no room for gaps."""
    return 0.85 if points_per_layer(layers, size) >= _APART else 1.0


def cut_off(axes: Axes, heights: Sequence[float], names: Sequence[str], unit: str, at: Size) -> None:
    """Ends the axis y above the bars; below a single one that would dwarf all others, and writes that one's height."""
    ranked = sorted(range(len(heights)), key=lambda place: -heights[place])
    most, next_most = heights[ranked[0]], heights[ranked[min(1, len(ranked) - 1)]]
    if most <= _DWARFS * next_most or not next_most:
        axes.set_ylim(0, 1.05 * most or 1)
        return
    place, top = ranked[0], 1.25 * next_most
    axes.set_ylim(0, top)
    right = place < len(heights) / 2
    axes.annotate(
        f"{names[place]}: {most:.1f} {unit}, cut off", (place + (0.6 if right else -0.6), top), xytext=(0, 0),
        textcoords="offset points", ha="left" if right else "right", va="top", fontsize=at.small,
    )  # fmt: skip
