"""The pipeline: a network, what is made sparse, how it is counted, on which machine → an Estimate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swatcost.accelerator.architecture import Architecture, architecture_named, device_of
from swatcost.checks import checked_count, checked_default, checked_network
from swatcost.counting import counted_layers, summed
from swatcost.counting.conventions import CONVENTIONS, DEFAULT_ACT_SPARSITY, EXACT, Convention
from swatcost.counting.costs import PassCosts
from swatcost.devices import Device, StepTime, load_device
from swatcost.distributions import Distribution, distribution_of
from swatcost.memory import Memory, activation_reduction, step_memory
from swatcost.methods import METHODS, LayerSparsity, Method
from swatcost.network import Network, Uncounted
from swatcost.network.layer import Layer
from swatcost.sparsity import DenseOrSparse, SparsityPlan, sparsity_plan
from swatcost.timing import topk
from swatcost.timing.selection import Selecting, masked_sizes, topk_seconds

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """One layer's share: its parameters [-], not counting those of an earlier layer, and MACs per sample.

    `exact` are the MACs by the convention `exact`, whichever `costs` are by.
    """

    layer: Layer
    sparsity: LayerSparsity
    params: int
    costs: PassCosts
    exact: PassCosts


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a network costs to train densely and sparsely. Its repr is the table.

    `layers` holds the conv and linear layers and the products of activations in execution order; `costs` is their
    sum and `exact` the same under the convention `exact`, in MACs per sample. Times are in seconds for one step of
    batch_size samples. `simulated_reduction` is of their cycles where the device is an architecture.
    """

    network: Network
    plan: SparsityPlan
    convention: Convention
    device: Device
    batch_size: int
    topk_period: int
    steps: int
    default_act_sparsity: float
    layers: tuple[LayerEstimate, ...]
    costs: PassCosts
    exact: PassCosts
    activation_reduction: float
    memory: Memory
    dense_step: StepTime
    selecting: Selecting
    topk_seconds: float
    simulated_reduction: float | None = None

    @property
    def time_reduction(self) -> float:
        """1 − sparse / dense time of a step without Top-K: that of its FLOPs (A.4), or what was simulated."""
        return self.training_reduction if self.simulated_reduction is None else self.simulated_reduction

    @property
    def training_reduction(self) -> float:
        """1 − sparse / dense MACs of a training step, on average over the run."""
        return self.costs.training.reduction

    @property
    def inference_reduction(self) -> float:
        """1 − sparse / dense MACs of a forward pass of the model that training ends with."""
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
        """The fraction of elements entering conv and linear layers that is masked."""
        layers = [each for each in self.layers if each.layer.is_weight_layer]
        elements = [self.network.input_elements(each.layer) for each in layers]
        masked = sum(size * each.sparsity.activation for size, each in zip(elements, layers, strict=True))
        return masked / sum(elements) if elements else 0.0

    @property
    def channels_pruned(self) -> float | None:
        """Of the R × S kernels in layers that are not kept dense, the fraction pruned; None if it prunes none whole."""
        if not self.plan.method.structured:
            return None
        by_weight = self.plan.by_weight(self.network)
        layers = [(layer, sparsity) for layer, sparsity in by_weight if layer.weight not in self.plan.kept_dense]
        kernels = sum(layer.kernels for layer, _ in layers)
        return sum(layer.kernels * sparsity.weight for layer, sparsity in layers) / kernels if kernels else 0.0

    @property
    def sparse_step_seconds(self) -> float:
        """A sparse step [s] without Top-K."""
        return (1 - self.time_reduction) * self.dense_step.seconds

    @property
    def speedup(self) -> float:
        """Dense time over sparse time with Top-K every topk_period iterations (Eqs. 7 and 8)."""
        return self.speedup_every(self.topk_period)

    @property
    def speedup_limit(self) -> float:
        """The speedup without any Top-K overhead."""
        return topk.speedup_limit(self.time_reduction)

    @property
    def break_even_period(self) -> int | None:
        """The smallest period at which sparse training takes no longer than dense; None if there is none."""
        return topk.break_even_period(
            dense_step_seconds=self.dense_step.seconds,
            training_reduction=self.time_reduction,
            topk_seconds=self.topk_seconds,
            hidden=self.selecting.hidden,
        )

    @property
    def topk_seconds_by_idea(self) -> dict[str, float]:
        """One Top-K [s] as the device's profile did it, and as each idea of A.4 that was asked for changes it, in turn.

        What `hidden` leaves is what a period does not cover (`topk.exposed_seconds`).
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
        """What a Top-K that runs beside training adds to its period [s]."""
        return topk.exposed_seconds(
            topk_seconds=self.topk_seconds, sparse_step_seconds=self.sparse_step_seconds, period=self.topk_period
        )

    def _topk_seconds(self, selecting: Selecting) -> float:
        return topk_seconds(self.network, self.plan, self.device, self.batch_size, selecting)

    @property
    def masked_step_seconds(self) -> float | None:
        """A step [s] on this machine with dense kernels on masked tensors, which is what can be run without sparse
        hardware: the dense step, masking, and a Top-K's share. None where the device has no time for masking.
        """
        if self.device.masking is None:
            return None
        sizes = masked_sizes(self.network, self.plan, self.batch_size)
        masking = sum(self.device.masking.seconds(elements) for elements in sizes)
        return self.dense_step.seconds + masking + self.topk_seconds / self.topk_period

    @cached_property
    def uncounted(self) -> tuple[Uncounted, ...]:
        """What was met and not counted, normalisations included, by operation."""
        norms: dict[str, list[str]] = {}
        for layer in self.network.layers:
            if layer.is_norm:
                norms.setdefault(layer.kind, []).append(layer.name)
        met = [
            Uncounted(operation=kind, products=False, calls=len(names), places=tuple(dict.fromkeys(names)))
            for kind, names in norms.items()
        ]
        return (*met, *self.network.uncounted)

    @property
    def assumptions(self) -> list[str]:
        """What the numbers rest on, in sentences."""
        from swatcost.report.assumptions import assumptions

        return assumptions(self)

    def speedup_every(self, period: float) -> float:
        """The speedup with a Top-K every so many iterations."""
        return self._speedup(self.time_reduction, period)

    def speedup_at(self, training_reduction: float) -> float:
        """The speedup at another reduction of training FLOPs, with this estimate's times."""
        return self._speedup(training_reduction, self.topk_period)

    def _speedup(self, training_reduction: float, period: float) -> float:
        return topk.speedup(
            dense_step_seconds=self.dense_step.seconds,
            training_reduction=training_reduction,
            topk_seconds=self.topk_seconds,
            period=period,
            hidden=self.selecting.hidden,
        )

    def to_dict(self) -> dict[str, Any]:
        """The estimate as plain data, as `--format json` prints it."""
        from swatcost.report.json import to_dict

        return to_dict(self)

    def to_frame(self) -> pandas.DataFrame:
        """A pandas DataFrame with a row a layer."""
        import pandas

        from swatcost.report.rows import layer_rows

        return pandas.DataFrame(layer_rows(self))

    def __repr__(self) -> str:
        from swatcost.report import render

        return render(self, "table")

    def _repr_html_(self) -> str:
        from swatcost.report.html import to_html

        return to_html(self)


def estimate(
    network: Network | str | Path,
    *,
    weights: float | None = None,
    acts: float | None = None,
    grads: float | None = None,
    period: int = 1000,
    method: str | Method = "swat",
    distribution: str | Distribution | Callable[[Sequence[Layer], float | None], Sequence[float]] = "uniform",
    convention: str | Convention = "swat",
    device: str | Path | Device | Architecture = "rtx2080ti",
    batch_size: int = 32,
    source: Any = None,
    default_act_sparsity: float | str | Path = DEFAULT_ACT_SPARSITY,
    steps: int = 32_000,
    first_layer: DenseOrSparse | None = None,
    last_layer: DenseOrSparse | None = None,
    keep_dense: Sequence[str] | None = None,
    selection: str | None = None,
    one_sample: bool = False,
    hidden: bool = False,
) -> Estimate:
    """Estimates what a network costs to train.

    network is a Network, a zoo name, or the path of a saved trace. weights and acts are target sparsities,
    fractions of zeros in [0, 1), of weights and activations, grads of outputs and their gradients for the methods
    that thin those. acts=None follows the weights where the distribution has it so (ERK), or else is 0. period is
    the number of iterations from one Top-K to the next. source is the file or mapping that the distribution reads.
    default_act_sparsity is what ReLU leaves, for the methods that conventions charge with it, or the record of a run
    (.jsonl) that measured it. steps is the length
    of the run over which a method's schedule is averaged. first_layer and last_layer are "dense" or "sparse"; None
    leaves the first to the distribution (uniform keeps it dense) and the last sparse. keep_dense holds patterns of
    layer names that stay dense; None leaves that to the method. selection names another way to find thresholds than the
    device's own, one_sample has those of activations found on one sample for the batch, hidden has selections run
    beside training (A.4). method, distribution, convention and device are
    names, or such objects themselves; device may also be an architecture (`swatcost.accelerator`), whose
    speedup is simulated; distribution may also be a function (layers, target) → sparsities, and device
    the path of a profile of one's own.

    Raises SwatcostError for anything that cannot be used.

    >>> import swatcost
    >>> round(swatcost.estimate("resnet50", weights=0.8, acts=0.8).training_reduction, 4)  # Table 3: 76.1 %
    0.7612
    """
    period = checked_count(period, "period")
    batch_size = checked_count(batch_size, "batch_size")
    steps = checked_count(steps, "steps")
    counted = CONVENTIONS.choose(convention)
    architecture = architecture_named(device)
    profile = _profile(device) if architecture is None else device_of(architecture)
    strategy = distribution_of(distribution)
    network = checked_network(network)
    default_act_sparsity = checked_default(default_act_sparsity, network)

    plan = sparsity_plan(
        network,
        method=METHODS.choose(method),
        distribution=strategy,
        weights=weights,
        acts=acts,
        grads=grads,
        source=source,
        first_layer=first_layer,
        last_layer=last_layer,
        keep_dense=keep_dense,
    )
    charged = default_act_sparsity * plan.asks_for_sparsity  # dense training is the baseline, not charged
    selecting = Selecting(selection, bool(one_sample), bool(hidden))
    selecting.check(plan.method)
    of_layers = counted_layers(network, plan, counted, steps, charged)
    executed = counted_layers(network, plan, EXACT, steps, charged)
    exact = summed(executed, network)
    found = Estimate(
        network=network,
        plan=plan,
        convention=counted,
        device=profile,
        batch_size=batch_size,
        topk_period=period,
        steps=steps,
        default_act_sparsity=default_act_sparsity,
        layers=_layer_estimates(network, plan, of_layers, executed),
        costs=summed(of_layers, network),
        exact=exact,
        activation_reduction=activation_reduction(network, plan, counted),
        memory=step_memory(network, plan, batch_size),
        dense_step=profile.dense_step(
            network.name, exact.training.dense, batch_size, network.traffic_bytes(batch_size)
        ),
        selecting=selecting,
        topk_seconds=topk_seconds(network, plan, profile, batch_size, selecting),
    )
    return found if architecture is None else _simulated(found, architecture)


def _profile(device: str | Path | Device | Architecture) -> Device:
    assert not isinstance(device, Architecture)
    return device if isinstance(device, Device) else load_device(device)


def _simulated(estimate: Estimate, architecture: Architecture) -> Estimate:
    """The estimate with the times of a simulated step in place of ideal ones."""
    from swatcost.accelerator.cycles import Cycles
    from swatcost.accelerator.layer_cycles import layer_cycles  # imports numpy, which other devices do without

    layers = layer_cycles(estimate.network, estimate.plan, estimate.batch_size, architecture)
    cycles = sum((each.training for each in layers), Cycles())
    seconds = cycles.dense * estimate.batch_size / architecture.clock
    return replace(
        estimate,
        dense_step=StepTime(seconds, None, False),
        simulated_reduction=float(1 - cycles.sparse / cycles.dense),
    )


def _layer_estimates(
    network: Network, plan: SparsityPlan, counted: Sequence[PassCosts], executed: Sequence[PassCosts]
) -> tuple[LayerEstimate, ...]:
    """Each layer's share, from what it costs over the traced batch under the convention asked for and under exact."""
    sizes = {parameter.name: parameter.elements for parameter in network.parameters}
    return tuple(
        LayerEstimate(
            layer=layer,
            sparsity=sparsity,
            params=sum(sizes.pop(name, 0) for name in layer.parameters),  # a shared parameter is popped once
            costs=costs.per_sample(network.batch_size),
            exact=exact.per_sample(network.batch_size),
        )
        for (layer, sparsity), costs, exact in zip(plan.by_layer(network), counted, executed, strict=True)
    )
