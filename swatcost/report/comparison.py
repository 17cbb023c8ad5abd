"""A comparison as a table, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from swatcost.counting.costs import Cost
from swatcost.estimate import Estimate
from swatcost.network.passes import PASSES
from swatcost.planning import Comparison
from swatcost.planning.comparison import remaining, where_they_differ
from swatcost.report.assumptions import final_steps
from swatcost.report.estimate import machine, title, unmeasured
from swatcost.report.numbers import percent, times
from swatcost.report.sheet import Sheet, Table

_SPEEDUPS = (
    "Speedups by Eqs. 7 and 8: the sparse step as much faster as its FLOPs are fewer, which no dense hardware gives, "
    "and a Top-K every so many iterations."
)
_SIMULATED_SPEEDUPS = (
    "Speedups are those of simulated cycles, with Top-K masks of a Gaussian, and a Top-K every so many iterations."
)


def sheet(comparison: Comparison, layers: bool = False) -> Sheet:
    one = comparison.by_convention[comparison.convention]
    return Sheet(
        opening=[title(one.network), settings(comparison.by_method.values())],
        tables=[
            _table(f"under {comparison.convention}", comparison.by_method),
            _table(f"{comparison.method} under", comparison.by_convention),
            _matrix(comparison),
        ],
        notes=notes(comparison),
    )


def settings(estimates: Iterable[Estimate]) -> str:
    """What all were asked for: targets, each for the methods that have such an operand, and the machine."""
    every = list(estimates)
    words = {"weights": "weights", "acts": "activations", "grads": "outputs"}
    targets = {
        words[name]: value for name in words for each in every if (value := getattr(each.plan, name)) is not None
    }
    asked = ", ".join(f"{operands} {100 * value:.4g} % sparse" for operands, value in targets.items())
    one = every[0]
    return (
        f"{asked or 'no sparsity asked for'}, as far as a method has them; {one.plan.distribution.name}, "
        f"{machine(one.device)}, batch {one.batch_size}, Top-K every {one.topk_period:,}"
    )


def notes(comparison: Comparison) -> list[str]:
    """Where conventions differ, in words, and which methods could not be estimated."""
    by_method = comparison.by_method
    sentences = [
        "Reductions are of MACs: of each pass, of a training step on average over the run, and of inference.",
        *time_notes(by_method.values()),
    ]
    base = comparison.by_convention[comparison.convention]
    convention = base.convention
    if charged := [name for name, each in by_method.items() if convention.charges_default_sparsity(each.plan.method)]:
        default = base.default_act_sparsity
        sentences.append(
            f"{comparison.convention} charges {', '.join(charged)} {percent(1 - default)} of the dense grad_weight, "
            "for the zeros that ReLU leaves; exact follows what each needs: gradients of active weights, or of all."
        )
    if convention.counts_weight_sparsity_only:
        sentences.append(
            f"{convention.name} counts weight sparsity only: sparse activations and outputs make no difference."
        )
    for name, each in by_method.items():
        if reasons := {why for why in each.plan.kept_dense.values() if why.startswith("as ")}:
            kept = [weight for weight, why in each.plan.kept_dense.items() if why in reasons]
            sentences.append(f"{name} keeps {len(kept)} more layers dense ({', '.join(reasons)}).")
    for name, other in comparison.by_convention.items():
        in_pass = where_they_differ(base.costs, other.costs)
        if in_pass is not None:
            sentences.append(
                f"{comparison.method} is down {percent(base.training_reduction)} as {comparison.convention} counts and "
                f"{percent(other.training_reduction)} as {name} counts, mostly for {in_pass}: what is left of it is "
                f"{percent(remaining(base.costs, in_pass))} of dense training under {comparison.convention} and "
                f"{percent(remaining(other.costs, in_pass))} under {name}."
            )
    sentences += _cheapest(comparison)
    return sentences + [f"{name} is left out: {reason}." for name, reason in comparison.refused.items()]


def time_notes(estimates: Collection[Estimate]) -> list[str]:
    """What the speedups rest on."""
    simulated = any(each.simulated_reduction is not None for each in estimates)
    return [
        _SIMULATED_SPEEDUPS if simulated else _SPEEDUPS,
        *final_steps(estimates),
        *unmeasured(each.device for each in estimates),
    ]


def _cheapest(comparison: Comparison) -> list[str]:
    """Which methods cost least under each convention, and the pass that sets them apart from the next."""
    sentences = []
    for convention in comparison.by_convention:
        (most, first), *others = comparison.ranked(convention)
        if not most or not others:
            continue
        _, after = others[0]
        winner, next_one = (comparison.matrix[each[0]][convention] for each in (first, after))
        in_pass = max(PASSES, key=lambda each: remaining(next_one, each) - remaining(winner, each))
        left = " and ".join(percent(remaining(each, in_pass)) for each in (winner, next_one))
        sentences.append(
            f"Least work as {convention} counts: {_all_of(first)}; then {_all_of(after)}. They part in {in_pass}, of "
            f"which {left} of dense training are left."
        )
    return sentences


def _all_of(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """Plain data: the totals of every estimate."""
    base = comparison.by_convention[comparison.convention]
    plan, network = base.plan, base.network
    return {
        "schema": "swatcost.comparison/1",
        "method": comparison.method,
        "convention": comparison.convention,
        "model": network.name,
        "distribution": plan.distribution.name,
        "weights": plan.weights,
        "setting": base.setting.record(),
        "by_method": {name: each.to_dict()["totals"] for name, each in comparison.by_method.items()},
        "by_convention": {name: each.to_dict()["totals"] for name, each in comparison.by_convention.items()},
        "matrix": {
            name: {under: costs.training.reduction for under, costs in found.items()}
            for name, found in comparison.matrix.items()
        },
        "notes": [*map(str, notes(comparison))],
    }


def _table(heading: str, estimates: Mapping[str, Estimate]) -> Table:
    header = [heading, "forward", "grad\ninput", "grad\nweight", "training", "inference", "speed\nup"]
    rows = [
        [name, *(percent(cost.reduction) for cost in reductions(each).values()), times(each.speedup)]
        for name, each in estimates.items()
    ]
    return Table(header, rows)


def _matrix(comparison: Comparison) -> Table:
    """Training reductions of every method under every convention."""
    rows = [
        [name, *(percent(costs.training.reduction) for costs in under.values())]
        for name, under in comparison.matrix.items()
    ]
    return Table(["training, under", *comparison.by_convention], rows)


def reductions(estimate: Estimate) -> dict[str, Cost]:
    """The costs that are compared, by name."""
    return {name: cost for name, cost in estimate.costs.totals().items() if name != "recompute"}


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per estimate."""
    return estimate_rows([*comparison.by_method.values(), *comparison.by_convention.values()])


def estimate_rows(estimates: Sequence[Estimate]) -> list[dict[str, Any]]:
    """What a row says of each estimate."""
    return [
        {
            "method": each.plan.method.name,
            "convention": each.convention.name,
            **{f"{name}_reduction": cost.reduction for name, cost in reductions(each).items()},
            "model_compression": each.model_compression,
            "speedup": each.speedup,
        }
        for each in estimates
    ]
