"""Runs TorchScript as it is written.

From its second run on, TorchScript replaces differentiable parts of a graph by nodes of its own, whose gradients cannot
be read off autograd's graph, and fuses operations, which then are not seen.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_CALLABLES: tuple[Any, ...] = (torch._C.ScriptMethod, torch._C.ScriptFunction)


@contextlib.contextmanager
def scripts_as_written() -> Iterator[None]:
    """Runs scripted methods and functions of this thread unoptimised.

    What earlier runs optimised is dropped: TorchScript will optimise again when it is run again.
    """
    thread = threading.get_ident()
    originals = [kind.__call__ for kind in _CALLABLES]
    running: list[Any] = []

    def unoptimised(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(script: Any, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return call(script, *args, **kwargs)
            if not running:  # a graph must not be dropped while it runs
                script._debug_flush_compilation_cache()
            running.append(script)
            try:
                return call(script, *args, **kwargs)
            finally:
                running.pop()

        return run

    for kind, call in zip(_CALLABLES, originals, strict=True):
        kind.__call__ = unoptimised(call)
    optimises = torch._C._get_graph_executor_optimize()
    torch._C._set_graph_executor_optimize(False)
    try:
        yield
    finally:
        torch._C._set_graph_executor_optimize(optimises)
        for kind, call in zip(_CALLABLES, originals, strict=True):
            kind.__call__ = call


@contextlib.contextmanager
def flat_weights_replaced(model: nn.Module, stand_ins: Mapping[str, Tensor]) -> Iterator[None]:
    """Puts stand-ins, by their parameters' names, into the lists from which scripted recurrent modules read weights."""
    stand_in_of = {id(each): stand_ins[name] for name, each in model.named_parameters()}
    scripts = [each for each in model.modules() if isinstance(each, torch.jit.ScriptModule)]
    originals = [(each._c, each._flat_weights) for each in scripts if hasattr(each, "_flat_weights")]
    try:
        for script, weights in originals:
            script.setattr("_flat_weights", [stand_in_of.get(id(each), each) for each in weights])
        yield
    finally:
        for script, weights in originals:
            script.setattr("_flat_weights", weights)
