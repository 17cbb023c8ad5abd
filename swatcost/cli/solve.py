"""`swatcost solve`: the least sparse setting that reaches a goal."""

from collections.abc import Mapping
from typing import Any

import click

from swatcost.cli.options import execution_options, network_options, reporting, setting_options
from swatcost.cli.parameter_types import FractionType
from swatcost.cli.progress import waiting
from swatcost.cli.typed import no_difference
from swatcost.cli.unused import say_recomputed, say_same, say_unused
from swatcost.common.errors import SwatcostError
from swatcost.common.units import factor_from
from swatcost.estimate import Estimate
from swatcost.memory.execution import EXECUTING
from swatcost.network import Network
from swatcost.planning.solution import SOLVING, Solution, solution
from swatcost.planning.training import OF_EXECUTION
from swatcost.unused import RULES, Rule, steps_under, timed_precision


def _scale(found: Estimate) -> str | None:
    same = not found.topk_seconds and found.attainable_speedup == 1
    return "nothing but a Top-K or a sparse kernel depends on it" if same else None


def _scale_or(rule: Rule) -> Rule:
    return lambda found: _scale(found) or rule(found)


_RULES: Mapping[str, Rule] = {
    "steps": steps_under(), "device": _scale, "batch_size": _scale,
    "precision": _scale_or(timed_precision), "optimizer": _scale_or(RULES["optimizer"]), "mfu": _scale,
}  # fmt: skip


class FactorType(click.ParamType[float]):
    """A factor, such as 4 or 4x; its range is the library's to check."""

    name = "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return factor_from(str(value))
        except SwatcostError as error:
            self.fail(f"{error}.", param, ctx)


@click.command("solve")
@network_options
@click.option(
    "--speedup", type=FactorType(),
    help="Goal: a speedup of a training step, such as 4 or 4x: the attainable one if the device's profile has sparse "
    "kernels, otherwise the ideal one.",
)  # fmt: skip
@click.option("--ideal", is_flag=True, help="The speedup is the ideal one, whatever kernels the device has.")
@click.option("--training-flops", type=FractionType(), help="Goal: at most this share of dense training FLOPs.")
@click.option("--memory", metavar="MEMORY", help="Goal: peak memory, compressed, within 11GB, 24GiB or a device.")
@click.option(
    "--top-k-overhead", "topk_overhead", type=FractionType(),
    help="Goal: a Top-K's time over that of the sparse steps of its period; solves for the period.",
)  # fmt: skip
@execution_options()
@setting_options(SOLVING)
@reporting
def command(network: Network, **asked: Any) -> Solution:
    """Finds the least sparse setting that reaches a goal, or several.

    Sparsities that are given are fixed and the others vary together; if none is left to vary, the period is solved for.
    If a goal is out of reach, the limit is printed and the exit code is 1.

    Example: swatcost solve wide_resnet50_2 --speedup 3 --device rtx2080ti
    """
    with waiting("solving"):
        found = solution(network, **asked)
    say_unused([found.estimate], _RULES if asked["memory"] is None else {"steps": steps_under()})
    if asked["ideal"] and not (asked["speedup"] and found.setting.profile.kernels):
        no_difference("ideal", "no attainable speedup would be asked for without it")
    if asked["memory"] is None:
        without_time = (name for name in EXECUTING if name not in OF_EXECUTION)
        say_recomputed(network)
        for name in (*without_time, "loss", "offload", "hold_outputs"):
            no_difference(name, "no --memory is asked for")
    else:
        say_same(network, found, lambda without: solution(network, **{**asked, **without}))
    if not found.reached:
        context = click.get_current_context()
        context.call_on_close(lambda: context.exit(1))
    return found
