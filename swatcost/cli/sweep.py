"""`swatcost sweep`: every combination of settings at once."""

from typing import Any

import click

import swatcost
from swatcost.cli.options import PlotFile, displaying, network_options, plot_options, setting_options
from swatcost.cli.output import Display
from swatcost.cli.progress import waiting
from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_bytes_atomically
from swatcost.devices import load_device
from swatcost.network import Network
from swatcost.planning.sweep import SWEEPING
from swatcost.plots import speedup_by_sparsity
from swatcost.report.sweep import Swept


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
    with waiting("sweeping"):
        frame = swatcost.sweep(network, **settings)
    if plot is not None:
        plot.save(speedup_by_sparsity(frame, name=network.name, size=plot.size))
    if as_parquet and output is not None:
        write_bytes_atomically(output, _parquet(frame))
    else:
        devices = [load_device(each) for each in settings["device"]]
        display.report("sweep", Swept(network, frame, devices))


def _parquet(frame: Any) -> bytes:
    try:
        content: bytes = frame.to_parquet(index=False)
    except ImportError:
        raise SwatcostError("Parquet needs pyarrow: pip install 'swatcost[parquet]'") from None
    return content
