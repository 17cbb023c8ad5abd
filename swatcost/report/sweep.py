"""A sweep's frame as a table, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from swatcost.devices import Device
from swatcost.distributions import DISTRIBUTIONS
from swatcost.network import Network
from swatcost.report.estimate import title, unmeasured
from swatcost.report.numbers import percent, seconds, times
from swatcost.report.sheet import Caveat, Sheet, Table

if TYPE_CHECKING:
    import pandas

MOST_ROWS = 1000
"""Rows shown in tables; CSV, JSON and Parquet have all."""

_SETTINGS = ("method", "distribution", "convention", "device", "batch_size", "weights", "acts", "grads", "period")
_HEADINGS = {"batch_size": "batch"}


class Swept(NamedTuple):
    """A network's sweep and its devices."""

    network: Network
    frame: pandas.DataFrame
    devices: Sequence[Device]


def sheet(swept: Swept, layers: bool = False) -> Sheet:
    network, frame, devices = swept
    varying = [name for name in _SETTINGS if frame[name].nunique(dropna=False) > 1]
    return Sheet(
        opening=[title(network), _constant(frame, varying)],
        tables=[_table(frame, varying)],
        notes=[*_notes(frame), *_of_kernels(devices), *unmeasured(devices)],
    )


def to_dict(swept: Swept) -> dict[str, Any]:
    """Plain data."""
    return {"schema": "swatcost.sweep/1", "model": swept.network.name, "rows": rows(swept)}


def rows(swept: Swept) -> list[dict[str, Any]]:
    """The rows, with None for NaN."""
    frame = swept.frame
    records: Any = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return list(records)


def _constant(frame: pandas.DataFrame, varying: list[str]) -> str:
    """The settings that are the same in all rows."""
    first = frame.iloc[0]
    said = [
        f"{name.replace('_', ' ')} {_value(name, first[name])}"
        for name in _SETTINGS
        if name not in varying and first[name] == first[name]  # NaN is not itself: nothing was given
    ]
    if frame["acts"].isna().all() and first["distribution"] in DISTRIBUTIONS.names():
        follow = DISTRIBUTIONS[first["distribution"]].acts_follow_weights
        said.append("activations as sparse as weights" if follow else "activations dense")
    once = frame["topk_seconds"].nunique() == 1
    said += [f"Top-K time {_topk(first['topk_seconds'])}"] if once else []
    return f"{len(frame):,} setting{'s' * (len(frame) > 1)}: {', '.join(said)}"


def _topk(taken: float) -> str:
    return seconds(taken) if taken else "none"


def _value(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value != value:
        return ""
    return f"{100 * value:.4g} %" if name in ("weights", "acts", "grads") else f"{value:,}"


def _table(frame: pandas.DataFrame, varying: list[str]) -> Table:
    words = [name for name in varying if isinstance(frame[name].iloc[0], str)]
    numbers = [name for name in varying if name not in words]
    shown = frame.head(MOST_ROWS)
    lines = [
        [
            *(_value(name, row[name]) for name in (*words, *numbers)),
            percent(row["training_reduction"]),
            *([_topk(row["topk_seconds"])] if frame["topk_seconds"].nunique() > 1 else []),
            times(row["attainable_speedup"]),
            times(row["speedup"]),
            times(row["speedup_limit"]),
            "never" if row["break_even_period"] != row["break_even_period"] else f"{row['break_even_period']:,.0f}",
        ]
        for row in shown.to_dict("records")
    ]
    header = [_HEADINGS.get(name, name) for name in (*words, *numbers)]
    header += ["training\nreduction", *(["Top-K"] if frame["topk_seconds"].nunique() > 1 else [])]
    header += ["attain-\nable\nspeedup", "ideal\nspeedup", "ideal,\nwithout\nTop-K", "ideal\nbreak-even\nperiod"]
    return Table(header, lines, text_columns=len(words))


def _of_kernels(devices: Sequence[Device]) -> list[str]:
    """Of which devices no sparse kernel is known."""
    without = list(dict.fromkeys(each.name for each in devices if not each.kernels))
    if not without:
        return []
    return [
        Caveat(
            f"Attainable speedup: no sparse kernel of {' and '.join(without)} is known, so that it is that of dense "
            "kernels on masked tensors; `swatcost calibrate` measures a machine's kernels."
        )
    ]


def _notes(frame: pandas.DataFrame) -> list[str]:
    sentences = []
    if len(frame) > MOST_ROWS:
        sentences.append(
            f"The first {MOST_ROWS:,} of {len(frame):,} rows; --output FILE.csv or FILE.parquet writes all."
        )
    if frame["acts"].isna().any() and frame["acts"].notna().any():
        methods = ", ".join(dict.fromkeys(frame[frame["acts"].isna()]["method"]))
        sentences.append(f"{methods}: activations stay dense, so acts does not apply.")
    sentences.append(
        "Training reduction: of the MACs of a training step, averaged over the run; CSV has inference and memory too. "
        "Attainable speedup: the fastest that the device's known kernels give. Ideal speedup (Eqs. 7 and 8): step time "
        "is assumed to scale with FLOPs; break-even period: the shortest [iterations] at which it is then no slower "
        "than dense training."
    )
    sentences.append("For the assumptions behind a row, run `swatcost MODEL` with its settings.")
    return sentences
