"""The zoo's transformers against the same networks of the library transformers, and against published figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from swatcost_models import ZOO, mixtral

import swatcost
from swatcost.network.layer import Layer

from .conftest import zoo_network
from .test_memory import saved_bytes

S = 128  # tokens


def macs(layers: Any, batch_size: int) -> tuple[float, float]:
    """MACs per sample: of the forward pass, and of training."""
    of_each = [(layer.forward_macs, layer.training_macs) for layer in layers]
    return tuple(sum(each) / batch_size for each in zip(*of_each, strict=True))  # type: ignore[return-value]


def of_transformers(name: str) -> Any:
    """The network as Hugging Face's configuration of this size builds it."""
    library = pytest.importorskip("transformers")
    llama = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
    builds = {
        "gpt2": ("GPT2LMHeadModel", {}),
        "gpt2_xl": ("GPT2LMHeadModel", {"n_embd": 1600, "n_layer": 48, "n_head": 25}),
        "llama2_7b": ("LlamaForCausalLM", llama | {"vocab_size": 32_000, "intermediate_size": 11_008}),
        "llama3_8b": (
            "LlamaForCausalLM",
            llama | {"vocab_size": 128_256, "intermediate_size": 14_336, "num_key_value_heads": 8},
        ),
        "mixtral_8x7b": ("MixtralForCausalLM", {}),
        "bert_base": ("BertForPreTraining", {}),
        "vit_s_16": (
            "ViTForImageClassification",
            {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536, "num_labels": 1000},
        ),
    }  # the other sizes are those of each configuration's defaults
    kind, sizes = builds[name]
    with torch.device("meta"):
        return getattr(library, kind)(getattr(library, kind).config_class(**sizes))


@pytest.mark.parametrize("name", ["gpt2", "gpt2_xl", "llama2_7b", "llama3_8b", "mixtral_8x7b", "bert_base", "vit_s_16"])
def test_parameters_and_macs_of_the_library(name: str) -> None:
    theirs = of_transformers(name)
    assert sum(each.numel() for each in theirs.parameters()) == zoo_network(name).parameter_elements
    of_tokens = ZOO[name].input_dtype is not None
    ours = swatcost.load(name, seq_len=S) if of_tokens else zoo_network(name)
    shape: dict[str, Any] = {"input_shape": (S,) if of_tokens else (3, 224, 224)}
    if of_tokens:
        shape["input_dtype"] = "int64"
    found = swatcost.trace(theirs, **shape, loss="none", under_amp=False)
    assert macs(found.layers, found.batch_size) == macs(ours.layers, ours.batch_size)


def test_sizes_of_bert() -> None:
    """The encoder with its pooler has 109,482,240 parameters, "110M" in the paper; its heads have the rest."""
    h, vocabulary = 768, 30_522
    block = 4 * (h * h + h) + (h * 4 * h + 4 * h) + (4 * h * h + h) + 2 * 2 * h
    encoder = (vocabulary + 512 + 2) * h + 2 * h + 12 * block + (h * h + h)
    heads = (h * h + h + 2 * h + vocabulary) + (2 * h + 2)  # the scorer's matrix is the embedding
    assert encoder == 109_482_240
    assert zoo_network("bert_base").parameter_elements == encoder + heads == 110_106_428


def test_bert_as_electra_counts_it() -> None:
    """Clark et al., "ELECTRA", ICLR 2020, Table 1: BERT-Base takes 2.9e10 FLOPs to run and 6.4e19 to train.

    google-research/electra, flops_computation.py: the embedding as a product; biases, softmax, norms, activations and
    dropout; 15.625 % of the tokens scored; a backward pass that costs as much as the forward pass; 10^6 steps of 256
    samples. Its norm after attention costs 5 FLOPs per token, where the other costs 5 per feature.
    """
    h, vocabulary, heads, blocks = 768, 30_522, 12, 12

    def encoder(s: int) -> float:
        network = swatcost.load("bert_base", seq_len=s)
        traced, _ = macs([each for each in network.layers if each.name.startswith("blocks.")], network.batch_size)
        elementwise = 56 * h + 10 * s * heads + 5
        return 2 * traced + s * (blocks * elementwise + 2 * h * vocabulary + 2 * h * (s + 2) + 11 * h)

    assert f"{encoder(128) + 128 * (2 * h * h + 11 * h):.1e}" == "2.9e+10"
    network = zoo_network("bert_base")
    scorer = [each for each in network.layers if each.name in ("transform.0", "head")]
    scored, _ = macs(scorer, network.batch_size)
    head = 5 / 32 * (2 * scored + 512 * (14 * h + 7 * vocabulary))
    assert f"{2 * 256 * 10**6 * (encoder(512) + head):.1e}" == "6.4e+19"


def test_deit_small() -> None:
    """4.6 G in Liu et al., "Swin Transformer", ICCV 2021, Table 1, and on timm's card of deit_small_patch16_224."""
    n, h = 197, 384
    block = n * 12 * h * h + 2 * n * n * h
    forward, _ = macs(zoo_network("vit_s_16").layers, zoo_network("vit_s_16").batch_size)
    assert forward == 196 * 768 * h + 12 * block + 1000 * h == 4_598_882_304


def test_a_token_of_llama_3() -> None:
    """torchtitan's 33 % and 39 % of 989 TFLOP/s, at 5762 and 6667 tokens per second, divide this by the time."""
    flops = swatcost.estimate("llama3_8b", convention="torchtitan").flops_per_token
    assert flops is not None
    products, attention = 6 * (8_030_261_248 - 128_256 * 4096), 6 * 32 * 32 * 256 * 8192
    assert flops.dense == products + attention == 57_914_449_920
    assert [int(100 * flops.dense * rate / 989e12) for rate in (5762, 6667)] == [33, 39]


def of_experts(network: swatcost.Network) -> list[Layer]:
    return [each for each in network.weight_layers if each.routed]


def test_active_parameters_of_mixtral() -> None:
    """47B parameters, of which a token meets 13B: Jiang et al. 2024, Section 1."""
    network = zoo_network("mixtral_8x7b")
    experts = of_experts(network)
    assert len(experts) == 32 * 3
    assert {each.weight_elements for each in experts} == {8 * 4096 * 14_336}
    active = network.parameter_elements - 6 * sum(each.weight_elements // 8 for each in experts)
    assert active == 12_879_925_248
    # A token's products with weights: all active parameters but the embedding of the tokens and 65 norms
    per_token = sum(each.forward_macs for each in network.weight_layers) / network.tokens
    assert per_token == active - 32_000 * 4096 - 65 * 4096


def test_experts_of_mixtral_cost_what_two_dense_mlps_do() -> None:
    """Llama 3's MLPs are as wide as an expert."""
    of_mixtral, of_llama = (swatcost.load(name, seq_len=S) for name in ("mixtral_8x7b", "llama3_8b"))
    dense = [each for each in of_llama.weight_layers if 14_336 in each.weight_shape]
    routed = of_experts(of_mixtral)
    assert len(routed) == len(dense) == 32 * 3
    assert macs(routed, of_mixtral.batch_size) == tuple(2 * each for each in macs(dense, of_llama.batch_size))


def test_a_small_mixtral_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes saved for backward, and a block's result beside that of all experts, weighted."""
    for name, size in {"_WIDTH": 32, "_HEADS": 4, "_GROUPS": 2, "_HIDDEN": 48, "_BLOCKS": 2}.items():
        monkeypatch.setattr(mixtral, name, size)
    torch.manual_seed(0)
    module = mixtral.mixtral_8x7b(50)
    tokens = torch.randint(50, (3, 7))
    network = swatcost.trace(module, input_shape=(7,), input_dtype="int64", loss="none")
    assert swatcost.estimate(network, batch_size=3).memory.saved_activations.dense == saved_bytes(module, tokens)
    block, x = module.blocks[0], torch.randn(3, 7, 32)
    assert isinstance(block, mixtral.Block)
    scores, chosen = block.router(x).topk(2)
    weighted = torch.zeros(3, 7, 8).scatter(-1, chosen, scores.softmax(-1))
    gate, up = (torch.einsum("bsi,eoi->bseo", x, each.weight) for each in (block.experts.gate, block.experts.up))
    every = torch.einsum("bseo,eio->bsei", torch.nn.functional.silu(gate) * up, block.experts.down.weight)
    torch.testing.assert_close(block.feed_forward(x), (weighted[..., None] * every).sum(2))
