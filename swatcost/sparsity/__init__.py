"""Method + distribution + targets → the sparsity of every layer."""

from swatcost.sparsity.kept_dense import DenseOrSparse
from swatcost.sparsity.plan import (
    Sparsity,
    SparsityPlan,
    allocation_request,
    assembled,
    checked_sparsities,
    checked_target,
    own_targets,
    pattern_of,
    reached,
    sparsity_plan,
    whole_kernels,
)

__all__ = [
    "DenseOrSparse",
    "Sparsity",
    "SparsityPlan",
    "allocation_request",
    "assembled",
    "checked_sparsities",
    "checked_target",
    "own_targets",
    "pattern_of",
    "reached",
    "sparsity_plan",
    "whole_kernels",
]  # fmt: skip
