"""`swatcost compare`: methods, conventions, networks, or two saved estimates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from swatcost.cli.config import forget_defaults
from swatcost.cli.options import FORMAT, MODELS, OUTPUT, Loading, loaded, model_options, setting_options
from swatcost.cli.output import show_result
from swatcost.cli.progress import waiting
from swatcost.planning.comparison import COMPARING, compare, compare_networks
from swatcost.planning.difference import difference, saved_estimates


@click.command("compare")
@MODELS
@setting_options(COMPARING)
@model_options
@FORMAT
@OUTPUT
def command(
    models: tuple[str, ...], loading: Loading, format: str | None, output: Path | None, **settings: Any
) -> None:
    """Compares methods with each other, and one method under every convention.

    With several models, every method on each of them. With two saved estimates (--format json), what changed from the
    first to the second, layer by layer. --method is the one that is compared under every convention.

    Example: swatcost compare resnet50 --weights 0.8
    """
    if saved := saved_estimates(models):
        forget_defaults()
        show_result(difference(*saved), format, output)
        return
    networks = [loaded(each, **loading) for each in models]
    with waiting("comparing"):
        if len(networks) == 1:
            show_result(compare(networks[0], **settings), format, output)
            return
        context = click.get_current_context()
        if context.get_parameter_source("method") != click.core.ParameterSource.COMMANDLINE:
            settings.pop("method")  # a default, which several networks have no use for
        show_result(compare_networks(networks, **settings), format, output)
