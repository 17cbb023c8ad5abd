"""What an estimate's numbers rest on, in sentences that name this estimate's own values.

Those that may change a decision are caveats, which every terminal shows.
"""

from collections.abc import Iterable

from swatcost.counting.conventions import EXACT
from swatcost.estimate import Estimate
from swatcost.network import Network
from swatcost.report.numbers import percent, scaled
from swatcost.report.sheet import Caveat
from swatcost.report.sparsity import listed, sparsity
from swatcost.report.traced import unlisted_saves, variation
from swatcost.timing.selection import masked_sizes
from swatcost.timing.topk import REDUCTIONS_OF_EQS_7_AND_8
from swatcost.unused import unused_words


def assumptions(estimate: Estimate) -> list[str]:
    """Sentences in the order in which the numbers are made: counting, sparsity, time, memory."""
    return [
        *counting(estimate), *sparsity(estimate), *_time(estimate), *_memory(estimate), *unused_words(estimate)
    ]  # fmt: skip


def counting(estimate: Estimate) -> list[str]:
    """What is counted, and how."""
    network = estimate.network
    products = [each for each in estimate.layers if each.layer.kind == "product"]
    customs = [each for each in estimate.layers if each.layer.kind == "custom"]
    sentences = [
        "1 MAC = 2 FLOPs, counted in conv and linear layers "
        + ("and products of activations only: no " if products else "only: no ")
        + ("bias, activation function, " if estimate.convention.bias_and_relu == "none" else "")
        + "batch normalisation, pooling, optimizer or Top-K.",
        f"Convention {estimate.convention.name}: {estimate.convention.title} ({estimate.convention.source}).",
        *([] if estimate.convention is EXACT else [f"Convention {EXACT.name}: {EXACT.title}."]),
    ]
    if _far_from_executed(estimate):
        sentences.append(_what_counts_more(estimate))
    missed = [each for each in estimate.uncounted if each.products]
    if missed:
        named = ", ".join(f"{each.operation} ×{each.calls} in {listed(list(each.places), 3)}" for each in missed)
        sentences.insert(
            0,
            Caveat(
                f"TOO LOW: these operations may multiply tensors, have no formula and are missing from every total: "
                f"{named}. swatcost.formula registers one."
            ),
        )
    if products:
        macs = sum(each.costs.training.dense for each in products)
        sentences.append(
            f"Products of two activations, as in attention, are {percent(macs / estimate.costs.training.dense)} of "
            "dense training. They stay dense and are counted in full, both operands' gradients in grad_input: causal "
            "masks save nothing, and what fused attention recomputes is left out."
        )
    if customs:
        sentences.append(
            "Counted in full and dense, as the trace executed them or by registered formulas: "
            f"{listed(sorted({each.layer.name for each in customs}))}."
        )
    complex = sorted({each.layer.name for each in estimate.layers if each.layer.real_products > 1})
    if complex:
        sentences.append(f"One product of complex numbers counts as 4 of real ones: {listed(complex)}.")
    if estimate.costs.recompute.dense:
        sentences.append("recompute: the forward work that activation checkpointing repeats in the backward pass.")
    if any(layer.kind == "transposed_conv" for layer in network.weight_layers):
        sentences.append("Transposed convolutions, which Eqs. 4–6 do not cover, are counted as executed.")
    if not any(layer.weight_trains or layer.input_needs_grad for layer in network.counted_layers):
        sentences.append(Caveat("Nothing needs a gradient: a training step is a forward pass."))
    sentences += [*variation(network), *_batch(network)]
    if not network.batch_is_identifiable:
        sentences.append(
            Caveat(
                f"Traced with batch size {network.batch_size}, which divides other dimensions of the network: which "
                "tensors grow with the batch was inferred from their shapes."
            )
        )
    uneven = list(dict.fromkeys(layer.name for layer in network.counted_layers if not network.divides_evenly(layer)))
    if uneven:
        sentences.append(
            f"Work that differs between samples is averaged over the traced batch of {network.batch_size}: "
            f"{listed(uneven)}."
        )
    once = list(dict.fromkeys(layer.name for layer in network.counted_layers if layer.per_step))
    if once:
        sentences.append(
            f"Done once per step, whatever the batch: {listed(once)}. Figures per sample hold "
            f"a share of 1/{estimate.batch_size} of this work."
        )
    return sentences


def _batch(network: Network) -> list[str]:
    """Where the samples of the traced inputs are, if that is assumed or unusual."""
    samples = f"{network.batch_size} sample{'s' * (network.batch_size != 1)}"
    if not network.batch_told_by:
        first = "×".join(map(str, network.input_shapes[0])) or "a scalar"
        return [
            f"Dimension 0 of the first input, {first}, is assumed to count the samples, {network.batch_size}, as "
            "neither the inputs nor a module says: give batch_dim or batch_size if it does not."
        ]
    if network.batch_told_by == "the caller" or network.batch_dim == 0:
        return []
    where = "" if network.batch_dim is None else f" along dimension {network.batch_dim} of the input"
    return [f"Traced with {samples}{where}, as told by {network.batch_told_by}."]


_WORTH_SAYING = 1.25  # dense MACs as counted over those executed: ResNet-50, which `swat` is made for, has 1.20


def _far_from_executed(estimate: Estimate) -> bool:
    executed = estimate.exact.training.dense
    return executed > 0 and estimate.costs.training.dense > _WORTH_SAYING * executed


def _what_counts_more(estimate: Estimate) -> str:
    """Which layer and pass a convention counts most beyond what is executed."""
    excess, layer, in_pass = max(
        (cost.dense - each.exact.by_pass()[name].dense, each.layer.name, name)
        for each in estimate.layers
        for name, cost in each.costs.by_pass().items()
    )
    ratio = estimate.costs.training.dense / estimate.exact.training.dense
    return Caveat(
        f"In dense training, convention {estimate.convention.name} counts {ratio:.2f} times the MACs that autograd "
        f"executes; {scaled(excess, 'MAC')} of the difference are {in_pass} of {layer}. Speedups use the convention's "
        "counts."
    )


def _time(estimate: Estimate) -> list[str]:
    device, reduction = estimate.device, estimate.training_reduction
    source = f"Dense step on {device.name}: {dense_step_source(estimate)}."
    sentences = [Caveat(source) if "NOT MEASURED" in source or "EXTRAPOLATED" in source else source]
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
    if estimate.masked_step_seconds is not None:
        sentences.append(
            "The step with masked dense tensors is what this machine runs without sparse kernels: the dense step, "
            "masking, and its share of a Top-K refresh."
        )
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
        and len(each.plan.method.schedule(each.steps)) > 1
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
    """Where the dense step's time comes from: measured, scaled from another batch size, or from a throughput."""
    device, step, batch_size = estimate.device, estimate.dense_step.reference, estimate.batch_size
    if step is None:
        assert device.rates is not None
        if estimate.simulated_reduction is not None:
            return f"simulated, not measured ({device.source})"
        rates = (
            f"{device.rates.macs_per_second / 1e12:.3g} TMAC/s and the memory time at "
            f"{device.rates.bytes_per_second / 1e9:,.4g} GB/s"
        )
        if not device.measured:
            macs = estimate.exact.training.dense * batch_size / device.rates.macs_per_second
            of_bytes = estimate.network.traffic_bytes(batch_size) / device.rates.bytes_per_second
            longer = ", here the memory time, which fewer MACs do not reduce" if of_bytes > macs else ""
            bound = f"the longer of the compute time at {rates}{longer}"
            return f"NOT MEASURED: {bound}; a lower bound without fused kernels ({device.source})"
        off = f", within {percent(device.rates.worst_residual or 0)} of the steps they were fitted to"
        return f"not measured, estimated from the compute time at {rates}{off} ({device.source})"
    if not estimate.dense_step.same_network:
        work = estimate.exact.training.dense * batch_size / (step.training_macs * step.batch_size)
        far = f"EXTRAPOLATED to {work:,.0f} times the work, " if work > _FAR else ""
        return (
            f"not measured, {far}estimated from the throughput of {step.network} at batch {step.batch_size}, "
            f"{device.macs_per_second / 1e12:.2f} TMAC/s ({device.source})"
        )
    rescaled = "" if step.batch_size == batch_size else f" at batch {step.batch_size} and scaled to {batch_size}"
    return f"measured{rescaled} ({device.source})"


def _memory(estimate: Estimate) -> list[str]:
    network, plan = estimate.network, estimate.plan
    sentences = ["Memory excludes buffers, optimizer state, the loss and workspace.", *unlisted_saves(network)]
    if any(each.activation for each in plan.layers):
        first_is_dense = "first layer" in plan.kept_dense.values()
        sentences.append(
            "Activation elements (Act ↓) are those entering conv, linear and "
            + f"{normalisation(network)} layers"
            + (
                ". The network's input counts as sparse although the first layer is dense: this fits the paper's "
                "tables best."
                if first_is_dense and estimate.convention.first_input == "sparse"
                else "."
            )
        )
    if plan.asks_for_sparsity:
        gradients = "dense" if plan.method.weight_gradient == "all" else "those of active weights"
        sentences.append(f"Sparse bytes are those of non-zero values, without indices; gradients are {gradients}.")
    return sentences + masked_tensors(estimate)


def masked_tensors(estimate: Estimate) -> list[str]:
    """What masked tensors in PyTorch keep, if other operations keep the same tensors too."""
    memory = estimate.memory
    if not memory.also_held:
        return []
    return [
        Caveat(
            f"Saved activations: {scaled(memory.saved_activations.sparse, 'B')} is non-zeros alone, without indices. "
            f"Masking in PyTorch keeps {scaled(memory.masked, 'B')}: ReLU and others keep a dense copy of "
            f"{memory.also_held} of the {memory.sparsified}."
        )
    ]


def normalisation(network: Network) -> str:
    """What its normalisation layers are called together."""
    norms = {layer.kind for layer in network.layers if layer.is_norm}
    return "batch normalisation" if norms <= {"batch_norm"} else "normalisation"
