"""How sparse weights are stored, and the bytes of what is stored for each: its parameter, indices, copies, mask,
gradient and optimizer state.

A storage is data: each method has two, that of masked dense tensors and the smallest that its mathematics allows, and
both can be changed. Sizes are in bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from swatcost.common.errors import SwatcostError
from swatcost.memory.storage_formats import smallest
from swatcost.methods import Method

Elements = Literal["all", "active", "none"]

PARTS = ("parameters", "master weights", "indices", "weight copies", "masks", "gradients", "optimizer state")
"""What is stored for weights, by name."""


@dataclass(frozen=True, kw_only=True)
class WeightStorage:
    """How a weight with zeros is stored.

    `parameters` (with their master copies), `gradients` and `state` (of the optimizer) hold all elements, only the
    active ones or, of frozen weights, none. Parts that hold the active ones have one set of indices in common, that
    of the parameters; if the parameters are dense, their zeros or the mask say which elements are active.

    `copies` are copies with zeros beside the parameter, in its own order. `transposes` are copies of the transpose,
    which 2:4 and CSR kernels read in grad_input; under N:M the transpose is taken to be N:M as well, as if pruned
    again. Copies are in their smallest format, or dense if not `formats`; a copy that no format makes smaller than the
    dense weight is not made. The mask takes `mask_bits` per element: 1, 8 for booleans, or 0 if none is stored.
    Where the kernels' format is known, `index_bits` are its bits per active element, in place of the smallest
    format's.
    """

    parameters: Elements = "all"
    gradients: Elements = "all"
    state: Elements = "all"
    copies: int = 0
    transposes: int = 0
    formats: bool = True
    mask_bits: int = 0
    index_bits: float | None = None

    @staticmethod
    def masked(method: Method) -> "WeightStorage":
        """Masked dense tensors: a masked copy of each weight that the backward pass reads, and booleans for a mask
        that outlives the step, one for each set of weights. A threshold selects anew in every step: it has no mask."""
        trains: Elements = "none" if method.weight_gradient == "none" else "all"
        return WeightStorage(
            gradients=trains,
            state=trains,
            copies=int("weight" in method.sparse["grad_input"]),
            formats=False,
            mask_bits=8 * method.selections if method.updated_weights == "active" else 0,
        )

    @staticmethod
    def least(method: Method) -> "WeightStorage":
        """The least that the method allows: parameters hold the elements that it updates; gradients and state those
        that need a gradient. Only parameters that hold more than the passes read need a sparse copy, which serves
        forward and grad_input; grad_input has a transpose of its own instead where it reads another set."""
        own, reads = method.updated_weights, "weight" in method.sparse["grad_input"]
        more = own == "all" or "grad_weight" in method.weight_sets
        least = WeightStorage(
            parameters="active" if own == "none" else own,
            gradients=method.weight_gradient,
            state=method.weight_gradient,
            copies=int(reads and more and "grad_input" not in method.weight_sets),
            transposes=int(reads and "grad_input" in method.weight_sets),
        )
        return replace(least, **dict(method.stores))

    @property
    def keeps_copies(self) -> bool:
        """Whether copies stay between steps. Those of dense parameters are made in the forward pass and freed in the
        backward pass."""
        return self.parameters == "active"


ELEMENTS: tuple[Elements, ...] = ("all", "active")

STORAGE_CHANGES: Mapping[str, Mapping[str, Elements | int]] = {
    **{part: {each: each for each in ELEMENTS} for part in ("parameters", "gradients", "state")},
    "copies": {"0": 0, "1": 1},
    "transposes": {"0": 0, "1": 1},
    "mask_bits": {"0": 0, "1": 1, "8": 8},
}
"""The fields that can be changed, and the values of each."""


def storage_changes(text: str) -> dict[str, Elements | int]:
    """Changes of a storage, as written: field=value, separated by commas.

    Raises SwatcostError for anything else.

    >>> storage_changes("transposes=1,mask_bits=8")
    {'transposes': 1, 'mask_bits': 8}
    """
    changes: dict[str, Elements | int] = {}
    for each in str(text).split(","):
        name, _, value = (part.strip() for part in each.partition("="))
        if name not in STORAGE_CHANGES:
            raise SwatcostError(f"weight_storage {each!r:.40}: give field=value, with {', '.join(STORAGE_CHANGES)}")
        if value not in STORAGE_CHANGES[name]:
            raise SwatcostError(
                f"weight_storage {name}: {value!r:.40} is not one of {', '.join(STORAGE_CHANGES[name])}"
            )
        if name in changes:
            raise SwatcostError(f"weight_storage {name} is given twice: give it once")
        changes[name] = STORAGE_CHANGES[name][value]
    return changes


@dataclass(frozen=True, kw_only=True)
class ElementBytes:
    """Bytes per element of a weight's parameter, master copy, gradient and optimizer state."""

    parameter: float
    master: float = 0
    gradient: float = 0
    state: float = 0

    def by_part(self) -> Iterable[tuple[str, float]]:
        return (
            ("parameters", self.parameter),
            ("master weights", self.master),
            ("gradients", self.gradient),
            ("optimizer state", self.state),
        )


def stored_bytes(
    storage: WeightStorage,
    *,
    rows: float,
    columns: float,
    sparsity: float,
    element: ElementBytes,
    copied: bool = True,
    pattern: tuple[int, int] | None = None,
    copy_sparsities: tuple[float, float] | None = None,
) -> dict[str, float]:
    """The bytes of each of PARTS for one weight of rows × columns elements.

    Without `copied` the weight has no copies, as one whose gradient needs no grad_input. `pattern` is (N, M). Copies
    and transposes have the weight's `sparsity`, or sparsities of their own [-].

    Source: the parts are those of SLoPe's account (Mozaffari et al., ICLR 2025; its public code measures each model).

    >>> slope = WeightStorage(parameters="active", gradients="active", state="active", transposes=1, mask_bits=8)
    >>> half = ElementBytes(parameter=2, gradient=2, state=4 + 4)
    >>> found = stored_bytes(slope, rows=8, columns=8, sparsity=0.5, element=half, pattern=(2, 4))
    >>> sum(found.values()) / 64  # 2 · (1 + 1/8) + 1 + ½ · (2 + 4 + 4)
    8.25
    """
    elements, active = rows * columns, rows * columns * (1 - sparsity)
    found = dict.fromkeys(PARTS, 0.0) | {name: elements * size for name, size in element.by_part()}
    held: dict[str, Elements] = {
        "parameters": storage.parameters,
        "master weights": "none" if storage.state == "none" else storage.parameters,
        "gradients": storage.gradients,
        "optimizer state": storage.state,
    }
    found |= {name: 0.0 for name, which in held.items() if which == "none"}
    in_order, transposed = copy_sparsities or (sparsity, sparsity)
    if not (sparsity or in_order or transposed):
        return found
    pays = True
    if storage.parameters == "active":
        values = sum(size for name, size in element.by_part() if held[name] == "active")
        format = smallest(rows, columns, active, values, pattern=pattern)
        pays = format.name != "dense"
        found["indices"] = format.size(rows, columns, active, values) - active * values if pays else 0.0
        if storage.index_bits is not None:
            pays, found["indices"] = True, active * storage.index_bits / 8
    found |= {name: active * size for name, size in element.by_part() if held[name] == "active" and pays}
    if copied and storage.copies:
        kept = elements * (1 - in_order)
        found["weight copies"] += storage.copies * _copy(rows, columns, kept, element.parameter, storage, pattern)
    if copied and storage.transposes:
        kept = elements * (1 - transposed)
        found["weight copies"] += storage.transposes * _copy(columns, rows, kept, element.parameter, storage, pattern)
    found["masks"] = elements * storage.mask_bits / 8
    return found


def _copy(
    rows: float,
    columns: float,
    active: float,
    value: float,
    storage: WeightStorage,
    pattern: tuple[int, int] | None,
) -> float:
    if not storage.formats:
        return rows * columns * value
    if storage.index_bits is not None:
        return active * (value + storage.index_bits / 8)
    format = smallest(rows, columns, active, value, pattern=pattern)
    return 0.0 if format.name == "dense" else format.size(rows, columns, active, value)
