"""What the backward pass will do, read off autograd's graph without running it."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.utils.checkpoint as torch_checkpoint
from torch import Tensor
from torch.autograd.function import BackwardCFunction

Node = Any  # torch.autograd.graph.Node; a custom function's node is none, to Python


class Backward:
    """The nodes that autograd made for recorded operations, and which of them a loss reaches.

    An operation's node is known only after it ran, so the last result is kept until the next operation begins.
    """

    def __init__(self) -> None:
        self._awaited: list[tuple[int, Tensor]] = []
        self._nodes: dict[int, Node] = {}
        self._custom: dict[Node, str] = {}

    def await_node(self, operation: int, result: Tensor) -> None:
        """Keeps the result of a recorded operation, given by its place."""
        self._awaited.append((operation, result))

    def settle(self) -> None:
        """Notes the node of the operations that were recorded last."""
        for operation, result in self._awaited:
            if result.grad_fn is not None:
                self._nodes[operation] = result.grad_fn
        self._awaited.clear()

    def left(self, name: str, result: Any) -> None:
        """Notes where a custom autograd function gave a module's result."""
        node = result.grad_fn if isinstance(result, Tensor) else None
        if isinstance(node, BackwardCFunction):
            self._custom.setdefault(node, name)

    def reached(self, outputs: Any) -> tuple[set[int], dict[str, list[str]]]:
        """The recorded operations that a loss over all outputs reaches, and custom functions with their places."""
        self.settle()
        waiting = [tensor.grad_fn for tensor in _tensors(outputs) if tensor.grad_fn is not None]
        seen = set(waiting)
        while waiting:
            for node, _ in waiting.pop().next_functions:
                if node is not None and node not in seen:
                    seen.add(node)
                    waiting.append(node)
        known = set(self._nodes.values())
        custom: dict[str, list[str]] = {}
        for node in seen:
            if isinstance(node, BackwardCFunction) and node not in known:
                custom.setdefault(type(node).__name__, []).append(self._custom.get(node, ""))
        return {operation for operation, node in self._nodes.items() if node in seen}, custom


def differentiable(result: Any) -> list[Tensor]:
    """The tensors of a result that a loss can begin at, each once."""
    found = {id(each): each for each in _tensors(result) if each.requires_grad and each.grad_fn is not None}
    return list(found.values())


class Step(torch.nn.Module):
    """Runs a model and, while its parameters are still replaced, what follows the forward pass."""

    def __init__(self, model: torch.nn.Module, after: Callable[[Any], None]) -> None:
        super().__init__()
        self.model = model
        self._after = after

    @staticmethod
    def named(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by their names in this module."""
        return {f"model.{name}": tensor for name, tensor in tensors.items()}

    def forward(self, *args: Any, **kwargs: Any) -> None:
        self._after(self.model(*args, **kwargs))


def _tensors(value: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    """All tensors of a result, whatever it is made of."""
    seen = set() if seen is None else seen
    if isinstance(value, Tensor):
        yield value
    elif id(value) not in seen and not isinstance(value, str | bytes | int | float | torch.nn.Module | type):
        seen.add(id(value))
        parts: Any = ()
        if isinstance(value, Mapping):
            parts = value.values()
        elif isinstance(value, tuple | list | set | frozenset):
            parts = value
        elif hasattr(value, "__dict__") or hasattr(value, "__slots__"):
            slots = (getattr(value, name, None) for name in getattr(type(value), "__slots__", ()))
            parts = [*getattr(value, "__dict__", {}).values(), *slots]
        for part in parts:
            yield from _tensors(part, seen)


@dataclass
class Region:
    """A checkpointed part of the forward pass, which the backward pass runs again.

    Unless it `stops_early`, all of it; otherwise up to the last tensor that autograd saved in it. `operations` are
    the recorded ones, each with the number of tensors saved before it ran.
    """

    stops_early: bool
    saved: int = 0
    operations: list[tuple[int, int]] = field(default_factory=list)

    def recomputed(self) -> Iterator[int]:
        """The recorded operations that run again."""
        for operation, saved_before in self.operations:
            if self.saved and (saved_before < self.saved or not self.stops_early):
                yield operation


class Checkpointing:
    """Follows torch.utils.checkpoint while a module runs: `regions` holds every checkpointed part, once it is over."""

    def __init__(self) -> None:
        self._inside: list[Region] = []
        self._following = True
        self.regions: list[Region] = []

    def record(self, operation: int) -> None:
        """Notes a recorded operation in the parts that are running."""
        for region in self._inside:
            region.operations.append((operation, region.saved))

    def stop(self) -> None:
        """The forward pass is over: what runs again from now on is known."""
        self._following = False

    @contextlib.contextmanager
    def followed(self) -> Iterator[None]:
        """Watches both of torch's ways to checkpoint; the reentrant one runs as the other, without an early stop."""
        generator, function = (
            torch_checkpoint._checkpoint_without_reentrant_generator,
            torch_checkpoint.CheckpointFunction,
        )

        def watched(fn: Any, preserve: Any = True, context_fn: Any = None, *args: Any, **kwargs: Any) -> Any:
            early = _stops_early(args)
            context = torch_checkpoint.noop_context_fn if context_fn is None else context_fn
            inner = generator(fn, preserve, context, *args, **kwargs)
            next(inner)
            with self._region(early):
                yield
            next(inner, None)

        class Reentrant:
            @staticmethod
            def apply(run: Any, preserve: Any, *args: Any) -> Any:
                if not any(isinstance(each, Tensor) and each.requires_grad for each in args):
                    with torch.no_grad():
                        return run(*args)
                with torch_checkpoint.set_checkpoint_early_stop(False):
                    inner = watched(run, preserve, None, "none", False, False, *args)
                    next(inner)
                result = run(*args)
                next(inner, None)
                return result

        patched: Any = torch_checkpoint
        patched._checkpoint_without_reentrant_generator, patched.CheckpointFunction = watched, Reentrant
        try:
            yield
        finally:
            patched._checkpoint_without_reentrant_generator, patched.CheckpointFunction = generator, function

    @contextlib.contextmanager
    def _region(self, stops_early: bool) -> Iterator[None]:
        """Counts what is saved, and lets checkpointing's own hooks drop it."""
        if not self._following or not torch.is_grad_enabled():
            yield
            return
        region = Region(stops_early)
        drop, bring_back = torch._C._autograd._top_saved_tensors_default_hooks(True)

        def count(tensor: Tensor) -> Any:
            region.saved += 1  # what a checkpoint inside saves is its own
            return drop(tensor)

        self._inside.append(region)
        try:
            with torch.autograd.graph.saved_tensors_hooks(count, bring_back):
                yield
        finally:
            self._inside.pop()
            self.regions.append(region)


def _stops_early(args: tuple[Any, ...]) -> bool:
    """What checkpoint was told (determinism_check, debug, early_stop), unless a context manager says otherwise."""
    told = args[2] if len(args) > 2 else True
    forced = torch_checkpoint._enable_checkpoint_early_stop
    return bool(told if forced is None else forced)


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Runs compiled parts and attention's fast path as they were written, so that their operations are seen."""
    compiled = "torch._dynamo" in sys.modules
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            warnings.catch_warnings(),
            torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext(),
        ):
            warnings.filterwarnings("ignore", message="Using `torch.compile")  # frames may be seen twice
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
