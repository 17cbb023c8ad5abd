"""Sparse training methods (the paper's Table 1), one file each.

A file of this package that defines `METHOD` is a method; those of other packages are found through the entry point
group `swatcost.methods`, each entry naming a Method.
"""

from importlib import import_module
from pkgutil import iter_modules

from swatcost.common.registry import Registry
from swatcost.methods.method import LayerSparsity, Method, Operand, Phase, checked_sparsity, sparse_in

__all__ = ["METHODS", "LayerSparsity", "Method", "Operand", "Phase", "checked_sparsity", "sparse_in"]

METHODS = Registry[Method]("method", Method, entry_points="swatcost.methods")
for _module in iter_modules(__path__, prefix=f"{__name__}."):
    if hasattr(_file := import_module(_module.name), "METHOD"):
        METHODS.register(_file.METHOD)
