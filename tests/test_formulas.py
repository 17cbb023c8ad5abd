"""Formulas that a user gives for operations that are not counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import swatcost
from swatcost.network import formulas

from .test_coverage import kinds, macs


@pytest.fixture
def library() -> Iterator[str]:
    """An operation of a library of its own: two products of the same tensors."""

    @torch.library.custom_op("swatcost_test::both_ways", mutates_args=())
    def both_ways(a: Tensor, b: Tensor, times: int) -> Tensor:
        return times * (a @ b) @ (a @ b).t()

    @both_ways.register_fake
    def _(a: Tensor, b: Tensor, times: int) -> Tensor:
        return a.new_empty(a.shape[0], a.shape[0])

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return grad, grad, None

    both_ways.register_autograd(backward)
    yield "swatcost_test.both_ways"
    formulas.forget("swatcost_test.both_ways")


class Foreign(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.w = nn.Linear(4, 5), nn.Parameter(torch.zeros(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.swatcost_test.both_ways(self.linear(x), self.w, 1)  # type: ignore[no-any-return]


def test_an_unknown_operation_is_listed_until_it_has_a_formula(library: str) -> None:
    module, x = nn.Sequential(Foreign()), torch.zeros(2, 4)
    listed = swatcost.trace(module, x).uncounted
    assert (listed[0].operation, listed[0].products, listed[0].places) == (library, True, ("0",))
    assert [each.operation.partition(" ")[0] for each in listed[1:]] == ["backward"]

    @swatcost.formula(library)
    def both_ways(a: tuple[int, ...], b: tuple[int, ...], times: int, *, out_shape: tuple[int, ...]) -> list[int]:
        assert (times, out_shape) == (1, (2, 2))
        once = a[0] * a[1] * b[1] + a[0] * b[1] * a[0]
        return [once, 2 * once, 3 * once]

    network = swatcost.trace(module, x)
    assert not network.uncounted
    assert kinds(network) == [("linear", "0.linear"), ("custom", "0")]
    once = 2 * 5 * 6 + 2 * 6 * 2
    assert macs(network) == 2 * 4 * 5 + once
    assert macs(network, "grad_input") == 5 * once
    with pytest.raises(ValueError, match="already has a formula"):
        swatcost.formula(library)(both_ways)


@pytest.mark.parametrize(("gives", "forward", "backward"), [(7, 7, 14), ([7], 7, 0), ((7, 1), 7, 1), ([7, 0, 5], 7, 5)])
def test_what_a_formula_may_give(library: str, gives: Any, forward: int, backward: int) -> None:
    swatcost.formula(library)(lambda *args, out_shape: gives)
    network = swatcost.trace(Foreign(), torch.zeros(2, 4))
    assert (macs(network) - 2 * 4 * 5, macs(network, "grad_input")) == (forward, backward)


@pytest.mark.parametrize("gives", [None, -1, 2.5, [1, 2, 3, 4], "7"])
def test_a_formula_that_gives_something_else_is_named(library: str, gives: Any) -> None:
    swatcost.formula(library)(lambda *args, out_shape: gives)
    with pytest.raises(swatcost.SwatcostError, match=f"the formula for {library} failed"):
        swatcost.trace(Foreign(), torch.zeros(2, 4))


def test_what_is_counted_takes_no_other_formula() -> None:
    swatcost.formula("mm")(lambda *args, out_shape: 1)
    try:
        with pytest.raises(swatcost.SwatcostError, match="mm is already counted"):
            swatcost.trace(nn.Linear(3, 4, bias=False), torch.zeros(2, 3))
    finally:
        formulas.forget("mm")
