"""`swatcost sweep`: every combination of settings at once."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import click

import swatcost
from swatcost.cli.options import PlotFile, displaying, network_options, plot_options, setting_options
from swatcost.cli.output import Display
from swatcost.cli.progress import waiting
from swatcost.cli.typed import no_difference
from swatcost.cli.unused import refuse_twice, say_recomputed, say_unused
from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_bytes_atomically
from swatcost.devices import load_device
from swatcost.estimate import Estimate, estimate
from swatcost.methods import METHODS
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.planning.sweep import SWEEPING
from swatcost.plots import speedup_by_sparsity
from swatcost.report.sweep import Swept
from swatcost.unused import steps_under, timed_precision


@click.command("sweep")
@network_options
@setting_options(SWEEPING)
@click.option("--paired", is_flag=True, help="Pair values by position instead of taking all combinations.")
@plot_options("the ideal speedup against sparsity, one line per combination of the other settings")
@displaying
def command(network: Network, plot: PlotFile | None, display: Display, **settings: Any) -> None:
    """Estimates every combination of settings at once.

    Give several values with commas between them, or ranges FIRST:LAST:STEP. --output FILE.csv or FILE.parquet writes
    all columns and rows.

    Example: swatcost sweep resnet50 --weights 0.5:0.95:0.05 --acts 0.5,0.8,0.9 --period 1,10,100,1k --method swat,rigl
    """
    output = display.output
    as_parquet = output is not None and output.suffix.lower() == ".parquet" and display.format is None
    paired = settings["paired"]
    refuse_twice({name: settings[name] for name in SWEEPING.several if not (paired and name in (*OPERANDS, "period"))})
    with waiting("sweeping"):
        frame = swatcost.sweep(network, **settings)
    say_recomputed(network)
    say_unused(_corners(network, settings), {"steps": steps_under(), "precision": timed_precision})
    if not any(len(settings[name] or ()) > 1 for name in (*OPERANDS, "period")):
        no_difference("paired", "no sparsity or period has several values")
    if plot is not None:
        plot.save(speedup_by_sparsity(frame, name=network.name, size=plot.size))
    if as_parquet and output is not None:
        write_bytes_atomically(output, _parquet(frame))
    else:
        devices = [load_device(each) for each in settings["device"]]
        display.report("sweep", Swept(network, frame, devices))


def _corners(network: Network, settings: dict[str, Any]) -> Iterator[Estimate]:
    """An estimate for each combination of names, at the largest of the other values."""
    given = {name: value for name, value in settings.items() if name != "paired" and value is not None}
    named = {name: given.pop(name) for name in ("method", "distribution", "convention", "device") if name in given}
    given |= {name: max(given[name]) for name in SWEEPING.several if name in given}
    for names in product(*named.values()):
        asked = {**given, **dict(zip(named, names, strict=True))}
        method = METHODS[asked["method"]]
        unread = [name for name, operand in OPERANDS.items() if not method.uses(operand)]
        yield estimate(network, **{name: value for name, value in asked.items() if name not in unread})


def _parquet(frame: Any) -> bytes:
    try:
        content: bytes = frame.to_parquet(index=False)
    except ImportError:
        raise SwatcostError("Parquet needs pyarrow: pip install 'swatcost[parquet]'") from None
    return content
