"""Small configurations of transformers, by model type: two layers of width 32."""

from __future__ import annotations

from typing import Any

TOKENS = 16
"""Tokens in one sample."""

_WORDS = {"vocab_size": 96, "hidden_size": 32}
_BLOCKS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_BERT = _WORDS | _BLOCKS
_LLAMA = _BERT | {"num_key_value_heads": 2}
_HEADS_OF_8 = _LLAMA | {"head_dim": 8}
_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_IMAGES = _BLOCKS | {"image_size": 32, "patch_size": 8}
_DEEPSEEK = _BERT | {
    "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
    "v_head_dim": 8, "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1,
    "topk_group": 1, "first_k_dense_replace": 1,
}  # fmt: skip
_BART = {
    "vocab_size": 96, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip

LANGUAGE: dict[str, dict[str, Any]] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _HEADS_OF_8,
    "gemma": _HEADS_OF_8,
    "gemma2": _HEADS_OF_8,
    "gemma3_text": _HEADS_OF_8,
    "phi": _BERT,
    "phi3": _BERT | {"pad_token_id": None},
    "gpt2": _WORDS | {"n_layer": 2, "n_head": 4},
    "gpt_neo": _WORDS | {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    "gpt_neox": _BERT,
    "gptj": {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
    "opt": _WORDS | {"num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "bloom": _WORDS | {"n_layer": 2, "n_head": 4},
    "falcon": _WORDS | {"num_hidden_layers": 2, "num_attention_heads": 4},
    "mpt": {"vocab_size": 96, "d_model": 32, "n_layers": 2, "n_heads": 4},
    "olmo2": _BERT,
    "stablelm": _LLAMA,
    "starcoder2": _LLAMA,
    "cohere": _BERT,
    "granite": _BERT,
    "glm4": _HEADS_OF_8 | {"pad_token_id": None},
    "bert": _BERT,
    "roberta": _BERT | {"max_position_embeddings": 66},
    "albert": _BERT | {"embedding_size": 16},
    "distilbert": {"vocab_size": 96, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "electra": _BERT | {"embedding_size": 16},
    "deberta-v2": _BERT,
    "modernbert": _BERT | {"pad_token_id": 0},
    "t5": {"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    "bart": _BART,
}

EXPERTS: dict[str, dict[str, Any]] = {
    "mixtral": _LLAMA | {"num_local_experts": 8},
    "qwen2_moe": _LLAMA | _EXPERTS | {"shared_expert_intermediate_size": 24},
    "qwen3_moe": _HEADS_OF_8 | _EXPERTS,
    "olmoe": _BERT | {"num_experts": 8, "num_experts_per_tok": 2},
    "phimoe": _LLAMA | {"num_local_experts": 4},
    "granitemoe": _BERT | {"num_local_experts": 4},
    "gpt_oss": _HEADS_OF_8 | {"num_local_experts": 8, "num_experts_per_tok": 2},
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
}
"""Of which each token meets a few, in grouped products."""

SEQUENCES: dict[str, dict[str, Any]] = {
    "llama4_text": _HEADS_OF_8 | {"num_local_experts": 4, "intermediate_size_mlp": 48},
    "clip": {"text_config": _BERT, "vision_config": _IMAGES, "projection_dim": 16},
    "siglip": {"text_config": _BERT, "vision_config": _IMAGES},
    "whisper": _BART | {"max_source_positions": 32, "num_mel_bins": 8, "pad_token_id": 0, "eos_token_id": 2},
    "rwkv": _WORDS | {"num_hidden_layers": 2},
    "llava": {
        "text_config": {"model_type": "llama"} | _LLAMA,
        "vision_config": {"model_type": "clip_vision_model"} | _IMAGES,
    },
    "mamba": _WORDS | {"num_hidden_layers": 2, "state_size": 4},
    "mamba2": _WORDS | {"num_hidden_layers": 2, "state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1},
    "jamba": _LLAMA | {"num_experts": 4, "pad_token_id": None, "mamba_d_state": 4},
}
"""With tokens, and what is not attention or not alone."""

OTHERS: dict[str, dict[str, Any]] = {
    "vit": _IMAGES,
    "deit": _IMAGES,
    "dinov2": _IMAGES,
    "swin": {
        "image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4,
    },
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "videomae": _IMAGES | {"patch_size": 16, "num_frames": 4},
    "audio-spectrogram-transformer": _BLOCKS | {"max_length": 64, "num_mel_bins": 32},
    "wav2vec2": _BERT
    | {
        "conv_dim": [16, 16], "conv_stride": [5, 2], "conv_kernel": [10, 3], "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    },
}  # fmt: skip

GROUPED = frozenset({"mamba", "mamba2", "jamba", "wav2vec2"})
"""With grouped convolutions, of whose backward pass torch's counter is wrong."""
