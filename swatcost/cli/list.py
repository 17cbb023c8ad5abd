"""`swatcost list`: models, methods, devices, … by name."""

import click

from swatcost.cli.output import width
from swatcost.report.choices import CHOICES, choices


@click.command("list")
@click.argument("what", type=click.Choice(list(CHOICES)))
def command(what: str) -> None:
    """Lists the models, methods, devices, … that can be chosen by name.

    Example: swatcost list methods
    """
    click.echo(choices(what, width=width(None)))
