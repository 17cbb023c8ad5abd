"""A step whose saved tensors are on the host, against torch's tracker with hooks that take them away."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

import swatcost
from swatcost.cli import cli
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import training_memory

from .networks import NETWORKS, tokens

pytestmark = pytest.mark.filterwarnings("ignore")


def tracked_peak(module: nn.Module, inputs: tuple[Tensor, ...], own: set[int]) -> int:
    """MemTracker's peak of a forward and a backward pass, with saved activations replaced by their layouts."""

    def away(tensor: Tensor) -> Any:
        if tensor.untyped_storage()._cdata in own or not tensor.dim():
            return tensor
        return tensor.shape, tensor.stride(), tensor.dtype

    def back(saved: Any) -> Tensor:
        return saved if isinstance(saved, Tensor) else torch.empty_strided(saved[0], saved[1], dtype=saved[2])

    labels: Tensor
    output = module(*inputs)
    rows = output if output.dim() == 4 else output.flatten(0, -2)
    labels = torch.zeros((rows.shape[0], *rows.shape[2:]), dtype=torch.int64)
    del output, rows
    tracker = MemTracker()
    tracker.track_external(module, *inputs, labels)
    with tracker, torch.autograd.graph.saved_tensors_hooks(away, back):
        output = module(*inputs)
        loss = F.cross_entropy(output if output.dim() == 4 else output.flatten(0, -2), labels)
        del output
        loss.backward()
    (device,) = tracker.get_tracker_snapshot("peak").values()
    return int(device["Total"])


@pytest.mark.parametrize("name", ["resnet", "mlp", "vit", "gpt", "llama", "unet"])
def test_the_peak_with_saved_tensors_on_the_host_to_the_byte(name: str) -> None:
    with torch.device("meta"):
        module, inputs = NETWORKS[name]()
    network = swatcost.trace(module, inputs, offload=True, loss="cross-entropy", batch_size=3)
    with FakeTensorMode():
        fake, given = NETWORKS[name]()
        own = {each.untyped_storage()._cdata for each in (*fake.parameters(), *fake.buffers())}
        expected = tracked_peak(fake, given, own)
    assert training_memory(network, batch_size=3, optimizer="sgd").peak.bytes == expected
    assert network.conditions.offload


def test_what_is_offloaded_is_what_is_saved_otherwise() -> None:
    with torch.device("meta"):
        module, inputs = NETWORKS["gpt"]()
    with_it, without = (training_memory(swatcost.trace(module, inputs, offload=each)) for each in (True, False))
    assert with_it.saved_bytes == without.saved_bytes
    assert with_it.peak.bytes < without.peak.bytes


def test_a_network_that_needs_values_cannot_be_followed() -> None:
    with pytest.raises(SwatcostError, match="offload: GPT has to be run with values"):
        swatcost.trace(NETWORKS["gpt"]()[0], (tokens(),), offload=True)


def test_the_command_says_how_long_it_takes() -> None:
    done = CliRunner().invoke(cli, ["memory", "resnet18", "--offload", "--link", "16GB"])
    assert done.exit_code == 0
    assert "offloading to the host and back at 16.000 GB/s" in done.stdout
