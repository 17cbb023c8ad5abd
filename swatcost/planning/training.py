"""A network, and how its training steps are executed, from what a user gives for both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from swatcost.loading import counted_network, with_input
from swatcost.memory.execution import EXECUTING, Execution
from swatcost.memory.precisions import PRECISIONS
from swatcost.network import Network
from swatcost.network.conditions import STEP_ASKED, ConditionsAsked
from swatcost.setting import Setting

if TYPE_CHECKING:
    from torch import nn

OF_EXECUTION = ("precision", "optimizer")
"""The settings that a function takes as part of the execution, by the same names."""


def trained(
    network: "Network | str | Path | nn.Module",
    asked: Mapping[str, Any],
    *,
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    batch_dim: int | None = None,
) -> tuple[Network, Execution, dict[str, Any]]:
    """The network, traced under the precision that is asked for, the execution, and the settings that are left.

    A precision that is not given is that of the trace. Raises SwatcostError if a trace is of another kind of step.
    """
    executing = {name: asked[name] for name in EXECUTING if asked.get(name) is not None}
    precision = executing.get("precision")
    conditions = cast("ConditionsAsked", {name: asked.get(name) for name in STEP_ASKED})
    conditions["autocast"] = None if precision is None else PRECISIONS.choose(precision).autocast
    traced = counted_network(
        with_input(network, input_shape=input_shape, example_inputs=example_inputs, batch_dim=batch_dim, **conditions)
    )
    if precision is None and traced.conditions.autocast:
        executing["precision"] = traced.conditions.autocast
    left = {name: each for name, each in asked.items() if name not in (*EXECUTING, *STEP_ASKED)}
    return traced, Execution.of(**executing), left


def timed_as(execution: Execution, network: Network, setting: Setting) -> Setting:
    """The setting with the execution's precision and optimizer, which the time of a step depends on, too."""
    precision = execution.precision.name
    is_default = precision == "fp32" and not network.conditions.autocast
    return setting.but(precision=None if is_default else precision, optimizer=execution.optimizer.name)
