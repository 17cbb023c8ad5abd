"""Networks of transformers from their configs, against torch's counter and autograd on real values.

What they are compared with runs on the CPU with transformers' plain code: attention and experts written out
(`eager`), no stand-ins for values, the experts that random routers choose.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from swatcost.memory.dense_step import training_memory
from swatcost.network import Network
from swatcost.reference.saved_bytes import saved_bytes
from swatcost.tracing.arguments import tensors_in
from swatcost.tracing.hugging_face import trace_config
from swatcost.tracing.hugging_face_config import configured

from .families import EXPERTS, GROUPED, LANGUAGE, OTHERS, SEQUENCES, TOKENS

transformers = pytest.importorskip("transformers")

WITH_TOKENS = LANGUAGE | EXPERTS | SEQUENCES
ALL = WITH_TOKENS | OTHERS
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}
HALF = {"dtype": "bfloat16"}  # which is traced once, not also under autocast
SOUND = 400  # samples of it


@cache
def traced(family: str, **settings: str) -> Network:
    """The trace without a loss, with 16 tokens where the network takes some."""
    given: dict[str, Any] = {"seq_len": TOKENS} if family in WITH_TOKENS else {}
    if family == "wav2vec2":
        given = {"input_shape": (SOUND,)}
    config = {"model_type": family, **ALL[family]}
    return trace_config(family, config=config, settings=settings, loss="none", **given)


def real(network: Network, **settings: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """The same network on the CPU, and random inputs of the shapes that it was traced with."""
    named = configured(transformers, network.name, {"model_type": network.name, **ALL[network.name]}, settings, None)
    torch.manual_seed(0)
    module: nn.Module = named.kind._from_config(named.config).train()
    main: Any = module.main_input_name
    names = [main, "decoder_input_ids" if named.config.is_encoder_decoder else "pixel_values"]
    dtype = next(module.parameters()).dtype
    given = {
        name: torch.randint(3, 90, shape) if "input_ids" in name else torch.randn(shape).to(dtype)
        for name, shape in zip(names, network.input_shapes, strict=False)
    }
    assert given.keys() <= inspect.signature(module.forward).parameters.keys()
    return module, given


@cache
def counted(family: str) -> tuple[int, int]:
    """MACs of the traced batch, forward and in training, by torch's counter of FLOPs."""
    module, given = real(traced(family, **HALF), **EAGER)
    with FlopCounterMode(display=False) as counter:
        output = module(**given)
        forward = counter.get_total_flops()
        scored = [output["logits"]] if isinstance(output.get("logits"), Tensor) else tensors_in(output)
        torch.stack([each.sum() for each in scored if each.requires_grad]).sum().backward()
    return forward // 2, counter.get_total_flops() // 2


@pytest.mark.parametrize("family", ALL)
def test_forward_macs(family: str) -> None:
    assert sum(layer.forward_macs for layer in traced(family, **HALF).layers) == counted(family)[0]


@pytest.mark.parametrize("family", [each for each in ALL if each not in GROUPED])
def test_training_macs(family: str) -> None:
    assert sum(layer.training_macs for layer in traced(family, **HALF).layers) == counted(family)[1]


@pytest.mark.parametrize("family", sorted(GROUPED))
def test_training_is_three_forward_passes_where_every_layers_input_has_a_gradient(family: str) -> None:
    layers = traced(family, **HALF).layers
    assert sum(layer.training_macs for layer in layers) == 3 * sum(layer.forward_macs for layer in layers)


@pytest.mark.parametrize("family", ALL)
def test_saved_bytes(family: str) -> None:
    """With attention written out and in single precision: a CPU's fused attention and norms in bfloat16 save other
    tensors than a GPU's, which the meta device has.
    """
    network = traced(family, attn_implementation="eager")
    module, given = real(network, attn_implementation="eager")
    found = training_memory(network, batch_size=network.batch_size).saved_bytes
    assert found == saved_bytes(module, lambda: module(**given))
