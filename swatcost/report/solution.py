"""What a solution found, as a table, Markdown, LaTeX, CSV or JSON."""

from typing import Any

from swatcost.planning.goals import STEP, OperatingPoint
from swatcost.planning.solution import Solution
from swatcost.report.estimate import machine, notes, title, unmeasured
from swatcost.report.numbers import percent, scaled, times
from swatcost.report.sheet import Sheet, Table

_NAMES = {"weights": "weights", "acts": "activations", "grads": "outputs' gradients"}


def sheet(solution: Solution, layers: bool = False) -> Sheet:
    asked = solution.setting
    return Sheet(
        opening=[
            title(solution.network),
            f"{asked.method.name}, {asked.distribution.name}, convention {asked.convention.name}, "
            f"{machine(asked.profile)}, batch {asked.batch_size}: {goals(solution)}",
            answer(solution),
        ],
        tables=tables(solution),
        notes=[*_meanings(solution), *unmeasured([asked.profile]), *notes(solution.estimate)],
    )


def goals(solution: Solution) -> str:
    """What was asked for, in words."""
    asked = solution.goals
    words = [
        asked.speedup is not None and f"a speedup of {times(asked.speedup)}",
        asked.training_flops is not None and f"at most {percent(asked.training_flops)} of dense training FLOPs",
        asked.memory_bytes is not None and f"a step within {scaled(asked.memory_bytes, 'B')}",
        asked.topk_overhead is not None and f"a Top-K that adds at most {percent(asked.topk_overhead)}",
    ]
    return ", ".join(each for each in words if each)


def answer(solution: Solution) -> str:
    """The answer in a sentence."""
    least = solution.least
    if not solution.reached:
        return f"Out of reach: {refusal(solution)}."
    if least is None:
        return "Without a sparsity given, the shortest period for each of several."
    if not solution.free:
        return f"With {_sparsities(least)}, the shortest period is {least.period:,} iterations."
    beside = f"; {percent(solution.exact)} as convention exact counts" if solution.exact is not None else ""
    every = f", a Top-K every {least.period:,} iterations" if solution.setting.method.selects else ""
    return f"Least sparse: {_sparsities(least)}{every}{beside}."


def refusal(solution: Solution) -> str:
    """Which goal is out of reach, what the limit is and what holds it there."""
    limit, asked = solution.limit, solution.setting
    assert limit is not None
    at = f"with {_sparsities(limit)}" + (f" and a Top-K every {limit.period:,}" if asked.method.selects else "")
    sentences = []
    if "speedup" in solution.unreached:
        without = f", {times(limit.speedup_limit)} without Top-K" if asked.method.selects else ""
        sentences.append(f"a speedup of at most {times(limit.speedup)}{without}")
    if "training_flops" in solution.unreached:
        sentences.append(f"no fewer than {percent(limit.training_flops)} of dense training FLOPs")
    if "memory_bytes" in solution.unreached:
        sentences.append(f"a peak of no less than {scaled(limit.memory_bytes or 0, 'B')}")
    most = max(solution.remaining, key=lambda each: solution.remaining[each])
    held = f"; {percent(solution.remaining[most])} of the FLOPs left are of {most}"
    of_flops = set(solution.unreached) - {"memory_bytes"}
    return f"{asked.method.name} gives {' and '.join(sentences)} {at}{held if of_flops else ''}"


def _sparsities(setting: OperatingPoint) -> str:
    given = {words: getattr(setting, name) for name, words in _NAMES.items()}
    return ", ".join(f"{words} {percent(value)} sparse" for words, value in given.items() if value is not None)


def tables(solution: Solution) -> list[Table]:
    """The setting, other ones, and the periods for several shares."""
    at = solution.least or solution.limit
    found = [_setting(solution, at)] if at is not None else []
    if solution.freedom:
        found.append(_freedom(solution))
    if periods := solution.periods():
        lines = [[percent(share), f"{period:,}"] for share, period in periods.items()]
        found.append(Table(["Top-K adds at most", "period"], lines))
    return found


def _setting(solution: Solution, at: OperatingPoint) -> Table:
    lines = [
        ["speedup", times(at.speedup)],
        ["speedup without Top-K", times(at.speedup_limit)],
        ["FLOPs of dense training", percent(at.training_flops)],
    ]
    if solution.setting.method.selects:
        lines.append(["Top-K adds to sparse steps", percent(at.topk_overhead)])
    if at.memory_bytes is not None:
        lines.append(["peak of a step, compressed", scaled(at.memory_bytes, "B")])
    lines += [[f"of what is left: {each}", percent(share)] for each, share in solution.remaining.items()]
    return Table(["at the least sparse setting" if solution.reached else "at the limit", ""], lines)


def _freedom(solution: Solution) -> Table:
    shown = [name for name in _NAMES if getattr(solution.freedom[0], name) is not None]
    header = [f"{_NAMES[name]}\nsparse" for name in shown] + ["FLOPs\nleft", "speedup", "period", "Top-K\nadds"]
    lines = [
        [
            *(percent(getattr(each, name)) for name in shown),
            percent(each.training_flops),
            times(each.speedup),
            f"{each.period:,}",
            percent(each.topk_overhead),
        ]
        for each in solution.freedom
    ]
    return Table(header, lines, text_columns=0)


def _meanings(solution: Solution) -> list[str]:
    sentences = []
    if solution.free:
        moving = " and ".join(_NAMES[name] for name in solution.free)
        together = ", alike" if len(solution.free) > 1 else ""
        sentences.append(f"Looked for: the sparsity of {moving}{together}, in steps of {percent(STEP)}.")
    if solution.least is not None and solution.freedom:
        sentences.append("Other settings that reach it: with these weights, the least sparse activations.")
    if solution.setting.method.selects:
        sentences.append("What a Top-K adds is its time over that of the sparse steps of its period.")
    if solution.goals.memory_bytes is not None:
        sentences.append(
            "Memory: the peak with everything in its smallest storage format, which is planned, not what masked dense "
            "tensors take; see `swatcost memory`."
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
        "assumptions": [*_meanings(solution), *map(str, solution.estimate.assumptions)],
    }


def rows(solution: Solution) -> list[dict[str, Any]]:
    """The least setting or the limit, then the others."""
    first = [("least", solution.least), ("limit", solution.limit)]
    return [{"what": what, **vars(each)} for what, each in first if each is not None] + [
        {"what": "freedom", **vars(each)} for each in solution.freedom
    ]
