"""Runs TorchScript as it is written.

From its second run on, TorchScript replaces differentiable parts of a graph by nodes of its own, whose gradients cannot
be read off autograd's graph, and fuses operations, which then are not seen.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

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
