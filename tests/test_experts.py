"""Mixtures of experts, whose rows are routed: counts by hand, by every way in which such layers are written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import swatcost
from swatcost.accelerator import mapping
from swatcost.counting.workload import workloads
from swatcost.distributions.er import er
from swatcost.distributions.erk import erk
from swatcost.methods.slope import is_pruned
from swatcost.network.layer import Layer
from swatcost.timing.shapes import Shape, shape_of

WIDTH, HIDDEN, EXPERTS, ACTIVE = 8, 16, 5, 2
UP, DOWN = HIDDEN * WIDTH, WIDTH * HIDDEN  # weights of an expert's two matrices
BATCH, POSITIONS = 3, 7
ROWS = BATCH * POSITIONS * ACTIVE  # 42, which 5 experts cannot share evenly


class Experts(nn.Module):
    """A router, and experts as parameters of three dimensions; each token is sent to `ACTIVE` of them."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(WIDTH, WIDTH, bias=False)
        self.router = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.up = nn.Parameter(torch.zeros(EXPERTS, HIDDEN, WIDTH))
        self.down = nn.Parameter(torch.zeros(EXPERTS, WIDTH, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        rows = self.inward(x).reshape(-1, WIDTH)
        shares, chosen = self.router(rows).softmax(-1).topk(ACTIVE)
        found = self.run_experts(rows, chosen) * shares.flatten()[:, None]
        return found.reshape(*x.shape[:-1], ACTIVE, WIDTH).sum(-2)

    def run_experts(self, rows: Tensor, chosen: Tensor) -> Tensor:
        raise NotImplementedError


class Grouped(Experts):
    """Rows are sorted by expert; a grouped product gets the ends of the groups, as in torchtitan and transformers."""

    def run_experts(self, rows: Tensor, chosen: Tensor) -> Tensor:
        places = chosen.flatten().argsort()
        ends = (chosen.flatten()[:, None] == torch.arange(EXPERTS, device=rows.device)).sum(0).cumsum(0).int()
        hidden = F.grouped_mm(rows[places // ACTIVE], self.up.transpose(-2, -1), offs=ends)
        found = F.grouped_mm(hidden.relu(), self.down.transpose(-2, -1), offs=ends)
        return torch.zeros_like(found).index_put((places,), found)


class InHalfPrecision(Experts):
    """As torchtitan casts its experts' weights."""

    def run_experts(self, rows: Tensor, chosen: Tensor) -> Tensor:
        places = chosen.flatten().argsort()
        ends = torch.arange(EXPERTS, dtype=torch.int32, device=rows.device)
        hidden = torch._grouped_mm(rows[places // ACTIVE].bfloat16(), self.up.bfloat16().transpose(-2, -1), offs=ends)
        return torch._grouped_mm(hidden, self.down.bfloat16().transpose(-2, -1), offs=ends).float()


class Gathered(Experts):
    """Each row is given a copy of its expert's matrix, as by transformers' `batched_mm`."""

    def run_experts(self, rows: Tensor, chosen: Tensor) -> Tensor:
        places = chosen.flatten()
        hidden = torch.bmm(self.up[places], rows.repeat_interleave(ACTIVE, 0)[..., None]).squeeze(-1)
        return torch.bmm(hidden.relu()[:, None], self.down[places].transpose(1, 2)).squeeze(1)


def traced(kind: type[Experts], device: str) -> swatcost.Network:
    with torch.device(device):
        return swatcost.trace(kind(), torch.zeros(BATCH, POSITIONS, WIDTH, device=device))


def experts_of(network: swatcost.Network) -> list[Layer]:
    return [each for each in network.weight_layers if each.weight in ("up", "down")]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("kind", [Grouped, InHalfPrecision, Gathered])
def test_every_row_meets_one_expert(kind: type[Experts], device: str) -> None:
    network = traced(kind, device)
    up, down = experts_of(network)
    assert (up.weight_shape, down.weight_shape) == ((EXPERTS * HIDDEN, WIDTH), (EXPERTS * WIDTH, HIDDEN))
    assert up.input_shape == (ROWS, WIDTH)
    assert up.output_shape == down.input_shape == (ROWS, HIDDEN)
    for each, weights in ((up, UP), (down, DOWN)):
        assert (each.kind, each.groups, each.routed) == ("linear", EXPERTS, True)
        assert each.weight_elements == EXPERTS * weights
        assert each.forward_macs == ROWS * weights
        assert each.training_macs == 3 * ROWS * weights
    assert not any(each.products for each in network.uncounted)
    dense = network.batch_size * POSITIONS * (WIDTH * WIDTH + WIDTH * EXPERTS)
    assert sum(each.forward_macs for each in network.layers) == dense + ROWS * (UP + DOWN)
    assert network.weight_elements == WIDTH * WIDTH + WIDTH * EXPERTS + EXPERTS * (UP + DOWN)


def test_a_trace_keeps_the_routing(tmp_path: Any) -> None:
    network = traced(Grouped, "meta")
    network.save(tmp_path / "experts.json")
    assert swatcost.load(str(tmp_path / "experts.json")) == network


def test_experts_train_as_sparse_as_any_matrix() -> None:
    network = traced(Grouped, "meta")
    dense = swatcost.estimate(network, method="dense", convention="exact")
    sparse = swatcost.estimate(network, weights=0.5, method="sr-ste", convention="exact", first_layer="sparse")
    per_sample = ROWS * (UP + DOWN) // BATCH
    others = POSITIONS * (WIDTH * WIDTH + WIDTH * EXPERTS)
    assert dense.to_dict()["totals"]["macs"]["forward"]["dense"] == per_sample + others
    # 2:4 along the 8 or 16 inputs of each expert, in the forward pass; the router's 8 inputs, too
    assert sparse.to_dict()["totals"]["macs"]["forward"]["sparse"] == (per_sample + others) / 2


def test_a_distribution_sees_each_expert() -> None:
    up, down = experts_of(traced(Grouped, "meta"))
    for each in (up, down):
        assert er(each) == erk(each) == (WIDTH + HIDDEN) / (WIDTH * HIDDEN)
        assert is_pruned(each, m=4)  # 16 : 8, where all experts together are 80 : 8


def test_shapes_and_loops_of_experts() -> None:
    network = traced(Grouped, "meta")
    up, _ = experts_of(network)
    step = 5 * BATCH  # samples, whose 210 rows are 42 per expert
    assert shape_of(up, network, step) == Shape("linear", 42, WIDTH, HIDDEN, groups=EXPERTS)
    found = swatcost.estimate(network, weights=0.5, batch_size=step)
    loops, left_out = workloads(network, found.plan, step, ("forward",), None)
    first = next(each for each in loops if each.layer == up.name and each.K == HIDDEN)
    assert (first.B, first.G, first.K, first.C) == (42, EXPERTS, HIDDEN, WIDTH)
    assert first.macs == 5 * up.forward_macs
    assert left_out == []
    _, uneven = workloads(network, found.plan, BATCH, ("forward",), None)
    assert uneven == [up.name] * 2  # 42 rows for 5 experts


def test_only_rows_of_linear_layers_are_routed() -> None:
    up, _ = experts_of(traced(Grouped, "meta"))
    with pytest.raises(ValueError, match="does not map"):
        replace(up, output_shape=(ROWS, EXPERTS * HIDDEN))
    with pytest.raises(ValueError, match="only the rows of a linear layer are routed, not those of a product layer"):
        replace(up, kind="product")


def test_the_assumptions_say_that_rows_are_routed() -> None:
    found = swatcost.estimate(traced(Grouped, "meta"), weights=0.5)
    said = [each for each in found.to_dict()["assumptions"] if each.startswith("Rows are routed among experts: ")]
    assert len(said) == 1
    assert "equal shares" in said[0]


def test_an_accelerator_has_each_experts_filters() -> None:
    up, _ = experts_of(traced(Grouped, "meta"))
    rows = up.images_of_group / BATCH  # 2.8 per sample and expert
    for filters in (mapping.forward_filters(up, rows, 16), mapping.grad_input_filters(up, rows, 16)):
        assert (filters.groups, filters.macs) == (EXPERTS, pytest.approx(up.forward_macs / BATCH))
    found = mapping.grad_weight_filters(up, rows, 16, 5 * BATCH, "activation")
    assert found.macs == pytest.approx(up.forward_macs / BATCH)
    mask = np.ones(up.weight_shape, dtype=bool)
    assert mapping.grouped(up, mask).shape == (EXPERTS, HIDDEN, WIDTH, 1, 1)
