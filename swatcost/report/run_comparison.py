"""Whole runs with several methods as a table, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Iterator
from typing import Any, get_args

from swatcost.counting.costs import Cost
from swatcost.planning.run_comparison import Equal, RunComparison, ScaledRun
from swatcost.planning.whole_run import RunPlan
from swatcost.report.attainable import attainable_sentence
from swatcost.report.comparison import left_out, method_notes, sparsity_asked
from swatcost.report.estimate import title, unmeasured
from swatcost.report.numbers import change, percent, power_of_ten, scaled, seconds, three_digits, times, token_count
from swatcost.report.run_plan import run_line, sparse_answers
from swatcost.report.run_plan_data import to_dict as plan_data
from swatcost.report.run_plan_notes import fit, notes_of
from swatcost.report.sheet import Caveat, Sheet, Table


def sheet(comparison: RunComparison, layers: bool = False) -> Sheet:
    estimates = {name: each.estimate for name, each in comparison.runs.items()}
    dense = comparison.dense
    of_equal_data = _of_equal_data(comparison)
    return Sheet(
        opening=[
            title(dense.estimate.network),
            f"{sparsity_asked(estimates.values())}; convention {dense.estimate.convention.name}",
            run_line(dense),
            *fit(dense),
        ],
        tables=[of_equal_data, _of_equal_budget(comparison), _models(comparison)],
        notes=[*_notes(comparison)],
        paper=of_equal_data,
    )


def _data(plan: RunPlan) -> str:
    """What the length of its runs is counted in."""
    return "epochs" if plan.tokens is None else "tokens"


def _of_equal_data(comparison: RunComparison) -> Table:
    """FLOPs, times and what follows from them, of runs of equal data; hours and cost by the first account of time."""
    dense = comparison.dense
    accounts = [*sparse_answers(dense, dense.seconds)]
    first = accounts[0]
    header = [
        f"at equal {_data(dense)}", "training\n[FLOP]", "change", *(f"time,\n{name}" for name in accounts),
        f"{first}\n[GPU-h]", *([f"{first}\n[{dense.currency}]"] if dense.money else []),
    ]  # fmt: skip
    rows = []
    for name, plan in comparison.runs.items():
        run = comparison.run(name)
        rows.append([
            name, power_of_ten(run.training_flops), change(plan.training_flops.reduction),
            *map(seconds, sparse_answers(dense, run.seconds).values()),
            *(
                three_digits(sparse_answers(dense, found)[first])
                for found in (run.gpu_hours, run.money)
                if found is not None
            ),
        ])  # fmt: skip
    return Table(header, rows, divisible=True)


def _of_equal_budget(comparison: RunComparison) -> Table:
    """The data that each method sees for the dense run's FLOPs or time."""
    dense = comparison.dense
    times_of: dict[str, Equal] = {"attainable": "time", "ideal": "ideal time", "simulated": "ideal time"}
    budgets: dict[Equal, str] = {"flops": "at equal\nFLOPs"}
    budgets |= {times_of[name]: f"at equal time,\n{name}" for name in sparse_answers(dense, dense.seconds)}
    rows = [[name, *(_seen(comparison.run(name, equal)) for equal in budgets)] for name in comparison.runs]
    return Table([f"{_data(dense)} seen", *budgets.values()], rows)


def _seen(run: ScaledRun) -> str:
    amount = f"{run.data:.4g}" if run.plan.tokens is None else token_count(run.data)
    return f"{amount} ({times(run.length)})"


def _models(comparison: RunComparison) -> Table:
    """How large the model is during training, how sparse on average, and the memory that it takes."""
    rows = []
    for name, plan in comparison.runs.items():
        peak = comparison.peak_bytes[name]
        rows.append([
            name, scaled(_parameters(plan)), percent(_mean_sparsity(plan)),
            scaled(peak.sparse, "B") if isinstance(peak, Cost) else "not modelled",
        ])  # fmt: skip
    header = ["during training", "parameters", "weight sparsity,\naverage", "peak per GPU,\nin sparse formats"]
    return Table(header, rows)


def _parameters(plan: RunPlan) -> int:
    """The network's parameters, zeros included, and those that the method adds."""
    return plan.estimate.network.parameter_elements + plan.estimate.added_params


def _mean_sparsity(plan: RunPlan) -> float:
    """Of all conv and linear weights, over the run [-]."""
    return sum((each.end - each.begin) * each.weight_sparsity for each in plan.curve())


def _notes(comparison: RunComparison) -> Iterator[str]:
    """What the comparison does not say, then what each method's numbers rest on, then those of the dense run."""
    dense = comparison.dense
    others = {name: each for name, each in comparison.runs.items() if name != "dense"}
    yield from unmeasured([dense.estimate.device])
    yield Caveat(
        "Nothing here predicts what a model has learned: a sparse one may need more "
        f"{_data(dense)} for the same quality."
    )
    yield Caveat(
        f"{_accounts_in_words(dense)} At equal FLOPs and time, a method's phases keep their shares of the run, and "
        "FLOPs and time grow with its length."
    )
    if (gpus := dense.execution.tensor_parallel) > 1:
        yield Caveat(
            f"Tensor parallel: a sparse kernel is taken to gain on 1/{gpus} of a layer what it gains on the layer."
        )
    yield from (Caveat(f"{name}: peak memory is not modelled: {why}.") for name, why in _unknown_peaks(comparison))
    yield from left_out(comparison.refused)
    yield from method_notes({name: each.estimate for name, each in comparison.runs.items()})
    yield from (f"{name}: {said}" for name, each in others.items() if (said := attainable_sentence(each.estimate)))
    yield from (
        f"{name}: {each.estimate.plan.method.departures}"
        for name, each in others.items()
        if each.estimate.plan.method.departures
    )
    yield from notes_of(dense)


def _accounts_in_words(plan: RunPlan) -> str:
    if plan.is_simulated:
        return f"Simulated: from cycles on {plan.estimate.device.name}."
    return "Attainable: with kernels known today; ideal: if step time fell as FLOPs do."


def _unknown_peaks(comparison: RunComparison) -> Iterator[tuple[str, str]]:
    """Methods whose peak is not known, together where the reason is one."""
    by_reason: dict[str, list[str]] = {}
    for name, peak in comparison.peak_bytes.items():
        if isinstance(peak, str):
            by_reason.setdefault(peak, []).append(name)
    return ((", ".join(names), why) for why, names in by_reason.items())


def rows(comparison: RunComparison) -> list[dict[str, Any]]:
    """One row per method and what its run has in common with the dense one."""
    return [
        {"method": name, "equal": equal, **_run_data(comparison.run(name, equal))}
        for name in comparison.runs
        for equal in get_args(Equal)
    ]


def _run_data(run: ScaledRun) -> dict[str, Any]:
    plan = run.plan
    return {
        "length": run.length,
        "tokens" if plan.tokens is not None else "epochs": run.data,
        "training_flops": run.training_flops,
        "attainable_seconds": run.seconds.attainable,
        "ideal_seconds": run.seconds.ideal,
        "attainable_gpu_hours": run.gpu_hours.attainable,
        "ideal_gpu_hours": run.gpu_hours.ideal,
        "attainable_money": None if run.money is None else run.money.attainable,
        "ideal_money": None if run.money is None else run.money.ideal,
    }


def to_dict(comparison: RunComparison) -> dict[str, Any]:
    """Plain data: what the dense plan has, and each method's runs."""
    return {
        **plan_data(comparison.dense),
        "schema": "swatcost.run_comparison/1",
        "convention": comparison.dense.estimate.convention.name,
        "by_method": {
            name: {
                "parameters": _parameters(plan),
                "mean_weight_sparsity": _mean_sparsity(plan),
                "training_reduction": plan.training_flops.reduction,
                "peak_bytes": peak.sparse if isinstance(peak := comparison.peak_bytes[name], Cost) else None,
                "runs": {equal: _run_data(comparison.run(name, equal)) for equal in get_args(Equal)},
            }
            for name, plan in comparison.runs.items()
        },
        "refused": comparison.refused,
        "notes": [*map(str, _notes(comparison))],
    }
