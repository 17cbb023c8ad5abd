"""A study's rows as a table, Markdown, LaTeX, CSV or JSON."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from swatcost.report.numbers import percent, times
from swatcost.report.sheet import Sheet, Table

Rows = Sequence[dict[str, Any]]

_NOTES = (
    "Speedups are simulated: dense over sparse cycles; step is a whole training step, Top-K included. Utilisation: the "
    "share of multiplier slots that do work.",
)


def _networks(rows: Rows) -> set[tuple[str, str]]:
    return {(row["model"], row["network"]) for row in rows}


def sheet(rows: Rows, layers: bool = False) -> Sheet:
    header = [
        "model",
        "shape",
        "weights",
        "acts",
        "seed",
        "forward",
        "grad\ninput",
        "grad\nweight",
        "step",
        "utili-\nsation",
    ]
    ambiguous = {name for name, count in Counter(name for name, _ in _networks(rows)).items() if count > 1}
    lines = [
        [
            f"{row['model']} {row['network']}" if row["model"] in ambiguous else row["model"],
            row["shape"],
            f"{row['weights']:g}",
            "" if row["acts"] is None else f"{row['acts']:g}",
            str(row["seed"]),
            *(times(row[f"{each}_speedup"]) for each in ("forward", "grad_input", "grad_weight", "step")),
            percent(row["utilisation"]),
        ]
        for row in rows
    ]
    return Sheet(
        opening=[f"{len(rows)} simulation{'s' * (len(rows) > 1)} on {rows[0]['architecture']}"],
        tables=[Table(header, lines, text_columns=2)],
        notes=_NOTES,
    )


def to_dict(rows: Rows) -> dict[str, Any]:
    return {"schema": "swatcost.study/2", "rows": list(rows)}


def rows(rows: Rows) -> Rows:
    return rows
