"""`swatcost trace`: a network's trace as a file."""

from __future__ import annotations

from pathlib import Path

import click

from swatcost.cli.options import MODEL, OUTPUT, Loading, loaded, model_options
from swatcost.cli.output import show


@click.command("trace")
@MODEL
@model_options
@OUTPUT
def command(model: str, output: Path | None, loading: Loading) -> None:
    """Traces a network and saves it as JSON, to be named as MODEL later.

    Example: swatcost trace resnet50 --output resnet50.json
    """
    show(loaded(model, **loading).to_json(), output)
