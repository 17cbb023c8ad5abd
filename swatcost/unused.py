"""Settings that make no difference in the case at hand, and why: one rule per setting."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from swatcost.common.errors import SwatcostError
from swatcost.counting import EXACT, Convention
from swatcost.counting.language import why_not
from swatcost.estimate import Estimate, plan_of
from swatcost.setting import OPTIONS

Rule = Callable[[Estimate], str | None]
"""Why a setting makes no difference to an estimate, as the rest of a sentence; None if it does make one."""


def sparsity(found: Estimate) -> str | None:
    """The rule of a setting that matters where anything is sparse."""
    return None if found.plan.asks_for_sparsity else "nothing is sparse"


def _method(found: Estimate) -> str | None:
    return sparsity(found) if any(found.plan.method.sparse.values()) else None  # who asks for dense gets dense


def _layers(name: str) -> Rule:
    """The rule of a setting that decides which layers are sparse, and how sparse."""

    def rule(found: Estimate) -> str | None:
        if found.setting.source is not None:  # a file is not read again for this
            return sparsity(found)
        try:
            without = plan_of(found.network, found.setting.but(**{name: None}))
        except SwatcostError:
            return None
        for_kernels = found.device.kernels and without.pattern != found.plan.pattern
        same = without.layers == found.plan.layers and not for_kernels
        return (sparsity(found) or "it is the default of every layer here") if same else None

    return rule


def _dense_budget(found: Estimate) -> str | None:
    plan = found.plan
    if nothing := sparsity(found):
        return nothing
    if not plan.distribution.keeps_total:
        return f"distribution {plan.distribution.name} has no target for the whole network"
    return _layers("dense_budget")(found) if plan.kept_dense else "no layer is kept dense"


def _topk(found: Estimate) -> str | None:
    if not found.plan.method.selects:
        return f"method {found.plan.method.name} selects nothing by Top-K"
    return None if found.topk_seconds else "nothing that Top-K selects is sparse"


def _selection(found: Estimate) -> str | None:
    own = found.device.is_topk(found.selecting.algorithm)
    return _topk(found) or (f"the Top-K of {found.device.name} was timed with it" if own else None)


def _one_sample(found: Estimate) -> str | None:
    if nothing := _topk(found):
        return nothing
    if not any(each.activation for each in found.plan.layers):
        return "no activations are sparse"
    return "a step has one sample" if found.batch_size == 1 else None


_MANY = 1_000_000  # steps, enough for all that a run does every so many of them


def steps_under(*conventions: Convention) -> Rule:
    """The rule of the number of steps where only counts under these conventions, or the estimate's own, are shown."""

    def rule(found: Estimate) -> str | None:
        if nothing := sparsity(found):
            return nothing
        network, plan, longer = found.network, found.plan, (7 * found.steps + 1, max(found.steps, _MANY) + 1)
        able = (each for each in conventions or (found.convention,) if why_not(each, network) is None)
        every = [found.counting.under(each) for each in able]
        same = all(
            each.total(network, plan) == replace(each, steps=steps).total(network, plan)
            for each in every
            for steps in longer
        )
        if not same:
            return None
        changes = len(plan.phases(found.steps)) > 1
        return (
            f"the phases of {plan.method.name} are shares of the run, whatever its length"
            if changes
            else f"every step of {plan.method.name} costs the same"
        )

    return rule


def _steps(found: Estimate) -> str | None:
    return steps_under(found.convention, EXACT)(found)


def _default_act_sparsity(found: Estimate) -> str | None:
    charges = found.convention.charges_default_sparsity(found.plan.method)
    not_charged = f"convention {found.convention.name} does not assume it for {found.plan.method.name}"
    return sparsity(found) or (None if charges else not_charged)


def timed_precision(found: Estimate) -> str | None:
    """The rule of the precision where only times are shown; what frozen weights save of a step is its own trace's."""
    if found.plan.method.differs_when_dense:
        return None
    return f"{found.device.name} has no times in {found.precision.name}" if found.timed_in_single_precision else None


def autocast_alone(reason: str) -> Rule:
    """The rule of the precision where autocast alone makes a difference: its traces have other bytes."""
    return lambda found: None if found.network.conditions.autocast else reason


def _precision(found: Estimate) -> str | None:
    return None if found.network.conditions.autocast else timed_precision(found)


def _mfu(found: Estimate) -> str | None:
    return "cycles are simulated" if found.simulated_reduction is not None else None


def _optimizer(found: Estimate) -> str | None:
    step = found.dense_step
    if any(each.in_pass == "update" for each in step.parts) and (step.basis != "mfu" or found.device.kernels):
        return None
    return f"the time of a step on {found.device.name} does not come from its operations"


RULES: Mapping[str, Rule] = {
    "optimizer": _optimizer,
    "precision": _precision,
    "mfu": _mfu,
    "period": _topk,
    "method": _method,
    "distribution": _layers("distribution"),
    "steps": _steps,
    "default_act_sparsity": _default_act_sparsity,
    "first_layer": _layers("first_layer"),
    "last_layer": _layers("last_layer"),
    "keep_dense": _layers("keep_dense"),
    "dense_budget": _dense_budget,
    "selection": _selection,
    "one_sample": _one_sample,
    "hidden": _topk,
}
"""The rule of each setting that may make no difference to an estimate; the others always make one."""


def unused(estimates: Iterable[Estimate], names: Iterable[str], rules: Mapping[str, Rule] = RULES) -> dict[str, str]:
    """Which of these settings make no difference to any of the estimates, by name, and why for the first.

    A setting that has its default is left out.
    """
    reasons: dict[str, str] = {}
    left, changed = [name for name in names if name in rules], set[str]()
    for each in estimates if left else ():
        changed.update(_changed(each))
        found = {name: rules[name](each) for name in left}
        left = [name for name in left if found[name]]
        reasons = {name: str(reason) for name, reason in found.items() if reason} | reasons
        if not left:
            break
    return {name: reasons[name] for name in left if name in changed}


def _changed(found: Estimate) -> list[str]:
    """The settings that were asked for and are not at their default, in the order of OPTIONS."""
    asked = found.setting.asked
    return [name for name, option in OPTIONS.items() if asked.get(name) not in (None, option.default)]


def never(reason: str, *names: str) -> dict[str, Rule]:
    """Rules for settings that a command takes and never uses, with the reason."""
    return dict.fromkeys(names, lambda found: reason)


def unused_words(found: Estimate) -> list[str]:
    """A sentence on each setting with a value of its own that makes no difference to the estimate.

    The number of steps has none: a run's totals depend on it. Nor has a dense network, which is called dense.
    """
    if not found.plan.asks_for_sparsity:
        return []
    reasons = unused([found], (name for name in _changed(found) if name != "steps"))
    return [f"{name} makes no difference: {reason}." for name, reason in reasons.items()]
