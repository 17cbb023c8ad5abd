"""What 2:4 sparsity can reach, as a table, Markdown, LaTeX, CSV or JSON."""

from dataclasses import asdict
from typing import Any

from swatcost.network.passes import PASSES
from swatcost.published.sparse_hardware import reported_gains
from swatcost.report.estimate import title
from swatcost.report.numbers import percent, scaled, times
from swatcost.report.sheet import Sheet, Table
from swatcost.simulation.two_four import REGIMES, Fit, TwoFour

_PRUNED = {
    "weights": "weights 2:4 along input channels",
    "transposable weights": "weights 2:4 along both, transposable",
    "and gradients": "those, and gradients of outputs",
}


def sheet(found: TwoFour, layers: bool = False) -> Sheet:
    passes = [
        [
            each,
            scaled(found.macs(each)),
            percent(found.fitting_macs(each) / found.macs(each) if found.macs(each) else 0),
        ]
        for each in PASSES
    ]
    ceilings = [[_PRUNED[regime], ", ".join(REGIMES[regime]), times(found.ceiling(regime))] for regime in REGIMES]
    reported = [
        [each.what, f"{each.value} {each.unit}", each.hardware] for each in reported_gains() if each.pattern == "2:4"
    ]
    tables = [
        Table([f"batch of {found.batch_size}, {found.element}", "MACs", "can be 2:4"], passes),
        Table(["pruned", "sparse passes", "step at most"], ceilings),
        Table(["reported", "gain", "on"], reported),
    ]
    if layers:
        tables.append(Table(["layer and pass", "MACs", "2:4"], [_line(each) for each in found.fits]))
    return Sheet(
        opening=[title(found.network), "2:4 sparsity, as sparse tensor cores (Ampere and later) take it"],
        tables=tables,
        notes=notes(found),
    )


def notes(found: TwoFour) -> list[str]:
    """What the ceilings rest on."""
    sentences = [
        "A ceiling halves the time of what qualifies and counts nothing else: no pruning, compressing, memory or "
        "other layers. Convolutions are taken as products of matrices; GPU libraries offer 2:4 for those.",
        "grad_input needs transposable masks, 2 of 4 along both dimensions of the weight. grad_weight has no weight in "
        "it: gradients or activations have to be pruned, which changes what is trained.",
    ]
    unfit = [each for each in found.fits if each.reason and each.workload.in_pass == "forward"]
    if unfit:
        shown = "; ".join(f"{each.workload.layer} ({each.reason})" for each in unfit[:3])
        more = f"; and {len(unfit) - 3} more, see --layers" if len(unfit) > 3 else ""
        sentences.append(f"Not in the forward pass: {shown}{more}.")
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
    """A row a layer and pass."""
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
    return [f"{each.workload.layer} {each.workload.in_pass}", scaled(each.workload.macs), each.reason or "yes"]
