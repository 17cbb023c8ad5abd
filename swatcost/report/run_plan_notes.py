"""What a plan says in sentences: whether it fits, what its numbers rest on, communication, and sparse hardware."""

from swatcost.common.printing import listed
from swatcost.counting.two_four import REGIMES
from swatcost.devices import device_names
from swatcost.planning.communication import WAITED_FOR, backward_is_timed, backward_share
from swatcost.planning.run_plan import WORLD_GRID, RunPlan
from swatcost.published.sparse_hardware import ReportedGain, reported_gains
from swatcost.report.estimate import notes
from swatcost.report.numbers import percent, scaled, times
from swatcost.report.sheet import Caveat
from swatcost.report.sparsity import AT_TARGET


def fit(plan: RunPlan) -> list[str]:
    """That the step does not fit in a GPU's memory, and what to do, in a line."""
    capacity, peak, device = plan.capacity_bytes, plan.peak_bytes, plan.estimate.device.name
    if capacity is None or peak.dense <= capacity:
        return []
    dense = f"the dense step takes {scaled(peak.dense, 'B')} per GPU, {device} has {scaled(capacity, 'B')}"
    sparse = ""
    if plan.estimate.plan.asks_for_sparsity:
        fits = "" if peak.sparse > capacity else " fits and"
        sparse = f" (in sparse formats, it{fits} takes {scaled(peak.sparse, 'B')})"
    room = device if device in device_names() else f"{capacity / 1e9:.6g}GB"
    accumulating = f" --accumulate {plan.execution.accumulate}" if plan.execution.accumulate > 1 else ""
    step = f"--batch-size {plan.estimate.batch_size}{accumulating}"
    remedy = f"`swatcost memory … {step} --fit {room}` lists ways to make it fit"
    return [Caveat(f"DOES NOT FIT: {dense}{sparse}; {remedy}.")]


def notes_of(plan: RunPlan) -> list[str]:
    """All that it rests on, the plan's own notes first; without those on the estimate's own account of memory."""
    of_estimate = [each for each in notes(plan.estimate) if not each.startswith(("Memory excludes", AT_TARGET))]
    return [*_meanings(plan), *_of_hardware(plan), *of_estimate]


def _meanings(plan: RunPlan) -> list[str]:
    method = plan.estimate.plan.method
    sentences: list[str] = []
    if plan.estimate.plan.asks_for_sparsity and not plan.is_simulated:
        sentences.append(
            Caveat(
                "Times, GPU-hours, energy, CO₂ and cost are given three times: dense; attainable, with kernels known "
                "today; and ideal, if step time fell as FLOPs do (SWAT, A.4), which dense hardware cannot deliver. The "
                "sparse peak assumes sparse storage formats."
            )
        )
    if (utilisation := plan.estimate.dense_step.utilisation) is not None:
        most = "at most " if plan.estimate.dense_step.basis == "bound" else ""
        sentences.append(
            f"MFU of the dense step: {most}{percent(utilisation)}, the time that its products take at the device's "
            "peaks over the step's."
        )
    if plan.recipe:
        remarks = f"; {plan.recipe.remarks}" if plan.recipe.remarks else ""
        rates = ", ".join(f"{rate:g} from epoch {epoch}" for epoch, rate in plan.recipe.learning_rate)
        sentences.append(
            f"{plan.recipe.source} ({plan.recipe.title}) trains with {plan.recipe.optimizer}; learning rate {rates}"
            f"{remarks}."
        )
    sentences += [
        "Time covers training steps only: no validation, data loading or restarts. The last batch of "
        f"{'an epoch' if plan.tokens_asked is None else 'the run'} counts as a full one.",
        *_of_communication(plan),
    ]
    if plan.estimate.network.conditions.offload:
        sentences.append(Caveat("Offloading decides the memory alone: times are without it."))
    if plan.watts is None:
        sentences.append(Caveat(f"No energy: the profile of {plan.estimate.device.name} gives no power; set watts."))
    else:
        sentences.append(
            f"Energy: {plan.watts:g} W per GPU throughout, dense and sparse alike, times a PUE of {plan.pue:g}; hosts "
            f"are not counted. CO₂: {plan.grid:g} kg per kWh{_world(plan)}."
        )
    if plan.price is not None:
        sentences.append(f"Price per GPU-hour: {plan.price:g} {plan.currency}, as given.")
    phases = plan.estimate.plan.phases(plan.estimate.steps)
    if len({each.dense_weight_gradient for each in phases}) > 1:
        sentences.append(f"{method.name} computes a dense gradient in some steps: costs are averages over all steps.")
    if plan.estimate.plan.asks_for_sparsity and len(phases) > 1:
        sentences.append("The sparse peak is that of the run's steps that take the most memory, the least sparse ones.")
    return sentences


def _world(plan: RunPlan) -> str:
    return " (world average, 2018, IEA)" if plan.grid == WORLD_GRID else ", as given"


def _of_communication(plan: RunPlan) -> list[str]:
    """What GPUs send, and which part of the time that is."""
    if plan.gpus == 1:
        return []
    execution, sentences = plan.execution, []
    if execution.replicas > 1:
        sentences.append(_exchanged(plan))
    if execution.tensor_parallel > 1:
        sentences += _split(plan)
    if plan.tokens is not None:
        sentences.append("Pipeline, sequence and expert parallelism are not modelled.")
    if plan.link is None:
        sentences.append(
            "Time is computing alone: the bandwidth between GPUs is not known, and --link (link=) adds communication."
        )
        return sentences
    share, whose = backward_share(plan.estimate).dense, "as given" if plan.link_given else "from the device's profile"
    by = (
        "by the times of its operations"
        if backward_is_timed(plan.estimate)
        else "by MACs under exact, recomputed ones too"
    )
    passes = "gradients are sent" if execution.sharding.once else "all parameters and gradients are sent"
    last = "last micro-batch's " if execution.sharding.once and execution.accumulate > 1 else ""
    overlap = (
        f"Full overlap: {passes} during the {last}backward pass, {percent(share)} of the dense step {by}; what is left "
        "adds to the time"
    )
    waited = [name for name in plan.communication.sent if name in WAITED_FOR]
    exception = f", as does {listed(waited)}, which cannot be hidden" if waited else ""
    sentences += [
        f"{overlap}{exception}. Hours, energy and cost follow from that time. No overlap: computing, then sending.",
        f"Communication at {scaled(plan.link, 'B')}/s per GPU for all traffic, {whose}; no latency, no contention.",
    ]
    return sentences


def _exchanged(plan: RunPlan) -> str:
    """What data parallelism sends."""
    method, execution = plan.estimate.plan.method, plan.execution
    sparse = (
        ""
        if not plan.estimate.plan.asks_for_sparsity
        else (
            f"; {method.name} needs gradients of active weights only, sent without indices as all GPUs know the mask"
            if method.weight_gradient == "active"
            else f"; {method.name} sends no gradients of frozen weights"
            if method.weight_gradient == "none"
            else f"; {method.name}'s gradients are dense: every weight is updated, so sparsity saves no traffic"
        )
    )
    if not execution.sharding.once:
        often = "; they are sent in each micro-batch" if execution.accumulate > 1 else ""
        return f"GPUs share the step as {execution.sharding.name}: {execution.sharding.title}{often}."
    often = " once per iteration, after its last micro-batch" if execution.accumulate > 1 else ""
    if method.weight_gradient == "active" and sparse and not plan.is_simulated:
        sparse += "; attainable steps compute and send them all"
    return f"Gradients are averaged by a ring all-reduce{often}{sparse}."


def _split(plan: RunPlan) -> list[str]:
    """What tensor parallelism computes more than once, and that its sending takes time of its own."""
    gpus = plan.execution.tensor_parallel
    sentences = [
        f"Tensor parallel: a layer that {gpus} GPUs split takes 1/{gpus} of its time on one, all others the whole "
        "time on each. Its all-reduces of activations cannot overlap: the next layer needs their sum."
    ]
    if plan.dense_step.whole:
        names = listed([each.split(":")[0] for each in plan.dense_step.whole], 3)
        sentences.append(f"Linear layers that are not split: {names} (`swatcost memory` says why).")
    return sentences


def _of_hardware(plan: RunPlan) -> list[str]:
    """What hardware for the plan's pattern can give at most, and what was reported; nothing for whole channels."""
    found = plan.estimate.plan
    if not found.asks_for_sparsity or found.method.structured:
        return []
    if plan.two_four is None:
        gains = [each for each in reported_gains() if each.pattern == "unstructured"]
        return [_reported("unstructured sparsity", gains)]
    ceilings = [times(plan.two_four.ceiling(each)) for each in REGIMES]
    return [
        Caveat(
            f"2:4: a step's products run at most {ceilings[0]} as fast on sparse tensor cores (Ampere and later) if "
            f"weights are pruned along their rows, {ceilings[1]} with transposable masks, {ceilings[2]} with gradients "
            "pruned, too; `swatcost two-four` has the layers."
        ),
        _reported("2:4", [each for each in reported_gains() if each.pattern == "2:4" and "end to end" in each.what]),
    ]


def _reported(pattern: str, gains: list[ReportedGain]) -> str:
    said = "; ".join(f"{each.what}: {each.value} {each.unit} on {each.hardware} ({each.source})" for each in gains)
    return f"Reported for {pattern}, not measured here: {said}."
