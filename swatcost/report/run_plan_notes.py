"""What a plan says about communication and about hardware for its sparsity, in sentences."""

from swatcost.counting.two_four import REGIMES
from swatcost.planning.communication import WAITED_FOR, backward_share
from swatcost.planning.run_plan import RunPlan
from swatcost.published.sparse_hardware import ReportedGain, reported_gains
from swatcost.report.numbers import percent, scaled, times
from swatcost.report.sheet import Caveat
from swatcost.report.sparsity import listed


def of_communication(plan: RunPlan) -> list[str]:
    """What GPUs send, and which part of the time that is."""
    if plan.gpus == 1:
        return []
    execution, sentences = plan.execution, []
    if execution.replicas > 1:
        sentences.append(_exchanged(plan))
    if execution.tensor_parallel > 1:
        sentences += _split(plan)
    if plan.link is None:
        sentences.append(
            "Time is computing alone: the bandwidth between GPUs is not known, and --link (link=) adds communication."
        )
        return sentences
    share, whose = backward_share(plan.estimate).dense, "as given" if plan.link_given else "from the device's profile"
    passes = "gradients are sent" if execution.sharding.once else "all parameters and gradients are sent"
    last = "last micro-batch's " if execution.sharding.once and execution.accumulate > 1 else ""
    overlap = (
        f"Full overlap: {passes} during the {last}backward pass, which is assumed to take its share of the step's MACs "
        f"(dense {percent(share)}: grad_input, grad_weight and recomputation under exact); only what is left adds to "
        "the time"
    )
    waited = [name for name in plan.communication.sent if name in WAITED_FOR]
    exception = f", and {listed(waited)}, which cannot be hidden" if waited else ""
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
            else f"; {method.name}'s gradients are dense: every weight is updated, so sparsity saves no traffic"
        )
    )
    if not execution.sharding.once:
        often = "; they are sent in each micro-batch" if execution.accumulate > 1 else ""
        return f"GPUs share the step as {execution.sharding.name}: {execution.sharding.title}{often}."
    often = " once per iteration, after its last micro-batch" if execution.accumulate > 1 else ""
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


def of_hardware(plan: RunPlan) -> list[str]:
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
