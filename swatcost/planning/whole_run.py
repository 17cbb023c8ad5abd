"""A planned training run: what it takes, from the estimate of one micro-batch and how GPUs share a step."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

from swatcost.common.result import Result
from swatcost.counting.costs import FLOPS_PER_MAC, Cost, per_token
from swatcost.counting.two_four import TwoFour, two_four
from swatcost.estimate import Estimate
from swatcost.memory.dense_step import StepMemory, dense_step, part_of
from swatcost.memory.execution import Execution
from swatcost.memory.kept_values import inactive_gradient_bytes
from swatcost.memory.precisions import FULL
from swatcost.planning.answers import Answers
from swatcost.planning.capacity import view_of
from swatcost.planning.communication import Communication, backward_share, divided_share
from swatcost.planning.recipes import Recipe

_JOULES_PER_KWH = 3.6e6
_SECONDS_PER_HOUR = 3600

PFLOP_S_DAY = 1e15 * 86_400
"""FLOPs of a day at one PFLOP/s, the unit in which papers give a run's training compute."""

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
    """A run of `epochs` epochs, dense and sparse: times, and what follows from them, by three accounts (`Answers`).

    Its repr is the report. A run that is asked for in tokens, `tokens_asked`, is one epoch of as many samples as hold
    them, of which the last may not be whole.

    `execution` says how the `gpus` execute and share a step: its `replicas` share the `batch_size` samples of an
    iteration, each in `accumulate` micro-batches. `estimate` is of one micro-batch on one GPU, and its steps are the
    iterations. `watts` is the power of a GPU [W], None if unknown; `pue` the data centre's power over its machines'
    [-]; `grid` the carbon intensity [kg CO₂/kWh]; `price` per GPU-hour in `currency`; `link` the bandwidth between
    GPUs [bytes/s], None if unknown, and `link_given` whether it was given or is the device's.
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
    link_given: bool = False
    tokens_asked: int | None = None

    @property
    def tokens(self) -> float | None:
        """Tokens that the run trains on, counting each as often as it is seen; None if the inputs are not tokens."""
        each = self.estimate.tokens_per_sample
        return None if each is None else self.tokens_asked or self.epochs * self.samples * each

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
        each = self.estimate.tokens_per_sample
        if self.tokens_asked is not None and each is not None:
            return self.tokens_asked * per_token(training, each)
        return FLOPS_PER_MAC * self.epochs * self.samples * training

    @property
    def topk_refreshes(self) -> int:
        """How often thresholds are recomputed: in the first iteration, and once per period after it."""
        selects = self.estimate.topk_seconds > 0
        return ceil(self.iterations / self.estimate.topk_period) if selects else 0

    @cached_property
    def topk(self) -> Answers:
        """The time that all refreshes add to the run [s]; hidden ones overlap with all micro-batches of a period."""
        micro_batches, step = self.estimate.topk_period * self.execution.accumulate, self._micro_batch_seconds
        times = replace(
            self.estimate.times, dense_step_seconds=step.dense, reduction=1 - step.ideal / step.dense,
            attainable_step_seconds=step.attainable,
        )  # fmt: skip
        added = Answers(0, *(float(each.added_topk_seconds(micro_batches)) for each in (times.attainable, times)))
        return self._with_fallbacks(self.topk_refreshes * added)

    @property
    def topk_seconds(self) -> float:
        """The time that all refreshes add to the ideal run [s]."""
        return self.topk.ideal

    def _with_fallbacks(self, found: Answers) -> Answers:
        """What is attainable is the simulated answer on an accelerator, and the dense one if nothing is sparse."""
        if self.is_simulated:
            return replace(found, attainable=found.ideal)
        return found if self.estimate.plan.asks_for_sparsity else replace(found, attainable=found.dense)

    @property
    def is_simulated(self) -> bool:
        """Whether sparse times are those of a simulated accelerator's cycles."""
        return self.estimate.simulated_reduction is not None

    @cached_property
    def _micro_batch_seconds(self) -> Answers:
        """The computing time of a micro-batch on one GPU [s], without Top-K; a layer that T GPUs split takes 1/T."""
        found, share = self.estimate, divided_share(self.estimate, self.execution)
        return self._with_fallbacks(
            Answers(
                dense=share.dense * found.dense_step.seconds,
                attainable=share.dense * found.attainable_step.seconds,
                ideal=share.sparse * found.sparse_step_seconds,
            )
        )

    @cached_property
    def compute_seconds(self) -> Answers:
        """The computing time of the whole run [s], Top-K included."""
        return self.iterations * self.execution.accumulate * self._micro_batch_seconds + self.topk

    @property
    def seconds(self) -> Answers:
        """The time of the whole run [s]: computing, and the communication that the backward pass cannot hide.

        Without a link, communication is left out. Hours, energy and cost follow from this time.
        """
        exposed = self.exposed_traffic_seconds
        return self.compute_seconds if exposed is None else self.compute_seconds + exposed

    @property
    def seconds_without_overlap(self) -> Answers | None:
        """The time of the whole run [s] if GPUs compute nothing while they send; None without a link."""
        sending = self.traffic_seconds
        return None if sending is None else self.compute_seconds + sending

    @property
    def tokens_per_second(self) -> Answers | None:
        """Tokens that all GPUs together train on per second; None if the inputs are not tokens."""
        tokens = self.tokens
        return None if tokens is None else self.seconds.each(lambda seconds: tokens / seconds)

    @property
    def utilisation(self) -> float | None:
        """Model FLOPs utilisation (MFU) of the dense run, with what GPUs compute more than once and communication [-].

        None if the device's peaks are not known.
        """
        peak = self.estimate.dense_step.peak_seconds
        if peak is None:
            return None
        micro_batches = self.iterations * self.execution.replicas * self.execution.accumulate
        return micro_batches * peak / (self.gpus * self.seconds.dense)

    @property
    def speedup(self) -> float:
        """Ideal speedup of the run [-]; unlike an estimate's, with a whole number of Top-K refreshes."""
        return self.seconds.ideal_speedup

    @property
    def attainable_speedup(self) -> float:
        """Attainable speedup of the run [-]."""
        return self.seconds.attainable_speedup

    @property
    def topk_share(self) -> float:
        """Top-K's share of the ideal run's time [-]."""
        return self.topk_seconds / self.seconds.ideal

    @property
    def gpu_hours(self) -> Answers:
        """GPU-hours."""
        return self.gpus / _SECONDS_PER_HOUR * self.seconds

    @property
    def energy_kwh(self) -> Answers | None:
        """Energy [kWh] at `watts` throughout, assumed the same for dense and sparse steps; None if unknown."""
        if self.watts is None:
            return None
        return self.gpus * self.watts * self.pue / _JOULES_PER_KWH * self.seconds

    @property
    def co2_kg(self) -> Answers | None:
        """Carbon dioxide emitted for that energy [kg]."""
        energy = self.energy_kwh
        return None if energy is None else self.grid * energy

    @property
    def money(self) -> Answers | None:
        """The cost of the GPU-hours in `currency`; None without a price."""
        return None if self.price is None else self.price * self.gpu_hours

    @cached_property
    def gradient_bytes(self) -> Cost:
        """Gradients that each GPU computes per step, averaged over the run [bytes].

        Fewer than dense only in steps where the method needs the gradients of active weights alone.
        """
        found = self.estimate
        gradients = sum(part_of(found.network, found.batch_size, self.execution).gradients.values())
        held = found.memory.gradients.dense
        saved = sum(
            each.share * inactive_gradient_bytes(found.network, found.plan.during(each))
            for each in found.plan.phases(found.steps)
            if not each.dense_weight_gradient
        )
        added = found.plan.added_bytes(found.network)
        saved -= added * sum(each.share for each in found.plan.phases(found.steps) if each.adds)
        return Cost(gradients, gradients * (1 - saved / held) if held else gradients)

    @cached_property
    def dense_step(self) -> StepMemory:
        """The memory of a dense step on one of the GPUs."""
        return dense_step(self.estimate.network, self.estimate.batch_size, self.execution)

    @cached_property
    def communication(self) -> Communication:
        """What each GPU sends per step, and how long it takes.

        With data parallelism, sparse gradients are sent without indices: all GPUs know the mask.
        """
        once, reduction = self.execution.sharding.once, self.gradient_bytes.reduction
        sent = {
            name: Cost(size, size * (1 - reduction) if once and name == "all-reduce" else size)
            for name, size in self.dense_step.sent.items()
        }
        micro, share = self._micro_batch_seconds, backward_share(self.estimate)
        backward = Answers(share.dense * micro.dense, share.attainable * micro.attainable, share.ideal * micro.ideal)
        return Communication(
            sent=sent,
            backward_seconds=(1 if once else self.execution.accumulate) * backward,
            link=self.link,
            frozen=self.estimate.plan.method.weight_gradient == "none",
        )

    @property
    def traffic_bytes(self) -> Cost:
        """All that each GPU sends per step [bytes]."""
        return self.communication.bytes

    @property
    def traffic_seconds(self) -> Answers | None:
        """Communication time of all iterations with no overlap [s]; None without a link."""
        sending = self.communication.seconds
        return None if sending is None else self.iterations * self._with_fallbacks(sending)

    @property
    def exposed_traffic_seconds(self) -> Answers | None:
        """The communication time of all iterations that the backward pass cannot hide [s]; None without a link."""
        exposed = self.communication.exposed_seconds
        return None if exposed is None else self.iterations * self._with_fallbacks(exposed)

    @cached_property
    def two_four(self) -> TwoFour | None:
        """What fits 2:4 sparsity in a micro-batch, if the weights' pattern is 2:4."""
        found, precision = self.estimate, self.execution.precision
        if found.plan.pattern != (2, 4):
            return None
        halves = precision.autocast or precision.activation < FULL or found.layers[0].layer.element_bytes < FULL
        return two_four(found.network, element="float16" if halves else "float32", batch_size=found.batch_size)

    @property
    def capacity_bytes(self) -> int | None:
        """The memory of a GPU [bytes], None if the device's profile does not say."""
        return self.estimate.device.memory_bytes

    @property
    def fits(self) -> tuple[bool, bool] | None:
        """Whether the peaks of a dense and of a sparse step fit in it; None if it is not known."""
        capacity, peak = self.capacity_bytes, self.peak_bytes
        return None if capacity is None else (peak.dense <= capacity, peak.sparse <= capacity)

    @cached_property
    def peak_bytes(self) -> Cost:
        """Peak memory per GPU [bytes]; sparse: each tensor in its smallest format.

        Of the steps of the run, those that take the most: the least sparse ones, and those with dense gradients.
        """
        found = self.estimate
        if not found.plan.asks_for_sparsity:
            return Cost(self.dense_step.peak.bytes, self.dense_step.peak.bytes)
        least = min(found.plan.phases(found.steps), key=lambda each: (each.scale, -each.density_scale))
        plan = found.plan.during(least)
        view = view_of(found.network, plan, found.batch_size, self.execution)
        return Cost(view.dense.peak.bytes, view.largest_compressed_peak)

    def curve(self) -> list[Moment]:
        """The method's schedule over the run; alternating phases are averaged into one moment."""
        found, moments, begin = self.estimate, [], 0.0
        for phases in found.counting.stages(found.plan):
            share = sum(each.share for each in phases)
            whole = [replace(each, share=each.share / share) for each in phases]
            costs = found.counting.total(found.network, found.plan, whole)
            moments.append(
                Moment(
                    begin=begin,
                    end=begin + share,
                    weight_sparsity=found.plan.during(phases[0]).weight_sparsity(found.network),
                    training_macs=costs.training.sparse,
                )
            )
            begin += share
        return moments
