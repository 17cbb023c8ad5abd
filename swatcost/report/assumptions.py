"""What an estimate's numbers rest on, said in sentences that name this estimate's own values."""

from collections import defaultdict
from collections.abc import Sequence

from swatcost.counting.conventions import EXACT, as_swat_counts, nothing_fixed
from swatcost.estimate import Estimate
from swatcost.methods import Phase
from swatcost.network import Network
from swatcost.report.numbers import percent, scaled
from swatcost.timing.selection import selected
from swatcost.timing.topk import REDUCTIONS_OF_EQS_7_AND_8


def assumptions(estimate: Estimate) -> list[str]:
    """Sentences in the order in which the numbers are made: counting, sparsity, time, memory."""
    return [*counting(estimate), *_sparsity(estimate), *_time(estimate), *_memory(estimate)]


def counting(estimate: Estimate) -> list[str]:
    """What is counted, and how."""
    network = estimate.network
    products = [each for each in estimate.layers if each.layer.kind == "product"]
    customs = [each for each in estimate.layers if each.layer.kind == "custom"]
    sentences = [
        "1 MAC = 2 FLOPs, counted in conv and linear layers "
        + ("and products of activations only: no " if products else "only: no ")
        + ("bias, activation function, " if estimate.convention.fixed is nothing_fixed else "")
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
            f"TOO LOW: these may multiply tensors, have no formula and are missing in every total: {named}. "
            "swatcost.formula gives an operation one.",
        )
    if products:
        macs = sum(each.costs.training.dense for each in products)
        sentences.append(
            f"Products of two activations, as in attention, are {percent(macs / estimate.costs.training.dense)} of "
            "dense training. They stay dense, with the gradients of both operands in grad_input, and count whole: "
            "causal masks save nothing, and what fused attention recomputes is left out."
        )
    if customs:
        sentences.append(
            "Counted whole and dense, by formulas from outside or as convolutions of activations: "
            f"{listed(sorted({each.layer.name for each in customs}))}."
        )
    if estimate.costs.recompute.dense:
        sentences.append("Recompute is the forward work that activation checkpointing repeats in the backward pass.")
    if any(layer.kind == "transposed_conv" for layer in network.weight_layers):
        sentences.append("Transposed convolutions, which Eqs. 4 to 6 do not cover, count as executed.")
    if not any(layer.weight_trains or layer.input_needs_grad for layer in network.counted_layers):
        sentences.append("Nothing needs a gradient: a training step is a forward pass.")
    if not network.batch_tells:
        sentences.append(
            f"Traced at a batch of {network.batch_size}, which divides dimensions of the network: what grows with the "
            "batch was judged by shapes."
        )
    uneven = list(dict.fromkeys(layer.name for layer in network.counted_layers if not network.divides_evenly(layer)))
    if uneven:
        sentences.append(
            f"Work that is not the same for every sample is averaged over the traced batch of {network.batch_size}: "
            f"{listed(uneven)}."
        )
    return sentences


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
    return (
        f"That is {ratio:.2f} times the dense training that autograd executes; {scaled(excess, 'MAC')} of the "
        f"difference are {in_pass} of {layer}. The speedup follows the convention, too."
    )


def _sparsity(estimate: Estimate) -> list[str]:
    plan = estimate.plan
    masked = sum(each.mask_zeros is not None for each in estimate.network.parameters)
    masks = f"The network carries pruning masks of {masked} parameters; --distribution mask takes their zeros."
    if not plan.asks_for_sparsity:
        return [masks] if masked else []
    names: dict[str, list[str]] = defaultdict(list)
    for layer in estimate.network.weight_layers:
        reason = plan.kept_dense.get(layer.weight)
        if reason and layer.name not in names[reason]:
            names[reason].append(layer.name)
    kept = "; ".join(f"{listed(layers)} ({reason})" for reason, layers in names.items())
    sentences = [
        f"Kept dense: {kept}." if kept else "No layer is kept dense.",
        "A sparse pass costs its dense MACs times the fraction of its operands that is not zero.",
    ]
    method, convention, training = plan.method, estimate.convention, estimate.costs.training
    if method.relies_on_default_sparsity and convention.density is as_swat_counts:
        sentences.append(
            f"grad_weight is charged {percent(1 - estimate.default_act_sparsity)} of its dense MACs, for the zeros "
            f"that ReLU leaves among activations, whatever {method.name} itself needs, and throughout the run."
        )
    phases = convention.phases(method, estimate.steps)
    if len(phases) > 1:
        run = estimate.batch_size * estimate.steps
        dense, sparse = (scaled(2 * run * macs, "FLOP") for macs in (training.dense, training.sparse))
        sentences.append(
            f"Training is a step on average over the run: {_schedule(phases)}. {estimate.steps:,} steps of "
            f"{estimate.batch_size:,} samples take {sparse} instead of {dense}. Memory is that of the final sparsity."
        )
    if plan.weights and not method.selects:
        sentences.append("Pruning and regrowing connections costs nothing here (A.3).")
    if method.departures:
        sentences.append(method.departures)
    return sentences


def _schedule(phases: Sequence[Phase]) -> str:
    dense_gradients = sum(phase.share for phase in phases if phase.dense_weight_gradient)
    if dense_gradients:
        return f"{100 * dense_gradients:.2f} % of its steps compute the gradient of every weight"
    mean = sum(phase.share * phase.scale for phase in phases)
    return f"sparsity is {percent(mean)} of the final one on average"


def listed(names: list[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _time(estimate: Estimate) -> list[str]:
    device, reduction = estimate.device, estimate.training_reduction
    sentences = [f"Dense step on {device.name}: {dense_step_source(estimate)}."]
    if not reduction:
        return sentences
    if estimate.simulated_reduction is not None:
        sentences.append(
            f"Its cycles are simulated, with Top-K masks of a Gaussian: training FLOPs fall by {percent(reduction)}, "
            f"cycles by {percent(estimate.simulated_reduction)} (`swatcost simulate` says where they go)."
        )
        return sentences
    sentences.append(
        "The sparse step is taken to be as much faster as its FLOPs are fewer (A.4), which no dense hardware gives."
    )
    if estimate.masked_step_seconds is not None:
        sentences.append(
            "The step with masked dense tensors is what this machine does without sparse hardware: the dense step, "
            "zeroing what does not exceed the thresholds, and a Top-K's share."
        )
    sentences += _selecting(estimate)
    if estimate.topk_seconds and estimate.selecting.algorithm is None:
        sentences.append(
            f"Top-K costs {device.topk.weights.per_element * 1e9:.3f} ns a weight and "
            f"{device.topk.activations.per_element * 1e9:.3f} ns an activation: time over elements, {device.source}."
            + _topk_extrapolated(estimate)
            + ("" if device.measured else " NOT MEASURED: every number is read once, a lower bound.")
        )
    as_printed = estimate.speedup_at(round(reduction, 3))
    is_printed = estimate.dense_step.same_network and round(reduction, 3) in REDUCTIONS_OF_EQS_7_AND_8
    if is_printed and f"{as_printed:.2f}" != f"{estimate.speedup:.2f}":
        sentences.append(
            f"Eqs. 7 and 8 put in the reduction rounded to {100 * reduction:.1f} %: that way the speedup is "
            f"{as_printed:.2f}×, unrounded it is {estimate.speedup:.2f}×."
        )
    return sentences


_FAR = 10.0  # times what was measured, from where on a linear rule is called an extrapolation


def _topk_extrapolated(estimate: Estimate) -> str:
    """Says so where one Top-K is far larger than the one that was timed."""
    weights, activations = selected(estimate.network, estimate.plan)
    samples = 1 if estimate.selecting.one_sample else estimate.batch_size
    here = sum(size for size, sparse in weights if sparse)
    here += samples * sum(size for size, sparse in activations if sparse)
    timed = estimate.device.topk.weights.elements + estimate.device.topk.activations.elements
    if here <= _FAR * timed or not estimate.device.measured:
        return ""
    return f" EXTRAPOLATED: {scaled(timed)} elements were timed, here are {scaled(here)}."


def _selecting(estimate: Estimate) -> list[str]:
    """What A.4's ideas assume, and where the times of an algorithm are extrapolated."""
    chosen, sentences = estimate.selecting, []
    if chosen.algorithm is not None:
        timed = estimate.device.selection(chosen.algorithm)
        sentences.append(
            f"Thresholds by {chosen.algorithm}: {timed.fixed * 1e6:.3g} µs an array and {timed.per_element * 1e9:.3g} "
            f"ns an element, up to {percent(timed.worst_residual)} off what was measured"
            + ("." if timed.exact else "; they are near the one asked for, so the sparsity is too.")
        )
        weights, activations = selected(estimate.network, estimate.plan)
        samples = 1 if chosen.one_sample else estimate.batch_size
        sizes = [size for size, sparse in weights if sparse] + [
            samples * size for size, sparse in activations if sparse
        ]
        beyond = [size for size in sizes if not timed.smallest <= size <= timed.largest]
        if beyond:
            sentences.append(
                f"EXTRAPOLATED: {len(beyond)} of {len(sizes)} arrays, of up to {scaled(max(beyond))} elements, are "
                f"outside of {scaled(timed.smallest)} to {scaled(timed.largest)}, where it was measured."
            )
    if chosen.one_sample:
        sentences.append(
            "Activations' thresholds are of one sample, used for the whole batch: the sparsity reached differs "
            "(`swatcost validate --one-sample` shows by how much)."
        )
    if chosen.hidden:
        sentences.append(
            "Selections run beside training on hardware of their own, started as early as their period allows: what "
            "fits behind it costs no time. The first of a run, which nothing hides, is left out."
        )
    return sentences


def dense_step_source(estimate: Estimate) -> str:
    """Where the dense step's time comes from: measured, scaled from another batch size, or from a throughput."""
    device, step, batch_size = estimate.device, estimate.dense_step.reference, estimate.batch_size
    if step is None:
        assert device.rates is not None
        if estimate.simulated_reduction is not None:
            return f"simulated, not measured ({device.source})"
        rates = (
            f"{device.rates.macs_per_second / 1e12:.3g} TMAC/s and {device.rates.bytes_per_second / 1e9:.4g} GB/s for "
            "what a step writes and reads"
        )
        if not device.measured:
            macs = estimate.exact.training.dense * batch_size / device.rates.macs_per_second
            of_bytes = estimate.network.traffic_bytes(batch_size) / device.rates.bytes_per_second
            longer = ", here the bytes, which fewer MACs do not shorten" if of_bytes > macs else ""
            return f"NOT MEASURED, the longer of {rates}{longer}: a lower bound without fused kernels ({device.source})"
        off = f", which are up to {percent(device.rates.worst_residual or 0)} off the steps that they were fitted to"
        return f"not measured, estimated from {rates}{off} ({device.source})"
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
    network, memory, plan = estimate.network, estimate.memory, estimate.plan
    sentences = ["Memory leaves out buffers, optimizer state, the loss and working space."]
    if any(each.activation for each in plan.layers):
        first_is_dense = "first layer" in plan.kept_dense.values()
        sentences.append(
            "Activations ↓ counts elements entering conv, linear and "
            + ("batch normalisation layers" if _norms_are_batch_norms(network) else "normalisation layers")
            + (
                ", and the first input as sparse although its layer is dense, which fits the paper's tables best."
                if first_is_dense and estimate.convention.first_input_sparse
                else "."
            )
        )
    if plan.asks_for_sparsity:
        gradients = "dense" if plan.method.weight_gradient == "all" else "those of active weights"
        sentences.append(
            f"Sparse bytes are those of the values that are kept, without indices; gradients are {gradients}."
        )
    if memory.also_held:
        sentences.append(
            f"{memory.also_held} of the {memory.sparsified} activation tensors made sparse are also kept by other "
            "operations (such as ReLU). While those keep them, and masked tensors are stored densely, saved "
            f"activations take {scaled(memory.masked, 'B')}."
        )
    return sentences


def _norms_are_batch_norms(network: Network) -> bool:
    norms = {layer.kind for layer in network.layers if layer.is_norm}
    return norms <= {"batch_norm"}
