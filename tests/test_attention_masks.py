"""Attention masks that a network makes of positions: their values are known on every device."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import swatcost
from swatcost.network.attention import Attention
from swatcost.tracing.attention_masks import mask_of
from swatcost.tracing.operands import Mask

S, HEADS, FEATURES = 6, 2, 8  # positions, heads and features of each


def causal(q: Tensor, k: Tensor) -> Tensor:
    return k <= q


def window_of_two(q: Tensor, k: Tensor) -> Tensor:
    """Each query reads itself and the key before it."""
    return (k <= q) & (q - k < 2)


def around(q: Tensor, k: Tensor) -> Tensor:
    return (q - k).abs() <= 1


def packed(q: Tensor, k: Tensor) -> Tensor:
    """Two sequences of three positions, each causal."""
    return (k <= q) & (k // 3 == q // 3)


# What a mask leaves of 36 pairs, added up by row; pairs in its window; whether no query reads a key behind it.
MASKS: dict[Callable[[Tensor, Tensor], Tensor], tuple[int, int, bool]] = {
    causal: (1 + 2 + 3 + 4 + 5 + 6, 36, True),
    window_of_two: (1 + 5 * 2, 6 * 2, True),
    around: (2 + 4 * 3 + 2, 6 * 3, False),
    packed: (2 * (1 + 2 + 3), 36, True),
}


class Masked(nn.Module):
    """Attention whose mask is made in the forward pass, of truth values or of numbers that are added to the scores."""

    def __init__(self, mask: Callable[[Tensor, Tensor], Tensor], *, added: bool, values: int) -> None:
        super().__init__()
        self.mask, self.added = mask, added
        self.q, self.v = nn.Linear(4, HEADS * FEATURES), nn.Linear(4, HEADS * values)

    def forward(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1], device=x.device)
        mask = self.mask(positions[:, None], positions[None, :]).expand(len(x), 1, -1, -1)
        if self.added:
            mask = torch.zeros_like(mask, dtype=x.dtype).masked_fill(~mask, torch.finfo(x.dtype).min)
        q, v = (each(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in (self.q, self.v))
        return F.scaled_dot_product_attention(q, q, v, attn_mask=mask)


def told(module: nn.Module, device: str, batch: int = 3) -> list[Attention]:
    network = swatcost.trace(module.to(device), torch.zeros(batch, S, 4, device=device), under_amp=False)
    assert not any(each.products for each in network.uncounted)
    return [each.attention for each in network.layers if each.attention is not None]


@pytest.mark.parametrize("added", [False, True], ids=["truth", "added"])
@pytest.mark.parametrize("mask", MASKS, ids=lambda each: each.__name__)
@pytest.mark.parametrize(("device", "values"), [("cpu", FEATURES), ("meta", FEATURES), ("meta", 4)])
def test_masks_of_positions_by_hand(
    mask: Callable[[Tensor, Tensor], Tensor], device: str, values: int, added: bool
) -> None:
    """Latent attention has values of other features than keys."""
    scores, products = told(Masked(mask, added=added, values=values), device)
    needed, in_window, is_causal = MASKS[mask]
    times = 3 * HEADS
    assert (scores.pairs, scores.in_window, scores.needed) == (36 * times, in_window * times, needed * times)
    assert (scores.causal, scores.computes_scores, products.computes_scores) == (is_causal, True, False)
    assert products.needed == scores.needed


def test_what_a_mask_leaves() -> None:
    whole = mask_of(torch.ones(5, 5, dtype=torch.bool))
    assert whole == Mask(Fraction(1), left=4, right=4, causal=False, is_band=True)
    rows = torch.arange(5)
    last = mask_of(torch.arange(9) <= rows[:, None] + 4)  # 5 queries behind a cache of 4 keys: 5 + 6 + 7 + 8 + 9
    assert last == Mask(Fraction(35, 45), left=4, right=4, causal=False, is_band=True)
    assert mask_of(torch.zeros(5, 5, dtype=torch.bool)) is None
    assert mask_of(torch.full((2, 1, 3, 3), -torch.inf).triu(1)) == Mask(Fraction(6, 9), 2, 0, True, is_band=True)


def test_a_mask_that_depends_on_the_input_is_unknown() -> None:
    class Padded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mask = (x.sum(-1) == 0)[:, None, None, :].expand(-1, 1, S, -1)
            heads = x[:, None].expand(-1, 2, -1, -1)
            return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=mask)

    for device in ("cpu", "meta"):
        assert [each.causal for each in told(Padded(), device)] == [None, None]


def test_a_mask_that_is_written_into_is_unknown() -> None:
    class Written(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mask = torch.ones(S, S, dtype=torch.bool, device=x.device)
            mask[0] = x[0, 0, 0] > 0
            heads = x[:, None].expand(-1, 2, -1, -1)
            return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=mask)

    assert [each.causal for each in told(Written(), "meta")] == [None, None]


def test_numbers_in_constants_are_read_on_the_meta_device() -> None:
    """As where a network looks whether its positions are those of one sequence."""

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            steps = torch.arange(x.shape[1], device=x.device).diff()
            return self.linear(x) if bool((steps == 1).all()) else x

    for device in ("cpu", "meta"):
        network = swatcost.trace(Reads().to(device), torch.zeros(3, S, 4, device=device))
        assert [each.kind for each in network.layers] == ["linear"]
        assert network.variation is None  # the same in every run
    with pytest.raises(swatcost.SwatcostError, match="the meta device holds no values"):
        swatcost.trace(Item(), torch.zeros(3, 4, device="meta"))


class Item(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


def test_a_mask_of_many_samples_is_computed_once_and_small() -> None:
    """Kernels take a mask of numbers for each sample: 500 · 600² are more than are worth computing, 600² are not."""

    class Wide(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            places = torch.arange(x.shape[1], device=x.device)
            mask = (places <= places[:, None]).expand(len(x), 1, -1, -1)
            heads = x[:, None].expand(-1, 2, -1, -1)
            return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=mask)

    network = swatcost.trace(Wide(), torch.zeros(500, 600, 4, device="meta"), under_amp=False)
    scores = network.layers[0].attention
    assert scores is not None
    assert (scores.causal, scores.needed) == (True, 500 * 2 * 600 * 601 // 2)
