"""`swatcost plan`: a whole training run, planned."""

from typing import Any

import click

from swatcost.cli.completion import completing, offering
from swatcost.cli.options import (
    PlotFile,
    execution_options,
    network_options,
    plot_options,
    reporting,
    setting_options,
    shown,
    without_defaults,
)
from swatcost.cli.parameter_types import NAMES, CountType
from swatcost.cli.progress import waiting
from swatcost.cli.typed import no_difference, typed
from swatcost.cli.unused import say_same, say_unused
from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.common.units import price_from
from swatcost.network import Network
from swatcost.planning.recipes import DATASETS, RECIPES
from swatcost.planning.run_comparison import compare_runs
from swatcost.planning.run_plan import PLANNING, WORLD_GRID, plan_run
from swatcost.plots import schedule_over_run
from swatcost.setting import OPTIONS
from swatcost.unused import RULES, Rule


def _pattern(name: str) -> Rule:
    """The rule of a setting that chooses a pattern, where a plan quotes what hardware for this pattern gives."""
    return lambda found: None if found.plan.pattern == (2, 4) else RULES[name](found)


_RULES = {name: _pattern(name) for name in ("distribution", "source")}


class PriceType(click.ParamType[tuple[float, str | None]]):
    """A price, such as 2.5 or $2.5, and the currency if it is stated."""

    name = "P"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, str | None]:
        try:
            return price_from(str(value))
        except SwatcostError as error:
            self.fail(f"{error}.", param, ctx)


EPILOG = """\b
Examples:
  swatcost plan resnet50 --weights 0.8 --acts 0.8 --epochs 90 --dataset imagenet --batch-size 256 --gpus 8
  swatcost plan llama2_7b --tokens 2T --batch-size 1024 --gpus 1024 --sharding fsdp --device a100 --precision bf16
  swatcost plan gpt2 --tokens 300B --batch-size 512 --gpus 8 --device a100 --methods dense,spdf:weights=0.75,slope,moe
"""


@click.command("plan", epilog=EPILOG)
@network_options
@click.option(
    "--recipe", metavar="R", shell_complete=offering(RECIPES.names),
    help="The paper's hyperparameters.  [default: the network's own, if it has any]",
)  # fmt: skip
@click.option(
    "--dataset", metavar="D", shell_complete=offering(DATASETS.names),
    help="The dataset, for the samples per epoch.  [default: the recipe's]",
)  # fmt: skip
@click.option("--samples", type=CountType(), help="Samples per epoch, for a dataset of your own.")
@click.option("--epochs", type=CountType(), help="Epochs.  [default: the recipe's]")
@click.option(
    "--tokens", type=CountType(), help="Tokens of the run, such as 300B or 2T, instead of samples and epochs."
)
@click.option("--gpus", type=CountType(), help="GPUs that share a batch.  [default: the recipe's, or 1]")
@click.option("--watts", type=float, metavar="W", help="Power of one GPU.  [default: its board power]")
@shown("--pue", "Energy of the data centre over that of its machines.", 1.0, "X")
@shown("--grid", "kg CO₂ per kWh; by default the world average, 2018.", WORLD_GRID, "KG")
@click.option("--price", type=PriceType(), help="Price per GPU-hour, such as 2.5 or '$2.5'.")
@shown("--currency", "Currency of the price, unless the price states it.", "USD", "C")
@click.option(
    "--link", metavar="RATE", help="Bandwidth between GPUs per second, such as 25GB.  [default: the device's]"
)
@execution_options("gpus", "accumulate")
@shown("--accumulate", "Micro-batches into which each GPU splits its samples of a step.", 1, "N")
@click.option(
    "--methods", type=NAMES, shell_complete=completing(OPTIONS["method"]),
    help="Compare runs with these methods, also with sparsities of their own: slope,spdf:weights=0.75.",
)  # fmt: skip
@setting_options(PLANNING)
@plot_options("the method's schedule over the run")
@reporting
def command(
    network: Network, plot: PlotFile | None, price: tuple[float, str | None] | None, currency: str,
    methods: list[str] | None, **asked: Any,
) -> Result:  # fmt: skip
    """Plans a whole training run: iterations, FLOPs, hours, energy, cost.

    Without sparsities, only the dense run. The batch is that of an optimizer step over all GPUs and micro-batches. With
    --methods, one run each: of equal tokens or epochs, and what each sees for the dense run's FLOPs or time.
    """
    amount, stated = price or (None, None)
    given = click.get_current_context().get_parameter_source("currency") == click.core.ParameterSource.COMMANDLINE
    if stated and given and stated != currency:
        raise SwatcostError(f"--currency {currency}: the price is in {stated}, leave one of the two out")
    asked |= {"price": amount, "currency": stated or currency}
    if price is None:
        no_difference("currency", "no --price is given")
    if methods is not None:
        return _compared(network, methods, plot, asked)
    found = plan_run(network, **asked)
    say_unused([found.estimate], _RULES)
    say_same(network, found, lambda without: plan_run(network, **{**asked, **without}))
    if found.watts is None:
        for name in ("pue", "grid"):
            no_difference(name, f"the power of {found.estimate.device.name} is not known, give --watts")
    if found.dense_step.peak.phase == "optimizer step":
        no_difference("offload", "the peak is in the optimizer's step, when nothing saved is left")
    if found.gpus == 1:
        no_difference("link", "one GPU sends nothing")
    if plot is not None:
        plot.save(schedule_over_run(found, size=plot.size))
    return found


def _compared(network: Network, methods: list[str], plot: PlotFile | None, asked: dict[str, Any]) -> Result:
    """Runs with several methods."""
    if "method" in typed():
        raise SwatcostError("--method: --methods names those that are compared, leave one of the two out")
    if plot is not None:
        raise SwatcostError("--plot: it draws the schedule of one method, leave it or --methods out")
    asked = without_defaults(asked, "method")
    with waiting("planning"):
        found = compare_runs(network, methods=methods, **asked)
    say_unused([each.estimate for each in found.runs.values()], _RULES)

    def again(without: dict[str, None]) -> Result:
        """The dense run alone where it already differs, which takes a fraction of the time."""
        dense = compare_runs(network, methods=["dense"], **{**asked, **without})
        same = dense.dense.to_dict()["run"] == found.dense.to_dict()["run"]
        return compare_runs(network, methods=methods, **{**asked, **without}) if same else dense

    say_same(network, found, again)
    return found
