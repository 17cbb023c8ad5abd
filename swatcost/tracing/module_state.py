"""Saves and restores a module's state and the global settings of torch and Python."""

import contextlib
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

# A trace swaps the tensors of the module it runs; two traces at once would swap each other's.
_ONE_AT_A_TIME = threading.RLock()


class Snapshot:
    """A module's attributes and the contents of its containers; with `values`, also its buffers' values."""

    def __init__(self, module: nn.Module, *, values: bool = False) -> None:
        self.module = module
        self.attributes = dict(module.__dict__)
        kinds = (dict, OrderedDict, list, set)
        self.contents = {key: value.copy() for key, value in self.attributes.items() if type(value) in kinds}
        self.values = [(buffer, buffer.clone()) for buffer in module.buffers(recurse=False)] if values else []

    def restore(self) -> None:
        """Restores attributes, containers and values; the containers stay the same objects."""
        self.module.__dict__.clear()
        self.module.__dict__.update(self.attributes)
        for key, content in self.contents.items():
            container: Any = self.attributes[key]
            container.clear()
            (container.extend if isinstance(container, list) else container.update)(content)
        with torch.no_grad():
            for buffer, value in self.values:
                buffer.copy_(value)


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Puts the model in training mode unless it already is, and restores everything afterwards.

    Flags are set directly: a module's own `train` may do more than set a flag.
    """
    with _ONE_AT_A_TIME, process_state():
        parts = [part for part in model.modules() if not isinstance(part, torch.jit.ScriptModule)]
        snapshots = [Snapshot(part) for part in parts]
        gradients = [(each, each.grad) for each in model.parameters()]
        try:
            for each, _ in gradients:  # a forward pass that holds parameters elsewhere must not add to these
                each.grad = None
            if not getattr(model, "training", True):  # a frozen ScriptModule has no flag
                for part in parts:
                    part.training = True
            yield
        finally:
            for snapshot in snapshots:
                snapshot.restore()
            for each, gradient in gradients:
                each.grad = gradient


@contextlib.contextmanager
def process_state() -> Iterator[None]:
    """Restores global settings, which a factory or a forward pass may change."""
    backends, depth = torch.backends, sys.getrecursionlimit()
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    dtype, threads, autocast = torch.get_default_dtype(), torch.get_num_threads(), torch.is_autocast_enabled("cpu")
    precision, anomaly = torch.get_float32_matmul_precision(), torch.is_anomaly_enabled()
    cudnn = backends.cudnn.enabled, backends.cudnn.benchmark, backends.cudnn.deterministic
    mkldnn = torch._C._get_mkldnn_enabled()
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # restores it on leaving
            yield
    finally:
        sys.setrecursionlimit(depth)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        torch.set_autocast_enabled("cpu", autocast)
        torch.autograd.set_detect_anomaly(anomaly)
        torch._C._set_mkldnn_enabled(mkldnn)
        backends.cudnn.enabled, backends.cudnn.benchmark, backends.cudnn.deterministic = cudnn
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.get_float32_matmul_precision() != precision:
            torch.set_float32_matmul_precision(precision)


def stand_in(tensor: Tensor, meta: bool) -> Tensor:
    """A tensor that can be written to in place of the user's: a copy, or an empty one on the meta device if `meta`."""
    copy = torch.empty_like(tensor, device="meta") if meta else tensor.detach().clone()
    return copy.requires_grad_(tensor.requires_grad)
