"""Detects when activation checkpointing recomputes forward operations in the backward pass."""

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.utils.checkpoint as torch_checkpoint
from torch import Tensor


class Checkpointing:
    """Tracks torch.utils.checkpoint: `depth` is above 0 while the backward pass recomputes forward operations.

    Reentrant checkpoints are run as non-reentrant ones without early stop, which save and run the same.
    """

    def __init__(self) -> None:
        self.depth = 0
        self._thread = threading.get_ident()

    @contextlib.contextmanager
    def tracked(self) -> Iterator[None]:
        """Tracks both kinds in this thread."""
        hook, function = torch_checkpoint._recomputation_hook, torch_checkpoint.CheckpointFunction
        generator = torch_checkpoint._checkpoint_without_reentrant_generator
        signature = inspect.signature(generator)
        tracker = self

        class Tracked(hook):  # type: ignore[misc, valid-type]
            def __enter__(self) -> None:
                tracker.depth += threading.get_ident() == tracker._thread
                super().__enter__()

            def __exit__(self, *exception: object) -> None:
                tracker.depth -= threading.get_ident() == tracker._thread
                super().__exit__(*exception)

        class Reentrant:
            @staticmethod
            def apply(run: Any, preserve: Any, *args: Any) -> Any:
                if threading.get_ident() != tracker._thread:
                    return function.apply(run, preserve, *args)
                if not any(isinstance(each, Tensor) and each.requires_grad for each in args):
                    with torch.no_grad():
                        return run(*args)
                return torch_checkpoint.checkpoint(
                    run, *args, use_reentrant=False, preserve_rng_state=preserve, early_stop=False
                )

        def non_reentrant(*given: Any, **named: Any) -> Any:
            bound = signature.bind(*given, **named)
            if threading.get_ident() == tracker._thread:
                bound.arguments["fn"] = _with_equal_arguments(bound.arguments["fn"], bound.arguments.get("args", ()))
            return generator(*bound.args, **bound.kwargs)

        patched: Any = torch_checkpoint
        patched._recomputation_hook, patched.CheckpointFunction = Tracked, Reentrant
        patched._checkpoint_without_reentrant_generator = non_reentrant
        try:
            yield
        finally:
            patched._recomputation_hook, patched.CheckpointFunction = hook, function
            patched._checkpoint_without_reentrant_generator = generator


def _with_equal_arguments(function: Callable[..., Any], first: tuple[Any, ...]) -> Callable[..., Any]:
    """The function, for which arguments that were one object in the first call are one again.

    Under hooks for saved tensors, autograd returns a tensor that was saved twice as two; attention, for one, projects a
    sequence at once only where query, key and value are the same tensor.
    """
    places = [next(place for place, each in enumerate(first) if each is argument) for argument in first]

    def run(*args: Any, **named: Any) -> Any:
        return function(*(args[place] for place in places), **named)

    return run
