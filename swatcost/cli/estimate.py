"""`swatcost MODEL`: what a network costs to train."""

from typing import Any

import click

from swatcost.cli.options import (
    LAYERS,
    PER,
    PlotFile,
    fold_option,
    network_options,
    plot_options,
    reporting,
    setting_options,
)
from swatcost.cli.progress import waiting
from swatcost.cli.unused import say_unused
from swatcost.common.errors import SwatcostError
from swatcost.estimate import Estimate, estimate
from swatcost.network import Network
from swatcost.plots import CHARTS

_CHARTS = "; ".join(f"{name}: {chart.title}" for name, chart in CHARTS.items())

EPILOG = """\b
Examples:
  swatcost resnet50 --weights 0.8 --acts 0.8 --period 1000
  swatcost resnet50 --weights 0.9 --acts 0.9 --convention exact --layers
  swatcost llama2_7b --distribution kinds --from attention=0.5,feed-forward=0.75 --per token
  swatcost cifar_vgg16 --weights 0.9 --acts 0.9 --period 1 --batch-size 128 --output vgg.json
  swatcost trace resnet50 --output mine.json; swatcost mine.json --weights 0.8
  swatcost my_network.py:build --input-shape 3,64,64 --weights 0.8
  swatcost compare resnet50 --weights 0.8
  swatcost explain resnet50 --method rigl --weights 0.8 --to-convention rigl
  swatcost audit 76.1% resnet50 --method swat --weights 0.8
  swatcost run cifar_resnet18 --weights 0.8 --acts 0.8 --period 100 --epochs 5
  swatcost validate cifar_resnet18 --weights 0.8 --acts 0.8
  swatcost simulate resnet50 --weights 0.9 --arch bit-tactical
  swatcost resnet50 --weights 0.8 --acts 0.8 --plot cost.png
  swatcost memory resnet50 --batch-size 32 --optimizer adam --fit 11GB
  swatcost report resnet50 --weights 0.8 --acts 0.8 --output report.html
  swatcost explore resnet50
  swatcost tables 3
  swatcost list models
"""


@click.command("estimate", hidden=True, epilog=EPILOG)
@network_options
@setting_options()
@LAYERS
@fold_option("neighbouring blocks of layers")
@PER
@plot_options("a chart")
@click.option("--chart", type=click.Choice(list(CHARTS)), help=f"What --plot draws: {_CHARTS}.  [default: cost]")
@reporting
def command(
    network: Network,
    layers: bool,
    fold: bool | None,
    per: str,
    plot: PlotFile | None,
    chart: str | None,
    **settings: Any,
) -> Estimate:
    """Estimates what a network costs to train; the word `estimate` may be left out."""
    if chart is not None and plot is None:
        raise SwatcostError(f"--chart {chart}: name the file to draw it in, such as --plot {chart}.png")
    with waiting("estimating"):
        found = estimate(network, **settings)
    say_unused([found])
    if plot is not None:
        plot.save(CHARTS[chart or "cost"](found, size=plot.size))
    return found
