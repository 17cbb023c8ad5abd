"""What an estimate's times rest on, in sentences that name this estimate's own values."""

from collections.abc import Iterable

from swatcost.estimate import Estimate
from swatcost.report.attainable import attainable_sentence
from swatcost.report.numbers import percent, scaled
from swatcost.report.sheet import Caveat
from swatcost.timing.dense_step import peak_of
from swatcost.timing.selection import masked_sizes
from swatcost.timing.topk import REDUCTIONS_OF_EQS_7_AND_8


def step_times(estimate: Estimate) -> list[str]:
    """What a dense, an attainable and an ideal step rest on."""
    device, reduction = estimate.device, estimate.training_reduction
    source = f"Dense step on {device.name}: {dense_step_source(estimate)}."
    sentences = [Caveat(source) if "NOT MEASURED" in source or "EXTRAPOLATED" in source else source]
    if estimate.timed_in_single_precision:
        sentences.append(Caveat(f"TIMED IN SINGLE PRECISION: {device.name} has no times in {estimate.precision.name}."))
    if estimate.dense_step.basis == "mfu" and estimate.exact.recompute.dense:
        sentences.append(
            Caveat(
                "MFU leaves out recomputed work: at the same MFU a checkpointed step takes no longer, but one that "
                "recomputes reaches a lower MFU."
            )
        )
    if not reduction:
        return sentences
    if estimate.simulated_reduction is not None:
        sentences.append(
            f"Cycles are simulated with Top-K masks of Gaussian weights and activations: training FLOPs fall by "
            f"{percent(reduction)}, cycles by {percent(estimate.simulated_reduction)} (`swatcost simulate` shows where "
            "they go)."
        )
        return sentences + final_steps([estimate])
    sentences.append(
        "Ideal speedup: step time is assumed to scale with FLOPs (SWAT, A.4), which dense hardware cannot deliver."
    )
    attainable = attainable_sentence(estimate)
    sentences.append(Caveat(attainable) if "EXTRAPOLATED" in attainable else attainable)
    sentences += _selecting(estimate)
    if estimate.topk_seconds and device.is_topk(estimate.selecting.algorithm):
        sentences.append(
            f"Top-K costs {device.topk.weights.per_element * 1e9:.3f} ns per weight and "
            f"{device.topk.activations.per_element * 1e9:.3f} ns per activation ({device.source})."
            + ("" if device.measured else " NOT MEASURED: the time to read every number once, a lower bound.")
        )
        sentences += _topk_extrapolated(estimate)
    as_printed = estimate.speedup_at(round(reduction, 3))
    is_printed = estimate.dense_step.same_network and round(reduction, 3) in REDUCTIONS_OF_EQS_7_AND_8
    if is_printed and f"{as_printed:.2f}" != f"{estimate.speedup:.2f}":
        sentences.append(
            f"Eqs. 7 and 8 insert the reduction rounded to {100 * reduction:.1f} %, which gives {as_printed:.2f}×; "
            f"unrounded it is {estimate.speedup:.2f}×."
        )
    return sentences


_FAR = 10.0  # multiple of what was measured beyond which a linear rule is called an extrapolation


def _topk_extrapolated(estimate: Estimate) -> list[str]:
    """Says so where a Top-K refresh is far larger than the one that was timed."""
    samples = 1 if estimate.selecting.one_sample else estimate.batch_size
    here = sum(masked_sizes(estimate.network, estimate.plan, samples))
    timed = estimate.device.topk.weights.elements + estimate.device.topk.activations.elements
    if here <= _FAR * timed or not estimate.device.measured:
        return []
    return [Caveat(f"EXTRAPOLATED Top-K: {scaled(timed)} elements were timed, here there are {scaled(here)}.")]


def _selecting(estimate: Estimate) -> list[str]:
    """What A.4's ideas assume, and where the times of an algorithm are extrapolated."""
    chosen, sentences = estimate.selecting, []
    if chosen.algorithm is not None and estimate.device.is_topk(chosen.algorithm):
        sentences.append(f"Thresholds by {chosen.algorithm}, the algorithm that was timed on {estimate.device.name}.")
    elif chosen.algorithm is not None:
        timed = estimate.device.selection(chosen.algorithm)
        sentences.append(
            f"Thresholds by {chosen.algorithm}: {timed.fixed * 1e6:.3g} µs per array and "
            f"{timed.per_element * 1e9:.3g} ns per element, within {percent(timed.worst_residual)} of the measurements"
            + ("." if timed.exact else "; thresholds are approximate, and so is the sparsity.")
        )
        sizes = masked_sizes(estimate.network, estimate.plan, 1 if chosen.one_sample else estimate.batch_size)
        beyond = [size for size in sizes if not timed.smallest <= size <= timed.largest]
        if beyond:
            sentences.append(
                Caveat(
                    f"EXTRAPOLATED Top-K: {len(beyond)} of {len(sizes)} arrays, of up to {scaled(max(beyond))} "
                    f"elements, lie outside the measured {scaled(timed.smallest)} to {scaled(timed.largest)}."
                )
            )
    if chosen.one_sample:
        sentences.append(
            "Activation thresholds come from one sample and serve the whole batch, so the sparsity reached differs "
            "(`swatcost validate --one-sample` shows by how much)."
        )
    if chosen.hidden:
        sentences.append(
            "Top-K selections run in parallel with training on hardware of their own, started up to one period "
            "early: what fits in a period costs no time. The first one of a run, which cannot be hidden, is left out."
        )
    return sentences


def final_steps(estimates: Iterable[Estimate]) -> list[str]:
    """Which methods change over a run although the cycles are those of one step."""
    changing = {
        each.plan.method.name: None
        for each in estimates
        if each.simulated_reduction is not None
        and each.plan.asks_for_sparsity
        and len(each.plan.phases(each.steps)) > 1
    }
    if not changing:
        return []
    change = "changes" if len(changing) == 1 else "change"
    return [
        Caveat(
            f"{', '.join(changing)} {change} over a run: the cycles are those of a step at the target sparsity, for "
            "the whole run."
        )
    ]


def dense_step_source(estimate: Estimate) -> str:
    """Where the dense step's time comes from."""
    device, step, batch_size = estimate.device, estimate.dense_step, estimate.batch_size
    source = f" ({_sources(estimate)})"
    if step.basis == "simulated":
        return "simulated, not measured" + source
    if step.basis == "mfu":
        return (
            f"{percent(estimate.setting.mfu or 0)} of the dense peaks in {estimate.precision.name}, as given" + source
        )
    if step.basis == "operations":
        return _of_operations(estimate) + source
    if step.basis == "rates":
        assert device.rates is not None
        off = f", within {percent(device.rates.worst_residual or 0)} of the steps they were fitted to"
        return f"not measured, estimated from the compute time at {_rates(estimate)}{off}" + source
    if step.reference is None:
        return _lower_bound(estimate) + source
    if step.basis == "throughput":
        reference = step.reference
        work = estimate.exact.training.dense * batch_size / (reference.training_macs * reference.batch_size)
        far = f"EXTRAPOLATED to {work:,.0f} times the work, " if work > _FAR else ""
        return (
            f"not measured, {far}estimated from the throughput of {reference.network} at batch {reference.batch_size}, "
            f"{device.macs_per_second / 1e12:.2f} TMAC/s" + source
        )
    reference = step.reference
    same = reference.batch_size == batch_size
    rescaled = "" if same else f" at batch {reference.batch_size} and scaled to {batch_size}"
    return f"measured{rescaled}" + source


def _sources(estimate: Estimate) -> str:
    """Who says what the time rests on: of peaks, those in the step's precision."""
    device, step = estimate.device, estimate.dense_step
    if step.basis not in ("bound", "mfu") or not step.parts:
        return device.source
    kinds = dict.fromkeys(each.kind for each in step.parts if each.layer is not None)
    peaks = [peak_of(device, step.numbers, each).source for each in kinds]
    return "; ".join(dict.fromkeys([*peaks, device.bandwidth_source or device.source]))


def _rates(estimate: Estimate) -> str:
    rates = estimate.device.rates
    assert rates is not None
    return f"{rates.macs_per_second / 1e12:.3g} TMAC/s and the memory time at {rates.bytes_per_second / 1e9:,.4g} GB/s"


def _of_operations(estimate: Estimate) -> str:
    """A step that is the sum of its operations' measured times, and how much of it is beyond the measured sizes."""
    step = estimate.dense_step
    beyond = sum(each.seconds for each in step.parts if not each.covered)
    share = percent(beyond / step.seconds)
    outside = f"; products that take {share} of it are EXTRAPOLATED beyond the measured sizes" if beyond else ""
    return f"the sum of its operations' times, measured by size{outside}"


def _lower_bound(estimate: Estimate) -> str:
    """A step at the peaks of a data sheet, and how much of it fewer MACs do not shorten."""
    step = estimate.dense_step
    if not step.parts:
        return (
            f"NOT MEASURED: the longer of the compute time at {_rates(estimate)}; a lower bound without fused kernels"
        )
    moving = sum(each.seconds for each in step.parts if each.layer is None)
    return (
        f"NOT MEASURED: every operation at the peak of its precision or of the memory, whichever takes longer; "
        f"{percent(moving / step.seconds)} is memory time of other operations than products, which fewer MACs do not "
        "shorten; a lower bound without fused kernels"
    )
