"""Why two conventions give two numbers, as a table, Markdown, LaTeX, CSV or JSON."""

from decimal import Decimal
from typing import Any

from swatcost.counting.costs import AGREEMENT, Cost
from swatcost.counting.switches import SWITCHES
from swatcost.estimate import Estimate
from swatcost.planning.explanation import FORMULA, Explanation, Step
from swatcost.report.estimate import asked, title
from swatcost.report.numbers import percent, scaled, signed
from swatcost.report.samples import sample_word
from swatcost.report.sheet import Sheet, Table


def sheet(found: Explanation, layers: bool = False) -> Sheet:
    return Sheet(
        opening=[title(found.start.network), asked(found.start), headline(found)],
        tables=[_waterfall(found)],
        notes=notes(found),
    )


def headline(found: Explanation) -> str:
    """Both numbers and the main reason for their difference, in one sentence."""
    one, other = found.start, found.end
    names = one.convention.name, other.convention.name
    if not one.plan.asks_for_sparsity:
        dense = (scaled(each.costs.training.dense, "MAC") for each in (one, other))
        counted = ", ".join(
            f"{macs} per {sample_word(one)} under {name}" for macs, name in zip(dense, names, strict=True)
        )
        return f"Nothing is sparse. Dense training is {counted}: `swatcost conventions` shows what each counts."
    if abs(found.difference) < AGREEMENT:
        why = "what differs cancels out" if changing(found) else "nothing in which they differ changes this number"
        return f"Training FLOPs down {percent(one.training_reduction)} under both {names[0]} and {names[1]}: {why}."
    apart = points(one.training_reduction, other.training_reduction)
    return (
        f"Training FLOPs down {percent(one.training_reduction)} under {names[0]} and "
        f"{percent(other.training_reduction)} under {names[1]}, {abs(apart)} points {'more' if apart > 0 else 'less'}"
        f"{_mostly(found)}."
    )


def _mostly(found: Explanation) -> str:
    step = found.largest
    if step is None:
        return ""
    before = next(reached for reached, each in reductions(found) if each is step)
    names = found.start.convention.name, found.end.convention.name
    subject, words = names[1], "has formulas of its own"
    if step.switch != FORMULA:
        words = SWITCHES[step.switch].values[step.after].words
        if step.switch == "grad_weight_sparsity":
            words = (
                f"{_in_grad_weight(step.after, found.end)}, where {names[0]} {_in_grad_weight(step.before, found.end)}"
            )
    elif step.after == "switches":
        subject = names[0]
    change = points(before, step.costs.training.reduction)
    mostly = ", mostly" if len(changing(found)) > 1 else ""
    return f"{mostly} because the {subject} convention {words} ({signed(change)} points)"


def _in_grad_weight(value: str, estimate: Estimate) -> str:
    """What a convention with this value of the switch does to the method's grad_weight."""
    method = estimate.plan.method
    if value == "weight sparsity":
        return "counts grad_weight " + {
            "all": "in full", "active": "for active weights only", "none": "of added weights only"
        }[method.weight_gradient]  # fmt: skip
    if value == "default activation sparsity" and method.relies_on_default_sparsity:
        return f"assumes that ReLU zeroes {percent(estimate.default_act_sparsity)} of the activations"
    if method.weight_gradient == "all":
        return f"reduces grad_weight by what {method.name} makes sparse there"
    return f"counts only the weight gradients that {method.name} needs"


def reductions(found: Explanation) -> list[tuple[float, Step]]:
    """Each step, and the training reduction [-] that it starts from."""
    reached = [found.start.training_reduction, *(step.costs.training.reduction for step in found.steps)]
    return list(zip(reached, found.steps, strict=False))


def changing(found: Explanation) -> list[Step]:
    """The steps that change the reduction."""
    return [step for step in found.steps if step.change]


def points(before: float, after: float) -> Decimal:
    """The difference of two reductions [-] in percentage points, of those that are shown: points add up as printed."""
    return Decimal(f"{100 * after:.2f}") - Decimal(f"{100 * before:.2f}")


def step_title(step: Step) -> str:
    """What is turned, in words."""
    return "formulas" if step.switch == FORMULA else SWITCHES[step.switch].title


def _waterfall(found: Explanation) -> Table:
    def row(words: str, training: Cost, change: str) -> list[str]:
        return [words, scaled(training.dense), scaled(training.sparse), percent(training.reduction), change]

    start, end = found.start, found.end
    shown = changing(found)
    rows = [
        row(
            f"{step_title(step)}: {step.before} → {step.after}", step.costs.training,
            signed(points(reached, step.costs.training.reduction)),
        )
        for reached, step in reductions(found) if step in shown
    ]  # fmt: skip
    total = signed(points(start.training_reduction, end.training_reduction))
    return Table(
        [
            f"from {start.convention.name} to {end.convention.name}",
            "dense\nMACs",
            "sparse\nMACs",
            "reduction",
            "points",
        ],
        [
            row(start.convention.name, start.costs.training, ""),
            *rows,
            row(end.convention.name, end.costs.training, total),
        ],
    )


def notes(found: Explanation) -> list[str]:
    """How to read the steps, which switches are none, and what the two conventions are."""
    idle = [step_title(step) for step in found.steps if not step.change]
    sentences = [
        "Reductions are 1 − sparse / dense of the MACs of a training step, per sample, on average over the run; a "
        "switch may change both.",
        "One switch is turned after the other, in this order. What a step changes depends on the order; the total does "
        "not.",
        "Points are differences of the reductions as shown, so that they add up; JSON and CSV hold them unrounded.",
    ]
    if idle:
        sentences.append(f"Also different, but without effect on training FLOPs here: {', '.join(idle)}.")
    if found.shared:
        sentences.append(f"The same in both: {', '.join(SWITCHES[name].title for name in found.shared)}.")
    return sentences + [
        f"Convention {each.name}: {each.title} ({each.source})."
        for each in (found.start.convention, found.end.convention)
    ]


def rows(found: Explanation) -> list[dict[str, Any]]:
    """One row for the start and one per step; changes add up to the difference."""
    return [
        _row("", "", "", found.start.costs.training, None),
        *(_row(step.switch, step.before, step.after, step.costs.training, step.change) for step in found.steps),
    ]


def _row(switch: str, before: str, after: str, training: Cost, change: float | None) -> dict[str, Any]:
    return {
        "switch": switch,
        "from": before,
        "to": after,
        "training_dense_macs": training.dense,
        "training_sparse_macs": training.sparse,
        "training_reduction": training.reduction,
        "change": change,
    }


def to_dict(found: Explanation) -> dict[str, Any]:
    """Plain data: both reductions, and every step between them."""
    start, end = found.start, found.end
    ends = {each.convention.name: each for each in (start, end)}
    return {
        "schema": "swatcost.explanation/1",
        "model": start.network.name,
        "method": start.plan.method.name,
        "distribution": start.plan.distribution.name,
        "from_convention": start.convention.name,
        "to_convention": end.convention.name,
        "setting": {name: value for name, value in start.setting.record().items() if name != "convention"},
        "training": {
            name: {
                "dense": each.costs.training.dense,
                "sparse": each.costs.training.sparse,
                "reduction": each.training_reduction,
            }
            for name, each in ends.items()
        },
        "difference": found.difference,
        "steps": rows(found)[1:],
        "shared": list(found.shared),
        "notes": [*map(str, notes(found))],
    }
