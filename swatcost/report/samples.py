"""What a sample is, and work per token instead, where a network's inputs are tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swatcost.common.errors import SwatcostError
from swatcost.counting import PassCosts
from swatcost.counting.language import without_tokens
from swatcost.estimate import Estimate

if TYPE_CHECKING:  # the room of plans takes long to import
    from swatcost.planning.module_tree import ModuleTotals


def sample_word(estimate: Estimate) -> str:
    """What tables call a sample."""
    return "sample" if estimate.tokens_per_sample is None else "sequence"


def sample_sentence(estimate: Estimate) -> list[str]:
    """What a sample is, unless it is one of the network's inputs as they are."""
    tokens = estimate.tokens_per_sample
    return [] if tokens is None else [f"A sample is one sequence of {tokens:,.6g} tokens."]


def per_token(estimate: Estimate) -> Estimate:
    """The estimate with MACs per token in place of those per sample; times and memory stay those of the step.

    Raises SwatcostError for a network whose inputs are not tokens.
    """
    tokens = _tokens(estimate)

    def each(costs: PassCosts) -> PassCosts:
        return costs.per_sample(tokens)

    return replace(
        estimate,
        layers=tuple(replace(one, costs=each(one.costs), exact=each(one.exact)) for one in estimate.layers),
        costs=each(estimate.costs),
        beside=each(estimate.beside),
        exact=each(estimate.exact),
    )


def tree_per_token(tree: ModuleTotals, estimate: Estimate) -> ModuleTotals:
    """A tree of modules with MACs per token. Raises SwatcostError for a network whose inputs are not tokens."""
    totals = replace(tree.totals, costs=tree.totals.costs.per_sample(_tokens(estimate)))
    return replace(tree, totals=totals, parts=tuple(tree_per_token(part, estimate) for part in tree.parts))


def _tokens(estimate: Estimate) -> float:
    if (tokens := estimate.tokens_per_sample) is None:
        raise SwatcostError(f"per token: {without_tokens(estimate.network)}: leave --per (per) out")
    return tokens
