"""The difference between two saved estimates as a table, Markdown, LaTeX, CSV or JSON."""

from typing import Any

from swatcost.planning.difference import Difference, LayerChange
from swatcost.report.numbers import column_unit, percent, scaled, signed
from swatcost.report.sheet import Sheet, Table

_FRACTIONS = ("sparsity", "reduction", "pruned")


def sheet(found: Difference, layers: bool = False) -> Sheet:
    if found.layers:
        opening = f"{len(found.layers)} of {len(found.layers) + found.alike} layers differ"
    else:
        opening = f"all {found.alike} layers are the same"
    tables = [
        Table(["setting", "first", "second"], [[name, *map(_word, pair)] for name, pair in found.settings.items()]),
        Table(["total", "first", "second", "change"], [_total(name, *pair) for name, pair in found.totals.items()]),
        _layers(found),
    ]
    return Sheet(
        opening=[f"first: {found.names[0]}", f"second: {found.names[1]}", opening],
        tables=[each for each in tables if each.rows],
        notes=["Equal values are left out. MACs are per sample and training step, each under its own convention."],
    )


def _word(value: Any) -> str:
    if value is None:
        return "none"
    return "×".join(map(str, value)) if isinstance(value, list) else str(value)


def _total(name: str, first: float | None, second: float | None) -> list[str]:
    if any(each in name for each in _FRACTIONS):
        change = "" if first is None or second is None else f"{signed(100 * (second - first))} points"
        return [name, *("none" if value is None else percent(value) for value in (first, second)), change]
    change = f"{signed(100 * (second / first - 1))} %" if first and second is not None else ""
    small = max(abs(value) for value in (first, second) if value is not None) < 1000
    shown = ("none" if value is None else f"{value:.4g}" if small else scaled(value) for value in (first, second))
    return [name, *shown, change]


def _layers(found: Difference) -> Table:
    values = [each[3] for change in found.layers for each in (change.first, change.second) if each]
    prefix, factor = column_unit(sum(values) / 2) if values else ("", 1.0)
    header = [
        "layer",
        "weights\nfirst",
        "\nsecond",
        "acts\nfirst",
        "\nsecond",
        f"{prefix}MACs\nfirst",
        "\nsecond",
        "change",
    ]
    lines = []
    for each in found.layers:
        pairs = [(None if side is None else side[place]) for place in (0, 1) for side in (each.first, each.second)]
        macs = [None if side is None else side[3] / factor for side in (each.first, each.second)]
        lines.append(
            [
                each.name,
                *("" if value is None else f"{100 * value:.4g} %" for value in pairs),
                *("" if value is None else f"{value:.3f}" for value in macs),
                signed(each.added_macs / factor, 3),
            ]
        )
    total = sum(each.added_macs for each in found.layers)
    return Table(header, [*lines, ["total", *[""] * 6, signed(total / factor, 3)]] if lines else [])


def _row(change: LayerChange) -> dict[str, Any]:
    names = ("weight_sparsity", "act_sparsity", "training_dense_macs", "training_sparse_macs")
    row: dict[str, Any] = {"layer": change.name}
    for which, side in (("first", change.first), ("second", change.second)):
        row |= {f"{which}_{name}": None if side is None else side[place] for place, name in enumerate(names)}
    return row


def rows(found: Difference) -> list[dict[str, Any]]:
    """One row per layer that differs."""
    return [_row(each) for each in found.layers]


def to_dict(found: Difference) -> dict[str, Any]:
    """Plain data."""
    return {
        "schema": "swatcost.difference/1",
        "first": found.names[0],
        "second": found.names[1],
        "settings": {name: list(pair) for name, pair in found.settings.items()},
        "totals": {name: list(pair) for name, pair in found.totals.items()},
        "layers": rows(found),
        "alike": found.alike,
    }
