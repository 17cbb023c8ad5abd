"""How language models are counted, as rows of switches: FLOPs per token of training, each from its source's formula.

L blocks of width h, a heads, s positions, V tokens in the vocabulary, q the width of all queries, N the number of
parameters. FLOPs are twice MACs: 6 · N are a multiplication and an addition per parameter in each of three passes.
"""

from __future__ import annotations

from dataclasses import replace

from swatcost.counting.convention import Convention

_MEGATRON_2021 = Convention(
    name="megatron-2021",
    title="72 · L · h² · (1 + s / 6h + V / 12Lh): products only, attention whole, the output layer; with checkpointing "
    "of every block 96 · L · h² · (1 + s / 6h + V / 16Lh)",
    source="Narayanan et al. 2021 (arXiv 2104.04473), appendix",
    per="token",
    grad_input_resolution="output",
    grad_weight_resolution="output",
    first_grad_input="always",
    grad_weight_sparsity="method",
    other_passes_sparsity="method",
    bias_and_relu="none",
    first_padding="as run",
    average="step by step",
    extra_macs="counted",
    first_input="dense",
)

_MAXTEXT = replace(
    _MEGATRON_2021,
    name="maxtext",
    title="6 · products + 6 · L · q · s: half of causal attention; no recomputation",
    source="the public code of MaxText since 2025",
    attention="half",
    recompute="left out",
)

_PARAMETERS = replace(
    _MEGATRON_2021,
    name="6n",
    title="6 · N: every parameter once per token, no attention, no recomputation",
    source="Kaplan et al. 2020 (arXiv 2001.08361), Section 2.1, with every parameter in N",
    embedding="parameters",
    other_parameters="once per token",
    attention="none",
    recompute="left out",
    experts="all",
)

LANGUAGE_CONVENTIONS = (
    _PARAMETERS,
    replace(
        _PARAMETERS,
        name="hf",
        title="6 · N without embeddings, and so without the output layer where it is tied to them; no attention",
        source="the public code of transformers (floating_point_ops, num_parameters)",
        embedding="none",
        logits="untied only",
    ),
    replace(
        _PARAMETERS,
        name="palm",
        title="6 · N + 12 · L · h · s: N without embeddings, the output layer counted, attention whole",
        source="Chowdhery et al. 2022 (arXiv 2204.02311), appendix B, as nanoGPT has it",
        embedding="none",
        attention="whole",
    ),
    replace(
        _PARAMETERS,
        name="nanochat",
        title="6 · weights of linear layers + 12 · h · min(s, window) for each block",
        source="the public code of nanochat",
        embedding="none",
        other_parameters="none",
        attention="window",
    ),
    replace(
        _PARAMETERS,
        name="torchtitan",
        title="6 · N + 6 · L · a · (d_qk + d_v) · s: N without the tokens' embedding unless it is tied, active experts",
        source="the public code of torchtitan",
        embedding="positions",
        attention="whole",
        experts="active",
    ),
    replace(
        _PARAMETERS,
        name="mosaic",
        title="3 · (2 · N + 4 · L · h · s): every parameter and attention; 4 / 3 of it if activations are recomputed",
        source="the public code of llm-foundry and litgpt",
        attention="whole",
        recompute="whole forward",
    ),
    _MEGATRON_2021,
    replace(_MAXTEXT, name="megatron", source="the public code of Megatron-LM"),
    _MAXTEXT,
    replace(
        _MAXTEXT,
        name="maxtext-2024",
        title="6 · products + 12 · L · q · s: attention whole; no recomputation",
        source="the public code of MaxText until 2025",
        attention="whole",
    ),
    replace(
        _PARAMETERS,
        name="lingua",
        title="6 · (N − V · h) + 3.5 · 4 · L · s · h / 2: half of attention, with what FlashAttention recomputes",
        source="the public code of lingua",
        embedding="positions",
        logits="untied only",
        attention="flash",
    ),
    replace(
        _MEGATRON_2021,
        name="chinchilla",
        title="3 · (2Vh + L · (6h² + 4sh + 3as + 2h² + 4hf) + 2Vh), f the MLP's width: the embedding as a product, "
        "softmax",
        source="Hoffmann et al. 2022 (arXiv 2203.15556), appendix F",
        embedding="product",
        attention="softmax",
        recompute="left out",
    ),
    replace(
        _MEGATRON_2021,
        name="neox",
        title="24 · c · L · h² · (1 + s / 6h + V / 16Lh), c = 3, or 4 with recomputation: with c = 3 a slip, which "
        "counts three quarters of the output layer",
        source="the public code of GPT-NeoX; Narayanan et al. 2021 have 12 in place of 16 without recomputation",
        logits="three quarters",
    ),
)
