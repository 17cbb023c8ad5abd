"""Times of planning: a sweep of 100,000 settings against single estimates, solves, and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

GRID = 100_000  # 20 weights × 25 activations × 20 periods × 5 methods and conventions
_ONE_BY_ONE = 50


def sweeps() -> dict[str, float]:
    """Time [s] of the grid, and of the same number of estimates one by one (extrapolated)."""
    import numpy

    import swatcost
    from benchmarks.bench import in_turns

    network = swatcost.load("resnet50")
    grid: dict[str, Any] = {
        "weights": numpy.linspace(0.05, 0.95, 20),
        "acts": numpy.linspace(0.05, 0.95, 25),
        "period": [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, *range(10_000, 90_000, 10_000)],
        "convention": ["swat", "equations", "exact", "rigl", "rigl-padded"],
        "method": ["swat", "swat-structured"],
    }
    times = in_turns(
        {
            "sweep": lambda: swatcost.sweep(network, **grid),
            "one by one": lambda: [swatcost.estimate(network, weights=0.8, acts=0.8) for _ in range(_ONE_BY_ONE)],
        },
        3,
    )
    return {"sweep": times["sweep"], "one by one": times["one by one"] * GRID / _ONE_BY_ONE}


def solves() -> dict[str, float]:
    """Time [s] of a solve from a trace, by goal."""
    import swatcost
    from benchmarks.bench import in_turns
    from swatcost.planning import solution

    network = swatcost.load("resnet50")
    goals: dict[str, dict[str, Any]] = {
        "--speedup 4": {"speedup": 4},
        "--training-flops 0.3": {"training_flops": 0.3},
        "--memory 2.2GB": {"memory": "2.2GB"},
        "--top-k-overhead 1%": {"topk_overhead": 0.01},
        "--speedup 4 --distribution erk": {"speedup": 4, "distribution": "erk"},
    }

    def solve(goal: dict[str, Any]) -> Callable[[], Any]:
        return lambda: solution(network, **goal)

    return in_turns({name: solve(goal) for name, goal in goals.items()}, 9)


def memories() -> dict[str, float]:
    """Time [s] of a step's memory from a trace, and of what fits."""
    import swatcost
    from benchmarks.bench import in_turns
    from swatcost.planning import memory_of

    sparse = {"fit": "11GB", "weights": 0.8, "acts": 0.8}
    asked = {"": {}, " --fit 11GB": {"fit": "11GB"}, " --fit 11GB --weights 0.8 --acts 0.8": sparse}

    def memory(network: swatcost.Network, given: dict[str, Any]) -> Callable[[], Any]:
        return lambda: memory_of(network, **given)

    networks = {name: swatcost.load(name) for name in ("resnet50", "vit_b_16")}
    return in_turns(
        {
            name + options: memory(network, given)
            for name, network in networks.items()
            for options, given in asked.items()
        },
        9,
    )


def section(elsewhere: Callable[[str], Any]) -> list[str]:
    """Blocks of Markdown; elsewhere runs a call of this module in a separate process."""
    from benchmarks.cases import markdown

    swept, solved, held = elsewhere("sweeps()"), elsewhere("solves()"), elsewhere("memories()")
    ratio = swept["one by one"] / swept["sweep"]
    return [
        "## Planning, ResNet-50 from a trace",
        f"A grid of {GRID:,} settings (two methods under five conventions) takes {swept['sweep']:.2f} s; the same "
        f"estimates one by one would take {swept['one by one']:.0f} s, {ratio:.0f} times as long.",
        markdown([["solve", "time"]] + [[f"`{name}`", f"{1000 * each:.0f} ms"] for name, each in solved.items()]),
        markdown([["memory", "time"]] + [[f"`{name}`", f"{1000 * each:.0f} ms"] for name, each in held.items()]),
    ]
