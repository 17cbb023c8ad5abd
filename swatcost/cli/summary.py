"""`swatcost summary`: what a network costs by module."""

from typing import Any

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import PER, fold_option, network_options, reporting, setting_options
from swatcost.cli.parameter_types import NAMES
from swatcost.cli.progress import waiting
from swatcost.cli.typed import no_difference
from swatcost.cli.unused import TIMES, say_unused
from swatcost.network import Network
from swatcost.planning.module_tree import folded
from swatcost.planning.summary import COLUMNS, Summary, summary
from swatcost.unused import autocast_alone, never, steps_under

_ALL = "all"
_COLUMNS = "\n".join(f"  {name:<16} {words}" for name, words in COLUMNS.items())


class DepthType(click.ParamType[int | None]):
    """A number of levels, or all; its range is the library's to check."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value is None or value == _ALL:
            return None
        try:
            return int(str(value))
        except ValueError:
            self.fail(f"{value!r:.40} is not a number of levels: give one such as 2, or {_ALL}.", param, ctx)


_NO_TIMES = "a summary has no times"
_RULES = {
    **never(_NO_TIMES, *TIMES, "optimizer", "mfu"), "precision": autocast_alone(_NO_TIMES), "steps": steps_under(),
}  # fmt: skip


@click.command("summary", epilog=f"\b\nColumns:\n{_COLUMNS}")
@network_options
@click.option(
    "--depth", type=DepthType(), default="2", show_default=True, shell_complete=offering(lambda: [_ALL]),
    help=f"Levels of modules to show, or {_ALL}.",
)  # fmt: skip
@click.option(
    "--columns", type=NAMES, shell_complete=offering(lambda: COLUMNS),
    help="Columns in the order to show them; see below.  [default: those that fit]",
)  # fmt: skip
@fold_option("neighbouring modules")
@PER
@setting_options()
@reporting
def command(network: Network, per: str, **asked: Any) -> Summary:
    """Shows what a network costs by module, as a tree with totals on every level.

    Example: swatcost summary resnet50 --weights 0.8 --acts 0.8 --depth 3 --columns params,forward,training,reduction
    """
    with waiting("estimating"):
        found = summary(network, **asked)
    if all(module.copies == 1 for _, module in folded(found.tree).walk(found.depth)):
        no_difference("fold", "no neighbouring modules are equal")
    say_unused([found.estimate], _RULES)
    return found
