"""The ideal and the attainable speedup against sparsity, for methods and machines, from a frame of `swatcost.sweep`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import permutations, product
from typing import TYPE_CHECKING, Any, NamedTuple

from swatcost.common.colours import BLACK
from swatcost.common.errors import SwatcostError
from swatcost.plots.canvas import COLOURS, GREY, LINES, MARKERS, finish, panels
from swatcost.plots.sizes import Size, size_named

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swatcost.plots.canvas import Entry

_TARGETS = {"weights": "weight sparsity", "acts": "activation sparsity", "grads": "sparsity of outputs' gradients"}
_SETTINGS = ("method", "distribution", "convention", "device", "batch_size", "period")  # as colours, then as lines
_WORDS = {
    "batch_size": "batch {:,}",
    "period": "Top-K every {:,}",
    "convention": "convention {}",
    "weights": "weights {:.4g} %",
    "acts": "activations {:.4g} %",
    "grads": "outputs {:.4g} %",
}
_MOST = (len(COLOURS), len(LINES), 6)  # choices shown by colour, by kind of line, by panel
_MOST_MARKERS = 12  # on a line
_THIN = 0.9
_TOUCH = 0.002  # of the highest speedup: lines that are nearer cannot be told apart

_Row = dict[str, Any]
"""A row of the frame; None where a setting is not given."""
_Looks = dict[tuple[Any, ...], dict[str, Any]]
"""How the lines of a colour are drawn, by the values that the colour stands for."""


class _Key(NamedTuple):
    """What colour, kind of line or panel stands for: columns, and the combinations of values that they have."""

    columns: tuple[str, ...]
    values: list[tuple[Any, ...]]

    def of(self, row: _Row) -> tuple[Any, ...]:
        return tuple(row[column] for column in self.columns)

    def said(self, values: Sequence[Any]) -> str:
        """These values in words, or the columns that have none."""
        absent = f"no {' or '.join(_TARGETS.get(column, column) for column in self.columns)}"
        return _said(self.columns, values) or absent


def speedup_by_sparsity(frame: pandas.DataFrame, *, name: str = "", size: str = "screen") -> Figure:
    """The speedup of training against the sparsity that varies, from a frame of `swatcost.sweep`: ideal, and, as thin
    lines, attainable.

    The axis is weight sparsity, or, where that is one number, activation sparsity or that of outputs' gradients; a
    method without such a target is drawn at the one that it has. At most three other settings may vary: one is
    shown by colour and marker, one by the kind of line, one by panels; settings that vary together (a distribution with
    its method) are one. The limits without Top-K are dotted where only one setting varies. name is the network's.

    Raises SwatcostError for a frame of another kind, for one sparsity, and for too many lines, naming what varies.
    """
    at = size_named(size)
    wanted = [*_SETTINGS, *_TARGETS, "speedup", "speedup_limit", "attainable_speedup"]
    if missing := [column for column in wanted if column not in frame]:
        raise SwatcostError(f"the frame has no column {missing[0]!r}: give one of swatcost.sweep")
    found = frame[wanted].drop_duplicates().to_dict("records")
    rows = [{str(column): None if value != value else value for column, value in row.items()} for row in found]  # NaN
    axis = next((target for target in _TARGETS if len(_given(rows, target)) > 1), None)
    if axis is None:
        raise SwatcostError("speedup against sparsity needs several sparsities, such as --weights 0.5:0.95:0.05")
    stand_in, rows = _on_axis(rows, axis)
    colours, lines, parts = _keys(rows, axis)
    several, limits = len(parts.values) > 1, not lines.columns
    same = _coinciding(rows, axis, colours, [lines, parts])
    looks: _Looks = {
        values: {
            "color": COLOURS[place], "marker": MARKERS[place], "linewidth": at.line,
            "markersize": (1.0 if same[values] is None else 0.5) * at.marker,  # one that lies on another shows it
        }
        for place, values in enumerate(colours.values)
    }  # fmt: skip
    across = 2 if several and size != "column" else 1
    down = -(-len(parts.values) // across)
    height = down * at.height * (0.8 if several else 1)
    every = panels(at, down=down, across=across, height=height, sharex=True, sharey=True)
    for axes, values in zip(every, parts.values, strict=False):
        inside = [row for row in rows if parts.of(row) == values]
        _draw(axes, sorted(inside, key=lambda row: row[axis]), axis, colours, lines, looks)
        axes.axhline(1, color=BLACK, linewidth=0.9, label="dense")
        if several:
            axes.set_title(parts.said(values), fontsize=at.small, loc="left")
    for axes in every[len(parts.values) :]:
        axes.set_visible(False)
    highest = max(row["speedup_limit" if limits and not several else "speedup"] for row in rows)
    every[0].set_ylim(0, 1.05 * max(1.0, highest))
    for place, axes in enumerate(every):
        last = place >= len(parts.values) - across
        axes.tick_params(labelbottom=last)
        axes.set(xlabel=f"{_TARGETS[axis]} [%]" * last, ylabel="" if place % across else "speedup [×]")
    told = {*colours.columns, *lines.columns, *parts.columns}
    return finish(
        every[0],
        at,
        title=f"{name + ': s' if name else 'S'}peedup against {_TARGETS[axis]}",
        caption=_caption(rows, axis, told, stand_in),
        legend=[*_legend(every[0], colours, lines, looks, same, at), *_key(every[0], at, limits=limits)],
    )


def _given(rows: Sequence[_Row], column: str) -> list[Any]:
    """The different values in a column, without None."""
    return [value for (value,) in _together(rows, [column]) if value is not None]


def _together(rows: Sequence[_Row], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(tuple(row[column] for column in columns) for row in rows))


def _decided(rows: Sequence[_Row], by: Sequence[str], column: str) -> bool:
    """Whether rows that agree in some columns agree in another one too."""
    return len(_together(rows, by)) == len(_together(rows, [*by, column]))


def _on_axis(rows: Sequence[_Row], axis: str) -> tuple[dict[str, list[str]], list[_Row]]:
    """Rows with a number on the axis: a method without that target stands at one that it has; and which those are."""
    stand_in: dict[str, list[str]] = {}
    for target in _TARGETS:
        instead = [row for row in rows if row[axis] is None and row[target] is not None]
        if instead:
            stand_in[target] = _given(instead, "method")
        for row in instead:
            row[axis], row[target] = row[target], None
    return stand_in, [row for row in rows if row[axis] is not None]


def _keys(rows: Sequence[_Row], axis: str) -> tuple[_Key, _Key, _Key]:
    """What colour, kind of line and panel stand for: each for a setting and those that it decides."""
    varying = [column for column in _SETTINGS if len(_given(rows, column)) > 1]
    for target in _TARGETS:  # a target that follows from the others is no line of its own
        if target != axis and not _decided(rows, [*varying, axis], target):
            varying.append(target)
    found: list[list[str]] = []
    for column in varying:
        decided_by = next((each for each in found if _decided(rows, each, column)), None)
        if decided_by is not None:
            decided_by.append(column)
        else:
            found.append([column])
    keys = [_Key(tuple(group), _together(rows, group)) for group in found]
    none = _Key((), [()])
    for order in permutations(keys) if len(keys) <= len(_MOST) else ():
        colours, lines, parts = told = (*order, none, none, none)[:3]
        if all(len(key.values) <= most for key, most in zip(told, _MOST, strict=True)):
            return colours, lines, parts
    counts = ", ".join(f"{'/'.join(key.columns)} ({len(key.values)})" for key in keys)
    raise SwatcostError(
        f"too many lines to tell apart: {counts} vary; choose fewer, at most three settings of up to "
        f"{_MOST[0]}, {_MOST[1]} and {_MOST[2]} choices"
    )


def _coinciding(rows: Sequence[_Row], axis: str, colours: _Key, others: Sequence[_Key]) -> dict[Any, Any]:
    """For each colour's values the earlier ones whose lines all lie where its own do; None if there are none."""
    points: dict[Any, dict[Any, float]] = {values: {} for values in colours.values}
    for row in rows:
        points[colours.of(row)][row[axis], *(key.of(row) for key in others)] = row["speedup"]

    def coincide(one: dict[Any, float], other: dict[Any, float]) -> bool:
        touch = _TOUCH * max(one.values())
        return one.keys() == other.keys() and all(abs(one[place] - other[place]) <= touch for place in one)

    same: dict[Any, Any] = {}
    for values, own in points.items():
        same[values] = next((each for each in same if coincide(own, points[each])), None)
    return same


def _draw(axes: Axes, rows: Sequence[_Row], axis: str, colours: _Key, lines: _Key, looks: _Looks) -> None:
    """Draws every line of a panel, and its limit where lines of one kind leave room for that."""
    for (values, look), (kind, other) in product(looks.items(), enumerate(lines.values)):
        line = [row for row in rows if colours.of(row) == values and lines.of(row) == other]
        if not line:
            continue
        sparsities, named = [100 * row[axis] for row in line], " ".join(map(str, (*values, *other)))
        axes.plot(
            sparsities, [row["speedup"] for row in line], **look, markevery=-(-len(line) // _MOST_MARKERS),
            linestyle=LINES[kind], label=f"speedup {named}".strip(),
        )  # fmt: skip
        axes.plot(
            sparsities, [row["attainable_speedup"] for row in line], color=look["color"], linewidth=_THIN,
            linestyle=LINES[kind], label=f"attainable {named}".strip(),
        )  # fmt: skip
        if not lines.columns:
            axes.plot(
                sparsities, [row["speedup_limit"] for row in line], color=look["color"], linewidth=0.9, linestyle=":",
                label=f"limit {named}".strip(),
            )  # fmt: skip


def _legend(axes: Axes, colours: _Key, lines: _Key, looks: _Looks, same: dict[Any, Any], at: Size) -> Iterator[Entry]:
    """Colours with markers first, then kinds of lines."""
    for values, look in looks.items() if colours.columns else ():
        beside = "" if same[values] is None else f" (= {colours.said(same[values])})"
        (handle,) = axes.plot([], [], **look, linestyle="" if lines.columns else "-")
        yield handle, colours.said(values) + beside
    for kind, other in enumerate(lines.values if lines.columns else ()):
        (handle,) = axes.plot([], [], color=GREY, linewidth=at.line, linestyle=LINES[kind])
        yield handle, lines.said(other)


def _key(axes: Axes, at: Size, *, limits: bool) -> Iterator[Entry]:
    """What the lines of a colour mean."""
    yield axes.plot([], [], color=GREY, linewidth=at.line)[0], "ideal"
    yield axes.plot([], [], color=GREY, linewidth=_THIN)[0], "attainable"
    if limits:
        yield axes.plot([], [], color=GREY, linewidth=0.9, linestyle=":")[0], "limit without Top-K"
    yield axes.plot([], [], color=BLACK, linewidth=0.9)[0], "dense training"


def _said(columns: Sequence[str], values: Sequence[Any]) -> str:
    """Settings in words; those that are not given are left out."""
    return ", ".join(
        _WORDS.get(column, "{}").format(100 * value if column in _TARGETS else value)
        for column, value in zip(columns, values, strict=True)
        if value is not None
    )


def _caption(rows: Sequence[_Row], axis: str, told: Collection[str], stand_in: dict[str, list[str]]) -> str:
    """What all lines share, and how the other targets vary with the axis."""
    given = {column: _given(rows, column) for column in (*_SETTINGS, *_TARGETS) if column not in told}
    alike = {column: values[0] for column, values in given.items() if len(values) == 1}
    varying = [column for column in _TARGETS if column != axis and len(given.get(column, [])) > 1]
    equal = {column: all(row[column] in (None, row[axis]) for row in rows) for column in varying}
    follows = [f"{_TARGETS[column]} {'as on the axis' if equal[column] else 'varies too'}" for column in varying]
    sentences = ["; ".join(filter(None, [_said([*alike], [*alike.values()]), *follows]))]
    sentences += [f"{', '.join(methods)}: at the {_TARGETS[target]}" for target, methods in stand_in.items()]
    return ". ".join(filter(None, sentences)) + "."
