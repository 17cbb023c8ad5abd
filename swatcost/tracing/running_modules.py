"""Which module is running, and where an exception began."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_flatten

from swatcost.tracing.module_names import without_wrappers
from swatcost.tracing.module_state import Snapshot


@dataclass(frozen=True)
class Frame:
    """A module that is running: its qualified name and what it was called with."""

    name: str
    module: nn.Module
    args: Any = ()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the tensors that it was called with."""
        return [tuple(leaf.shape) for leaf in tree_flatten(self.args)[0] if isinstance(leaf, Tensor)]


class RunningModules:
    """The modules that are running, the innermost last, and the one in which an exception began."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {id(module): without_wrappers(name) for name, module in model.named_modules()}
        self._names[id(model)] = type(model).__name__
        self._running = [Frame(type(model).__name__, model)]
        self._strangers: dict[int, Snapshot] = {}  # modules that ran and that the model does not know as its parts
        self._failure: tuple[BaseException, Frame] | None = None

    @property
    def here(self) -> Frame:
        return self._running[-1]

    def failed_in(self, error: BaseException) -> Frame | None:
        """The module that the exception came from."""
        return self._failure[1] if self._failure and self._failure[0] is error else None

    @contextlib.contextmanager
    def followed(self, left: Callable[[Frame, Any], None]) -> Iterator[None]:
        """Follows modules by hooks that belong to this thread's pass and to no module; `left` gets their results."""
        thread = threading.get_ident()
        outer = sys.exception()

        def enter(module: nn.Module, args: Any) -> None:
            if threading.get_ident() == thread:
                name = self._names.get(id(module))
                if name is None:
                    name = f"{self.here.name}.{type(module).__name__}"
                    if id(module) not in self._strangers:
                        self._strangers[id(module)] = Snapshot(module, values=True)
                self._running.append(Frame(name, module, args))

        def leave(module: nn.Module, args: Any, result: Any) -> None:
            if threading.get_ident() != thread or len(self._running) == 1:
                return
            frame, error = self._running.pop(), sys.exception()
            if error is None or error is outer:
                left(frame, result)
            elif not _is_early_stop(error) and (self._failure is None or self._failure[0] is not error):
                self._failure = (error, frame)  # which keeps what the frame holds, so only for what is one

        handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for snapshot in self._strangers.values():
                snapshot.restore()


def _is_early_stop(error: BaseException) -> bool:
    """Whether checkpointing has computed again all that it needs, which it says by an exception."""
    return type(error).__name__ == "_StopRecomputationError"
