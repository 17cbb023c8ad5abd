"""The cycle model: network, plan, batch size and architecture → the cycles of every layer's passes."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from swatcost.accelerator import mapping
from swatcost.accelerator.architecture import Architecture
from swatcost.accelerator.cycles import Cycles, LayerCycles
from swatcost.accelerator.masks import GAUSSIAN, MaskSource
from swatcost.accelerator.pass_cycles import dense_pass, sampled_pass, unmapped_pass, walked_pass
from swatcost.common.errors import SwatcostError
from swatcost.methods import LayerSparsity, Operand
from swatcost.network import Network
from swatcost.network.layer import Layer
from swatcost.network.passes import PASSES, Pass
from swatcost.sparsity import SparsityPlan


def layer_cycles(
    network: Network,
    plan: SparsityPlan,
    batch_size: int,
    architecture: Architecture,
    *,
    masks: MaskSource = GAUSSIAN,
    passes: tuple[Pass, ...] = PASSES,
    threads: int | None = None,
    progress: Callable[[str], object] = lambda layer: None,
) -> tuple[LayerCycles, ...]:
    """The cycles of each counted layer in execution order, per sample of a training step of batch_size samples.

    threads defaults to the number of processors and does not change the numbers; progress is called with the name of
    each finished layer. Raises SwatcostError if the masks' weights are not those of the network, and for a method that
    freezes weights or adds branches.
    """
    if plan.method.weight_gradient == "none" or plan.method.added is not None:
        raise SwatcostError(
            f"method {plan.method.name!r}: frozen weights and added branches are not simulated, choose a device "
            "that is not an architecture"
        )
    places: dict[str, int] = {}
    tasks = [
        (layer, sparsity, places.setdefault(layer.weight, len(places))) for layer, sparsity in plan.by_layer(network)
    ]
    pruned = any(sparsity.weight for _, sparsity, _ in tasks) or masks.brings_zeros(network)
    step = _Step(architecture, masks, plan, pruned, network, batch_size, passes)
    largest_first = sorted(range(len(tasks)), key=lambda number: -tasks[number][0].weight_elements)
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        waiting = {pool.submit(step.layer, *tasks[number]): number for number in largest_first}
        try:
            for done in as_completed(waiting):
                progress(done.result().layer.name)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return tuple(done.result() for done in sorted(waiting, key=waiting.__getitem__))


_LAYOUTS: dict[Pass, tuple[Callable[..., mapping.Filters], Callable[[Layer, mapping.Mask], mapping.Mask]]] = {
    "forward": (mapping.forward_filters, mapping.forward_lines),
    "grad_input": (mapping.grad_input_filters, mapping.grad_input_lines),
}
"""The layouts of the passes that schedule weights."""


@dataclass(frozen=True)
class _Step:
    """What all layers share. `pruned`: some weight is zero; if none is, every line costs a cycle.

    The step has `batch_size` samples.
    """

    architecture: Architecture
    masks: MaskSource
    plan: SparsityPlan
    pruned: bool
    network: Network
    batch_size: int
    passes: tuple[Pass, ...]

    def layer(self, layer: Layer, sparsity: LayerSparsity, place: int) -> LayerCycles:
        if layer.per_step and self.batch_size > 1:  # its windows fill columns once per step, not once per sample
            whole = replace(self, batch_size=1).layer(layer, sparsity, place)
            return replace(whole, passes={each: 1 / self.batch_size * it for each, it in whole.passes.items()})
        found = self._weight_layer(layer, sparsity, place) if layer.is_weight_layer else self._product(layer)
        if layer.real_products > 1:  # each product of complex numbers takes as many slots
            found = {each: layer.real_products * cycles for each, cycles in found.items()}
        return LayerCycles(layer=layer, sparsity=sparsity, passes=found)

    def _product(self, layer: Layer) -> dict[Pass, Cycles]:
        """For a product of activations, grad_input has both gradients."""
        samples = self.network.samples_of(layer, self.batch_size)
        if layer.kind == "custom":
            works = (macs / samples for macs in layer.custom_macs)
            forward, gradients = (unmapped_pass(each, self.architecture) for each in works)
        else:
            filters = mapping.product_filters(layer, samples, self.architecture.columns)
            forward, right, left = (dense_pass(each, self.architecture) for each in filters)
            gradients = (left if layer.input_needs_grad else Cycles()) + (right if layer.weight_trains else Cycles())
        both: dict[Pass, Cycles] = {"forward": forward, "grad_input": gradients}
        return {each: cycles for each, cycles in both.items() if each in self.passes}

    def _weight_layer(self, layer: Layer, sparsity: LayerSparsity, place: int) -> dict[Pass, Cycles]:
        exist = {"forward": True, "grad_input": layer.input_needs_grad, "grad_weight": layer.weight_trains}
        images = layer.images_of_group / self.network.samples_of(layer, self.batch_size)
        found: dict[Pass, Cycles] = {}
        read: dict[float, mapping.Mask] = {}
        for in_pass in (each for each in PASSES if each in self.passes and exist[each]):
            if in_pass == "grad_weight":
                found[in_pass] = self._grad_weight(layer, sparsity, images, place)
                continue
            filters_of, lines_of = _LAYOUTS[in_pass]
            filters = filters_of(layer, images, self.architecture.columns)
            if not (self.pruned and "weight" in self.plan.method.sparse[in_pass]):
                found[in_pass] = dense_pass(filters, self.architecture)
                continue
            method, pattern = self.plan.method, self.plan.pattern
            zeros = method.sparsity_in(in_pass, sparsity.weight)
            if pattern and zeros != sparsity.weight:
                raise SwatcostError(
                    f"method {method.name!r}: under N:M, a set of weights of its own in {in_pass} is not simulated: "
                    "choose a distribution without a pattern"
                )
            if zeros not in read:
                kept = self.masks.of(layer, zeros, place, whole_kernels=method.structured, pattern=pattern)
                read[zeros] = mapping.grouped(layer, kept)
            found[in_pass] = walked_pass(filters, lines_of(layer, read[zeros]), self.architecture)
        return found

    def _grad_weight(self, layer: Layer, sparsity: LayerSparsity, images: float, place: int) -> Cycles:
        """The scheduled operand is the layer's input, or the output gradient if only that is sparse."""
        skipped = self.plan.method.sparse["grad_weight"]
        operand: Operand = "output" if "output" in skipped and "activation" not in skipped else "activation"
        filters = mapping.grad_weight_filters(layer, images, self.architecture.columns, self.batch_size, operand)
        zeros = sparsity.of(operand) if operand in skipped else 0.0
        if not zeros:
            return dense_pass(filters, self.architecture)
        return sampled_pass(filters, zeros, self.masks.numbers(place, 1), self.architecture)
