"""From a method, a distribution and targets to the sparsity of every layer."""

from swatcost.sparsity.plan import (
    DenseOrSparse,
    Sparsity,
    SparsityPlan,
    assembled,
    checked_sparsities,
    checked_target,
    sparsity_plan,
    spread_request,
    whole_kernels,
)

__all__ = [
    "DenseOrSparse", "Sparsity", "SparsityPlan", "assembled", "checked_sparsities", "checked_target", "sparsity_plan",
    "spread_request", "whole_kernels",
]  # fmt: skip
