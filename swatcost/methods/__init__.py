"""Sparse training methods (the paper's Table 1), one file each.

A file of this package that defines `METHOD` is a method; those of other packages are found through the entry point
group `swatcost.methods`, each entry naming a Method.
"""

from importlib import import_module
from pkgutil import iter_modules

from swatcost.common.bound import bound
from swatcost.methods.added_work import Added, OffStep, low_rank
from swatcost.methods.layer_sparsity import LayerSparsity, Operand, checked_sparsity
from swatcost.methods.method import Method, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.passes import sparse_in
from swatcost.methods.phase import Phase
from swatcost.methods.registry import MethodRegistry

__all__ = [
    "METHODS", "Added", "LayerSparsity", "Method", "OffStep", "Operand", "Parameter", "Phase", "bound",
    "checked_sparsity", "low_rank", "sparse_in", "with_parameters",
]  # fmt: skip

METHODS = MethodRegistry("method", Method, entry_points="swatcost.methods")
for _module in iter_modules(__path__, prefix=f"{__name__}."):
    if hasattr(_file := import_module(_module.name), "METHOD"):
        METHODS.register(_file.METHOD)
