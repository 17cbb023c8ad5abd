"""`swatcost compare`: methods, conventions, networks, or two saved estimates."""

from typing import Any

import click

from swatcost.cli.config import forget_defaults
from swatcost.cli.options import MODELS, Loading, loaded, loading_options, reporting, setting_options
from swatcost.cli.progress import waiting
from swatcost.common.result import Result
from swatcost.planning.comparison import COMPARING, compare, compare_networks
from swatcost.planning.difference import difference, saved_estimates


@click.command("compare")
@MODELS
@setting_options(COMPARING)
@loading_options
@reporting
def command(models: tuple[str, ...], loading: Loading, **settings: Any) -> Result:
    """Compares methods with each other, and one method under every convention.

    With several models, every method on each of them. With two saved estimates (--format json), what changed from the
    first to the second, layer by layer. --method is the one that is compared under every convention.

    Example: swatcost compare resnet50 --weights 0.8
    """
    if saved := saved_estimates(models):
        forget_defaults()
        return difference(*saved)
    networks = [loaded(each, **loading) for each in models]
    context, typed = click.get_current_context(), click.core.ParameterSource.COMMANDLINE
    with waiting("comparing"):
        if len(networks) == 1:
            return compare(networks[0], **settings)
        if context.get_parameter_source("method") != typed:
            settings.pop("method")  # a default, which several networks have no use for
            forget_defaults("method")
        return compare_networks(networks, **settings)
