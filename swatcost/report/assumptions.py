"""What an estimate's numbers rest on, in sentences that name this estimate's own values.

Those that may change a decision are caveats, which every terminal shows.
"""

from swatcost.common.printing import listed
from swatcost.counting.convention import Convention
from swatcost.counting.conventions import EXACT
from swatcost.counting.switches import SWITCHES
from swatcost.estimate import Estimate
from swatcost.network import Network
from swatcost.report.numbers import percent, scaled
from swatcost.report.samples import sample_sentence
from swatcost.report.sheet import Caveat
from swatcost.report.sparsity import sparsity
from swatcost.report.time_notes import step_times
from swatcost.report.traced import assumed, unlisted_saves, variation
from swatcost.timed_step import traced_precision
from swatcost.unused import unused_words


def assumptions(estimate: Estimate) -> list[str]:
    """Sentences in the order in which the numbers are made: counting, sparsity, time, memory."""
    return [
        *counting(estimate), *sparsity(estimate), *step_times(estimate), *_memory(estimate), *unused_words(estimate)
    ]  # fmt: skip


def counting(estimate: Estimate) -> list[str]:
    """What is counted, and how."""
    network = estimate.network
    products = [each for each in estimate.layers if each.layer.kind == "product"]
    customs = [each for each in estimate.layers if each.layer.kind == "custom"]
    sentences = [
        "1 MAC = 2 FLOPs, counted in conv and linear layers "
        + ("and products of activations only: no " if products else "only: no ")
        + _no_bias(estimate.convention)
        + "pooling, optimizer or Top-K.",
        f"Convention {estimate.convention.name}: {estimate.convention.title} ({estimate.convention.source}).",
        *([] if estimate.convention is EXACT else [f"Convention {EXACT.name}: {EXACT.title}."]),
    ]
    sentences += sample_sentence(estimate)
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
            f"dense training. They stay dense, both operands' gradients in grad_input. {_attention(estimate)}"
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
    routed = list(dict.fromkeys(layer.name for layer in network.weight_layers if layer.routed))
    if routed:
        sentences.append(
            f"Rows are routed among experts: {listed(routed)}. All routed rows are counted, however many each expert "
            "gets; times assume equal shares, so that an unbalanced router makes a step slower than estimated."
        )
    if any(layer.kind == "transposed_conv" for layer in network.weight_layers):
        sentences.append("Transposed convolutions, which Eqs. 4–6 do not cover, are counted as executed.")
    if not any(layer.weight_trains or layer.input_needs_grad for layer in network.counted_layers):
        sentences.append(Caveat("Nothing needs a gradient: a training step is a forward pass."))
    sentences += [*assumed(network), *variation(network), *_batch(network)]
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


def _no_bias(convention: Convention) -> str:
    if convention.other_parameters == "once per token":
        return "activation function, "
    return ("bias, activation function, " if convention.bias_and_relu == "none" else "") + "batch normalisation, "


def _attention(estimate: Estimate) -> str:
    """What the convention makes of products of two activations, and what the trace does not say of them."""
    if estimate.convention.attention == "whole":
        return "They are counted in full: causal masks save nothing, and what fused attention recomputes is left out."
    value = SWITCHES["attention"].values[estimate.convention.attention]
    return " ".join([f"The convention {value.words}.", *not_told(estimate.network)])


def not_told(network: Network) -> list[str]:
    """What the trace does not say of products of two activations, in a sentence."""
    products = [each for each in network.counted_layers if each.is_product]
    unknown = sum(each.attention is None or each.attention.causal is None for each in products)
    if not unknown:
        return []
    return [
        f"The trace does not say of {unknown} of {len(products)} products of activations whether they are causal, as "
        "no attention kernel executes them or a mask of unknown values decides: they count in full or not at all."
    ]


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
        *(
            (cost.dense - each.exact.by_pass()[name].dense, each.layer.name, name)
            for each in estimate.layers
            for name, cost in each.costs.by_pass().items()
        ),
        *((cost.dense, "parameters beside these layers", name) for name, cost in estimate.beside.by_pass().items()),
    )
    ratio = estimate.costs.training.dense / estimate.exact.training.dense
    return Caveat(
        f"In dense training, convention {estimate.convention.name} counts {ratio:.2f} times the MACs that autograd "
        f"executes; {scaled(excess, 'MAC')} of the difference are {in_pass} of {layer}. Speedups use the convention's "
        "counts."
    )


def _memory(estimate: Estimate) -> list[str]:
    network, plan = estimate.network, estimate.plan
    sentences = ["Memory excludes buffers, optimizer state, the loss and workspace.", *unlisted_saves(network)]
    traced = traced_precision(network)
    if estimate.precision.name != traced:
        sentences.append(
            f"Bytes are as traced, in {traced}: `swatcost memory --precision {estimate.precision.name}` converts them."
        )
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
        gradients = {"all": "dense", "active": "those of active weights", "none": "those of weights that train"}[
            plan.method.weight_gradient
        ]
        if "grad_weight" in plan.method.weight_sets:
            gradients = "those of the weights that get one"
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
