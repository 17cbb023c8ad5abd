"""Speedup against sparsity, for methods and machines: what `swatcost.sweep` gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from swatcost.errors import SwatcostError
from swatcost.plots.canvas import BLACK, COLOURS, GREY, LINES, MARKERS, Size, finish, label, panels, size_named

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


_MOST_MARKERS = 12  # on a line
_TOUCH = 0.002  # of the highest speedup: lines that are nearer cannot be told apart


class _Key(NamedTuple):
    """What one way of telling lines apart stands for: columns, and the values that they have together."""

    columns: tuple[str, ...]
    values: list[tuple[Any, ...]]


def speedup_by_sparsity(frame: pandas.DataFrame, *, name: str = "", size: str = "screen") -> Figure:
    """Speedup of training against the sparsity that varies, from a frame of `swatcost.sweep`.

    The axis is weight sparsity, or, where that is one number, activation sparsity or that of outputs' gradients. At
    most two other settings may vary: one is told by colour and marker, one by the kind of line; settings that vary
    together (a distribution with its method) are one. The limits without Top-K are dotted where only one setting
    varies. name is the network's.

    Raises SwatcostError for a frame of another kind, for one sparsity, and for too many lines, naming what varies.
    """
    at = size_named(size)
    wanted = [*_SETTINGS, *_TARGETS, "speedup", "speedup_limit"]
    if missing := [column for column in wanted if column not in frame]:
        raise SwatcostError(f"the frame has no column {missing[0]!r}: give one of swatcost.sweep")
    rows = frame[wanted].drop_duplicates()
    axis = next((target for target in _TARGETS if rows[target].nunique() > 1), None)
    if axis is None:
        raise SwatcostError("speedup against sparsity needs several sparsities, such as --weights 0.5:0.95:0.05")
    rows = rows[rows[axis].notna()]
    colours, lines = _keys(rows, axis)
    if len(lines.values) > len(LINES) and len(colours.values) <= len(LINES):
        colours, lines = lines, colours
    if len(colours.values) > len(COLOURS) or len(lines.values) > len(LINES):
        _too_many([*colours.columns, *lines.columns], rows)
    (axes,) = panels(at)
    legend = list(_drawn(axes, rows, axis, colours, lines, at))
    axes.axhline(1, color=BLACK, linewidth=0.9, label="dense")
    axes.set_ylim(0, 1.05 * max(1.0, rows["speedup_limit" if not lines.columns else "speedup"].max()))
    label(axes, at, x=f"{_TARGETS[axis]} [%]", y="speedup over dense training [×]")
    told = {*colours.columns, *lines.columns}
    return finish(
        axes,
        at,
        title=f"{name + ': s' if name else 'S'}peedup against {_TARGETS[axis]}",
        caption=_caption(rows, axis, told, limits=not lines.columns),
        legend=legend,
    )


def _keys(rows: pandas.DataFrame, axis: str) -> tuple[_Key, _Key]:
    """How lines are told apart: by at most two settings, each with those that it decides."""
    varying = [column for column in _SETTINGS if rows[column].nunique() > 1]
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
    if len(found) > 2:
        _too_many([each for group in found for each in group], rows)
    keys = [_Key(tuple(group), _together(rows, group)) for group in found]
    none = _Key((), [()])
    colours, lines = [*keys, none, none][:2]
    return colours, lines


def _together(rows: pandas.DataFrame, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(rows[list(columns)].drop_duplicates().itertuples(index=False, name=None))


def _decided(rows: pandas.DataFrame, by: Sequence[str], column: str) -> bool:
    """Whether rows that agree in some columns agree in another one too."""
    return bool(rows.groupby(list(by), dropna=False)[column].nunique(dropna=False).max() == 1)


def _too_many(columns: Sequence[str], rows: pandas.DataFrame) -> None:
    counts = ", ".join(f"{column} ({rows[column].nunique(dropna=False)})" for column in columns)
    raise SwatcostError(
        f"too many lines to tell apart: {counts} vary; choose fewer, at most two settings, "
        f"one of up to {len(COLOURS)} choices and one of up to {len(LINES)}"
    )


def _drawn(axes: Axes, rows: pandas.DataFrame, axis: str, colours: _Key, lines: _Key, at: Size) -> Iterator[Entry]:
    """Draws every line; gives the legend: colours with markers first, then kinds of lines."""
    drawn: dict[tuple[Any, ...], Any] = {}
    for place, values in enumerate(colours.values):
        own = _where(rows, colours.columns, values)
        same = next((other for other, points in drawn.items() if _coincide(points, own, axis, lines)), None)
        drawn[values] = own
        shrunk = 1.0 if same is None else 0.5  # shows the one that it lies on
        for kind, other in enumerate(lines.values):
            line = _where(own, lines.columns, other).sort_values(axis)
            if line.empty:
                continue
            named = " ".join(map(str, (*values, *other)))
            axes.plot(
                100 * line[axis], line["speedup"], color=COLOURS[place], marker=MARKERS[place], linewidth=at.line,
                markersize=shrunk * at.marker, markevery=-(-len(line) // _MOST_MARKERS), linestyle=LINES[kind],
                label=f"speedup {named}".strip(),
            )  # fmt: skip
            if not lines.columns:
                axes.plot(
                    100 * line[axis], line["speedup_limit"], color=COLOURS[place], linewidth=0.9, linestyle=":",
                    label=f"limit {named}".strip(),
                )  # fmt: skip
        if colours.columns:
            (handle,) = axes.plot(
                [], [], color=COLOURS[place], marker=MARKERS[place], markersize=shrunk * at.marker, linewidth=at.line,
                linestyle="" if lines.columns else "-",
            )  # fmt: skip
            beside = "" if same is None else f" (= {_said(colours.columns, same)})"
            yield handle, _said(colours.columns, values) + beside
    for kind, other in enumerate(lines.values if lines.columns else ()):
        (handle,) = axes.plot([], [], color=GREY, linewidth=at.line, linestyle=LINES[kind])
        yield handle, _said(lines.columns, other)


def _coincide(one: pandas.DataFrame, other: pandas.DataFrame, axis: str, lines: _Key) -> bool:
    """Whether all lines of two colours lie on each other."""
    by = [*lines.columns, axis]
    left, right = (each.sort_values(by)[[*by, "speedup"]] for each in (one, other))
    if len(left) != len(right) or not (left[by].to_numpy() == right[by].to_numpy()).all():
        return False
    apart = abs(left["speedup"].to_numpy() - right["speedup"].to_numpy())
    return bool((apart <= _TOUCH * right["speedup"].max()).all())


def _where(rows: pandas.DataFrame, columns: Sequence[str], values: Sequence[Any]) -> pandas.DataFrame:
    for column, value in zip(columns, values, strict=True):
        rows = rows[rows[column].isna() if value != value else rows[column] == value]  # NaN is what is not given
    return rows


def _said(columns: Sequence[str], values: Sequence[Any]) -> str:
    """Settings in words; those that are not given are left out."""
    parts = []
    for column, value in zip(columns, values, strict=True):
        if value == value:
            parts.append(_WORDS.get(column, "{}").format(100 * value if column in _TARGETS else value))
    return ", ".join(parts)


def _caption(rows: pandas.DataFrame, axis: str, told: set[str], *, limits: bool) -> str:
    """What is alike on all lines, and how the other targets go along."""
    fixed = [column for column in (*_SETTINGS, *_TARGETS) if column not in told and rows[column].nunique() == 1]
    alike = _said(fixed, [rows[column].dropna().iloc[0] for column in fixed])
    follows = [
        f"{_TARGETS[column]} as on the axis"
        if (given[column] == given[axis]).all()
        else f"{_TARGETS[column]} varies too"
        for column in _TARGETS
        if column not in told | {axis} and rows[column].nunique() > 1 and len(given := rows[rows[column].notna()])
    ]
    sentences = ["; ".join(filter(None, [alike, *follows])), "Line at 1: dense training"]
    sentences += ["Dotted: the limit without Top-K"] if limits else []
    return ". ".join(filter(None, sentences)) + "."
