"""A network's own code between sparse layers: it sees the usual order of its tensors, or an error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

pytest.importorskip("numba")

from swatcost.reference.usual_order import UsualOrder

from .cases import Applied
from .test_kernel_steps import compare, converted, convolutions, recomputed

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(x: Tensor) -> Tensor:
    """Through functions that draw numbers in the order of memory, out of place and in place."""
    x = functional.alpha_dropout(functional.dropout(x, 0.3), 0.3, True)
    x = functional.rrelu(x * torch.rand_like(x), 0.1, 0.9, True)
    return functional.dropout(x + 0.1 * torch.randn_like(x), 0.2, True, True)


NETWORKS: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "torch's view": lambda: (Applied(lambda self, x: self.b(self.a(x).view(len(x), -1)),
                                     {"a": nn.Conv2d(4, 6, 3), "b": nn.Linear(294, 3)}), (4, 9, 9)),
    "draws": lambda: (Applied(lambda self, x: self.b(drawn(self.a(x))), {"a": nn.Conv2d(4, 6, 3),
                                                                         "b": nn.Conv2d(6, 3, 2)}), (4, 9, 9)),
    "draws of rows": lambda: (Applied(lambda self, x: self.b(drawn(self.a(x))), {"a": nn.Linear(4, 6),
                                                                                 "b": nn.Linear(6, 3)}), (5, 4)),
    "dropout between linear layers": lambda: (nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 8),
                                                            nn.Dropout(0.3, inplace=True), nn.Linear(8, 3)), (4,)),
    "rows viewed as images": lambda: (
        Applied(lambda self, x: self.b(drawn(functional.relu(self.a(x).view(len(x), 8, 2, 2), inplace=True))),
                {"a": nn.Linear(4, 32), "b": nn.Conv2d(8, 3, 2)}), (4,)),
    "dropout in a checkpointed function": lambda: (
        Applied(lambda self, x: checkpoint(lambda x: self.b(self.c(x)), self.a(x), use_reentrant=False),
                {"a": nn.Conv2d(4, 6, 3), "b": nn.Dropout(0.3), "c": nn.Conv2d(6, 6, 3)}), (4, 9, 9)),
    "a checkpointed dropout": lambda: (recomputed(convolutions(nn.Dropout(0.3)), False), (4, 9, 9)),
}  # fmt: skip


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("samples", [16, 5])
def test_networks_that_view_and_draw(build: Callable[[], tuple[nn.Module, tuple[int, ...]]], samples: int) -> None:
    torch.manual_seed(0)
    module, shape = build()
    compare(module, torch.randn(samples, *shape), steps=2)


CHANGES: dict[str, Callable[[Tensor], object]] = {
    "in place": lambda x: x.view(len(x), -1).mul_(2),
    "of a part": lambda x: x.view(-1)[3:].zero_(),
    "of a transposed view": lambda x: x.view(len(x), -1).t().mul_(2),
    "by index": lambda x: x.view(-1).__setitem__(3, 1.0),
    "by a function": lambda x: functional.relu(x.view(-1), inplace=True),
    "as a result": lambda x: (lambda y: torch.mul(y, 2, out=y))(x.detach().view(-1)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_of_what_view_copied_are_refused(change: Callable[[Tensor], object]) -> None:
    module = Applied(lambda self, x: change(self.a(x)), {"a": nn.Conv2d(4, 8, 3)})
    done, refused = converted(module, torch.randn(16, 4, 9, 9), "sparse"), "is a copy, which cannot be changed in place"
    with done, pytest.raises(RuntimeError, match=refused):
        module(torch.randn(16, 4, 9, 9))


def test_an_interrupted_pass_leaves_nothing_behind() -> None:
    order = UsualOrder()
    order.enter(nn.Identity(), ())
    assert torch.randn(4, 16).t().view(-1).shape == (64,)
    order.close()
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        torch.randn(4, 16).t().view(-1)
