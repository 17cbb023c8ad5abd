"""Options that make no difference in the case at hand: said on standard error, with the reason.

Only what was typed is spoken of. A config file and the environment hold wishes for all commands, which need not apply.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from swatcost.cli.typed import no_difference, typed
from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.estimate import Estimate
from swatcost.memory.execution import EXECUTING
from swatcost.network import Network
from swatcost.setting import OPTIONS
from swatcost.unused import RULES, Rule, unused

TIMES = ("period", "device", "selection", "one_sample", "hidden")
"""The settings that only times depend on."""


def say_unused(estimates: Iterable[Estimate], rules: Mapping[str, Rule] | None = None) -> None:
    """Says which typed settings make no difference to any of the estimates; `rules` are the command's own."""
    every = {**RULES, **(rules or {})}
    given = [name for name in OPTIONS if name in typed() and name in every]
    for name, reason in unused(estimates, given, every).items():
        no_difference(name, reason)


def say_recomputed(network: Network) -> None:
    """Says that --checkpoint makes no difference to FLOPs where nothing that is counted is recomputed."""
    if not any(each.recomputed for each in network.layers):
        no_difference("checkpoint", "no conv or linear layer and no product is recomputed")


def say_same(network: Network, found: Result, again: Callable[[dict[str, None]], Result]) -> None:
    """Says which typed options of how steps are executed change no number; `again` computes the result without them."""
    of_trace = {"precision"} if network.conditions.autocast else set()
    for name in EXECUTING:
        if name in typed().keys() - of_trace:
            with contextlib.suppress(SwatcostError):  # other options need this one
                if _numbers(found) == _numbers(again({name: None})):
                    no_difference(name, "every number is the same without it")


def _numbers(result: Result) -> dict[str, Any]:
    """A result's data, but for the question."""
    return {name: value for name, value in result.to_dict().items() if name not in (*EXECUTING, "setting", "notes")}


def refuse_twice(values: Mapping[str, Sequence[Any] | None]) -> None:
    """Raises SwatcostError for a value that an option's list has twice."""
    for name, listed in values.items():
        if twice := next((each for place, each in enumerate(listed or ()) if each in (listed or ())[:place]), None):
            raise SwatcostError(f"{typed().get(name, name)}: {twice} is given twice, give each value once")
