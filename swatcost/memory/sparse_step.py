"""Bytes that sparse training holds for weights and saves for the backward pass, and its peak, in two views.

"Naive": masked dense tensors, which plain PyTorch code saves; more than dense training saves. "Compressed": every
saved tensor in the smallest storage format that the other operations that save it allow, with indices and thresholds,
and every weight in the smallest that the method allows.
"""

from dataclasses import dataclass, replace

from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import StepMemory
from swatcost.memory.held_weights import HeldWeights, held_weights
from swatcost.memory.precisions import FULL
from swatcost.memory.saved_storages import SavedStorage, saved_storages
from swatcost.memory.storage_formats import FORMATS, formats_of, smallest
from swatcost.memory.weight_storage import PARTS, WeightStorage
from swatcost.network import Network
from swatcost.sparsity import SparsityPlan

_ONE_BIT = frozenset({"relu", "relu_", "threshold", "threshold_backward"})
"""Operations whose gradient needs one bit per element of their result: whether it is positive."""


@dataclass(frozen=True)
class Kept:
    """A saved tensor under a sparse method [bytes]: dense, as masked dense tensors (`naive`), and compressed.

    `format` is the format of its compressed values: possibly "dense", and None if no value is needed. With `signs`, one
    bit per element is kept as well. `operation` is the first that saves it, or "layer input" if only layers do.
    `sparsity` [-] is that of its least sparse layer.
    """

    storage: int
    operation: str
    dense: int
    naive: int
    compressed: int
    format: str | None
    signs: bool
    sparsity: float


@dataclass(frozen=True)
class SparseMemory:
    """What a step saves for the backward pass under a sparse method [bytes], compared with the dense step.

    The first `inputs` storages are the network's inputs. Weights are stored as masked dense tensors
    (`naive_weights`), or as small as the method allows (`compressed_weights`); `dense_gradient` are the latter in
    steps that need the gradient of every weight although others do not, None if there are none. `thresholds` are the
    bytes of Top-K's thresholds. `break_even` is the density [-] from which each format no longer saves memory, for the
    largest sparse activation; that of N:M is for the M of the weights.
    """

    dense: StepMemory
    inputs: int
    kept: tuple[Kept, ...]
    naive_weights: HeldWeights
    compressed_weights: HeldWeights
    dense_gradient: HeldWeights | None
    thresholds: int
    break_even: dict[str, float]

    @property
    def dense_weights(self) -> dict[str, int]:
        """The parts that are stored for weights in the dense step [bytes]."""
        held = {**self.dense.constant, "gradients": self.dense.gradients}
        return {name: held.get(name, 0) for name in PARTS}

    @property
    def naive(self) -> int:
        """Saved activations and weight copies as masked dense tensors [bytes]."""
        return sum(each.naive for each in self.kept) + self.naive_weights.saved_copies + self.dense.loss

    @property
    def compressed(self) -> int:
        """Saved activations and weight copies in their smallest formats, and thresholds [bytes]."""
        activations = sum(each.compressed for each in self.kept)
        return activations + self.compressed_weights.saved_copies + self.thresholds + self.dense.loss

    @property
    def naive_peak(self) -> int:
        """The peak [bytes] with masked dense tensors."""
        return self.peak(self.naive_weights, self.naive)

    @property
    def compressed_peak(self) -> int:
        """The peak [bytes] with every tensor in its smallest format, in a step without dense gradients if the method
        has such steps."""
        return self.peak(self.compressed_weights, self.compressed)

    @property
    def dense_gradient_peak(self) -> int | None:
        """The compressed peak [bytes] of a step that needs the gradient of every weight, all held at once; None if no
        step does, or every step. RigL's authors note that it can be computed weight by weight, keeping the largest
        values only: then the step takes little more than the others."""
        return None if self.dense_gradient is None else self.peak(self.dense_gradient, self.compressed)

    @property
    def largest_compressed_peak(self) -> int:
        """The compressed peak [bytes] of the steps that take the most."""
        return max(self.compressed_peak, self.dense_gradient_peak or 0)

    def peak(self, weights: HeldWeights, saved: int) -> int:
        """The peak [bytes] if `saved` bytes replace the saved activations where the passes hold the most.

        A tensor is dense while it is computed and used, so the largest one is added to the compressed bytes. What the
        loss saves stays as it is there. Nothing saved is left when the optimizer updates.
        """
        in_passes = weights.in_passes
        if saved >= self.dense.saved_bytes:
            in_passes += saved - self.dense.saved_bytes
        else:
            at_work = max((each.dense for each in self.kept), default=0)
            inputs = sum(each.dense for each in self.kept if each.storage < self.inputs)
            replaced = weights.saved_activations + min(inputs, weights.inputs)
            in_passes = min(in_passes, in_passes - replaced + saved - self.dense.loss + at_work)
        return max(in_passes, weights.at_update)


def sparse_memory(network: Network, plan: SparsityPlan, step: StepMemory) -> SparseMemory:
    """Bytes that the step saves under the plan, as masked dense tensors and compressed.

    Changes of the execution's weight_storage are of compressed weights.

    Raises SwatcostError if GPUs share the step and do not each hold everything: where sparse shards are then held is
    not modelled.
    """
    shared = step.execution.replicas > 1 and step.execution.sharding.name != "ddp"
    if plan.asks_for_sparsity and (shared or step.execution.tensor_parallel > 1):
        how = step.execution.sharding.name if shared else "tensor parallel"
        raise SwatcostError(
            f"{how}: the memory of {plan.method.name} is modelled only where each GPU holds everything: give sharding "
            "ddp and no tensor_parallel, or plan the dense run beside others with methods (--methods)"
        )
    kept = tuple(_kept(each, network, step.sizes[each.storage], step) for each in saved_storages(network, plan))
    selects = plan.method.selects
    thresholds = sum(
        plan.method.selections * (sparsity.weight > 0 and "weight" in selects)
        + (sparsity.activation > 0 and layer.weight_trains and "activation" in selects)
        for layer, sparsity in plan.by_weight(network)
    )
    value, rows = step.execution.precision.activation, step.batch_size
    columns = max(1, max((each.dense for each in kept if each.sparsity), default=0) // value // rows)
    least = replace(WeightStorage.least(plan.method), **dict(step.execution.weight_storage))
    some_dense = least.gradients == "active" and any(each.dense_weight_gradient for each in plan.phases(1000))
    return SparseMemory(
        dense=step,
        inputs=network.timeline.inputs,
        kept=kept,
        naive_weights=held_weights(network, plan, step, WeightStorage.masked(plan.method)),
        compressed_weights=held_weights(network, plan, step, least),
        dense_gradient=held_weights(network, plan, step, replace(least, gradients="all")) if some_dense else None,
        thresholds=FULL * thresholds,
        break_even={
            name: each.break_even_density(rows, columns, value) for name, each in formats_of(plan.pattern).items()
        },
    )


def _kept(saved: SavedStorage, network: Network, dense: int, step: StepMemory) -> Kept:
    """How a saved storage of `dense` bytes is kept, compressed if all layers and operations that save it allow it."""
    traced = network.storages[saved.storage].float_bytes
    value = step.execution.precision.activation if traced in (0, FULL) else traced
    elements, rows = dense / value, step.batch_size
    nnz = elements * (1 - saved.sparsity)
    format: str | None
    if not traced or not set(saved.operations) <= _ONE_BIT:
        format, signs = "dense", False
    elif not saved.layers:
        format, signs = None, True
    else:
        format, signs = smallest(rows, elements / rows, nnz, value).name, bool(saved.operations)
    values = FORMATS[format].size(rows, elements / rows, nnz, value) if format else 0.0
    compressed = values + (elements / 8 if signs else 0.0)
    if format and compressed >= dense:
        format, signs, compressed = "dense", False, dense
    return Kept(
        storage=saved.storage,
        operation=saved.operations[0] if saved.operations else "layer input",
        dense=dense,
        naive=saved.masked_copies * dense,
        compressed=round(compressed),
        format=format,
        signs=signs,
        sparsity=saved.sparsity,
    )
