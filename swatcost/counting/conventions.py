"""The conventions: one row of switches each."""

from __future__ import annotations

from dataclasses import replace

from swatcost.common.registry import Registry
from swatcost.counting.convention import DEFAULT_ACT_SPARSITY as DEFAULT_ACT_SPARSITY
from swatcost.counting.convention import Convention
from swatcost.counting.language_conventions import LANGUAGE_CONVENTIONS
from swatcost.network import Network

SWAT = Convention(
    name="swat",
    title="grad_input at the input resolution, counted for the first layer too; grad_weight at the output resolution",
    source="inferred from the rows of SWAT's Tables 2–5; its Eq. 6 says otherwise",
    grad_input_resolution="input",
    grad_weight_resolution="output",
    first_grad_input="always",
    grad_weight_sparsity="default activation sparsity",
    other_passes_sparsity="method",
    bias_and_relu="none",
    first_padding="as run",
    average="step by step",
    extra_macs="counted",
    first_input="sparse",
)

EXACT = Convention(
    name="exact",
    title="every pass at output resolution, only the gradients that are needed; dense counts are what autograd "
    "executes, sparse counts are what the method requires: autograd on masked tensors would still do the dense work",
    source="for the dense counts, torch's own counter",
    grad_input_resolution="output",
    grad_weight_resolution="output",
    first_grad_input="where needed",
    grad_weight_sparsity="method",
    other_passes_sparsity="method",
    bias_and_relu="none",
    first_padding="as run",
    average="step by step",
    extra_macs="counted",
    first_input="dense",
)

EXACT_CAUSAL = replace(
    EXACT,
    name="exact-causal",
    title="as exact, but without the pairs of a query and a key that a causal mask or a sliding window excludes, where "
    "the trace shows one; kernels execute slightly more: whole blocks, and scores again in the backward pass",
    source="the definition of causal attention: (s + 1) / 2 keys per query",
    attention="needed",
)

RIGL = Convention(
    name="rigl",
    title="output resolution in every pass, grad_input counted for the first layer too; half a MAC per output for "
    "bias and ReLU; weight sparsity only, in grad_weight where the method needs the active weights' gradient",
    source="Evci et al., ICML 2020, appendix H, and its public code",
    grad_input_resolution="output",
    grad_weight_resolution="output",
    first_grad_input="always",
    grad_weight_sparsity="weight sparsity",
    other_passes_sparsity="weight sparsity",
    bias_and_relu="half a MAC per output",
    first_padding="as run",
    average="closed form",
    extra_macs="left out",
    first_input="dense",
)

CONVENTIONS = Registry[Convention](
    "convention",
    Convention,
    SWAT,
    replace(
        SWAT,
        name="equations",
        title="both gradients at the input resolution, grad_input counted for the first layer too",
        source="SWAT, A.3, Eqs. 4–6 as printed",
        grad_weight_resolution="input",
    ),
    EXACT,
    EXACT_CAUSAL,
    RIGL,
    replace(
        RIGL,
        name="rigl-padded",
        title="as rigl, with the first convolution's input padded and its output counted as 'same' (ResNet-50: 115²), "
        "and strided depthwise ones alike; bias and ReLU of a depthwise convolution count once per position",
        source="the public code of Evci et al., which counts Keras networks",
        bias_and_relu="half a MAC per output, depthwise per position",
        first_padding="same",
    ),
    *LANGUAGE_CONVENTIONS,
    entry_points="swatcost.conventions",
)


def conventions_of(network: Network) -> list[Convention]:
    """The conventions per sample that say different things of a network: attention counts only where there is some."""
    attends = any(layer.attention is not None for layer in network.layers)
    return [each for each in CONVENTIONS if each.per == "sample" and (attends or each.attention == "whole")]
