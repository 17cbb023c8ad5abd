"""`swatcost compare`: methods, conventions, networks, or two saved estimates."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from swatcost.cli.completion import completing
from swatcost.cli.config import forget_defaults
from swatcost.cli.options import MODELS, Loading, loaded, loading_options, reporting, setting_options, without_defaults
from swatcost.cli.parameter_types import NAMES
from swatcost.cli.progress import waiting
from swatcost.cli.typed import typed
from swatcost.cli.unused import say_unused
from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.estimate import Estimate
from swatcost.planning.comparison import (
    COMPARING,
    COMPARING_NETWORKS,
    compare,
    compare_networks,
)
from swatcost.planning.difference import difference, saved_estimates
from swatcost.setting import OPTIONS
from swatcost.unused import sparsity, steps_under, timed_precision

EPILOG = """\b
Examples:
  swatcost compare resnet50 --weights 0.8
  swatcost compare resnet50 --weights 0.8 --methods set,rigl,swat
  swatcost compare gpt2 --methods dense,spdf:weights=0.75,slope,fst,moe
  swatcost compare resnet50 --weights 0.9 --conventions swat,exact --relative
  swatcost compare resnet50 --weights 0.9 --conventions exact --output out.tex
  swatcost compare resnet18 resnet50 --weights 0.9 --methods rigl,swat
  swatcost compare before.json after.json
"""


@click.command("compare", epilog=EPILOG)
@MODELS
@click.option(
    "--methods",
    type=NAMES,
    shell_complete=completing(OPTIONS["method"]),
    help="Methods to compare, also with sparsities of their own: slope,spdf:weights=0.75.  [default: all]",
)
@click.option(
    "--conventions",
    type=NAMES,
    shell_complete=completing(OPTIONS["convention"]),
    help="Conventions to compare them under.  [default: all; with several models, --convention]",
)
@click.option("--relative", is_flag=True, help="Show fractions of dense, such as 0.23×, instead of reductions.")
@setting_options(COMPARING)
@loading_options
@reporting
def command(
    models: tuple[str, ...], methods: list[str] | None, conventions: list[str] | None, loading: Loading,
    relative: bool, **settings: Any,
) -> Result:  # fmt: skip
    """Compares training methods with each other, under one or more conventions.

    With several models, compares the methods on each of them. With two saved estimates (--format json), shows what
    changed from the first to the second, layer by layer.

    LaTeX and Markdown hold one table with a footnote: methods × passes under one convention, methods × conventions
    under several, methods × models for several models.
    """
    if saved := saved_estimates(models):
        forget_defaults()
        for name, option in typed().items():
            if name not in ("models", "format", "output", "notes", "quiet"):
                raise SwatcostError(f"{option}: saved estimates are compared as they are, leave it out")
        return difference(*saved)
    unused = {"method": methods, "convention": conventions}
    settings = without_defaults(settings, *(name for name, selected in unused.items() if selected))
    if len(models) == 1:
        network = loaded(models[0], settings.get("precision"), **loading)
        with waiting("comparing"):
            found = compare(network, methods=methods, conventions=conventions, **settings)
        _say_unused(found.estimates.values(), found.method)
        return found
    settings = without_defaults(settings, *COMPARING_NETWORKS.without)
    networks = [loaded(each, settings.get("precision"), **loading) for each in models]
    with waiting("comparing"):
        of_networks = compare_networks(networks, methods=methods, conventions=conventions, **settings)
    _say_unused(under for each in of_networks.estimates.values() for under in each.values())
    return of_networks


def _say_unused(estimates: Iterable[Mapping[str, Estimate]], method: str | None = None) -> None:
    """Of every method under every convention, and of the one for which conventions are compared."""

    def of_method(found: Estimate) -> str | None:
        return sparsity(found) if found.plan.method.name == method else "nothing is sparse"

    every = [each for under in estimates for each in under.values()]
    say_unused(every, {"steps": steps_under(), "precision": timed_precision, "method": of_method})
