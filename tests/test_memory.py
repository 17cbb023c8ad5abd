"""Saved bytes against what autograd really keeps."""

from __future__ import annotations

import pytest
import torch
from swatcost_models import ZOO
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import swatcost
from swatcost.network import Network

from .conftest import zoo_network


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """Bytes of the storages that autograd saves, each once, parameters and buffers left out."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(x)  # kept alive: what is saved must not be freed and its identity reused
    own = {tensor.untyped_storage()._cdata for tensor in [*module.parameters(), *module.buffers()]}
    total = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)
    del output
    return total


@pytest.mark.parametrize("batch", [2, 32])
def test_saved_activations_equal_autograd(zoo_name: str, batch: int) -> None:
    """As the CPU saves them: fake tensors choose kernels as real ones do, meta tensors have no fused attention."""
    if zoo_name == "mixtral_8x7b":
        pytest.skip("fake grouped products take bfloat16 only: test_language_zoo.py runs a small one")
    with FakeTensorMode():
        dtype = getattr(torch, ZOO[zoo_name].input_dtype or "float32")
        expected = saved_bytes(ZOO[zoo_name].build(), torch.empty(batch, *ZOO[zoo_name].input_shape, dtype=dtype))
    estimate = swatcost.estimate(zoo_network(zoo_name), batch_size=batch)
    assert estimate.memory.saved_activations.dense == expected


def test_meta_keeps_what_the_cpu_keeps() -> None:
    module = ZOO["cifar_resnet18"].build()
    estimate = swatcost.estimate(zoo_network("cifar_resnet18"), batch_size=3)
    assert estimate.memory.saved_activations.dense == saved_bytes(module, torch.randn(3, 3, 32, 32))


def test_resnet50_at_batch_32(resnet50: Network) -> None:
    """2,749,444,868 bytes with a cross-entropy loss, which keeps 32 · 1000 floats, 32 int64 labels and a weight."""
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8, batch_size=32)
    assert estimate.memory.saved_activations.dense == 2_749_444_868 - (32 * 1000 * 4 + 32 * 8 + 4)
    assert (estimate.memory.sparsified, estimate.memory.also_held) == (49, 47)


def test_parameters_and_gradients(resnet50: Network) -> None:
    memory = swatcost.estimate(resnet50, weights=0.8).memory
    for kept_whole in (memory.parameters, memory.gradients):
        assert kept_whole.dense == kept_whole.sparse == 4 * 25_557_032
    # four fifths of the 25,493,504 weights of all layers but the first are zero
    assert memory.backward_weights.dense == 4 * 25_502_912
    assert memory.backward_weights.sparse == pytest.approx(4 * (25_502_912 - 0.8 * 25_493_504))


def test_gradients_of_active_weights_only(resnet50: Network) -> None:
    gradients = swatcost.estimate(resnet50, weights=0.8, method="rigl").memory.gradients
    assert gradients.dense == 4 * 25_557_032
    assert gradients.sparse == pytest.approx(4 * (25_557_032 - 0.8 * 25_493_504))
    assert swatcost.estimate(resnet50, weights=0.8, method="snfs").memory.gradients.reduction == 0


def test_a_tensor_that_any_reader_needs_dense_stays_dense() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.left, self.right = (nn.Linear(8, 8) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.left(x) + self.right(x)

    network = swatcost.trace(Fork(), input_shape=(8,))
    both = swatcost.estimate(network, acts=0.5, batch_size=10).memory.saved_activations
    assert (both.dense, both.sparse) == (2 * 10 * 8 * 4, 1.5 * 10 * 8 * 4)  # the input, and what the fork reads
    one = swatcost.estimate(network, acts=0.5, batch_size=10, keep_dense=["right"]).memory.saved_activations
    assert one.sparse == one.dense


class OneModule(nn.Module):
    """Functional layers and activation functions of one module, told apart by what saves what."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(4, 3, 3, 3)), nn.Parameter(torch.zeros(4, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(torch.nn.functional.conv2d(x, self.a))
        return torch.nn.functional.conv2d(x, self.b)


def test_what_a_relu_of_the_same_module_holds_is_also_held() -> None:
    memory = swatcost.estimate(swatcost.trace(OneModule(), input_shape=(3, 8, 8)), acts=0.5).memory
    assert (memory.sparsified, memory.also_held) == (1, 1)
    bare = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    memory = swatcost.estimate(swatcost.trace(bare, input_shape=(3, 8, 8)), acts=0.5).memory
    assert (memory.sparsified, memory.also_held) == (1, 0)


def test_frozen_parameters_have_no_gradients() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    module[0].requires_grad_(False)
    memory = swatcost.estimate(swatcost.trace(module, input_shape=(8,))).memory
    assert memory.gradients.dense == 4 * (8 * 2 + 2)
