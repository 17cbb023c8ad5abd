"""Several estimates side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swatcost.conventions import CONVENTIONS, Convention
from swatcost.costs import PASSES, Pass
from swatcost.errors import SwatcostError
from swatcost.estimate import Estimate, estimate
from swatcost.methods import METHODS, Method, checked_sparsity
from swatcost.network import Network
from swatcost.zoo import load

_AGREEMENT = 5e-5  # reductions that agree to the two decimals of a per cent that reports show


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every method under one convention, and one method under every convention. Its repr is the tables.

    `refused` says, by method, why it could not be estimated with these settings.
    """

    method: str
    convention: str
    by_method: dict[str, Estimate]
    by_convention: dict[str, Estimate]
    refused: dict[str, str]

    def __repr__(self) -> str:
        from swatcost.report.comparison import render

        return render(self, "table")

    def _repr_html_(self) -> str:
        from swatcost.report.comparison import sheet
        from swatcost.report.html import sheet_to_html

        return sheet_to_html(sheet(self))


def where_they_differ(one: Estimate, other: Estimate) -> Pass | None:
    """The pass whose remaining work, as a share of dense training, differs most; None if the reductions agree."""
    if abs(one.training_reduction - other.training_reduction) < _AGREEMENT:
        return None
    return max(PASSES, key=lambda each: abs(remaining(one, each) - remaining(other, each)))


def remaining(of: Estimate, in_pass: Pass) -> float:
    """What a pass still costs, as a share of dense training [-]."""
    return of.costs.by_pass()[in_pass].sparse / of.costs.training.dense


def compare(
    network: Network | str | Path,
    *,
    weights: float | None = None,
    acts: float | None = None,
    grads: float | None = None,
    method: str | Method = "rigl",
    convention: str | Convention = "swat",
    **settings: Any,
) -> Comparison:
    """Estimates every method under one convention, and one method under every convention.

    weights is the target sparsity [-] of whatever a method makes sparse; acts and grads replace it for activations
    and outputs. settings are those of `estimate`. A method that cannot reach the target is named with the reason.

    Raises SwatcostError when `method` is such a one, and for what `estimate` refuses for every method.
    """
    network = network if isinstance(network, Network) else load(network)
    chosen, under_all = METHODS.choose(method), CONVENTIONS.choose(convention)
    for name, target in (("weights", weights), ("acts", acts), ("grads", grads)):
        if target is not None:
            checked_sparsity(target, name)

    def estimated(of: Method, under: Convention) -> Estimate:
        targets: dict[str, Any] = {
            "weights": weights if of.uses("weight") else None,
            "acts": (weights if acts is None else acts) if of.uses("activation") else None,
            "grads": (weights if grads is None else grads) if of.uses("output") else None,
        }
        return estimate(network, method=of, convention=under, **targets, **settings)

    conventions = {each.name: each for each in CONVENTIONS} | {under_all.name: under_all}
    by_convention = {name: estimated(chosen, each) for name, each in conventions.items()}
    by_method: dict[str, Estimate] = {}
    refused: dict[str, str] = {}
    for each in METHODS:
        try:
            by_method[each.name] = estimated(each, under_all)
        except SwatcostError as error:
            refused[each.name] = str(error)
    return Comparison(
        method=chosen.name, convention=under_all.name, by_method=by_method, by_convention=by_convention, refused=refused
    )
