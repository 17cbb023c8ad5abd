"""What follows without an estimate: from other printed numbers, from a recipe, from a method's row of Table 1."""

from collections.abc import Callable, Mapping
from math import ceil
from statistics import harmonic_mean

from swatcost.memory.weight_storage import ElementBytes, WeightStorage, stored_bytes
from swatcost.methods import Method
from swatcost.network.passes import Pass
from swatcost.planning.recipes import DATASETS, Recipe
from swatcost.published.cell import Cell, cells


def _printed(table: str, **of: str) -> float:
    """The number of the one cell of a table with these fields."""
    (found,) = {
        each.number
        for each in cells(table)
        if each.table == table and all(getattr(each, name) == value for name, value in of.items())
    }
    return found


def _remaining(network: str, method: str) -> float:
    """The training FLOPs that a row of Table 2 leaves [% of dense]."""
    return 100 - _printed("2", network=network, method=method, quantity="training_reduction")


def _fewer_than(cell: Cell) -> float:
    other = _remaining(cell.network, cell.setting.removeprefix("against "))
    return 100 * (1 - _remaining(cell.network, cell.method) / other)


def _times_fewer(cell: Cell) -> float:
    """The harmonic mean over networks of the other method's remaining FLOPs over this one's."""
    other = cell.setting.removeprefix("against ")
    return harmonic_mean(
        [_remaining(network, other) / _remaining(network, cell.method) for network in cell.network.split(", ")]
    )


def _step_speedup(cell: Cell) -> float:
    """The speedup of forward and backward pass, from Table 11's of each; the backward pass as A.3 has it is twice as
    much work as the forward pass, unless the cell says 1:1.
    """  # fmt: skip
    backward = 1 if cell.method.endswith("1:1") else 2
    in_passes: tuple[Pass, ...] = ("forward", "grad_input")
    forward_speedup, backward_speedup = (
        _printed("11", setting=cell.setting, quantity=f"{each}_ideal") for each in in_passes
    )
    return (1 + backward) / (1 / forward_speedup + backward / backward_speedup)


def _elsewhere(cell: Cell) -> float:
    """The same number where the paper prints it first."""
    return next(
        each.number
        for each in cells()
        if (each.network, each.method, each.setting, each.quantity)
        == (cell.network, cell.method, cell.setting, cell.quantity)
        and each.row != "printed"
    )


PRINTED: Mapping[str, Callable[[Cell], float]] = {
    "fewer_flops": _fewer_than,
    "times_fewer_flops": _times_fewer,
    "step_speedup": _step_speedup,
    "inference_speedup": lambda cell: _printed("11", setting=cell.setting, quantity="forward_ideal"),
    "instructions_per_element": lambda cell: (
        _printed("9", setting=cell.setting, quantity="retired_instructions") / float(cell.setting)
    ),
    "training_reduction": _elsewhere,
    "speedup_of_rounded": _elsewhere,
}

RECIPE: Mapping[str, Callable[[Recipe], float]] = {
    "epochs": lambda recipe: recipe.epochs,
    "batch_size": lambda recipe: recipe.batch_size,
    "gpus": lambda recipe: recipe.gpus,
    "period": lambda recipe: recipe.period,
    "iterations_per_epoch": lambda recipe: ceil(DATASETS[recipe.dataset].samples / recipe.batch_size),
}


def _yes(holds: bool) -> str:
    return "Yes" if holds else "No"


def _sparse(in_pass: Pass) -> Callable[[Method], str]:
    """Whether a pass reads sparse operands, and whether they become sparse gradually."""

    def words(method: Method) -> str:
        gradual = any(not phase.is_at_target for phase in method.phases(1000))
        return _yes(bool(method.sparse[in_pass])) + "/Gradual" * (gradual and bool(method.sparse[in_pass]))

    return words


def _bytes_per_weight(method: Method) -> float:
    """In 2:4 where the method is sparse: fp16 parameters and gradients, and two fp32 moments, as SLoPe counts."""
    adam = ElementBytes(parameter=2, gradient=2, state=4 + 4)
    sparsity = method.targets.get("weights", 0.0)
    storage = WeightStorage.least(method)
    found = stored_bytes(storage, rows=64, columns=64, sparsity=sparsity, element=adam, pattern=(2, 4))
    return sum(found.values()) / 64**2


METHOD: Mapping[str, Callable[[Method], str | float]] = {
    "across_layers": lambda method: method.across_layers.replace(" or ", "/").title(),
    "sparse_forward": _sparse("forward"),
    "sparse_grad_input": _sparse("grad_input"),
    "sparse_grad_weight": _sparse("grad_weight"),
    "unstructured": lambda method: _yes(method.unstructured),
    "structured": lambda method: _yes(method.structured),
    "zeroed_again": lambda method: (
        100 * (method.sparsity_in("grad_input", method.targets["weights"]) - method.targets["weights"])
    ),
    "bytes_per_weight": _bytes_per_weight,
}
