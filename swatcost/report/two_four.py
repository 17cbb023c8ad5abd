"""The most that 2:4 sparsity can gain, as a table, Markdown, LaTeX, CSV or JSON."""

from dataclasses import asdict
from typing import Any

from swatcost.common.printing import listed
from swatcost.counting.two_four import REGIMES, Fit, TwoFour
from swatcost.network.passes import PASSES
from swatcost.published.sparse_hardware import reported_gains
from swatcost.report.estimate import title
from swatcost.report.numbers import percent, scaled, times
from swatcost.report.sheet import Sheet, Table

_PRUNED = {
    "weights": "weights, along input channels",
    "transposable weights": "weights, along both dimensions (transposable mask)",
    "and gradients": "weights along both dimensions, and output gradients",
}


def sheet(found: TwoFour, layers: bool = False) -> Sheet:
    passes = [
        [
            each,
            scaled(found.macs(each), "MAC"),
            percent(found.fitting_macs(each) / found.macs(each) if found.macs(each) else 0),
        ]
        for each in PASSES
    ]
    ceilings = [[_PRUNED[regime], ", ".join(REGIMES[regime]), times(found.ceiling(regime))] for regime in REGIMES]
    reported = [
        [each.what, f"{each.value} {each.unit}", each.hardware] for each in reported_gains() if each.pattern == "2:4"
    ]
    tables = [
        Table([f"batch {found.batch_size}, {found.element}", "work", "fits 2:4"], passes),
        Table(["pruned 2:4", "sparse passes", "step speedup\nat most"], ceilings),
        Table(["published results", "gain", "hardware"], reported),
    ]
    if layers:
        tables.append(Table(["layer and pass", "work", "fits 2:4"], [_line(each) for each in found.fits]))
    return Sheet(
        opening=[title(found.network), "2:4 sparsity on sparse tensor cores (Ampere and later)"],
        tables=tables,
        notes=notes(found),
    )


def notes(found: TwoFour) -> list[str]:
    """The assumptions behind the upper bounds."""
    sentences = [
        "The upper bounds halve the time of the products that fit 2:4 and count nothing else: no pruning, compression, "
        "memory or other layers. Convolutions are treated as matrix products, for which GPU libraries offer 2:4.",
        "grad_input needs transposable masks, 2 of 4 along both dimensions of the weight. grad_weight does not read "
        "the weight: gradients or activations must be pruned, which changes the training.",
    ]
    unfit: dict[str, dict[str, None]] = {}
    for each in found.fits:
        if each.reason and each.workload.in_pass == "forward":
            unfit.setdefault(each.reason, {})[each.workload.layer] = None
    if unfit:
        shown = "; ".join(f"{listed(list(layers), 3)} ({reason})" for reason, layers in unfit.items())
        sentences.append(f"Layers that do not fit 2:4 in the forward pass: {shown}.")
    sources = dict.fromkeys(each.source for each in reported_gains() if each.pattern == "2:4")
    sentences.append(f"Reported, not measured here: {'; '.join(sources)}.")
    return sentences


def to_dict(found: TwoFour) -> dict[str, Any]:
    """Plain data."""
    return {
        "schema": "swatcost.two_four/1",
        "model": found.network.name,
        "element": found.element,
        "batch_size": found.batch_size,
        "passes": {each: {"macs": found.macs(each), "fitting_macs": found.fitting_macs(each)} for each in PASSES},
        "ceilings": {regime: found.ceiling(regime) for regime in REGIMES},
        "reported": [asdict(each) for each in reported_gains()],
        "layers": rows(found),
        "notes": [*map(str, notes(found))],
    }


def rows(found: TwoFour) -> list[dict[str, Any]]:
    """One row per layer and pass."""
    return [
        {
            "layer": each.workload.layer,
            "pass": each.workload.in_pass,
            "macs": each.workload.macs,
            "qualifies": not each.reason,
            "reason": each.reason,
        }
        for each in found.fits
    ]


def _line(each: Fit) -> list[str]:
    return [f"{each.workload.layer} {each.workload.in_pass}", scaled(each.workload.macs, "MAC"), each.reason or "yes"]
