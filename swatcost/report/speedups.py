"""Dense, attainable and ideal: how much faster a sparse step is by each account, in a few words."""

from swatcost.estimate import Estimate
from swatcost.report.numbers import times
from swatcost.report.sheet import Figure

__all__ = ["figures", "is_simulated", "kind_of_speedup", "no_faster", "speedup_name"]


def is_simulated(estimate: Estimate) -> bool:
    """Whether a step's time comes from a simulated accelerator's cycles, which are neither ideal nor attainable."""
    return estimate.simulated_reduction is not None


def kind_of_speedup(estimate: Estimate) -> str:
    """ideal: it follows from FLOPs alone (Eqs. 7 and 8); simulated: from an accelerator's cycles."""
    return "simulated" if is_simulated(estimate) else "ideal"


def speedup_name(estimate: Estimate) -> str:
    """Which of the answers for time `Estimate.speedup` is."""
    return f"{kind_of_speedup(estimate)} speedup"


def no_faster(estimate: Estimate) -> bool:
    """Whether a sparse step takes as long on the device's known kernels as a dense one, or longer, to three digits."""
    return not is_simulated(estimate) and round(estimate.attainable_speedup, 2) <= 1


def figures(estimate: Estimate) -> list[Figure]:
    """The attainable speedup and the ideal one, or the simulated one."""
    ideal = Figure(speedup_name(estimate), times(estimate.speedup), _of_ideal(estimate))
    if is_simulated(estimate):
        return [ideal]
    return [Figure("attainable speedup", times(estimate.attainable_speedup), _of_attainable(estimate)), ideal]


def _of_attainable(estimate: Estimate) -> str:
    """What runs the sparse step."""
    device = estimate.device
    if estimate.plan.method.weight_gradient == "none" and not estimate.attainable_step.kernels:
        return f"{'no faster; ' * no_faster(estimate)}dense kernels, no grad_weight of frozen weights"
    if estimate.plan.method.added and not no_faster(estimate) and not estimate.attainable_step.kernels:
        return "dense kernels, on fewer MACs"
    if not device.kernels:
        return "no faster; no sparse kernel known (`calibrate`)"
    kernels = estimate.attainable_step.kernels
    if not kernels:
        return f"no faster; no kernel known on {device.name} helps"
    every = sum(len(each.passes) for each in estimate.attainable_step.choices)
    used = ", ".join(f"{name} in {count}" for name, (count, _) in kernels.items())
    beyond = "" if all(covered for _, covered in kernels.values()) else ", EXTRAPOLATED"
    return f"{'no faster; ' * no_faster(estimate)}{used} of {every} passes of layers{beyond}"


def _of_ideal(estimate: Estimate) -> str:
    """What it assumes, and what Top-K takes of it."""
    selects = bool(estimate.plan.method.selects)
    without = f"{times(estimate.speedup_limit)} without Top-K"
    if is_simulated(estimate):
        return f"from cycles on {estimate.device.name}{f', {without}' * selects}"
    if not selects:
        return "from FLOPs alone"
    period = estimate.break_even_period
    even = "never breaks even" if period is None else f"break-even period {period:,}"
    return f"{without}; {even}"
