"""Tracks which module is running, and which one raised an exception."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_flatten

from swatcost.network.conditions import IN_LOSS
from swatcost.tracing.autograd_graph import AutogradGraph
from swatcost.tracing.module_names import without_wrappers
from swatcost.tracing.module_state import Snapshot


@dataclass(frozen=True)
class Frame:
    """A running module: its qualified name, the arguments of its call, and how many nodes autograd had before it."""

    name: str
    module: nn.Module
    args: Any = ()
    began: int = 0

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the tensors among the arguments."""
        return [tuple(leaf.shape) for leaf in tree_flatten(self.args)[0] if isinstance(leaf, Tensor)]


def is_torchs(kind: type[nn.Module], frame: Frame) -> bool:
    """Whether torch's own forward of this kind of module is running; a subclass may override it."""
    return getattr(type(frame.module), "forward", None) is kind.forward


class RunningModules:
    """The running modules, innermost last, and the one that raised an exception."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {id(module): without_wrappers(name) for name, module in model.named_modules()}
        self._names[id(model)] = type(model).__name__
        self._running = [Frame(type(model).__name__, model)]
        self._outsiders: dict[int, Snapshot] = {}  # modules that ran but are not submodules of the model
        self._failure: tuple[BaseException, Frame] | None = None

    @property
    def here(self) -> Frame:
        return self._running[-1]

    def failed_in(self, error: BaseException) -> Frame | None:
        """The module that raised the exception; None if no module did."""
        return self._failure[1] if self._failure and self._failure[0] is error else None

    @contextlib.contextmanager
    def within(self, place: str) -> Iterator[None]:
        """Runs something that is in no module of the network, such as the loss."""
        self._running.append(Frame(place, nn.Identity(), (), AutogradGraph.created()))
        try:
            yield
        finally:
            self._running.pop()

    @contextlib.contextmanager
    def tracked(self, left: Callable[[Frame, Any], None]) -> Iterator[None]:
        """Tracks modules with global hooks that act in this thread only; `left` is called with each module's result."""
        thread = threading.get_ident()
        outer = sys.exception()

        def enter(module: nn.Module, args: Any) -> None:
            if threading.get_ident() == thread:
                name = self._names.get(id(module))
                if name is None:
                    name = f"{self.here.name}.{type(module).__name__}"
                    if id(module) not in self._outsiders:
                        self._outsiders[id(module)] = Snapshot(module, values=True)
                if self.here.name == IN_LOSS:
                    name = IN_LOSS
                self._running.append(Frame(name, module, args, AutogradGraph.created()))

        def leave(module: nn.Module, args: Any, result: Any) -> None:
            if threading.get_ident() != thread or len(self._running) == 1:
                return
            frame, error = self._running.pop(), sys.exception()
            if error is None or error is outer:
                left(frame, result)
            elif not _is_early_stop(error) and (self._failure is None or self._failure[0] is not error):
                self._failure = (error, frame)  # keeps the frame's tensors alive, so only for real failures

        handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for snapshot in self._outsiders.values():
                snapshot.restore()
            del self._running[1:]
            self._failure = None


def _is_early_stop(error: BaseException) -> bool:
    """Whether it is the exception by which checkpointing ends a recomputation early."""
    return type(error).__name__ == "_StopRecomputationError"
