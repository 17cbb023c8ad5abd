"""What an audit assumes beyond what is stated: each assumption in words, with its price, and which go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any, Literal

from swatcost.common.errors import SwatcostError
from swatcost.counting import CONVENTIONS, Convention
from swatcost.counting.deviations import Deviation
from swatcost.counting.language import why_not
from swatcost.counting.switches import SWITCHES
from swatcost.estimate import plan_of
from swatcost.methods import METHODS
from swatcost.network import Network
from swatcost.setting import NO_PATTERN, Setting
from swatcost.sparsity import SparsityPlan

Kind = Literal["convention", "switch", "deviation", "setting", "default sparsity", "quantity", "rounding"]

PRICES: Mapping[Kind, int] = {
    "convention": 1, "setting": 1, "quantity": 1, "deviation": 2, "rounding": 2, "switch": 2,
    "default sparsity": 3,
}  # fmt: skip
"""What each assumption costs. A choice that any paper makes costs 1, whether it says so or not; one that departs from
what its counter is known to do, 2; a number that is fitted, 3."""

SECOND_SWITCH = 1
"""What two switches turned from one convention cost beyond their prices: nobody is known to count so."""

MOST = 6
"""The most that the assumptions of one candidate may cost together."""


@dataclass(frozen=True)
class Assumption:
    """One assumption: its kind, what it is about and its value by the program's names, and both in words."""

    kind: Kind
    name: str
    value: str
    words: str

    @property
    def price(self) -> int:
        return PRICES[self.kind]


Assumptions = frozenset[Assumption]


def price_of(assumptions: Iterable[Assumption]) -> int:
    """What assumptions cost together."""
    every = list(assumptions)
    switches = sum(each.kind == "switch" for each in every)
    return sum(each.price for each in every) + SECOND_SWITCH * max(0, switches - 1)


def deviating(deviation: Deviation) -> Assumption:
    """That a counter deviates from its convention."""
    return Assumption("deviation", deviation.name, deviation.kind, f"the counter {deviation.title}")


def taken_for(quantity: str, title: str) -> Assumption:
    """That a number is one of this quantity."""
    return Assumption("quantity", "quantity", quantity, f"the number is {title}")


TRUNCATED = Assumption("rounding", "rounding", "truncation", "further digits are cut off, not rounded")
DEFAULT_SPARSITY = Assumption("default sparsity", "default_act_sparsity", "solved for", "default activation sparsity")
"""Without a number, which is solved for."""


@dataclass(frozen=True)
class Counted:
    """A convention to try, and what it assumes: its name if that was not stated, and the switches that are turned."""

    assumptions: Assumptions
    convention: Convention


def conventions_to_try(stated: Convention | None, network: Network) -> list[Counted]:
    """The stated convention, or all that can count the network, then each with one switch turned, and with two.

    One way of counting comes only once.
    """
    bases = [stated] if stated is not None else [each for each in CONVENTIONS if why_not(each, network) is None]
    found: list[Counted] = []
    seen: set[Convention] = set()
    for turned in range(3):
        for base in bases:
            name = Assumption("convention", "convention", base.name, f"convention {base.name}")
            named = [name] if stated is None else []
            for flips in combinations(_flips(base), turned):
                if len({each.name for each in flips}) == turned and (counted := _turned(base, flips)) not in seen:
                    seen.add(counted)
                    found.append(Counted(frozenset([*named, *flips]), replace(counted, name=base.name)))
    return found


def _flips(base: Convention) -> Iterator[Assumption]:
    """Every other value of every switch."""
    for name, switch in SWITCHES.items():
        for value in switch.values:
            if value != getattr(base, name):
                yield Assumption("switch", name, value, f"{switch.title}: {value}")


def _turned(base: Convention, flips: Iterable[Assumption]) -> Convention:
    """The convention with these switches, under a name that says nothing, so that equal ones are equal."""
    return replace(base, name="", title="", source="", **{each.name: each.value for each in flips})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Choice:
    """A setting that a paper may leave unstated, with the value that it may have had, as `Setting.but` takes it."""

    assumption: Assumption
    value: Any

    @property
    def setting(self) -> str:
        return self.assumption.name


_SHORTCUTS = METHODS["set"].keeps_dense  # SWAT ran SET with its shortcut layers dense; others are tried alike
_WORDS = {
    ("acts", "as weights"): "activations as sparse as weights",
    ("first_layer", "dense"): "first layer dense",
    ("first_layer", "sparse"): "first layer sparse",
    ("last_layer", "dense"): "last layer dense",
    ("keep_dense", "shortcuts"): "shortcut (downsample) layers dense",
    ("keep_dense", NO_PATTERN): "no layer kept dense by its name",
    ("dense_budget", "outside"): "layers kept dense do not count towards the sparsity",
}


def choices(network: Network) -> list[Choice]:
    """The settings to try where they are not stated."""
    names = [layer.name for layer in network.weight_layers]
    shortcuts = [pattern for pattern in _SHORTCUTS if any(fnmatchcase(name, pattern) for name in names)]
    values = {("keep_dense", "shortcuts"): tuple(shortcuts), ("keep_dense", NO_PATTERN): (NO_PATTERN,)}
    return [
        Choice(Assumption("setting", *key, words), values.get(key, key[1]))
        for key, words in _WORDS.items()
        if shortcuts or key != ("keep_dense", "shortcuts")
    ]


@dataclass(frozen=True)
class Planned:
    """Choices made together, and the plan of each printed number with them."""

    assumptions: Assumptions
    plans: tuple[SparsityPlan, ...]


def plans_to_try(network: Network, settings: Sequence[Setting]) -> list[Planned]:
    """The plans of the settings as they are, then with unstated choices, cheapest first.

    A choice is made in every setting that does not state it. Left out are sets of choices of which one changes nothing,
    and those that no plan can have, such as more dense layers than the sparsity allows.
    """
    tried: dict[Assumptions, tuple[SparsityPlan, ...] | None] = {}
    found: list[Planned] = []
    for chosen in _sets(choices(network)):
        assumptions = frozenset(each.assumption for each in chosen)
        try:
            plans = tuple(plan_of(network, _with(setting, chosen)) for setting in settings)
        except SwatcostError:
            if not chosen:
                raise
            tried[assumptions] = None
            continue
        tried[assumptions] = plans
        fewer = [tried[assumptions - {each}] for each in assumptions]
        if all(each is None or _layers(each) != _layers(plans) for each in fewer):
            found.append(Planned(assumptions, plans))
    return found


def _sets(offered: Sequence[Choice]) -> Iterator[tuple[Choice, ...]]:
    """Every set of choices of different settings, the smallest first."""
    for count in range(len({each.setting for each in offered}) + 1):
        for chosen in combinations(offered, count):
            if len({each.setting for each in chosen}) == count:
                yield chosen


def _layers(plans: Iterable[SparsityPlan]) -> list[Any]:
    return [plan.layers for plan in plans]


def _with(setting: Setting, chosen: Iterable[Choice]) -> Setting:
    """A setting with those choices that it does not state and that its method can use."""
    made: dict[str, Any] = {}
    for each in chosen:
        if each.setting in setting.asked:
            continue
        if each.setting == "acts":
            if setting.method.uses("activation") and setting.weights is not None:
                made["acts"] = setting.weights
        else:
            made[each.setting] = each.value
    return setting.but(**made) if made else setting
