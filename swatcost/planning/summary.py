"""What a network costs by module: an estimate as a tree, with totals on every level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.common.result import Result
from swatcost.estimate import Estimate, estimate
from swatcost.network import Network
from swatcost.planning.module_tree import ModuleTotals, folded, module_tree
from swatcost.setting import Settings

if TYPE_CHECKING:
    from torch import nn

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "kind": "kinds of layers, or their number in a module with parts",
        "calls": "executions of layers, normalisations included",
        "output_shape": "shape of one sample after the last layer in the module",
        "params": "parameters, each counted once, at the module that owns it",
        "non_zero_params": "parameters expected not to be zero after training",
        "forward": "MACs of the forward pass",
        "grad_input": "MACs of the gradient that flows on to the layer before",
        "grad_weight": "MACs of the gradient that updates the weights",
        "recompute": "MACs that activation checkpointing executes again",
        "training": "MACs of a training step: the sum of those above",
        "inference": "MACs of a forward pass after training",
        "reduction": "1 − sparse / dense MACs of a training step",
        "weight_sparsity": "zeros among weights of conv and linear layers",
        "act_sparsity": "masked elements among inputs of conv and linear layers",
        "saved": "bytes saved for backward, at the module that saves them first",
    }
)
"""What a summary can show. MACs are per sample, bytes for the batch; both are dense and, if anything is, sparse."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Summary(Result):
    """A network's estimate by module. Its repr is the tree.

    `tree` is the whole network, folded if that was asked for; `depth` the levels of it that are shown, None for all,
    and `columns` the names of COLUMNS that were chosen, None for what fits. `fold` is as given to `summary`.
    """

    report = "summary"

    estimate: Estimate
    tree: ModuleTotals
    depth: int | None
    columns: tuple[str, ...] | None
    fold: bool | None = None

    def shown(self) -> Iterator[tuple[int, ModuleTotals, bool]]:
        """The modules shown, each with its level, 1 or more, and whether none of its parts is shown.

        The modules without a shown part add up to the network.
        """
        for level, module in self.tree.walk(self.depth):
            yield level, module, not module.parts or level == self.depth


def summary(
    network: Network | str | Path | nn.Module,
    *,
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    batch_dim: int | None = None,
    checkpoint: str | Iterable[str] | None = None,
    depth: int | None = 2,
    columns: Sequence[str] | None = None,
    fold: bool | None = None,
    **settings: Unpack[Settings],
) -> Summary:
    """Estimates what a network costs to train, by module. Its repr is a tree.

    network, input_shape, example_inputs, batch_dim, checkpoint and settings are those of `estimate`. depth is the
    number of levels of modules to show, None for all. columns are names of `COLUMNS` in the order to show them;
    without, those that fit. fold shows neighbouring modules that are equal in all but their names as one row, with the
    totals of all. Without it tables do where that halves a long one, and `tree`, JSON and CSV have every module.

    Raises SwatcostError for anything that cannot be used.

    >>> import swatcost
    >>> resnet50 = swatcost.summary("resnet50", depth=1).tree
    >>> [(each.label, each.totals.params) for each in resnet50.parts if each.label in ("layer4", "fc")]
    [('layer4', 14964736), ('fc', 2049000)]
    """
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise SwatcostError(f"depth {depth!r:.40}: give a positive whole number of levels, or None for all")
    chosen = None if columns is None else _checked(columns)
    found = estimate(
        network,
        input_shape=input_shape,
        example_inputs=example_inputs,
        batch_dim=batch_dim,
        checkpoint=checkpoint,
        **settings,
    )
    tree = module_tree(found)
    return Summary(estimate=found, tree=folded(tree) if fold else tree, depth=depth, columns=chosen, fold=fold)


def _checked(columns: Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([columns] if isinstance(columns, str) else columns))
    for name in names:
        if name not in COLUMNS:
            raise SwatcostError(f"unknown column {name!r:.40}: {nearest(str(name), list(COLUMNS))}")
    if not names:
        raise SwatcostError("columns are empty: name some, or leave them out")
    return names
