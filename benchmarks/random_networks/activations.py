"""Products of activations, attention, and recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.random_networks.parts import Draw, Shape, does, part


@part(inputs=2, ranks=(3, 5))
def product_of_values(draw: Draw, x: Shape, y: Shape) -> nn.Module | None:
    if len(x) != len(y) or len(x) > 4:
        return None
    if x[-1] == y[-1]:
        return does(lambda self, x, y: x @ y.transpose(-1, -2))
    return does(lambda self, x, y: x @ y) if x[-1] == y[-2] else None


@part(ranks=(3, 4))
def product_with_itself(draw: Draw, x: Shape) -> nn.Module:
    forms: list[Callable[[Any, Tensor], Tensor]] = [
        lambda self, x: x @ x.transpose(-1, -2),
        lambda self, x: (x @ x.mT).softmax(-1) @ x,
        lambda self, x: torch.einsum("...td,...sd->...ts", x, x),
    ]
    return does(draw.choice(forms))


@part(ranks=(3, 3))
def attention(draw: Draw, x: Shape) -> nn.Module:
    heads, head = draw.integer(1, 3), draw.integer(1, 4)
    shared = draw.divisor(heads)
    causal, masked, tokens = draw.chance(0.3), draw.chance(0.3), x[1]
    wide = heads * head

    def function(self: Any, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).split([wide, shared * head, shared * head], -1)
        q, k, v = (each.unflatten(-1, (-1, head)).transpose(1, 2) for each in (q, k, v))
        mask = torch.zeros(tokens, tokens, device=x.device) if masked and not causal else None
        out = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=shared != heads)
        return self.out(out.transpose(1, 2).flatten(2))  # where a checkpoint stops early, written out or fused

    return does(function, qkv=nn.Linear(x[2], wide + 2 * shared * head), out=nn.Linear(wide, draw.width()))


@part(inputs=2, ranks=(3, 3))
def multihead_attention(draw: Draw, x: Shape, y: Shape) -> nn.Module | None:
    if len(y) != 3:
        return None
    layer = nn.MultiheadAttention(
        x[2], draw.divisor(x[2]), kdim=y[2], vdim=y[2], batch_first=True, bias=draw.chance(0.5),
        add_bias_kv=draw.chance(0.2), add_zero_attn=draw.chance(0.2),
    )  # fmt: skip
    weights = draw.chance(0.5)
    return does(lambda self, x, y: self.layer(x, y, y, need_weights=weights)[0], layer=layer)


@part(ranks=(3, 3))
def transformer(draw: Draw, x: Shape) -> nn.Module:
    chosen = {"dim_feedforward": draw.width(), "batch_first": True, "norm_first": draw.chance(0.5)}
    heads = draw.divisor(x[2])
    if draw.chance(0.5):
        return nn.TransformerEncoderLayer(x[2], heads, **chosen)
    return does(lambda self, x: self.layer(x, x), layer=nn.TransformerDecoderLayer(x[2], heads, **chosen))


# Recurrent layers


@part(ranks=(3, 3))
def recurrent(draw: Draw, x: Shape) -> nn.Module:
    kind = draw.choice([nn.RNN, nn.GRU, nn.LSTM])
    layers = draw.integer(1, 2)
    wide = draw.integer(2, 4)
    more = {"proj_size": draw.integer(1, wide - 1)} if kind is nn.LSTM and draw.chance(0.3) else {}
    layer = kind(x[2], wide, layers, bias=draw.chance(0.7), batch_first=True, bidirectional=draw.chance(0.3), **more)
    return does(lambda self, x: self.layer(x)[0], layer=layer)


@part(ranks=(2, 2))
def cell(draw: Draw, x: Shape) -> nn.Module:
    wide, steps = draw.width(), draw.integer(1, 3)
    kind = draw.choice([nn.RNNCell, nn.GRUCell, nn.LSTMCell])

    def function(self: Any, x: Tensor) -> Tensor:
        state = None
        for _ in range(steps):
            state = self.layer(x, state)
        assert state is not None
        return state if isinstance(state, Tensor) else state[0]

    return does(function, layer=kind(x[1], wide))
