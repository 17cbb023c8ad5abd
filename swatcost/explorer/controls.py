"""The controls of the page, one for each setting, and the estimate that their values ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.estimate import Estimate, estimate_setting
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.setting import EVERY_SETTING, Kind, Option, Scope, Setting

EXPLORING = Scope(
    without={
        "source": "a page does not choose files: it is kept as it was given",
        "mfu": "it is kept as it was given",
        "keep_dense": "patterns are typed, not moved: they are kept as they were given",
    }
)
"""The settings that have a control."""

START = 0.8  # sparsity [-] of what a method makes sparse, where none was asked for: the paper's first setting
_DECADES = [step * 10**power for power in range(7) for step in (1, 2, 5)]
_BINARY = [2**power for power in range(11)]
_FARTHEST = 100  # times the default, the largest count that is offered


_LABELS = {
    "acts": "activations", "grads": "output gradients", "period": "Top-K period",
    "default_act_sparsity": "activation sparsity from ReLU", "selection": "Top-K algorithm",
    "one_sample": "Top-K on one sample", "hidden": "hidden Top-K",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Control:
    """A setting's control: its kind, the values that it offers, and its first value. A sparsity is any in [0, 1)."""

    name: str
    kind: Kind
    offered: Sequence[Any]
    start: Any

    @property
    def label(self) -> str:
        """The text beside it."""
        return _LABELS.get(self.name, self.name.replace("_", " "))

    @property
    def sent(self) -> Any:
        """Its value as the page sends it: for counts, the place among those offered."""
        return list(self.offered).index(self.start) if self.kind == "count" else self.start

    def value_of(self, sent: Any) -> Any:
        """The value that the page sent; LookupError, TypeError or ValueError for one that no control can have."""
        if self.kind == "sparsity":
            if isinstance(sent, bool) or not 0 <= float(sent) < 1:
                raise LookupError(sent)
            return float(sent)
        known = range(len(self.offered)) if self.kind == "count" else self.offered
        if not any((type(sent), sent) == (type(each), each) for each in known):  # True is no 1
            raise LookupError(sent)
        return self.offered[sent] if self.kind == "count" else sent


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The controls around a setting, and the settings given that have none."""

    each: tuple[Control, ...]
    others: Mapping[str, Any]

    @property
    def sent(self) -> list[Any]:
        """All values as the page sends them."""
        return [control.sent for control in self.each]

    def values(self, sent: Sequence[Any]) -> dict[str, Any]:
        """The values by name that the page sent; see `Control.value_of`."""
        return {control.name: control.value_of(value) for control, value in zip(self.each, sent, strict=True)}

    def setting(self, values: Mapping[str, Any]) -> Setting:
        """The setting that these values of the controls ask for. Raises SwatcostError where it is refused.

        A target of 0 is left out, for methods that have none of the kind and for what a file says; not that of
        activations where they would follow the weights then.
        """
        asked = EVERY_SETTING.setting({**self.others, **values})
        follow = asked.distribution.acts_follow_weights and not asked.distribution.measured
        left_out = [name for name in OPERANDS if not values[name] and not (name == "acts" and follow)]
        return EVERY_SETTING.setting({**self.others, **values, **dict.fromkeys(left_out)})


def controls_from(settings: Mapping[str, Any]) -> Controls:
    """The controls around settings that `estimate` takes, which are where they start.

    Raises SwatcostError for what cannot be used among them.
    """
    asked = EVERY_SETTING.setting(settings)
    start = asked.record() | _targets(asked)
    others = {name: value for name, value in asked.asked.items() if name not in EXPLORING.options}
    if isinstance(start["default_act_sparsity"], str):  # a run's record
        others["default_act_sparsity"] = start.pop("default_act_sparsity")
    controls = [
        Control(name=name, kind=option.kind, offered=_offered(option, start[name]), start=start[name])
        for name, option in EXPLORING.options.items()
        if name in start
    ]
    return Controls(each=tuple(controls), others=others)


def _targets(asked: Setting) -> dict[str, float]:
    """Where the targets start: as asked, or at START where none is."""
    method, distribution = asked.method, asked.distribution
    targets = {name: getattr(asked, name) for name in OPERANDS}
    named = distribution.measured or distribution.target_of_others
    if all(value is None for value in targets.values()) and not named:
        targets = {
            name: method.targets.get(name, START) if method.uses(operand) else None
            for name, operand in OPERANDS.items()
        }
    elif targets["acts"] is None and distribution.acts_follow_weights and method.uses("activation"):
        targets["acts"] = targets["weights"]
    return {name: value or 0.0 for name, value in targets.items()}


def _offered(option: Option, start: Any) -> Sequence[Any]:
    if option.kind == "count":
        return sorted(each for each in {*_DECADES, *_BINARY, start} if each <= max(_FARTHEST * option.default, start))
    if option.kind == "flag":
        return (False, True)
    names = option.names() if option.names else []
    return list(dict.fromkeys([*([] if option.default else [None]), *names, start]))


@dataclass(frozen=True)
class Answer:
    """An estimate, or in one line the reason why these values give none."""

    estimate: Estimate | None
    reason: str = ""


def answered(network: Network, controls: Controls, values: Mapping[str, Any]) -> Answer:
    """What the controls' values come to."""
    try:
        return Answer(estimate_setting(network, controls.setting(values)))
    except SwatcostError as error:
        return Answer(None, " ".join(str(error).split()))
