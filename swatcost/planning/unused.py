"""Settings that make no difference in the case at hand, and why: one rule per setting."""

from collections.abc import Callable, Iterable, Mapping

from swatcost.estimate import Estimate
from swatcost.setting import OPTIONS

Rule = Callable[[Estimate], str | None]
"""Why a setting makes no difference to an estimate, as the rest of a sentence; None if it does make one."""


def _sparsity(found: Estimate) -> str | None:
    return None if found.plan.asks_for_sparsity else "nothing is sparse"


def _distribution(found: Estimate) -> str | None:
    distributed = any(each.weight or each.activation for each in found.plan.layers)
    return _sparsity(found) or (None if distributed else "no weights or activations are sparse")


def _first_layer(found: Estimate) -> str | None:
    by_itself = found.plan.distribution.first_layer_dense
    restated = found.setting.first_layer == "sparse" and not by_itself
    return _sparsity(found) or (f"{found.plan.distribution.name} does not keep it dense anyway" if restated else None)


def _keep_dense(found: Estimate) -> str | None:
    if (nothing := _sparsity(found)) or found.plan.method.keeps_dense:
        return nothing
    if not found.setting.keep_dense:
        return f"no layers are kept dense by name for {found.plan.method.name}"
    named = any(reason.startswith("named by") for reason in found.plan.kept_dense.values())
    return None if named else "the layers that it names are kept dense anyway"


def _dense_budget(found: Estimate) -> str | None:
    plan = found.plan
    if nothing := _sparsity(found):
        return nothing
    if not plan.distribution.keeps_total:
        return f"distribution {plan.distribution.name} has no target for all weights together"
    return None if plan.kept_dense else "no layer is kept dense"


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


def _steps(found: Estimate) -> str | None:
    schedules = (found.plan.method.schedule, found.plan.method.published_schedule)
    changes = any(len(each(found.steps)) > 1 for each in schedules if each is not None)
    same = f"every step of {found.plan.method.name} costs the same"
    return _sparsity(found) or (None if changes else same)


def _default_act_sparsity(found: Estimate) -> str | None:
    charges = found.convention.charges_default_sparsity(found.plan.method)
    not_charged = f"convention {found.convention.name} does not assume it for {found.plan.method.name}"
    return _sparsity(found) or (None if charges else not_charged)


RULES: Mapping[str, Rule] = {
    "period": _topk,
    "method": _sparsity,
    "distribution": _distribution,
    "steps": _steps,
    "default_act_sparsity": _default_act_sparsity,
    "first_layer": _first_layer,
    "last_layer": _sparsity,
    "keep_dense": _keep_dense,
    "dense_budget": _dense_budget,
    "selection": _selection,
    "one_sample": _one_sample,
    "hidden": _topk,
}
"""The rule of each setting that may make no difference to an estimate; the others always make one."""


def unused(estimates: Iterable[Estimate], names: Iterable[str], rules: Mapping[str, Rule] = RULES) -> dict[str, str]:
    """Which of these settings make no difference to any of the estimates, by name, and why for the first."""
    every, found = list(estimates), {}
    for name in names:
        reasons = [rules[name](each) for each in every] if name in rules else []
        if reasons and all(reasons):
            found[name] = str(reasons[0])
    return found


def never(reason: str, *names: str) -> dict[str, Rule]:
    """Rules for settings that a command takes and never uses, with the reason."""
    return dict.fromkeys(names, lambda found: reason)


def unused_words(found: Estimate) -> list[str]:
    """A sentence on each setting with a value of its own that makes no difference to the estimate.

    The number of steps has none: a run's totals depend on it. Nor has a dense network, which is called dense.
    """
    if not found.plan.asks_for_sparsity:
        return []
    asked = found.setting.asked
    changed = [name for name, option in OPTIONS.items() if asked.get(name) not in (None, option.default)]
    reasons = unused([found], (name for name in changed if name != "steps"))
    return [f"{name} makes no difference: {reason}." for name, reason in reasons.items()]
