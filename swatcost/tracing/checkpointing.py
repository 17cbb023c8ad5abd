"""Detects when activation checkpointing recomputes forward operations in the backward pass."""

import contextlib
import threading
from collections.abc import Iterator
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

        patched: Any = torch_checkpoint
        patched._recomputation_hook, patched.CheckpointFunction = Tracked, Reentrant
        try:
            yield
        finally:
            patched._recomputation_hook, patched.CheckpointFunction = hook, function
