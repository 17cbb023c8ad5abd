"""A whole training run, planned: iterations, FLOPs, hours, energy, cost and communication."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.estimate import estimate_setting
from swatcost.memory.execution import ExecutingRun, Execution
from swatcost.network import Network
from swatcost.network.conditions import StepAsked
from swatcost.planning.capacity import rate_of
from swatcost.planning.recipes import RECIPES, Recipe, recipe_of
from swatcost.planning.run_length import length_of
from swatcost.planning.training import OF_EXECUTION, timed_as, trained
from swatcost.planning.whole_run import WORLD_GRID, Moment, RunPlan
from swatcost.setting import EVERY_SETTING, Scope, Settings

if TYPE_CHECKING:
    from torch import nn

__all__ = ["PLANNING", "WORLD_GRID", "Asked", "Moment", "RunAsked", "RunPlan", "plan_run", "plan_without_peak"]

PLANNING = Scope(
    without={
        "steps": "a plan computes them from the run's length and the batch size, leave them out",
    },
    own=OF_EXECUTION,
    default_is={
        "batch_size": "the recipe's, or 32",
        "period": "the recipe's, or 1000",
        "method": "the recipe's, or swat",
        "last_layer": "the recipe's, or sparse",
        "convention": "swat, or exact with --methods",
    },
    help={"batch_size": "Samples of an optimizer step, over all GPUs and micro-batches; of tokens, sequences."},
)
"""The settings of a plan: `batch_size` is over all GPUs, and defaults are the recipe's."""


class Asked(Settings, ExecutingRun, StepAsked, total=False):
    """The keywords of `plan_run` beside its own: the settings of `estimate`, the step, and how it is executed."""


class RunAsked(Asked, total=False):
    """All keywords of `plan_run` but the network's inputs."""

    recipe: str | Recipe | None
    dataset: str | None
    samples: int | None
    epochs: int | None
    tokens: float | str | None
    gpus: int | None
    watts: float | None
    pue: float
    grid: float
    price: float | None
    currency: str
    link: str | float | None


def plan_run(
    network: "Network | str | Path | nn.Module",
    *,
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    **asked: Unpack[RunAsked],
) -> RunPlan:
    """Plans a whole run.

    recipe is one of the paper's (Tables 12 to 14), by default the network's own if it has one; other arguments override
    it. dataset or samples sets the samples per epoch. tokens, such as 2e12 or "2T", takes the place of both and of
    epochs, if the network's inputs are tokens: then there are ceil(tokens / (batch_size · tokens per sample))
    iterations. The batch is that of an iteration (an optimizer step) over all gpus: tensor_parallel of them take its
    samples together, the others share it, each in accumulate micro-batches. watts is the power of a GPU, by default the
    board power in the device's profile; pue the data centre's energy over its machines'; grid the carbon intensity
    [kg CO₂/kWh]; price per GPU-hour; link the bandwidth between GPUs [bytes/s, or a string such as "25GB"], by default
    the device's, if its profile has it. network, its inputs, loss, checkpoint, offload, hold_outputs and how a step is
    executed are as in `planning.memory_of`: they decide the peak and what GPUs send, and recomputation costs FLOPs.
    settings are those of `estimate`.

    Raises SwatcostError for invalid arguments, and if the length of the run is not known.

    >>> plan_run("resnet50", weights=0.8, acts=0.8).iterations  # Table 14: 90 epochs of ceil(1,281,167 / 256) = 5005
    450450
    """
    plan = plan_without_peak(network, input_shape=input_shape, example_inputs=example_inputs, **asked)
    _ = plan.peak_bytes  # raises here, not when the plan is shown, if this step's memory is not modelled
    return plan


def plan_without_peak(
    network: "Network | str | Path | nn.Module",
    *,
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    recipe: str | Recipe | None = None,
    dataset: str | None = None,
    samples: int | None = None,
    epochs: int | None = None,
    tokens: float | str | None = None,
    gpus: int | None = None,
    watts: float | None = None,
    pue: float = 1.0,
    grid: float = WORLD_GRID,
    price: float | None = None,
    currency: str = "USD",
    link: str | float | None = None,
    **settings: Unpack[Asked],
) -> RunPlan:
    """As `plan_run`, but without its peak memory: where that is not modelled, only `RunPlan.peak_bytes` raises."""
    tensor_parallel = settings.pop("tensor_parallel", None)
    network, execution, left = trained(network, settings, input_shape=input_shape, example_inputs=example_inputs)
    asked = PLANNING.given(left)
    chosen = recipe_of(network.name) if recipe is None else RECIPES.choose(recipe)
    length = length_of(network, chosen, dataset=dataset, samples=samples, epochs=epochs, tokens=tokens)
    if chosen is not None:
        gpus = _or(gpus, chosen.gpus)
        asked = {
            "method": chosen.method, "last_layer": chosen.last_layer, "period": chosen.period,
            "batch_size": chosen.batch_size, **asked,
        }  # fmt: skip
    setting, execution = EVERY_SETTING.setting(asked), execution.on(_or(gpus, 1), _or(tensor_parallel, 1))
    batch_size = setting.batch_size
    micro_batch = _micro_batch(batch_size, execution)
    for name, value, least in (("watts", watts, 0), ("pue", pue, 1), ("grid", grid, 0), ("price", price, 0)):
        if value is not None and not least <= value < 1e9:
            raise SwatcostError(f"{name} {value:g}: give a number of at least {least}")
    if length.tokens is not None and length.samples < batch_size:
        each = network.tokens_per_sample or 0
        raise SwatcostError(
            f"tokens {length.tokens:,}: one iteration takes {batch_size * each:,.0f}, {batch_size:,} sequences of "
            f"{each:,.6g}: give at least as many, or a smaller batch_size"
        )
    steps = length.epochs * ceil(length.samples / batch_size)
    timed = timed_as(execution, network, setting).but(batch_size=micro_batch, steps=steps)
    found = estimate_setting(network, timed, execution.update_share)
    return RunPlan(
        estimate=found, execution=execution, recipe=chosen, dataset=length.dataset, samples=length.samples,
        epochs=length.epochs, tokens_asked=length.tokens,
        batch_size=batch_size, gpus=execution.gpus, watts=found.device.watts if watts is None else watts, pue=pue,
        grid=grid, price=price, currency=currency,
        link=found.device.link_bytes_per_second if link is None else rate_of(link), link_given=link is not None,
    )  # fmt: skip


def _micro_batch(batch_size: int, execution: Execution) -> int:
    """The samples of a micro-batch. Raises SwatcostError if the batch cannot be split evenly."""
    parts = execution.replicas * execution.accumulate
    if batch_size % parts:
        groups = f"{execution.replicas} {'groups of GPUs' if execution.tensor_parallel > 1 else 'GPUs'}"
        how = f"{groups} with {execution.accumulate} micro-batches each" if execution.accumulate > 1 else groups
        below, above = batch_size // parts * parts, -(-batch_size // parts) * parts
        near = f"{below} or {above}" if below else f"{above}"
        raise SwatcostError(
            f"batch_size {batch_size}: {how} cannot split it evenly, give a multiple of {parts}, such as {near}"
        )
    return batch_size // parts


def _or(given: int | None, otherwise: int) -> int:
    return otherwise if given is None else given
