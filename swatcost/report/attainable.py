"""Whether the attainable step is faster than the dense one, and why, in a sentence."""

from swatcost.common.printing import listed
from swatcost.devices.kernels import Kernel
from swatcost.estimate import Estimate
from swatcost.report.numbers import times
from swatcost.report.speedups import no_faster
from swatcost.timing.attainable import Obstacle

_SHOWN = 3  # kernels that a sentence names


def attainable_sentence(estimate: Estimate) -> str:
    """What is attainable on the device: how much faster and by which kernels, or that it is no faster, and why.

    Empty without sparsity, and where the step is simulated.
    """
    if not estimate.plan.asks_for_sparsity or estimate.simulated_reduction is not None:
        return ""
    name, speedup = estimate.device.name, estimate.attainable_speedup
    faster = round(speedup, 2) > 1
    start = f"Attainable on {name}: {times(speedup)}, " if faster else f"Attainable: no faster than dense on {name}"
    if estimate.attainable_step.kernels:
        reason = f"{start}with {_used(estimate)}" if faster else f"{start} ({times(speedup)}): {_too_slow(estimate)}"
    else:
        cause = ", with masking and Top-K" if estimate.plan.method.selects else ""
        slower = f" ({times(speedup)}{cause})" if round(speedup, 2) < 1 else ""
        reason = f"{start.rstrip(', ')}{slower}: {_why_none(estimate)}"
    return f"{reason}.{_beyond(estimate)}{_without_masking(estimate)}"


def _used(estimate: Estimate) -> str:
    """The kernels that are used, and in how much of the step."""
    counts = {name: count for name, (count, _) in estimate.attainable_step.kernels.items()}
    passes = sum(len(each.passes) for each in estimate.attainable_step.choices)
    named = listed([f"{name} in {count}" for name, count in counts.items()], _SHOWN)
    return f"sparse kernels ({named} of {passes} passes of layers), dense ones elsewhere"


def _too_slow(estimate: Estimate) -> str:
    if not estimate.plan.method.selects:
        return f"hardly any time is saved by {_used(estimate)}"
    return f"masking and Top-K take what is saved by {_used(estimate)}"


def _why_none(estimate: Estimate) -> str:
    """Why no sparse kernel is used."""
    device = estimate.device
    if estimate.plan.method.weight_gradient == "none":
        return "frozen weights need no grad_weight, all else runs on dense kernels"
    if estimate.plan.method.added and not no_faster(estimate):
        return "dense kernels, on fewer MACs"
    if estimate.exact.training.reduction < 0:
        return f"{estimate.plan.method.name} adds more work than it saves"
    if not device.kernels:
        return (
            "no sparse kernel is known for it, and dense kernels on masked tensors save no time; `swatcost calibrate` "
            "measures a machine's kernels"
        )
    if not estimate.dense_step.parts:
        names = [each.name for each in device.kernels]
        return (
            f"it has sparse kernels ({listed(names, _SHOWN)}), but the times of a step's operations are not known; "
            "`swatcost calibrate` measures them"
        )
    obstacles = estimate.kernel_obstacles
    reasons: dict[tuple[str, str], list[str]] = {}
    for kernel in device.kernels:
        reasons.setdefault(_reason(estimate, kernel, obstacles[kernel.name]), []).append(kernel.name)
    return "; ".join(
        f"{listed(names, _SHOWN)} {one if len(names) == 1 else several}" for (one, several), names in reasons.items()
    )


def _reason(estimate: Estimate, kernel: Kernel, obstacle: Obstacle | None) -> tuple[str, str]:
    """What keeps a kernel from being used, said of one kernel and of several."""
    plan, takes = estimate.plan, kernel.operand
    if obstacle is None:
        return "fits but is no faster than dense kernels", "fit but are no faster than dense kernels"
    if obstacle == "operand":
        rest = f"sparse {takes} in passes where {plan.method.name} has none"
    elif obstacle == "pattern":
        rest = f"{kernel.pattern} {takes}, which here are {_pattern(estimate, kernel)}"
    elif obstacle == "precision":
        precision = estimate.precision
        own = " or ".join(dict.fromkeys([*precision.convolutions, *precision.products]))
        rest = f"a step in {kernel.precision}, and this one is in {own}"
    else:
        rest = f"{' or '.join(kernel.kinds)} layers, of which none here fits"
    return f"needs {rest}", f"need {rest}"


def _pattern(estimate: Estimate, kernel: Kernel) -> str:
    """The pattern of the zeros of what the kernel takes."""
    pattern = estimate.plan.pattern if kernel.operand == "weights" else None
    if pattern is not None:
        return f"{pattern[0]}:{pattern[1]}"
    return "structured" if estimate.plan.method.structured else "unstructured"


def _beyond(estimate: Estimate) -> str:
    """Says so where kernels are used outside their measurements."""
    beyond = [name for name, (_, covered) in estimate.attainable_step.kernels.items() if not covered]
    if not beyond:
        return ""
    return f" EXTRAPOLATED: outside the measured shapes or densities of {listed(beyond, _SHOWN)}."


def _without_masking(estimate: Estimate) -> str:
    """Says so where masking is left out."""
    if estimate.attainable_step.masking_known or not estimate.plan.method.selects:
        return ""
    return f" The time of masking on {estimate.device.name} is not known and left out."
