"""`swatcost audit`: why a printed number is what it is."""

import shlex
from collections.abc import Mapping
from typing import Any

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import network_options, reporting, setting_options
from swatcost.cli.progress import waiting
from swatcost.cli.unused import say_recomputed, say_unused
from swatcost.common.errors import SwatcostError
from swatcost.counting import CONVENTIONS
from swatcost.estimate import estimate_setting
from swatcost.network import Network
from swatcost.planning.audit import AUDITING, Audit, audit
from swatcost.planning.printed_number import QUANTITIES
from swatcost.planning.printed_table import read_printed
from swatcost.unused import Rule, steps_under

EPILOG = """\b
Examples:
  swatcost audit 76.1% resnet50 --method swat --weights 0.8
  swatcost audit 76.1% resnet50 --weights 0.8 --and "67.2% --method rigl" --and "58.1% --method set"
  swatcost audit 0.23 resnet50 --method rigl --weights 0.8 --quantity inference-ratio
  swatcost audit table.csv resnet50
"""

_RULES: dict[str, Rule] = {
    "steps": steps_under(*CONVENTIONS),
    "default_act_sparsity": lambda found: (
        None
        if found.plan.method.relies_on_default_sparsity
        else f"no convention assumes it for {found.plan.method.name}"
    ),
}

_QUANTITY = click.option(
    "--quantity", metavar="Q", shell_complete=offering(QUANTITIES.names),
    help="What it is a number of: training-reduction, inference-ratio, ….  [default: each is tried]",
)  # fmt: skip


@click.command("audit", epilog=EPILOG)
@click.argument("number", shell_complete=offering(list, files=True))
@network_options
@click.option(
    "--and", "others", multiple=True, metavar="'NUMBER OPTIONS'",
    help="Another number of the same table, with the options in which it differs; repeatable.",
)  # fmt: skip
@_QUANTITY
@setting_options(AUDITING)
@reporting
def command(number: str, network: Network, others: tuple[str, ...], **asked: Any) -> Audit:
    """Finds out why a printed number is what it is.

    NUMBER is a number as it is printed, such as 76.1% or 0.23, or a CSV file with a column `printed` and one for each
    setting in which its rows differ. What is given is taken as stated. Tried is everything that papers leave unstated:
    the convention, its switches, known slips, layers kept dense, the default activation sparsity, what it is a number
    of, and rounding. What gives the printed digits is ranked by how little it assumes.
    """
    rows = read_printed(number) if number.lower().endswith(".csv") else [(number, {})]
    rows += map(_other, others)
    with waiting("auditing"):
        found = audit(network, rows, **_given(click.get_current_context(), asked))
    say_recomputed(network)
    say_unused((estimate_setting(network, each.setting) for each in found.stated), _RULES)
    return found


@click.command(add_help_option=False)
@click.argument("number")
@_QUANTITY
@setting_options(AUDITING)
def _row(**given: Any) -> None:
    """A number of --and with the options that go with it."""


def _other(words: str) -> tuple[str, Mapping[str, Any]]:
    """The number of an --and, and its own settings. Raises SwatcostError for what no command line could say."""
    try:
        context = _row.make_context("--and", shlex.split(words))
    except click.ClickException as error:
        raise SwatcostError(f"--and {words!r:.80}: {error.format_message()}") from None
    except ValueError as error:  # a quote that is not closed
        raise SwatcostError(f"--and {words!r:.80}: {error}") from None
    own = _given(context, context.params)
    return str(own.pop("number")), own


def _given(context: click.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that somebody gave: what is left at its default is not stated."""
    default = click.core.ParameterSource.DEFAULT
    return {name: value for name, value in values.items() if context.get_parameter_source(name) is not default}
