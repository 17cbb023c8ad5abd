"""Large networks from the sizes that their authors publish, against parameters and MACs written out from them."""

from __future__ import annotations

from typing import Any

import pytest

from swatcost.network import Network
from swatcost.tracing.hugging_face import trace_config

pytest.importorskip("transformers")

S = 4096  # tokens in one sample

QWEN3_235B: dict[str, Any] = {  # Qwen3 Technical Report, Table 2, and its config
    "model_type": "qwen3_moe", "hidden_size": 4096, "moe_intermediate_size": 1536, "num_hidden_layers": 94,
    "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
    "vocab_size": 151_936, "max_position_embeddings": 40_960, "torch_dtype": "bfloat16",
}  # fmt: skip
DEEPSEEK_V3: dict[str, Any] = {  # DeepSeek-V3 Technical Report, Section 4.2
    "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18_432, "moe_intermediate_size": 2048,
    "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "n_shared_experts": 1,
    "n_routed_experts": 256, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "q_lora_rank": 1536,
    "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "first_k_dense_replace": 3,
    "vocab_size": 129_280, "max_position_embeddings": 163_840, "torch_dtype": "bfloat16",
}  # fmt: skip
MAVERICK: dict[str, Any] = {  # Llama 4 Maverick's config: every other layer has experts
    "model_type": "llama4_text", "hidden_size": 5120, "intermediate_size": 8192, "intermediate_size_mlp": 16_384,
    "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
    "num_local_experts": 128, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "vocab_size": 202_048,
    "max_position_embeddings": 1_048_576, "torch_dtype": "bfloat16",
}  # fmt: skip


def traced(config: dict[str, Any]) -> Network:
    return trace_config(config["model_type"], config=config, seq_len=S)


def per_token(network: Network) -> float:
    """Forward MACs."""
    return sum(layer.forward_macs for layer in network.layers) / (network.batch_size * S)


def test_qwen3_235b() -> None:
    h, L, q, kv, V = 4096, 94, 64 * 128, 4 * 128, 151_936
    attention, router, expert = 2 * h * q + 2 * h * kv, h * 128, 3 * h * 1536
    norms = 2 * h + 2 * 128  # before attention and experts, and of each head's queries and keys
    network = traced(QWEN3_235B)
    assert network.parameter_elements == 2 * V * h + L * (attention + router + 128 * expert + norms) + h
    assert round(network.parameter_elements / 1e9) == 235
    assert per_token(network) == L * (attention + 2 * q * S + router + 8 * expert) + V * h


def test_deepseek_v3() -> None:
    h, L, a, V = 7168, 61, 128, 129_280
    queries = h * 1536 + 1536 * a * (128 + 64)
    keys_and_values = h * (512 + 64) + 512 * a * (128 + 128)
    attention = queries + keys_and_values + a * 128 * h
    expert, router, dense = 3 * h * 2048, h * 256, 3 * h * 18_432
    norms = 2 * h + 1536 + 512
    network = traced(DEEPSEEK_V3)
    experts = 58 * (router + 257 * expert)
    assert network.parameter_elements == 2 * V * h + L * (attention + norms) + 3 * dense + experts + h
    assert round(network.parameter_elements / 1e9) == 671
    products = a * (128 + 64 + 128) * S
    assert per_token(network) == L * (attention + products) + 3 * dense + 58 * (router + 9 * expert) + V * h
    assert round((per_token(network) - L * products) / 1e9) == 37  # "37B activated for each token"


def test_llama4_maverick() -> None:
    """Its code multiplies every token by all experts, of which 128 count instead of one."""
    h, L, q, kv, V = 5120, 48, 5120, 1024, 202_048
    attention, dense = 2 * h * q + 2 * h * kv, 3 * h * 16_384
    expert, router = 3 * h * 8192, h * 128
    network = traced(MAVERICK)
    experts = 24 * (router + 129 * expert)
    assert network.parameter_elements == 2 * V * h + L * (attention + 2 * h) + 24 * dense + experts + h
    assert round(network.parameter_elements / 1e9) == 401
    assert per_token(network) == L * (attention + 2 * q * S) + 24 * dense + experts + V * h
    assert "all 128 experts, although each token is routed to 1" in network.assumed[-1]
