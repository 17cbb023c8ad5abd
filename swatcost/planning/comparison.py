"""Several estimates side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import Named, Registry, nearest
from swatcost.common.result import Result
from swatcost.counting import CONVENTIONS, Convention, PassCosts, conventions_of
from swatcost.counting.costs import AGREEMENT
from swatcost.estimate import Estimate, estimate_setting, under
from swatcost.loading import counted_network
from swatcost.methods import METHODS, Method, checked_sparsity
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.network.passes import PASSES, Pass
from swatcost.setting import EVERY_SETTING, Scope, Setting, Settings

T = TypeVar("T", bound=Named)
Estimates = dict[str, dict[str, Estimate]]
"""By method, and then by convention."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(Result):
    """Methods under conventions, on one network. Its repr is the tables.

    `setting` is what was asked, `convention` the one that the passes of every method are shown under, and `method` the
    one whose passes are shown under every convention. `refused` says, by method, why it could not be estimated.
    """

    report = "comparison"

    setting: Setting
    method: str
    convention: str
    estimates: Estimates
    refused: dict[str, str]

    @property
    def by_method(self) -> dict[str, Estimate]:
        """Every method under `convention`."""
        return _under(self.estimates, self.convention)

    @property
    def by_convention(self) -> dict[str, Estimate]:
        """`method` under every convention."""
        return self.estimates[self.method]

    def ranked(self, convention: str) -> list[tuple[float, list[str]]]:
        """Training reductions [-] under a convention with the methods that reach them, the largest first.

        Those that agree to the decimals that reports show are one.
        """
        found: list[tuple[float, list[str]]] = []
        reductions = {name: each.training_reduction for name, each in _under(self.estimates, convention).items()}
        for name, reduction in sorted(reductions.items(), key=lambda each: -each[1]):
            if found and found[-1][0] - reduction < AGREEMENT:
                found[-1][1].append(name)
            else:
                found.append((reduction, [name]))
        order = list(reductions)
        return [(most, sorted(names, key=order.index)) for most, names in found]


@dataclass(frozen=True, kw_only=True, repr=False)
class NetworkComparison(Result):
    """Methods on several networks, under one or more conventions. Its repr is the tables.

    `setting` is what was asked, `convention` the first convention. `estimates` are by the network's name; `refused`
    says why some are missing, by "METHOD on NETWORK".
    """

    report = "network_comparison"

    setting: Setting
    convention: str
    estimates: dict[str, Estimates]
    refused: dict[str, str]

    @property
    def by_network(self) -> dict[str, dict[str, Estimate]]:
        """Every method on each network under `convention`."""
        return {name: _under(found, self.convention) for name, found in self.estimates.items()}


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
    help={
        "acts": "Activation sparsity.",
        "method": "The method whose passes are shown under every convention.",
        "convention": "The convention that every method's passes are shown under.",
    },
)
"""Settings as a comparison takes them: weights is the target [-] of whatever a method makes sparse, unless acts and
grads are given."""

COMPARING_NETWORKS = replace(
    COMPARING, defaults={}, without={"method": "with several networks every method is compared; --methods selects some"}
)


def compare(
    network: Network | str | Path,
    *,
    methods: Iterable[str | Method] | None = None,
    conventions: Iterable[str | Convention] | None = None,
    **settings: Unpack[Settings],
) -> Comparison:
    """Estimates methods under conventions, all of them unless some are selected, of conventions those per sample.

    A method with a sparsity of its own is written with it, as in "spdf:weights=0.75".

    settings are those of `estimate`, as `COMPARING` has them. `convention` is by default the first, and `method` is
    rigl, or the first that makes anything sparse. A method that cannot reach the target is named with the reason.

    Raises SwatcostError when `method` is such a one, for what `estimate` refuses for every method, and for names that
    are unknown, given twice, or not among those selected.
    """
    asked = COMPARING.given(settings)
    chosen_methods = selected(METHODS, methods, asked.get("method"))
    network = counted_network(network)
    chosen_conventions = selected(CONVENTIONS, conventions, asked.get("convention"), conventions_of(network))
    sparse = [name for name, each in chosen_methods.items() if any(each.sparse.values())]
    usual = COMPARING.defaults["method"]
    first = usual if usual in chosen_methods else next(iter([*sparse, *chosen_methods]))
    method = METHODS.choose(asked.get("method", first))
    convention = CONVENTIONS.choose(asked.get("convention", next(iter(chosen_conventions))))
    asked |= {"method": method, "convention": convention}
    estimates, refused = _of_methods(network, asked, chosen_methods, chosen_conventions)
    if method.name in refused:
        raise SwatcostError(refused[method.name])
    return Comparison(
        setting=EVERY_SETTING.setting(asked), method=method.name, convention=convention.name, estimates=estimates,
        refused=refused,
    )  # fmt: skip


def compare_networks(
    networks: Sequence[Network | str | Path],
    *,
    methods: Iterable[str | Method] | None = None,
    conventions: Iterable[str | Convention] | None = None,
    **settings: Unpack[Settings],
) -> NetworkComparison:
    """Estimates methods, all of them unless some are selected, on each of several networks.

    settings are those that `compare` takes, but for `method`. Without `conventions` it is under `convention` alone.

    Raises SwatcostError as `compare` does, and for two networks of one name.
    """
    asked = COMPARING_NETWORKS.given(settings)
    chosen_methods = selected(METHODS, methods)
    one = EVERY_SETTING.setting(asked).convention
    chosen_conventions = selected(CONVENTIONS, [one] if conventions is None else conventions, asked.get("convention"))
    asked["convention"] = CONVENTIONS.choose(asked.get("convention", next(iter(chosen_conventions))))
    estimates: dict[str, Estimates] = {}
    refused: dict[str, str] = {}
    for network in _named_once([counted_network(each) for each in networks]):
        estimates[network.name], missing = _of_methods(network, asked, chosen_methods, chosen_conventions)
        refused |= {f"{name} on {network.name}": why for name, why in missing.items()}
    return NetworkComparison(
        setting=EVERY_SETTING.setting(asked), convention=asked["convention"].name, estimates=estimates, refused=refused
    )


def _named_once(networks: Sequence[Network]) -> Sequence[Network]:
    """The networks, or SwatcostError where two have one name."""
    names = [each.name for each in networks]
    if not names:
        raise SwatcostError("no model is given")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SwatcostError(f"model {twice!r} is given twice: give each once")
    return networks


def selected(
    registry: Registry[T],
    names: Iterable[str | T] | None,
    chosen: str | T | None = None,
    usual: Iterable[T] | None = None,
) -> dict[str, T]:
    """What is selected of a registry, by name and in the order given; if nothing is, the usual, and what was chosen.

    All are usual unless some are given.

    Raises SwatcostError for unknown and repeated names, and if something was chosen that is not selected.
    """
    one = None if chosen is None else registry.choose(chosen)
    if names is None:
        return {each.name: each for each in [*(registry if usual is None else usual), *([one] if one else [])]}
    found: dict[str, T] = {}
    for each in [names] if isinstance(names, str) or not isinstance(names, Iterable) else names:
        member = registry.choose(each)
        if member.name in found:
            raise SwatcostError(f"{registry.kind} {member.name!r} is given twice: give each once")
        found[member.name] = member
    if not found:
        raise SwatcostError(f"no {registry.kind} is selected: choose from {', '.join(registry.names())}")
    if one and one.name not in found:
        raise SwatcostError(f"{registry.kind} {one.name!r} is not among those selected: {nearest(one.name, [*found])}")
    return found


def _of_method(asked: Mapping[str, Any], method: Method) -> Setting:
    return EVERY_SETTING.setting({**asked, **targets_of(method, asked), "method": method})


def targets_of(method: Method, asked: Mapping[str, Any]) -> dict[str, float | None]:
    """The targets that a method of several is given, by name: that of weights for each operand that it makes sparse.

    Those that the method was asked to have as its own, as `spdf:weights=0.75` is, stay.
    """
    for name in OPERANDS:
        if asked.get(name) is not None:
            checked_sparsity(asked[name], name)
    return {
        name: asked.get(name, asked.get("weights"))
        if method.uses(operand) and name not in method.asked_targets
        else None
        for name, operand in OPERANDS.items()
    }


def _of_methods(
    network: Network, asked: Mapping[str, Any], methods: Mapping[str, Method], conventions: Mapping[str, Convention]
) -> tuple[Estimates, dict[str, str]]:
    """An estimate of every method that can be estimated under every convention, and why the others cannot.

    Raises SwatcostError where none can.
    """
    found: Estimates = {}
    refused: dict[str, str] = {}
    for name, method in methods.items():
        try:
            one = estimate_setting(network, _of_method(asked, method))
        except SwatcostError as error:
            refused[name] = str(error)
            continue
        found[name] = {each.name: one if each is one.convention else under(one, each) for each in conventions.values()}
    if not found:
        raise SwatcostError(next(iter(refused.values())))
    return found, refused


def _under(estimates: Estimates, convention: str) -> dict[str, Estimate]:
    """Every method under one convention."""
    return {name: found[convention] for name, found in estimates.items()}
