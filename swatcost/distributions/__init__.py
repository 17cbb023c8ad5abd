"""How one target sparsity becomes a sparsity for each layer: one function per distribution.

A file of this package that defines `DISTRIBUTION` is a distribution; those of other packages are found through the
entry point group `swatcost.distributions`, each entry naming a Distribution.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from swatcost.common.registry import Registry
from swatcost.distributions.distribution import DenseBudget, Distribution, Request, from_function

__all__ = ["DISTRIBUTIONS", "DenseBudget", "Distribution", "Request", "distribution_of", "from_function"]

Spread = Request  # its former name

DISTRIBUTIONS = Registry[Distribution]("distribution", Distribution, entry_points="swatcost.distributions")
_READERS = {
    "checkpoint_files",
    "checkpoints",
    "tables",
}  # not distributions; imported by those that read files, when they do
for _module in iter_modules(__path__):
    if _module.name not in _READERS and hasattr(_file := import_module(f"{__name__}.{_module.name}"), "DISTRIBUTION"):
        DISTRIBUTIONS.register(_file.DISTRIBUTION)


def distribution_of(given: Any) -> Distribution:
    """The distribution of that name, or the user's own: a Distribution, or a function as `from_function` takes it.

    Raises SwatcostError for an unknown name.
    """
    return from_function(given) if callable(given) else DISTRIBUTIONS.choose(given)
