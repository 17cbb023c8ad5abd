"""A solution as a table, Markdown, LaTeX, CSV or JSON."""

from typing import Any

from swatcost.planning.goals import STEP, OperatingPoint
from swatcost.planning.solution import Solution
from swatcost.report.assumptions import masked_tensors
from swatcost.report.estimate import every as every_period
from swatcost.report.estimate import machine, notes, title, unmeasured
from swatcost.report.numbers import change, percent, scaled, times
from swatcost.report.sheet import Figure, Sheet, Table
from swatcost.report.speedups import figures, no_faster

_NAMES = {"weights": "weights", "acts": "activations", "grads": "output gradients"}


def sheet(solution: Solution, layers: bool = False) -> Sheet:
    asked = solution.setting
    return Sheet(
        opening=[
            title(solution.network),
            f"{asked.method.name}, {asked.distribution.name}, convention {asked.convention.name}, "
            f"{machine(asked.profile)}, batch {asked.batch_size}: {goals(solution)}",
        ],
        summary=summary(solution),
        tables=tables(solution),
        notes=[*_meanings(solution), *unmeasured([asked.profile]), *_of_estimate(solution)],
    )


def _of_estimate(solution: Solution) -> list[str]:
    """The notes of the estimate; what masked tensors keep decides nothing where no memory was asked for."""
    folded = masked_tensors(solution.estimate) if solution.goals.memory_bytes is None else []
    return [str(each) if each in folded else each for each in notes(solution.estimate)]


def goals(solution: Solution) -> str:
    """The goals in words."""
    asked = solution.goals
    words = [
        asked.speedup is not None and f"{_kind(solution)} speedup of {times(asked.speedup)}",
        asked.training_flops is not None and f"at most {percent(asked.training_flops)} of dense training FLOPs",
        asked.memory_bytes is not None and f"a step within {scaled(asked.memory_bytes, 'B')}",
        asked.topk_overhead is not None and f"a Top-K overhead of at most {percent(asked.topk_overhead)}",
    ]
    return ", ".join(each for each in words if each)


def _kind(solution: Solution) -> str:
    return "an attainable" if solution.goals.attainable else "an ideal"


def summary(solution: Solution) -> list[Figure]:
    """The least sparse setting that reaches the goals, or why there is none."""
    least = solution.least
    if not solution.reached:
        return [Figure("out of reach", refusal(solution))]
    if least is None:
        return [Figure("no sparsity given", "the shortest period for several")]
    every = f"Top-K {every_period(least.period)}" if solution.setting.method.selects else ""
    if not solution.free:
        label = "reached at period" if "period" in solution.setting.asked else "shortest period"
        return [Figure(label, f"{least.period:,} iterations", f"with {_sparsities(least)}")]
    exact = f"({percent(solution.exact)} under exact)" if solution.exact is not None else ""
    attainable, *ideal = figures(solution.estimate)
    found = [
        Figure(
            "equal sparsities" if len(solution.free) > 1 and least.weights == least.acts else "least sparse",
            _sparsities(least),
            "; ".join(filter(None, (exact, every))),
        ),
        Figure("training FLOPs", change(1 - least.training_flops)),
        *ideal,
    ]
    found.insert(0 if no_faster(solution.estimate) else 1, attainable)
    return found


def refusal(solution: Solution) -> str:
    """Which goal is out of reach, the limit, and the pass that sets it."""
    limit, asked = solution.limit, solution.setting
    assert limit is not None
    every = f" and Top-K {every_period(limit.period)}" if asked.method.selects else ""
    sentences = []
    if "speedup" in solution.unreached:
        without = f" ({times(limit.speedup_limit)} without Top-K)" if asked.method.selects else ""
        most = f"{times(limit.speedup)}{without}"
        if solution.goals.attainable:
            most = f"{times(limit.attainable_speedup)} (ideal {times(limit.speedup)}, which --ideal asks for)"
        sentences.append(f"{_kind(solution)} speedup of at most {most}")
    if "training_flops" in solution.unreached:
        sentences.append(f"at least {percent(limit.training_flops)} of dense training FLOPs")
    if "memory_bytes" in solution.unreached:
        sentences.append(f"a peak of at least {scaled(limit.memory_bytes or 0, 'B')}")
    most = max(solution.remaining, key=lambda each: solution.remaining[each])
    where = f"; {percent(solution.remaining[most])} of the remaining FLOPs are in {most}"
    of_flops = set(solution.unreached) - {"memory_bytes"}
    at = f"with {_sparsities(limit)}{every}"
    return f"{asked.method.name} gives {' and '.join(sentences)} {at}{where if of_flops else ''}"


def _sparsities(setting: OperatingPoint) -> str:
    given = {words: getattr(setting, name) for name, words in _NAMES.items()}
    return ", ".join(f"{words} {percent(value)}" for words, value in given.items() if value is not None)


def tables(solution: Solution) -> list[Table]:
    """The setting, other settings, and the periods for several overheads."""
    at = solution.least or solution.limit
    found = [_setting(solution, at)] if at is not None else []
    if solution.freedom:
        found.append(_freedom(solution))
    if periods := solution.periods():
        lines = [[percent(share), f"{period:,}"] for share, period in periods.items()]
        found.append(Table(["Top-K overhead at most", "shortest period\n[iterations]"], lines))
    return found


def _setting(solution: Solution, at: OperatingPoint) -> Table:
    lines = [
        ["attainable speedup", times(at.attainable_speedup)],
        ["ideal speedup", times(at.speedup)],
        ["ideal speedup without Top-K", times(at.speedup_limit)],
        ["training FLOPs, relative to dense", percent(at.training_flops)],
    ]
    if solution.setting.method.selects:
        lines.append(["Top-K time / time of sparse steps", percent(at.topk_overhead)])
    if at.memory_bytes is not None:
        lines.append(["peak memory, compressed", scaled(at.memory_bytes, "B")])
    lines += [[f"share of remaining FLOPs: {each}", percent(share)] for each, share in solution.remaining.items()]
    at_least = "at these sparsities" if solution.free else "at the shortest period"
    return Table([at_least if solution.reached else "at the limit", ""], lines)


def _freedom(solution: Solution) -> Table:
    shown = [name for name in _NAMES if getattr(solution.freedom[0], name) is not None]
    header = [f"{_NAMES[name]}\nsparse" for name in shown]
    header += ["FLOPs\nleft", "attainable\nspeedup", "ideal\nspeedup", "period\n[iterations]", "Top-K\noverhead"]
    lines = [
        [
            *(percent(getattr(each, name)) for name in shown),
            percent(each.training_flops),
            times(each.attainable_speedup),
            times(each.speedup),
            f"{each.period:,}",
            percent(each.topk_overhead),
        ]
        for each in solution.freedom
    ]
    return Table(header, lines, text_columns=0)


def _meanings(solution: Solution) -> list[str]:
    sentences = []
    if solution.goals.speedup is not None:
        device = solution.setting.profile.name
        why = "as asked" if solution.setting.profile.kernels else f"as no sparse kernel of {device} is known"
        sentences.append(
            f"The speedup that is solved for is the attainable one, of the sparse kernels known on {device}."
            if solution.goals.attainable
            else f"The speedup that is solved for is the ideal one, {why}."
        )
    if solution.free:
        free = " and ".join(_NAMES[name] for name in solution.free)
        one = "one sparsity for" if len(solution.free) > 1 else "the sparsity of"
        sentences.append(f"Solved for: {one} {free}, in steps of {percent(STEP)}.")
    if solution.least is not None and solution.freedom:
        sentences.append("Other settings that reach the goal: the least activation sparsity for each weight sparsity.")
    if solution.setting.method.selects:
        sentences.append("Top-K overhead: its time over that of the sparse steps of its period.")
    if solution.goals.memory_bytes is not None:
        sentences.append(
            "Memory: the peak with each tensor in its smallest storage format; masked dense tensors take more, see "
            "`swatcost memory`."
        )
    return sentences


def to_dict(solution: Solution) -> dict[str, Any]:
    """Plain data."""
    asked, wanted = solution.setting, solution.goals
    return {
        "schema": "swatcost.solution/1",
        "model": solution.network.name,
        "method": asked.method.name,
        "distribution": asked.distribution.name,
        "convention": asked.convention.name,
        "device": asked.profile.name,
        "batch_size": asked.batch_size,
        "setting": asked.record(),
        "goals": vars(wanted),
        "fixed": solution.fixed,
        "free": list(solution.free),
        "reached": solution.reached,
        "unreached": list(solution.unreached),
        "least": vars(solution.least) if solution.least else None,
        "least_by_exact": solution.exact,
        "limit": vars(solution.limit) if solution.limit else None,
        "freedom": [vars(each) for each in solution.freedom],
        "periods": [{"topk_overhead": share, "period": period} for share, period in solution.periods().items()],
        "assumptions": [*map(str, _meanings(solution)), *map(str, solution.estimate.assumptions)],
    }


def rows(solution: Solution) -> list[dict[str, Any]]:
    """The least setting or the limit, then the others."""
    first = [("least", solution.least), ("limit", solution.limit)]
    return [{"what": what, **vars(each)} for what, each in first if each is not None] + [
        {"what": "freedom", **vars(each)} for each in solution.freedom
    ]
