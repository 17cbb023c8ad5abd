"""Bytes that sparse training saves for the backward pass, and its peak, in two views.

"Naive": masked dense tensors, which plain PyTorch code saves; more than dense training saves. "Compressed": every
tensor in the smallest storage format that the other operations that save it allow, with indices and thresholds.
"""

from dataclasses import dataclass

from swatcost.memory.dense_step import StepMemory, sizes_at
from swatcost.memory.precisions import FULL
from swatcost.memory.saved_storages import SavedStorage, saved_storages
from swatcost.memory.storage_formats import FORMATS, formats_of, smallest
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

    The first `inputs` storages are the network's inputs. Weight copies are the masked weights that the backward pass
    reads; the parameters stay dense because they are updated. Compressed, only weights that a format makes smaller than
    the parameter have a copy (elsewhere the threshold masks the parameter). `thresholds` are the bytes of Top-K's
    thresholds. `break_even` is the density [-] from which each format no longer saves memory, for the largest sparse
    activation; that of N:M is for the M of the weights.
    """

    dense: StepMemory
    inputs: int
    kept: tuple[Kept, ...]
    weight_copies_naive: int
    weight_copies_compressed: int
    thresholds: int
    break_even: dict[str, float]

    @property
    def naive(self) -> int:
        """Saved activations and weight copies as masked dense tensors [bytes]."""
        return sum(each.naive for each in self.kept) + self.weight_copies_naive + self.dense.loss

    @property
    def compressed(self) -> int:
        """Saved activations and weight copies in their smallest formats, and thresholds [bytes]."""
        activations = sum(each.compressed for each in self.kept)
        return activations + self.weight_copies_compressed + self.thresholds + self.dense.loss

    @property
    def naive_peak(self) -> int:
        """The peak [bytes] with masked dense tensors."""
        return self.peak(self.naive)

    @property
    def compressed_peak(self) -> int:
        """The peak [bytes] with every tensor in its smallest format."""
        return self.peak(self.compressed)

    def peak(self, saved: int) -> int:
        """The peak [bytes] if `saved` bytes replace the saved activations in the dense step's peak.

        A tensor is dense while it is computed and used, so the largest one is added to the compressed bytes. What the
        loss saves stays as it is there.
        """
        peak, holds = self.dense.peak.bytes, self.dense.peak.holds
        if saved >= self.dense.saved_bytes:
            return peak + saved - self.dense.saved_bytes
        at_work = max((each.dense for each in self.kept), default=0)
        inputs = sum(each.dense for each in self.kept if each.storage < self.inputs)
        replaced = holds.get("saved activations", 0) + min(inputs, holds.get("input", 0))
        return min(peak, peak - replaced + saved - self.dense.loss + at_work)


def sparse_memory(network: Network, plan: SparsityPlan, step: StepMemory) -> SparseMemory:
    """Bytes that the step saves under the plan, as masked dense tensors and compressed."""
    sizes = sizes_at(network, step.batch_size, step.execution.precision)
    kept = tuple(_kept(each, network, sizes[each.storage], step) for each in saved_storages(network, plan))
    naive, compressed = _weight_copies(network, plan, step)
    selects = plan.method.selects
    thresholds = sum(
        (sparsity.weight > 0 and "weight" in selects)
        + (sparsity.activation > 0 and layer.weight_trains and "activation" in selects)
        for layer, sparsity in plan.by_weight(network)
    )
    value, rows = step.execution.precision.activation, step.batch_size
    columns = max(1, max((each.dense for each in kept if each.sparsity), default=0) // value // rows)
    return SparseMemory(
        dense=step,
        inputs=network.timeline.inputs,
        kept=kept,
        weight_copies_naive=naive,
        weight_copies_compressed=compressed,
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


def _weight_copies(network: Network, plan: SparsityPlan, step: StepMemory) -> tuple[int, int]:
    """Bytes of masked weights in addition to the parameters: as dense tensors, and each in its smallest format.

    If the method updates active weights only, the parameters themselves are sparse and need no compressed copy.
    """
    if "weight" not in plan.method.sparse["grad_input"]:
        return 0, 0
    naive, compressed, value = 0, 0.0, step.execution.precision.parameter
    apart = plan.method.weight_gradient == "all"
    for layer, sparsity in plan.by_weight(network):
        if sparsity.weight and (layer.input_needs_grad or layer.weight_trains):
            rows, columns = layer.weight_shape[0], layer.weight_elements / layer.weight_shape[0]
            nnz = layer.weight_elements * (1 - sparsity.weight)
            format = smallest(rows, columns, nnz, value, pattern=plan.pattern)
            naive += layer.weight_elements * value
            if apart and layer.input_needs_grad and format.name != "dense":
                compressed += format.size(rows, columns, nnz, value)
    return naive, round(compressed)
