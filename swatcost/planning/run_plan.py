"""A whole training run, planned: iterations, FLOPs, hours, energy, cost and all-reduce traffic."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.common.units import checked_count
from swatcost.counting import summed
from swatcost.counting.costs import FLOPS_PER_MAC, Cost
from swatcost.estimate import Estimate, estimate_setting
from swatcost.memory.collectives import sent_share
from swatcost.memory.dense_step import StepMemory, dense_step
from swatcost.memory.execution import ExecutingRun, Execution
from swatcost.network import Network
from swatcost.network.conditions import StepAsked
from swatcost.planning.capacity import rate_of, view_of
from swatcost.planning.recipes import DATASETS, RECIPES, Recipe, recipe_of
from swatcost.planning.training import trained
from swatcost.setting import EVERY_SETTING, Scope, Settings

if TYPE_CHECKING:
    from torch import nn

_JOULES_PER_KWH = 3.6e6
_SECONDS_PER_HOUR = 3600

WORLD_GRID = 0.475
"""Carbon intensity of electricity [kg CO₂/kWh]: world average, 2018 (IEA, Global Energy & CO2 Status Report)."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The cost of a step from `begin` to `end` of a run, both as shares of it [-].

    `weight_sparsity` is over all conv and linear weights [-], `training_macs` are per sample.
    """

    begin: float
    end: float
    weight_sparsity: float
    training_macs: float


@dataclass(frozen=True, kw_only=True, repr=False)
class RunPlan(Result):
    """A run of `epochs` epochs, dense and sparse. Its repr is the report.

    `estimate` is of a step on one GPU: its batch size is a GPU's share of `batch_size`, its steps are the iterations.
    `watts` is the power of a GPU [W], None if unknown; `pue` the data centre's power over its machines' [-]; `grid` the
    carbon intensity [kg CO₂/kWh]; `price` per GPU-hour in `currency`; `link` the bandwidth between GPUs [bytes/s].
    `execution` says how the GPUs execute and share a step.
    """

    report = "run_plan"

    estimate: Estimate
    execution: Execution
    recipe: Recipe | None
    dataset: str
    samples: int
    epochs: int
    batch_size: int
    gpus: int
    watts: float | None
    pue: float
    grid: float
    price: float | None
    currency: str
    link: float | None

    @property
    def iterations(self) -> int:
        """Optimizer steps: epochs · ceil(samples / batch_size); the last batch of an epoch may be smaller."""
        return self.epochs * ceil(self.samples / self.batch_size)

    @property
    def training_flops(self) -> Cost:
        """FLOPs of the whole run, 2 per MAC."""
        return self._flops(self.estimate.costs.training)

    @property
    def exact_flops(self) -> Cost:
        """FLOPs of the whole run under the convention `exact`."""
        return self._flops(self.estimate.exact.training)

    def _flops(self, training: Cost) -> Cost:
        return FLOPS_PER_MAC * self.epochs * self.samples * training

    @property
    def topk_refreshes(self) -> int:
        """How often thresholds are recomputed: in the first iteration, and once per period after it."""
        selects = self.estimate.topk_seconds > 0
        return ceil(self.iterations / self.estimate.topk_period) if selects else 0

    @property
    def topk_seconds(self) -> float:
        """The time that all refreshes add to the run [s]."""
        found = self.estimate
        return self.topk_refreshes * float(found.times.added_topk_seconds(found.topk_period))

    @property
    def seconds(self) -> Cost:
        """The time of the whole run [s], Top-K included."""
        found = self.estimate
        steps = self.iterations * Cost(found.dense_step.seconds, found.sparse_step_seconds)
        return steps + Cost(0, self.topk_seconds)

    @property
    def speedup(self) -> float:
        """Ideal speedup of the run [-]; unlike an estimate's, with a whole number of Top-K refreshes."""
        return self.seconds.dense / self.seconds.sparse

    @property
    def topk_share(self) -> float:
        """Top-K's share of the sparse run's time [-]."""
        return self.topk_seconds / self.seconds.sparse

    @property
    def gpu_hours(self) -> Cost:
        """GPU-hours."""
        return self.gpus / _SECONDS_PER_HOUR * self.seconds

    @property
    def energy_kwh(self) -> Cost | None:
        """Energy [kWh] at `watts` throughout, assumed the same for dense and sparse steps; None if unknown."""
        if self.watts is None:
            return None
        return self.gpus * self.watts * self.pue / _JOULES_PER_KWH * self.seconds

    @property
    def co2_kg(self) -> Cost | None:
        """Carbon dioxide emitted for that energy [kg]."""
        energy = self.energy_kwh
        return None if energy is None else self.grid * energy

    @property
    def money(self) -> Cost | None:
        """The cost of the GPU-hours in `currency`; None without a price."""
        return None if self.price is None else self.price * self.gpu_hours

    @property
    def gradient_bytes(self) -> Cost:
        """Gradients per step, averaged over the run [bytes].

        Fewer than dense only in steps where the method needs the gradients of active weights alone.
        """
        found = self.estimate.memory.gradients
        phases = self.estimate.plan.method.schedule(self.estimate.steps)
        saved = sum(each.share * each.scale for each in phases if not each.dense_weight_gradient)
        return Cost(found.dense, found.dense - saved * (found.dense - found.sparse))

    @cached_property
    def dense_step(self) -> StepMemory:
        """The memory of a dense step on one of the GPUs."""
        return dense_step(self.estimate.network, self.estimate.batch_size, self.execution)

    @property
    def traffic_bytes(self) -> Cost:
        """What each GPU sends per step [bytes]: for data parallel 2 · (G − 1) / G of the gradients, for G GPUs.

        A ring all-reduce (Patarasuk and Yuan, 2009). Sparse gradients are sent without indices: all GPUs know the mask.
        If the state is sharded, parameters are sent, too.
        """
        if self.execution.sharding.name != "ddp":
            return Cost(self.dense_step.sent_bytes, self.dense_step.sent_bytes)
        return float(sent_share("all-reduce", self.gpus)) * self.gradient_bytes

    @property
    def traffic_seconds(self) -> Cost | None:
        """Communication time of all iterations with no overlap [s]; None without a link."""
        return None if self.link is None else self.iterations / self.link * self.traffic_bytes

    @property
    def peak_bytes(self) -> Cost:
        """Peak memory per GPU [bytes]; sparse: each tensor in its smallest format.

        Of the steps of the run, those that take the most: the least sparse ones, and those with dense gradients.
        """
        found = self.estimate
        if not found.plan.asks_for_sparsity:
            return Cost(self.dense_step.peak.bytes, self.dense_step.peak.bytes)
        least = min(each.scale for each in found.plan.method.schedule(found.steps))
        plan = replace(found.plan, layers=tuple(each.scaled(least) for each in found.plan.layers))
        view = view_of(found.network, plan, found.batch_size, self.execution)
        return Cost(view.dense.peak.bytes, view.largest_compressed_peak)

    def curve(self) -> list[Moment]:
        """The method's schedule over the run; alternating phases are averaged into one moment."""
        found, moments, begin = self.estimate, [], 0.0
        for phases in found.counting.stages(found.plan.method):
            share = sum(each.share for each in phases)
            whole = [replace(each, share=each.share / share) for each in phases]
            costs = summed(found.counting.layers(found.network, found.plan, whole), found.network, found.batch_size)
            moments.append(
                Moment(
                    begin=begin,
                    end=begin + share,
                    weight_sparsity=found.weight_sparsity * phases[0].scale,
                    training_macs=costs.training.sparse,
                )
            )
            begin += share
        return moments


PLANNING = Scope(
    without={"steps": "a plan computes them from epochs, samples and batch size, leave them out"},
    default_is={
        "batch_size": "the recipe's, or 32",
        "period": "the recipe's, or 1000",
        "method": "the recipe's, or swat",
        "last_layer": "the recipe's, or sparse",
    },
)
"""The settings of a plan: `batch_size` is over all GPUs, and defaults are the recipe's."""


class Asked(Settings, ExecutingRun, StepAsked, total=False):
    """The keywords of `plan_run` beside its own: the settings of `estimate`, the step, and how it is executed."""


def plan_run(
    network: "Network | str | Path | nn.Module",
    *,
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    recipe: str | Recipe | None = None,
    dataset: str | None = None,
    samples: int | None = None,
    epochs: int | None = None,
    gpus: int | None = None,
    watts: float | None = None,
    pue: float = 1.0,
    grid: float = WORLD_GRID,
    price: float | None = None,
    currency: str = "USD",
    link: str | float | None = None,
    **settings: Unpack[Asked],
) -> RunPlan:
    """Plans a whole run.

    recipe is one of the paper's (Tables 12 to 14), by default the network's own if it has one; other arguments override
    it. dataset or samples sets the samples per epoch. The batch is over all gpus. watts is the power of a GPU, by
    default the board power in the device's profile; pue the data centre's energy over its machines'; grid the carbon
    intensity [kg CO₂/kWh]; price per GPU-hour; link the bandwidth between GPUs [bytes/s, or a string such as "25GB"].
    network, its inputs, loss, checkpoint, offload, hold_outputs and how a step is executed are as in
    `planning.memory_of`: they decide the peak and what GPUs send, and recomputation costs FLOPs. settings are those of
    `estimate`.

    Raises SwatcostError for invalid arguments, and if the epochs or the samples are not known.

    >>> plan_run("resnet50", weights=0.8, acts=0.8).iterations  # Table 14: 90 epochs of ceil(1,281,167 / 256) = 5005
    450450
    """
    network, execution, left = trained(network, settings, input_shape=input_shape, example_inputs=example_inputs)
    asked = PLANNING.given(left)
    chosen = recipe_of(network.name) if recipe is None else RECIPES.choose(recipe)
    if samples is None:
        named = chosen.dataset if dataset is None and chosen else dataset
        samples = None if named is None else DATASETS[named].samples
        dataset = named
    elif dataset is not None:
        raise SwatcostError("samples: the dataset sets them already, leave one of the two out")
    if chosen is not None:
        epochs, gpus = _or(epochs, chosen.epochs), _or(gpus, chosen.gpus)
        asked = {
            "method": chosen.method, "last_layer": chosen.last_layer, "period": chosen.period,
            "batch_size": chosen.batch_size, **asked,
        }  # fmt: skip
    missing = [name for name, value in (("epochs", epochs), ("dataset or samples", samples)) if value is None]
    if missing or epochs is None or samples is None:
        raise SwatcostError(
            f"{network.name}: the paper has no recipe for this network: give {' and '.join(missing)}, or a recipe "
            f"({', '.join(RECIPES.names())})"
        )
    samples, epochs = checked_count(samples, "samples"), checked_count(epochs, "epochs")
    setting, gpus = EVERY_SETTING.setting(asked), checked_count(_or(gpus, 1), "gpus")
    batch_size = setting.batch_size
    if batch_size % gpus:
        raise SwatcostError(f"batch_size {batch_size}: {gpus} GPUs cannot split it evenly, give a multiple of {gpus}")
    for name, value, least in (("watts", watts, 0), ("pue", pue, 1), ("grid", grid, 0), ("price", price, 0)):
        if value is not None and not least <= value < 1e9:
            raise SwatcostError(f"{name} {value:g}: give a number of at least {least}")
    steps = epochs * ceil(samples / batch_size)
    execution = execution.on(gpus)
    found = estimate_setting(network, setting.but(batch_size=batch_size // gpus, steps=steps))
    return RunPlan(
        estimate=found, execution=execution, recipe=chosen, dataset=dataset or f"{samples:,} samples",
        samples=samples, epochs=epochs,
        batch_size=batch_size, gpus=gpus, watts=found.device.watts if watts is None else watts, pue=pue, grid=grid,
        price=price, currency=currency, link=None if link is None else rate_of(link),
    )  # fmt: skip


def _or(given: int | None, otherwise: int) -> int:
    return otherwise if given is None else given
