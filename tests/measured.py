"""What torch itself measures of a training step: the peak of its memory, what autograd saves, what is multiplied."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable
from functools import reduce
from operator import add
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from swatcost.network.conditions import AUTOCASTS
from swatcost.reference.saved_bytes import saved_bytes
from swatcost.tracing.autograd_graph import differentiable

Made = tuple[nn.Module, tuple[Tensor, ...]]


def casting(autocast: str) -> contextlib.AbstractContextManager[Any]:
    """torch.autocast on a CPU; nothing without a name."""
    return torch.autocast("cpu", dtype=getattr(torch, AUTOCASTS[autocast][0])) if autocast else contextlib.nullcontext()


def target(output: Tensor, loss: str) -> Tensor:
    if loss == "mse":
        return torch.zeros_like(output)
    shape = (output.shape[0], *output.shape[2:]) if output.dim() > 3 else output.shape[:-1]
    return torch.zeros(shape, dtype=torch.int64).flatten(0, 0 if output.dim() > 3 else -1)


def lost(output: Tensor, target: Tensor, loss: str) -> Tensor:
    """The mean squared error, or the cross-entropy over the last dimension, of images over the second."""
    if loss == "mse":
        return F.mse_loss(output, target)
    return F.cross_entropy(output if output.dim() > 3 else output.flatten(0, -2), target)


class Alive(TorchDispatchMode):
    """Counts the bytes of all storages that are alive, each once, and notes the most."""

    def __init__(self, before: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._watched: dict[int, weakref.ref[object]] = {}
        for each in before:
            self._see(each)

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if place in self._watched:
            return

        def freed(_: object) -> None:
            del self._watched[place]
            self.now -= size

        self._watched[place] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._see(each)
        return result


def alive_peak(made: Callable[[], Made], optimizer: str, loss: str = "mse", autocast: str = "") -> int:
    """The most bytes of storages alive in a step that is run for real, as `tracked_peak` has it."""
    module, inputs = made()
    updates, targets = _begun(module, inputs, optimizer, loss, autocast)
    state = [each for kept in updates.state.values() for each in kept.values() if isinstance(each, Tensor)]
    with Alive([*module.parameters(), *module.buffers(), *state, *inputs, *targets]) as alive:
        _run(module, inputs, updates, targets, loss, autocast)
    return alive.peak - 4 * sum(each.dim() == 0 for each in state)


def tracked_peak(made: Callable[[], Made], optimizer: str, loss: str = "mse", autocast: str = "") -> int:
    """MemTracker's peak of a step with a loss over all outputs; the optimizer has its state already.

    Targets are held until the step is over, outputs are not. Not included: the 4-byte step counter that Adam keeps for
    every parameter. Nothing is computed, and some results are not as large as real ones: the squared error's, and under
    autocast the statistics of norms.
    """
    with FakeTensorMode():
        module, inputs = made()
        module = frozen_as_buffers(module)
        updates, targets = _begun(module, inputs, optimizer, loss, autocast)
        tracker = MemTracker()
        tracker.track_external(module, updates, *inputs, *targets)
        with tracker:
            _run(module, inputs, updates, targets, loss, autocast)
        (device,) = tracker.get_tracker_snapshot("peak").values()
        return int(device["Total"]) - (4 * len(list(module.parameters())) if optimizer == "adam" else 0)


def _begun(
    module: nn.Module, inputs: tuple[Tensor, ...], optimizer: str, loss: str, autocast: str
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """The optimizer after a first step, which makes its state, and a target for each output."""
    with casting(autocast):
        targets = [target(each, loss) for each in differentiable(module(*inputs))]
    parameters = [each for each in module.parameters() if each.requires_grad]
    updates: torch.optim.Optimizer = torch.optim.Adam(parameters)
    if optimizer != "adam":
        updates = torch.optim.SGD(parameters, lr=0.1, momentum=0.9 if optimizer == "momentum" else 0.0)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    updates.step()
    updates.zero_grad()
    return updates, targets


def _run(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    updates: torch.optim.Optimizer,
    targets: list[Tensor],
    loss: str,
    autocast: str,
) -> None:
    with casting(autocast):
        outputs = module(*inputs)
        losses = [lost(*pair, loss) for pair in zip(differentiable(outputs), targets, strict=True)]
        total = reduce(add, losses)
        del losses, outputs
    total.backward()
    updates.step()


def frozen_as_buffers(module: nn.Module) -> nn.Module:
    """The tracker fails on parameters that do not train."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if not parameter.requires_grad:
                del part._parameters[name]
                part.register_buffer(name, parameter.data)
    return module


def measured_saved(made: Callable[[], Made], loss: str, autocast: str = "") -> int:
    """Bytes that autograd saves, with the loss over all outputs."""
    module, inputs = made()

    def forward() -> Tensor:
        with casting(autocast):
            outputs = differentiable(module(*inputs))
            return reduce(add, (lost(each, target(each, loss), loss) for each in outputs))

    return saved_bytes(module, forward)


def measured_macs(made: Callable[[], Made], loss: str, autocast: str = "") -> tuple[float, float]:
    """MACs by torch's counter, forward and backward; attention as products and a softmax, which it counts."""
    module, inputs = made()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        with casting(autocast):
            outputs = differentiable(module(*inputs))
            total = reduce(add, (lost(each, target(each, loss), loss) for each in outputs))
        forward = counter.get_total_flops()
        total.backward()
    return forward / 2, (counter.get_total_flops() - forward) / 2
