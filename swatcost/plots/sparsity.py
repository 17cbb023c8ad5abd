"""Speedup against sparsity, for methods and machines: what `swatcost.sweep` gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple

from swatcost.common.colours import BLACK
from swatcost.common.errors import SwatcostError
from swatcost.plots.canvas import COLOURS, GREY, LINES, MARKERS, SIZES, Size, finish, label, panels, size_named

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


_MOST = (len(COLOURS), len(LINES), 6)  # choices told by colour, by kind of line, by panel
_MOST_MARKERS = 12  # on a line
_TOUCH = 0.002  # of the highest speedup: lines that are nearer cannot be told apart


class _Key(NamedTuple):
    """What one way of telling lines apart stands for: columns, and the values that they have together."""

    columns: tuple[str, ...]
    values: list[tuple[Any, ...]]


def speedup_by_sparsity(frame: pandas.DataFrame, *, name: str = "", size: str = "screen") -> Figure:
    """Speedup of training against the sparsity that varies, from a frame of `swatcost.sweep`.

    The axis is weight sparsity, or, where that is one number, activation sparsity or that of outputs' gradients; a
    method without such a target is drawn at the one that it has. At most three other settings may vary: one is told by
    colour and marker, one by the kind of line, one by panels; settings that vary together (a distribution with its
    method) are one. The limits without Top-K are dotted where only one setting varies. name is the network's.

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
    stand_in, rows = _on_axis(rows, axis)
    colours, lines, parts = _keys(rows, axis)
    across = 1 if len(parts.values) == 1 or at is SIZES["column"] else 2
    down = -(-len(parts.values) // across)
    several = len(parts.values) > 1
    height = down * at.height * (0.8 if several else 1)
    every = panels(at, down=down, across=across, height=height, sharex=True, sharey=True)
    same = _coinciding(rows, axis, colours, [*parts.columns, *lines.columns])
    highest = max(1.0, rows["speedup" if lines.columns or several else "speedup_limit"].max())
    for axes, values in zip(every, parts.values, strict=False):
        _draw(axes, _where(rows, parts.columns, values), axis, colours, lines, at, same, limits=not lines.columns)
        axes.axhline(1, color=BLACK, linewidth=0.9, label="dense")
        if several:
            axes.set_title(_said(parts.columns, values) or _absent(parts), fontsize=at.small, loc="left")
    for axes in every[len(parts.values) :]:
        axes.set_visible(False)
    every[0].set_ylim(0, 1.05 * highest)
    for place, axes in enumerate(every):
        last = place >= len(parts.values) - across
        axes.tick_params(labelbottom=last)
        label(axes, at, x=f"{_TARGETS[axis]} [%]" if last else None, y="speedup [×]" if place % across == 0 else None)
    told = {*colours.columns, *lines.columns, *parts.columns}
    return finish(
        every[0],
        at,
        title=f"{name + ': s' if name else 'S'}peedup over dense training against {_TARGETS[axis]}",
        caption=_caption(rows, axis, told, stand_in, limits=not lines.columns),
        legend=list(_legend(every[0], colours, lines, same, at)),
    )


def _on_axis(rows: pandas.DataFrame, axis: str) -> tuple[dict[str, list[str]], pandas.DataFrame]:
    """Rows with a number on the axis: a method without that target stands at one that it has; and which those are."""
    stand_in: dict[str, list[str]] = {}
    rows = rows.copy()
    for target in _TARGETS:
        instead = rows[axis].isna() & rows[target].notna()
        if instead.any():
            stand_in[target] = list(rows.loc[instead, "method"].unique())
            rows.loc[instead, axis] = rows.loc[instead, target]
            rows.loc[instead, target] = float("nan")
    return stand_in, rows[rows[axis].notna()]


def _keys(rows: pandas.DataFrame, axis: str) -> tuple[_Key, _Key, _Key]:
    """How lines are told apart, by colour, kind of line and panel: each by a setting with those that it decides."""
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
    keys = [_Key(tuple(group), _together(rows, group)) for group in found]
    none = _Key((), [()])
    for order in permutations([*keys, none, none, none][: max(3, len(keys))]):
        if len(order) == 3 and all(len(key.values) <= most for key, most in zip(order, _MOST, strict=True)):
            colours, lines, parts = order
            if len(keys) == 3 or (not parts.columns and (colours.columns or not lines.columns)):
                return colours, lines, parts
    counts = ", ".join(f"{'/'.join(key.columns)} ({len(key.values)})" for key in keys)
    raise SwatcostError(
        f"too many lines to tell apart: {counts} vary; choose fewer, at most three settings of up to "
        f"{_MOST[0]}, {_MOST[1]} and {_MOST[2]} choices"
    )


def _together(rows: pandas.DataFrame, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(rows[list(columns)].drop_duplicates().itertuples(index=False, name=None))


def _decided(rows: pandas.DataFrame, by: Sequence[str], column: str) -> bool:
    """Whether rows that agree in some columns agree in another one too."""
    return bool(rows.groupby(list(by), dropna=False)[column].nunique(dropna=False).max() == 1)


def _coinciding(rows: pandas.DataFrame, axis: str, colours: _Key, by: Sequence[str]) -> dict[Any, Any]:
    """For each colour's values the earlier ones whose lines all lie where its own do; None if there are none."""
    same: dict[Any, Any] = {}
    for values in colours.values:
        own = _where(rows, colours.columns, values)
        earlier = (each for each in same if _coincide(_where(rows, colours.columns, each), own, axis, by))
        same[values] = next(earlier, None)
    return same


def _draw(
    axes: Axes,
    rows: pandas.DataFrame,
    axis: str,
    colours: _Key,
    lines: _Key,
    at: Size,
    same: dict[Any, Any],
    *,
    limits: bool,
) -> None:
    """Draws every line of a panel; one that lies on another has smaller markers, which show it."""
    for place, values in enumerate(colours.values):
        own = _where(rows, colours.columns, values)
        shrunk = 1.0 if same[values] is None else 0.5
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
            if limits:
                axes.plot(
                    100 * line[axis], line["speedup_limit"], color=COLOURS[place], linewidth=0.9, linestyle=":",
                    label=f"limit {named}".strip(),
                )  # fmt: skip


def _legend(axes: Axes, colours: _Key, lines: _Key, same: dict[Any, Any], at: Size) -> Iterator[Entry]:
    """Colours with markers first, then kinds of lines."""
    for place, values in enumerate(colours.values if colours.columns else ()):
        (handle,) = axes.plot(
            [], [], color=COLOURS[place], marker=MARKERS[place], linewidth=at.line,
            markersize=(1.0 if same[values] is None else 0.5) * at.marker, linestyle="" if lines.columns else "-",
        )  # fmt: skip
        beside = "" if same[values] is None else f" (= {_said(colours.columns, same[values])})"
        yield handle, _said(colours.columns, values) + beside
    for kind, other in enumerate(lines.values if lines.columns else ()):
        (handle,) = axes.plot([], [], color=GREY, linewidth=at.line, linestyle=LINES[kind])
        yield handle, _said(lines.columns, other) or _absent(lines)


def _absent(key: _Key) -> str:
    """Of settings that are not given."""
    return f"no {' or '.join(_TARGETS.get(column, column) for column in key.columns)}"


def _coincide(one: pandas.DataFrame, other: pandas.DataFrame, axis: str, by: Sequence[str]) -> bool:
    """Whether all lines of two colours lie on each other."""
    keys = [*by, axis]
    left, right = (each.sort_values(keys)[[*keys, "speedup"]].reset_index(drop=True) for each in (one, other))
    if len(left) != len(right) or not left[keys].equals(right[keys]):
        return False
    apart = abs(left["speedup"] - right["speedup"])
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


def _caption(rows: pandas.DataFrame, axis: str, told: set[str], stand_in: dict[str, list[str]], *, limits: bool) -> str:
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
    sentences += [f"{', '.join(methods)}: at the {_TARGETS[target]}" for target, methods in stand_in.items()]
    sentences += ["Dotted: the limit without Top-K"] if limits else []
    return ". ".join(filter(None, sentences)) + "."
