"""One network and method under every convention, and what each switch is worth there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from swatcost.common.result import Result
from swatcost.counting import CONVENTIONS, Convention, Cost
from swatcost.counting.costs import FLOPS_PER_MAC, per_token
from swatcost.counting.language import why_not
from swatcost.counting.switches import SWITCHES
from swatcost.estimate import Estimate, estimate_setting
from swatcost.loading import counted_network
from swatcost.network import Network
from swatcost.setting import NOT_TIMED, Scope, Settings


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a training step costs under a convention: FLOPs per token, or per sample where inputs are not tokens."""

    convention: Convention
    flops: Cost


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One switch of the base convention turned from `before` to `after`, and the FLOPs of training then."""

    switch: str
    before: str
    after: str
    flops: Cost


@dataclass(frozen=True, kw_only=True, repr=False)
class Conventions(Result):
    """A network and a method under every convention that can count it. Its repr is the tables.

    `base` is the estimate under the convention whose switches are turned; `turns` has every other value of each of its
    switches. `refused` says, by convention, why it cannot count the network.
    """

    report = "conventions"

    base: Estimate
    counts: tuple[Count, ...]
    turns: tuple[Turn, ...]
    refused: dict[str, str]

    @property
    def unit(self) -> str:
        """What FLOPs are given for: "token" or "sample"."""
        return "sample" if self.base.tokens_per_sample is None else "token"

    @property
    def flops(self) -> Cost:
        """FLOPs of training under the base convention."""
        return _flops(self.base, self.base.costs.training)

    def of(self, convention: str) -> Count:
        """The count under the convention of this name. Raises KeyError if there is none."""
        by_name = {each.convention.name: each for each in self.counts}
        return by_name[convention]

    @cached_property
    def changing(self) -> tuple[Turn, ...]:
        """The turns that change a count."""
        return tuple(each for each in self.turns if each.flops != self.flops)

    @property
    def shown_switches(self) -> list[str]:
        """The switches in which the counted conventions differ and that change a count here."""
        changing = {each.switch for each in self.changing}
        return [each for each in differing(count.convention for count in self.counts) if each in changing]


COUNTING = Scope(
    defaults={"convention": "exact"},
    help={"convention": "The convention whose switches are turned one at a time."},
    without={
        **dict.fromkeys(
            ("period", "device", "batch_size", "selection", "one_sample", "hidden"),
            "FLOPs do not depend on it, leave it out",
        ),
        **NOT_TIMED,
    },
)
"""Settings as a count under every convention takes them: those that training FLOPs depend on."""


def conventions(network: Network | str | Path, **settings: Unpack[Settings]) -> Conventions:
    """Counts what training a network costs under every convention, and what each switch is worth there.

    settings are those of `estimate` that FLOPs depend on: weights, acts, method, distribution and so on. `convention`
    is the one whose switches are turned one at a time, `exact` unless given. Conventions of language models count
    networks with tokens or attention; for others the result says why not.

    Raises SwatcostError for what `estimate` refuses.

    >>> import swatcost
    >>> found = swatcost.conventions("gpt2")
    >>> found.of("6n").flops.dense  # 6 · 124,439,808 FLOPs per token
    746638848
    """
    setting = COUNTING.setting(settings)
    network = counted_network(network)
    base = estimate_setting(network, setting)
    refused = {each.name: why for each in CONVENTIONS if (why := why_not(each, network))}
    own = [] if base.convention.name in CONVENTIONS.names() else [base.convention]
    counts = [
        Count(convention=each, flops=_under(base, each)) for each in (*own, *CONVENTIONS) if each.name not in refused
    ]
    turns = [
        Turn(switch=switch, before=before, after=after, flops=_under(base, turned))
        for switch, before, after, turned in _turned(base.convention, network)
    ]
    return Conventions(base=base, counts=tuple(counts), turns=tuple(turns), refused=refused)


def differing(every: Iterable[Convention]) -> list[str]:
    """The switches in which conventions differ."""
    every = list(every)
    return [name for name in SWITCHES if len({getattr(each, name) for each in every}) > 1]


def _turned(base: Convention, network: Network) -> Iterator[tuple[str, str, str, Convention]]:
    """(switch, value before, value after, the convention then) for every other value of every switch.

    Where the network has tokens it is counted per token, which makes no difference but that all switches then matter.
    """
    of_tokens = replace(base, per="token")
    now: Any = of_tokens if why_not(of_tokens, network) is None else base
    for name, switch in SWITCHES.items():
        before = getattr(base, name)
        for after in switch.values:
            if after != before:
                yield name, before, after, replace(now, name=f"{base.name}, {name}: {after}", **{name: after})


def _under(base: Estimate, convention: Convention) -> Cost:
    return _flops(base, base.counting.under(convention).total(base.network, base.plan).training)


def _flops(base: Estimate, training: Cost) -> Cost:
    tokens = base.tokens_per_sample
    return FLOPS_PER_MAC * training if tokens is None else per_token(training, tokens)
