"""Several estimates side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.counting import counted_costs
from swatcost.counting.conventions import CONVENTIONS, Convention
from swatcost.counting.costs import PASSES, Pass, PassCosts
from swatcost.estimate import Estimate, estimate
from swatcost.loading.load import load
from swatcost.methods import METHODS, Method, checked_sparsity
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.report.numbers import PERCENT_AGREEMENT


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every method under one convention, and one method under every convention. Its repr is the tables.

    `matrix` holds the costs [MACs per sample] of each method under each convention; `refused` says, by method, why it
    could not be estimated with these settings.
    """

    method: str
    convention: str
    by_method: dict[str, Estimate]
    by_convention: dict[str, Estimate]
    matrix: dict[str, dict[str, PassCosts]]
    refused: dict[str, str]

    def __repr__(self) -> str:
        from swatcost.report.comparison import render

        return render(self, "table")

    def _repr_html_(self) -> str:
        from swatcost.report.comparison import sheet
        from swatcost.report.html import sheet_to_html

        return sheet_to_html(sheet(self))

    def ranked(self, convention: str) -> list[tuple[float, list[str]]]:
        """Training reductions [-] under a convention with the methods that reach them, the largest first.

        Those that agree to the decimals that reports show are one.
        """
        found: list[tuple[float, list[str]]] = []
        reductions = {name: costs[convention].training.reduction for name, costs in self.matrix.items()}
        for name, reduction in sorted(reductions.items(), key=lambda each: -each[1]):
            if found and found[-1][0] - reduction < PERCENT_AGREEMENT:
                found[-1][1].append(name)
            else:
                found.append((reduction, [name]))
        order = list(self.matrix)
        return [(most, sorted(names, key=order.index)) for most, names in found]


@dataclass(frozen=True, kw_only=True)
class NetworkComparison:
    """Every method on several networks under one convention. Its repr is the table.

    `by_network` holds estimates by the network's name and the method's; `refused` why some are missing, by "METHOD on
    NETWORK".
    """

    convention: str
    by_network: dict[str, dict[str, Estimate]]
    refused: dict[str, str]

    def __repr__(self) -> str:
        from swatcost.report.comparison import render_networks

        return render_networks(self, "table")

    def _repr_html_(self) -> str:
        from swatcost.report.comparison import networks_sheet
        from swatcost.report.html import sheet_to_html

        return sheet_to_html(networks_sheet(self))


def where_they_differ(one: PassCosts, other: PassCosts) -> Pass | None:
    """The pass whose remaining work, as a share of dense training, differs most; None if the reductions agree."""
    if abs(one.training.reduction - other.training.reduction) < PERCENT_AGREEMENT:
        return None
    return max(PASSES, key=lambda each: abs(remaining(one, each) - remaining(other, each)))


def remaining(of: PassCosts, in_pass: Pass) -> float:
    """What a pass still costs, as a share of dense training [-]."""
    return of.by_pass()[in_pass].sparse / of.training.dense


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
    targets = {"weights": weights, "acts": acts, "grads": grads}
    for name, target in targets.items():
        if target is not None:
            checked_sparsity(target, name)

    def estimated(of: Method, under: Convention) -> Estimate:
        return estimate(network, method=of, convention=under, **_usable(targets, of), **settings)

    conventions = {each.name: each for each in CONVENTIONS} | {under_all.name: under_all}
    by_convention = {name: estimated(chosen, each) for name, each in conventions.items()}
    by_method, refused = _of_every_method(lambda each: estimated(each, under_all))
    matrix = {
        name: {under: _recounted(found, each) for under, each in conventions.items()}
        for name, found in by_method.items()
    }
    return Comparison(
        method=chosen.name, convention=under_all.name, by_method=by_method, by_convention=by_convention,
        matrix=matrix, refused=refused,
    )  # fmt: skip


def compare_networks(
    networks: Sequence[Network | str | Path],
    *,
    weights: float | None = None,
    acts: float | None = None,
    grads: float | None = None,
    convention: str | Convention = "swat",
    **settings: Any,
) -> NetworkComparison:
    """Estimates every method on each of several networks, with settings as `compare` takes them.

    Raises SwatcostError for what `estimate` refuses for every method, and for two networks of one name.
    """
    loaded = [each if isinstance(each, Network) else load(each) for each in networks]
    names = [each.name for each in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SwatcostError(f"{twice} is there twice: give each network once")
    under = CONVENTIONS.choose(convention)
    targets = {"weights": weights, "acts": acts, "grads": grads}

    def estimated(network: Network, of: Method) -> Estimate:
        return estimate(network, method=of, convention=under, **_usable(targets, of), **settings)

    by_network: dict[str, dict[str, Estimate]] = {}
    refused: dict[str, str] = {}
    for network in loaded:
        by_network[network.name], missing = _of_every_method(partial(estimated, network))
        refused |= {f"{name} on {network.name}": why for name, why in missing.items()}
    return NetworkComparison(convention=under.name, by_network=by_network, refused=refused)


def _usable(targets: Mapping[str, float | None], of: Method) -> dict[str, Any]:
    """What each operand is asked for that the method makes sparse: as weights are, where nothing was given for it."""
    return {
        name: targets["weights"] if targets[name] is None else targets[name]
        for name, operand in OPERANDS.items()
        if of.uses(operand)
    }


def _of_every_method(estimated: Callable[[Method], Estimate]) -> tuple[dict[str, Estimate], dict[str, str]]:
    """An estimate of every method that can be estimated, and why the others cannot; raises where none can."""
    found: dict[str, Estimate] = {}
    refused: dict[str, str] = {}
    for each in METHODS:
        try:
            found[each.name] = estimated(each)
        except SwatcostError as error:
            refused[each.name] = str(error)
    if not found:
        raise SwatcostError(next(iter(refused.values())))
    return found, refused


def _recounted(found: Estimate, convention: Convention) -> PassCosts:
    """The estimate's plan as another convention counts it."""
    charged = found.default_act_sparsity * found.plan.asks_for_sparsity
    return counted_costs(found.network, found.plan, convention, found.steps, charged)
