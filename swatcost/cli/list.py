"""`swatcost list`: models, methods, devices, … by name."""

import click

from swatcost.cli.completion import offering
from swatcost.cli.output import width
from swatcost.common.errors import SwatcostError
from swatcost.methods import METHODS
from swatcost.report.choices import CHOICES, choices
from swatcost.report.method import described


@click.command("list")
@click.argument("what", type=click.Choice(list(CHOICES)))
@click.option(
    "--method", metavar="M", help="Show one method whole, with its parameters.",
    shell_complete=offering(METHODS.names, parameters=METHODS.parameters_after),
)  # fmt: skip
def command(what: str, method: str | None) -> None:
    """Lists the models, methods, devices, … that can be chosen by name.

    \b
    Examples:
      swatcost list methods
      swatcost list methods --method rigl
    """
    if method is None:
        click.echo(choices(what, width=width(None)))
        return
    if what != "methods":
        raise SwatcostError(f"--method {method}: it shows one of the methods, write swatcost list methods")
    click.echo(described(METHODS[method], width=width(None)))
