"""The pipeline: network, sparsity plan, counting convention, device → Estimate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from swatcost.common.result import Result
from swatcost.counting import EXACT, Convention, Cost, Counting, PassCosts, summed
from swatcost.counting.costs import FLOPS_PER_MAC, per_token
from swatcost.counting.off_step import OffStepWork, off_step_work
from swatcost.devices import Device
from swatcost.loading import counted_network, with_input
from swatcost.memory import Memory, activation_reduction, step_memory
from swatcost.memory.precisions import Precision, autocast_of
from swatcost.methods import LayerSparsity
from swatcost.network import Layer, Network, Uncounted
from swatcost.setting import Setting, Settings
from swatcost.sparsity import SparsityPlan, sparsity_plan
from swatcost.timed_step import attainable_of, dense_step_of, numbers_of, precision_of, timed_network
from swatcost.timing.attainable import AttainableStep, Obstacle, obstacles
from swatcost.timing.dense_step import StepTime
from swatcost.timing.selection import Selecting, topk_seconds
from swatcost.timing.times import Times

if TYPE_CHECKING:
    from torch import nn

    from swatcost.accelerator import Architecture


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """One layer: its parameters [-], without those of an earlier layer, and its MACs per sample.

    `costs` are under the chosen convention, `exact` under the convention `exact`.
    """

    layer: Layer
    sparsity: LayerSparsity
    params: int
    costs: PassCosts
    exact: PassCosts


@dataclass(frozen=True, kw_only=True, repr=False)
class Estimate(Result):
    """The cost of training a network, dense and sparse. Its repr is the table.

    `layers` holds the conv and linear layers and the products of activations in execution order; `costs` is their
    sum, with `beside`, the parameters that no layer of them holds where the convention counts those; `exact` is the sum
    under the convention `exact`, in MACs per sample. `dense_step`, `attainable_step` and
    `topk_seconds` are times for one step of batch_size samples. If the device is an architecture, `simulated_reduction`
    is the reduction of its cycles.
    """

    report = "estimate"

    network: Network
    setting: Setting
    plan: SparsityPlan
    counting: Counting
    device: Device
    layers: tuple[LayerEstimate, ...]
    costs: PassCosts
    beside: PassCosts
    exact: PassCosts
    activation_reduction: float
    memory: Memory
    dense_step: StepTime
    attainable_step: AttainableStep
    topk_seconds: float
    simulated_reduction: float | None = None

    @property
    def convention(self) -> Convention:
        """How work is counted."""
        return self.counting.convention

    @property
    def batch_size(self) -> int:
        """Samples in a training step."""
        return self.setting.batch_size

    @property
    def topk_period(self) -> int:
        """Iterations from one Top-K refresh to the next."""
        return self.setting.period

    @property
    def steps(self) -> int:
        """Length of the run over which the method's schedule is averaged [training steps]."""
        return self.setting.steps

    @property
    def default_act_sparsity(self) -> float:
        """Fraction of zeros that ReLU leaves among activations [-], as given or from the record of a run."""
        return self.counting.default_act_sparsity

    @property
    def selecting(self) -> Selecting:
        """How thresholds are found."""
        return self.setting.selecting

    @property
    def off_step(self) -> tuple[OffStepWork, ...]:
        """What the method does between steps, which no total includes."""
        return off_step_work(self.network, self.plan)

    @property
    def step_flops(self) -> float:
        """FLOPs of a sparse training step of the batch, averaged over the run."""
        return FLOPS_PER_MAC * self.batch_size * self.costs.training.sparse

    @property
    def added_params(self) -> int:
        """The parameters that the method adds, such as those of low-rank branches."""
        return self.plan.added_elements(self.network)

    @cached_property
    def times(self) -> Times:
        """The times and speedups of a step, from its FLOPs (A.4) or from simulated cycles."""
        simulated = self.simulated_reduction
        return Times(
            reduction=self.training_reduction if simulated is None else simulated,
            dense_step_seconds=self.dense_step.seconds,
            topk_seconds=self.topk_seconds,
            attainable_step_seconds=self.attainable_step.seconds,
            hidden=self.selecting.hidden,
        )

    @property
    def tokens_per_sample(self) -> float | None:
        """Tokens in a sample, where the inputs are tokens."""
        return self.network.tokens_per_sample

    @property
    def flops_per_token(self) -> Cost | None:
        """FLOPs of training per token, where the inputs are tokens."""
        return None if (tokens := self.tokens_per_sample) is None else per_token(self.costs.training, tokens)

    @property
    def run_macs(self) -> Cost:
        """MACs of the whole run: all of its steps, of one batch each."""
        return self.batch_size * self.steps * self.costs.training

    @property
    def training_reduction(self) -> float:
        """1 − sparse / dense MACs of a training step, averaged over the run."""
        return self.costs.training.reduction

    @property
    def inference_reduction(self) -> float:
        """1 − sparse / dense MACs of a forward pass of the trained model."""
        return self.costs.inference.reduction

    @cached_property
    def non_zero_weights(self) -> float:
        """Expected non-zero weights of conv and linear layers."""
        return self.plan.non_zero_weights(self.network)

    @property
    def model_compression(self) -> float:
        """Weights over non-zero weights of conv and linear layers: the paper's `MC`."""
        return self.plan.model_compression(self.network)

    @property
    def weight_sparsity(self) -> float:
        """The fraction of zeros among all conv and linear weights."""
        return 1 - 1 / self.model_compression

    @property
    def act_sparsity(self) -> float:
        """The fraction of elements entering conv and linear layers that are masked."""
        layers = [each for each in self.layers if each.layer.is_weight_layer]
        elements = [self.network.input_elements(each.layer, self.batch_size) for each in layers]
        masked = sum(size * each.sparsity.activation for size, each in zip(elements, layers, strict=True))
        return masked / sum(elements) if elements else 0.0

    @property
    def channels_pruned(self) -> float | None:
        """The pruned fraction of R × S kernels in layers not kept dense; None if the method is not structured."""
        if not self.plan.method.structured:
            return None
        by_weight = self.plan.by_weight(self.network)
        layers = [(layer, sparsity) for layer, sparsity in by_weight if layer.weight not in self.plan.kept_dense]
        kernels = sum(layer.kernels for layer, _ in layers)
        return sum(layer.kernels * sparsity.weight for layer, sparsity in layers) / kernels if kernels else 0.0

    @property
    def sparse_step_seconds(self) -> float:
        """The time of a sparse step without Top-K [s]."""
        return float(self.times.sparse_step_seconds)

    @property
    def speedup(self) -> float:
        """Dense time over sparse time with a Top-K refresh every topk_period iterations (Eqs. 7 and 8)."""
        return self.speedup_every(self.topk_period)

    @property
    def speedup_limit(self) -> float:
        """The speedup without Top-K overhead."""
        return float(self.times.speedup_limit)

    @property
    def break_even_period(self) -> int | None:
        """The smallest period at which sparse training takes no longer than dense; None if there is none."""
        period: int | None = self.times.break_even_period()
        return period

    @property
    def topk_seconds_by_idea(self) -> dict[str, float]:
        """The time of one Top-K refresh [s] as measured in the profile, and after each chosen idea of A.4 in turn.

        With `hidden` it is the exposed time (`topk.exposed_seconds`).
        """
        by_idea = {"as measured": self._topk_seconds(Selecting())}
        chosen = self.selecting
        if chosen.algorithm is not None:
            by_idea[chosen.algorithm] = self._topk_seconds(Selecting(chosen.algorithm))
        if chosen.one_sample:
            by_idea["one sample"] = self._topk_seconds(Selecting(chosen.algorithm, True))
        if chosen.hidden:
            by_idea["hidden"] = self.exposed_topk_seconds
        return by_idea

    @property
    def exposed_topk_seconds(self) -> float:
        """The time that an overlapped Top-K refresh adds to its period [s]."""
        return float(self.times.exposed_topk_seconds(self.topk_period))

    def _topk_seconds(self, selecting: Selecting) -> float:
        return topk_seconds(self.network, self.plan, self.device, self.batch_size, selecting)

    @property
    def precision(self) -> Precision:
        """In what a step is timed: as given, or as traced."""
        return precision_of(self.network, self.setting)

    @property
    def timed_in_single_precision(self) -> bool:
        """Whether the device has no times in the step's precision, so that those of single precision stand for it."""
        return self.dense_step.numbers != numbers_of(self.precision, self.network)

    @cached_property
    def masked_step(self) -> AttainableStep:
        """A sparse step with dense kernels on masked tensors, which needs no sparse hardware."""
        plain = replace(self.setting, device=replace(self.device, kernels=()))
        return attainable_of(self.network, self.plan, plain, self.dense_step)

    @property
    def masked_step_seconds(self) -> float | None:
        """The time of that step with its share of a Top-K refresh [s]. None if the device has no time for masking."""
        if not self.masked_step.masking_known:
            return None
        times = replace(self.times, attainable_step_seconds=self.masked_step.seconds)
        return self.dense_step.seconds / float(times.attainable.speedup(self.topk_period))

    @property
    def attainable_seconds(self) -> float:
        """The attainable time of a sparse step, with its share of a Top-K refresh every topk_period iterations [s]."""
        return self.dense_step.seconds / self.attainable_speedup

    @property
    def attainable_speedup(self) -> float:
        """Dense over attainable time with a Top-K refresh every topk_period iterations [-]."""
        return self.attainable_every(self.topk_period)

    def attainable_every(self, period: float) -> float:
        """The attainable speedup with a Top-K refresh every `period` iterations [-]."""
        return float(self.times.attainable.speedup(period))

    @cached_property
    def kernel_obstacles(self) -> dict[str, Obstacle | None]:
        """By sparse kernel of the device, what keeps it from running any pass of this step; None if nothing does."""
        return obstacles(self.network, self.plan, self.device, self.dense_step, self.batch_size)

    @cached_property
    def uncounted(self) -> tuple[Uncounted, ...]:
        """Operations that were seen but not counted, including normalisations."""
        norms: dict[str, list[str]] = {}
        for layer in self.network.layers:
            if layer.is_norm:
                norms.setdefault(layer.kind, []).append(layer.name)
        seen = [
            Uncounted(operation=kind, products=False, calls=len(names), places=tuple(dict.fromkeys(names)))
            for kind, names in norms.items()
        ]
        return (*seen, *self.network.uncounted)

    @property
    def assumptions(self) -> list[str]:
        """The assumptions behind the numbers, in sentences."""
        sentences: list[str] = self._reported("assumptions")
        return sentences

    def speedup_every(self, period: float) -> float:
        """The speedup with a Top-K refresh every `period` iterations."""
        return float(self.times.speedup(period))

    def speedup_at(self, training_reduction: float) -> float:
        """The speedup at another reduction of training FLOPs, with this estimate's times."""
        return float(replace(self.times, reduction=training_reduction).speedup(self.topk_period))


def estimate(
    network: Network | str | Path | nn.Module,
    *,
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    batch_dim: int | None = None,
    checkpoint: str | Iterable[str] | None = None,
    **settings: Unpack[Settings],
) -> Estimate:
    """Estimates what a network costs to train.

    network is a Network, what `load` takes, such as a zoo name or the path of a saved trace, or a torch module, which
    is traced with the shape of one sample, input_shape, or with example_inputs, whose samples batch_dim counts, as
    `trace` takes them. checkpoint is a pattern of module names, or several: what if these modules were checkpointed.
    The settings, each with a default:

    - weights, acts, grads: target sparsities, fractions of zeros in [0, 1), of weights, of activations, and of outputs
      and their gradients for the methods that make those sparse. Without acts, activations follow the weights under
      distributions such as ERK, and are dense otherwise;
    - period: iterations from one Top-K refresh to the next, 1000;
    - method, distribution, convention: names ("swat", "uniform", "swat") or objects; distribution may also be a
      function (layers, target) → sparsities, and source is the file or mapping that the distribution reads;
    - device: a name ("rtx2080ti"), the path of a profile, a Device, or an architecture (`swatcost.accelerator`), whose
      speedup is simulated;
    - batch_size: samples in a training step, 32;
    - steps: length of the run over which a method's schedule is averaged, 32,000;
    - default_act_sparsity: fraction of zeros that ReLU leaves, by which conventions reduce the cost of some methods,
      0.5, or the record of a run (.jsonl) that measured it;
    - first_layer, last_layer: "dense" or "sparse"; by default the distribution decides about the first (uniform keeps
      it dense) and the last is sparse. keep_dense: patterns of layer names to keep dense; by default the method's, and
      none with "none". dense_budget: "inside" or "outside", whether layers kept dense count towards a target that is
      a total, as in er, erk, momentum and global;
    - selection: an algorithm to find thresholds, instead of the device's own; one_sample: find activation thresholds
      on one sample of the batch; hidden: overlap selections with training (A.4).

    Raises SwatcostError for anything that cannot be used.

    >>> import swatcost
    >>> round(swatcost.estimate("resnet50", weights=0.8, acts=0.8).training_reduction, 4)  # Table 3: 76.1 %
    0.7612
    """
    setting = Setting.of(**settings)
    traced = with_input(
        network,
        input_shape=input_shape,
        example_inputs=example_inputs,
        batch_dim=batch_dim,
        checkpoint=checkpoint,
        autocast=autocast_of(setting.precision),
        under_amp=False,
    )
    return estimate_setting(counted_network(traced), setting)


def estimate_setting(network: Network, setting: Setting, update_share: float = 1.0) -> Estimate:
    """Estimates what a network costs to train with this setting.

    `update_share` [-] of the optimizer's update is part of a step's time: less than 1 where several micro-batches or
    GPUs share an update. Raises SwatcostError as `estimate` does.
    """
    network = timed_network(network, setting)
    counting, device, plan = setting.counting(network), setting.profile, plan_of(network, setting)
    counted, executed = counting.layers(network, plan), counting.under(EXACT).layers(network, plan)
    exact, beside = summed(executed, network, setting.batch_size), counting.beside(network)
    dense = dense_step_of(network, setting, exact, update_share)
    found = Estimate(
        network=network,
        setting=setting,
        plan=plan,
        counting=counting,
        device=device,
        layers=_layer_estimates(network, plan, setting.batch_size, counted, executed),
        costs=summed(counted, network, setting.batch_size) + beside,
        beside=beside,
        exact=exact,
        activation_reduction=activation_reduction(network, plan, setting.convention, setting.batch_size),
        memory=step_memory(network, plan, setting.batch_size),
        dense_step=dense,
        attainable_step=attainable_of(network, plan, setting, dense),
        topk_seconds=topk_seconds(network, plan, device, setting.batch_size, setting.selecting),
    )
    return found if isinstance(setting.device, Device) else _simulated(found, setting.device)


def under(found: Estimate, convention: Convention) -> Estimate:
    """The same estimate under another convention: what is sparse, memory and the machine's times stay."""
    network, counting = found.network, found.counting.under(convention)
    counted, beside = counting.layers(network, found.plan), counting.beside(network)
    return replace(
        found,
        setting=found.setting.but(convention=convention),
        counting=counting,
        layers=tuple(
            replace(layer, costs=costs.per_sample(network.samples_of(layer.layer, found.batch_size)))
            for layer, costs in zip(found.layers, counted, strict=True)
        ),
        costs=summed(counted, network, found.batch_size) + beside,
        beside=beside,
        activation_reduction=activation_reduction(network, found.plan, convention, found.batch_size),
    )


def plan_of(network: Network, setting: Setting) -> SparsityPlan:
    """The sparsity of every operand with this setting. Raises SwatcostError as `estimate` does."""
    return sparsity_plan(
        network,
        method=setting.method,
        distribution=setting.distribution,
        weights=setting.weights,
        acts=setting.acts,
        grads=setting.grads,
        source=setting.source,
        first_layer=setting.first_layer,
        last_layer=setting.last_layer,
        keep_dense=setting.keep_dense,
        dense_budget=setting.dense_budget,
    )


def _simulated(estimate: Estimate, architecture: Architecture) -> Estimate:
    """The estimate with the times of a simulated step in place of ideal ones."""
    from swatcost.accelerator.cycles import Cycles
    from swatcost.accelerator.layer_cycles import layer_cycles  # imports numpy, which other devices do not need

    layers = layer_cycles(estimate.network, estimate.plan, estimate.batch_size, architecture)
    cycles = sum((each.training for each in layers), Cycles())
    seconds = cycles.dense * estimate.batch_size / architecture.clock
    return replace(
        estimate,
        dense_step=StepTime(seconds=seconds, basis="simulated"),
        attainable_step=AttainableStep(seconds=(1 - float(cycles.reduction)) * seconds),
        simulated_reduction=float(cycles.reduction),
    )


def _layer_estimates(
    network: Network,
    plan: SparsityPlan,
    batch_size: int,
    counted: Sequence[PassCosts],
    executed: Sequence[PassCosts],
) -> tuple[LayerEstimate, ...]:
    """Each layer's estimate, from its costs over the traced batch under the chosen convention and under exact."""
    sizes = {parameter.name: parameter.elements for parameter in network.parameters}
    return tuple(
        LayerEstimate(
            layer=layer,
            sparsity=sparsity,
            params=sum(sizes.pop(name, 0) for name in layer.parameters),  # a shared parameter is popped once
            costs=costs.per_sample(network.samples_of(layer, batch_size)),
            exact=exact.per_sample(network.samples_of(layer, batch_size)),
        )
        for (layer, sparsity), costs, exact in zip(plan.by_layer(network), counted, executed, strict=True)
    )
