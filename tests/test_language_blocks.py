"""Parts of language models by hand: gated MLPs, tied embeddings, rotary positions, norms, shared keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import swatcost

VOCABULARY, WIDTH, HIDDEN, POSITIONS = 10, 8, 12, 6
X, H = POSITIONS * WIDTH, POSITIONS * HIDDEN  # elements of a sample's tensors
FP32, BATCH = 4, 7


class Written(nn.Module):
    """RMSNorm of single operations, as in transformers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Gated(nn.Module):
    """Tokens, a norm, a gated MLP, and an output layer whose weight is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.norm = nn.Embedding(VOCABULARY, WIDTH), Written(WIDTH)
        self.gate, self.up = nn.Linear(WIDTH, HIDDEN, bias=False), nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down, self.head = nn.Linear(HIDDEN, WIDTH, bias=False), nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        y = self.norm(x)
        return self.head(x + self.down(F.silu(self.gate(y)) * self.up(y)))


def traced(build: Callable[[], nn.Module], **how: object) -> swatcost.Network:
    with torch.device("meta"):
        module = build()
    return swatcost.trace(module, loss="none", under_amp=False, **how)  # type: ignore[arg-type]


def moved(network: swatcost.Network, in_pass: str) -> Counter[tuple[str, int, int]]:
    """Calls by operation, bytes whatever the batch, and bytes per sample."""
    found: Counter[tuple[str, int, int]] = Counter()
    for each in network.movements:
        if each.in_pass == in_pass:
            found[each.operation, each.fixed_bytes, each.batch_bytes // network.batch_size] += each.calls
    return found


def test_a_tied_weight_is_one_parameter_and_one_weight() -> None:
    network = traced(Gated, input_shape=(POSITIONS,), input_dtype="int64")
    weights = 3 * WIDTH * HIDDEN + VOCABULARY * WIDTH
    assert network.parameter_elements == weights + WIDTH  # the embedding once, the norm
    assert network.weight_elements == weights
    assert network.output_layer is not None
    assert network.output_layer.weight == "tokens.weight"
    totals = swatcost.estimate(network, method="dense", convention="exact").to_dict()
    assert totals["totals"]["macs"]["forward"]["dense"] == POSITIONS * weights
    assert totals["memory"]["parameters"]["dense"] == totals["memory"]["gradients"]["dense"] == FP32 * (weights + WIDTH)


def test_bytes_of_a_norm_and_a_gate() -> None:
    forward = moved(traced(Gated, input_shape=(POSITIONS,), input_dtype="int64"), "forward")
    rows = POSITIONS
    assert forward == Counter(
        {
            ("embedding", 0, 8 * POSITIONS + 2 * FP32 * X): 1,  # indices, rows read and written
            ("pow", 0, 2 * FP32 * X): 1,
            ("mean", 0, FP32 * (X + rows)): 1,
            ("add", 0, 2 * FP32 * rows): 1,
            ("rsqrt", 0, 2 * FP32 * rows): 1,
            ("mul", 0, FP32 * (2 * X + rows)): 1,
            ("mul", FP32 * WIDTH, 2 * FP32 * X): 1,  # by the norm's weight
            ("silu", 0, 2 * FP32 * H): 1,
            ("mul", 0, 3 * FP32 * H): 1,  # gate by up
            ("add", 0, 3 * FP32 * X): 1,  # the residual
        }
    )


def test_bytes_of_rotary_positions() -> None:
    """Half of the features are swapped and negated; sines and cosines do not grow with the batch."""

    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q = nn.Linear(WIDTH, WIDTH, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            q = self.q(x)
            angles = torch.arange(POSITIONS, device=x.device)[:, None] / torch.arange(1, WIDTH + 1, device=x.device)
            first, second = q.chunk(2, -1)
            return q * angles.cos() + torch.cat((-second, first), -1) * angles.sin()

    network = traced(Rotary, example_inputs=torch.zeros(BATCH, POSITIONS, WIDTH, device="meta"))
    forward = moved(network, "forward")
    table = FP32 * POSITIONS * WIDTH
    assert forward["neg", 0, FP32 * X] == 1  # half is read and written
    assert forward["cat", 0, 2 * FP32 * X] == 1
    assert forward["mul", table, 2 * FP32 * X] == 2
    assert forward["add", 0, 3 * FP32 * X] == 1
    assert forward["cos", 2 * table, 0] == forward["sin", 2 * table, 0] == 1


@pytest.mark.parametrize("norm", [nn.RMSNorm, Written])
def test_both_norms_move_the_same(norm: type[nn.Module]) -> None:
    """torch's has kernels of its own on some devices alone; on the others it is the same operations."""
    forward = moved(
        traced(
            lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), norm(WIDTH)),
            example_inputs=torch.zeros(BATCH, POSITIONS, WIDTH, device="meta"),
        ),
        "forward",
    )
    assert sum(calls * per_sample for (_, _, per_sample), calls in forward.items()) == FP32 * (
        2 * X + (X + POSITIONS) + 2 * 2 * POSITIONS + (2 * X + POSITIONS) + 2 * X
    )


def test_grouped_queries_read_their_keys_once() -> None:
    """4 query heads share 2 of keys: all pairs count for each query head, and a kernel reads no repeated keys."""

    class Shared(nn.Module):
        def __init__(self, repeats: bool) -> None:
            super().__init__()
            self.repeats = repeats
            self.q, self.k = nn.Linear(WIDTH, 4 * 8, bias=False), nn.Linear(WIDTH, 2 * 8, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            q, k = (each(x).unflatten(-1, (-1, 8)).transpose(1, 2) for each in (self.q, self.k))
            if self.repeats:
                k = k[:, :, None].expand(-1, -1, 2, -1, -1).reshape(q.shape)
            return F.scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=not self.repeats)

    for repeats in (False, True):
        network = traced(partial(Shared, repeats), example_inputs=torch.zeros(BATCH, POSITIONS, WIDTH, device="meta"))
        scores, values = (each for each in network.layers if each.kind == "product")
        for each in (scores, values):
            assert each.forward_macs == BATCH * 4 * POSITIONS * POSITIONS * 8
            assert each.attention is not None
            assert each.attention.needed == BATCH * 4 * 21
            assert each.attention.key_copies == (2 if repeats else 1)
        assert scores.weight_shape == (BATCH, 4 if repeats else 2, 8, POSITIONS)
        copied = moved(network, "forward")["clone", 0, FP32 * (2 + 4) * POSITIONS * 8]
        assert copied == repeats  # 2 heads read, 4 written
