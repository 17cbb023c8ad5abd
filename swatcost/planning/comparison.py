"""Several estimates side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.counting import CONVENTIONS, PassCosts
from swatcost.counting.costs import AGREEMENT
from swatcost.estimate import Estimate, estimate_setting
from swatcost.loading import counted_network
from swatcost.methods import METHODS, Method, checked_sparsity
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.network.passes import PASSES, Pass
from swatcost.setting import EVERY_SETTING, Scope, Setting, Settings


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(Result):
    """Every method under one convention, and one method under every convention. Its repr is the tables.

    `matrix` holds the costs [MACs per sample] of each method under each convention; `refused` says, by method, why it
    could not be estimated with these settings.
    """

    report = "comparison"

    method: str
    convention: str
    by_method: dict[str, Estimate]
    by_convention: dict[str, Estimate]
    matrix: dict[str, dict[str, PassCosts]]
    refused: dict[str, str]

    def ranked(self, convention: str) -> list[tuple[float, list[str]]]:
        """Training reductions [-] under a convention with the methods that reach them, the largest first.

        Those that agree to the decimals that reports show are one.
        """
        found: list[tuple[float, list[str]]] = []
        reductions = {name: costs[convention].training.reduction for name, costs in self.matrix.items()}
        for name, reduction in sorted(reductions.items(), key=lambda each: -each[1]):
            if found and found[-1][0] - reduction < AGREEMENT:
                found[-1][1].append(name)
            else:
                found.append((reduction, [name]))
        order = list(self.matrix)
        return [(most, sorted(names, key=order.index)) for most, names in found]


@dataclass(frozen=True, kw_only=True, repr=False)
class NetworkComparison(Result):
    """Every method on several networks under one convention. Its repr is the table.

    `by_network` holds estimates by the network's name and the method's; `refused` why some are missing, by "METHOD on
    NETWORK".
    """

    report = "network_comparison"

    convention: str
    by_network: dict[str, dict[str, Estimate]]
    refused: dict[str, str]


def where_they_differ(one: PassCosts, other: PassCosts) -> Pass | None:
    """The pass whose remaining work, as a share of dense training, differs most; None if the reductions agree."""
    if abs(one.training.reduction - other.training.reduction) < AGREEMENT:
        return None
    return max(PASSES, key=lambda each: abs(remaining(one, each) - remaining(other, each)))


def remaining(of: PassCosts, in_pass: Pass) -> float:
    """What a pass still costs, as a share of dense training [-]."""
    return of.by_pass()[in_pass].sparse / of.training.dense


COMPARING = Scope(
    defaults={"method": "rigl"},
    default_is={name: "as weights" for name in OPERANDS if name != "weights"},
)
"""Settings as a comparison takes them: `method` is the one compared under every convention, and weights is the target
[-] of whatever a method makes sparse, unless acts and grads are given."""

COMPARING_NETWORKS = replace(COMPARING, defaults={}, without={"method": "every method is compared, leave it out"})


def compare(network: Network | str | Path, **settings: Unpack[Settings]) -> Comparison:
    """Estimates every method under one convention, and one method under every convention.

    settings are those of `estimate`, as `COMPARING` has them. A method that cannot reach the target is named with the
    reason.

    Raises SwatcostError when `method` is such a one, and for what `estimate` refuses for every method.
    """
    network = counted_network(network)
    asked = {**COMPARING.defaults, **COMPARING.given(settings)}
    chosen = _of_method(asked, METHODS.choose(asked["method"]))
    conventions = {each.name: each for each in CONVENTIONS} | {chosen.convention.name: chosen.convention}
    by_convention = {name: estimate_setting(network, chosen.but(convention=each)) for name, each in conventions.items()}
    by_method, refused = _of_every_method(network, asked)
    matrix = {
        name: {under: found.counting.under(each).total(network, found.plan) for under, each in conventions.items()}
        for name, found in by_method.items()
    }
    return Comparison(
        method=chosen.method.name, convention=chosen.convention.name, by_method=by_method, by_convention=by_convention,
        matrix=matrix, refused=refused,
    )  # fmt: skip


def compare_networks(networks: Sequence[Network | str | Path], **settings: Unpack[Settings]) -> NetworkComparison:
    """Estimates every method on each of several networks, with settings as `compare` takes them, but for the method.

    Raises SwatcostError for what `estimate` refuses for every method, and for two networks of one name.
    """
    loaded = [counted_network(each) for each in networks]
    names = [each.name for each in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SwatcostError(f"{twice} is there twice: give each network once")
    asked = COMPARING_NETWORKS.given(settings)
    convention = EVERY_SETTING.setting(asked).convention
    by_network: dict[str, dict[str, Estimate]] = {}
    refused: dict[str, str] = {}
    for network in loaded:
        by_network[network.name], missing = _of_every_method(network, asked)
        refused |= {f"{name} on {network.name}": why for name, why in missing.items()}
    return NetworkComparison(convention=convention.name, by_network=by_network, refused=refused)


def _of_method(asked: Mapping[str, Any], method: Method) -> Setting:
    """What a method is asked: the target of weights for each operand that it makes sparse, unless it has its own."""
    for name in OPERANDS:
        if name in asked:
            checked_sparsity(asked[name], name)
    targets = {
        name: asked.get(name, asked.get("weights")) if method.uses(operand) else None
        for name, operand in OPERANDS.items()
    }
    return EVERY_SETTING.setting({**asked, **targets, "method": method})


def _of_every_method(network: Network, asked: Mapping[str, Any]) -> tuple[dict[str, Estimate], dict[str, str]]:
    """An estimate of every method that can be estimated, and why the others cannot; raises where none can."""
    found: dict[str, Estimate] = {}
    refused: dict[str, str] = {}
    for each in METHODS:
        try:
            found[each.name] = estimate_setting(network, _of_method(asked, each))
        except SwatcostError as error:
            refused[each.name] = str(error)
    if not found:
        raise SwatcostError(next(iter(refused.values())))
    return found, refused
