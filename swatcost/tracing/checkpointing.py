"""Checkpoints modules, and detects when checkpointing recomputes forward operations in the backward pass."""

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
import torch.utils.checkpoint as torch_checkpoint
from torch import Tensor, nn

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.tracing.module_names import without_wrappers


def modules_to_checkpoint(model: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """The outermost modules whose names match a pattern, such as "layer1.*", by name; the network itself is none.

    A module that has several names is found under any, and goes by the first.

    Raises SwatcostError for a pattern that nothing matches, and for a module that cannot be checkpointed.
    """
    every = model.named_modules(remove_duplicate=False)
    named = {without_wrappers(name): each for name, each in every if name}
    found: dict[str, nn.Module] = {}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in named):
            remedy = nearest(pattern, list(named)) if named else f"{type(model).__name__} has none inside"
            raise SwatcostError(f"checkpoint {pattern!r:.60}: no module matches: {remedy}")
    for name, each in named.items():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if inside or each in found.values() or not any(fnmatchcase(name, pattern) for pattern in patterns):
            continue
        if isinstance(each, torch.jit.ScriptModule):
            raise SwatcostError(f"checkpoint {name}: it is a TorchScript module, whose forward cannot be run again")
        if isinstance(each, nn.ModuleList | nn.ModuleDict):
            raise SwatcostError(f"checkpoint {name}: it has no forward pass; give what it holds, {name}.*")
        found[name] = each
    return found


class CheckpointedModules:
    """Runs each of these modules as `torch.utils.checkpoint.checkpoint(module, …, use_reentrant=False)` does.

    A list among its arguments is copied, as whoever checkpoints a module that is given one has to.
    `called` holds the names of those that have run.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self.called: dict[str, None] = {}

    def install(self) -> None:
        """Replaces their calls, compiled ones included, until the model's state is restored."""
        for name, each in self._modules.items():
            call = self._checkpointed(name, each._call_impl)  # the whole call: a recomputation runs hooks, too
            each.__dict__.update(_call_impl=call, _compiled_call_impl=None)

    def _checkpointed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self.called[name] = None
            # whoever calls it may add to a list, as DenseNets do, before it runs again
            args = tuple(list(each) if type(each) is list else each for each in args)
            return torch_checkpoint.checkpoint(call, *args, use_reentrant=False, **kwargs)

        return run

    def check(self, patterns: Sequence[str]) -> None:
        """Raises SwatcostError for a pattern of which no module was called, once the step is over.

        A module may only hold weights that another one reads.
        """
        for pattern in patterns:
            matching = [name for name in self._modules if fnmatchcase(name, pattern)]
            if matching and not any(name in self.called for name in matching):
                raise SwatcostError(
                    f"checkpoint {pattern!r:.60}: the forward pass calls none of the modules that match"
                )


class Checkpointing:
    """Tracks torch.utils.checkpoint: `depth` is above 0 while the backward pass recomputes forward operations.

    `running` is called with True where a forward pass begins that is checkpointed, whose inputs have just been saved,
    and with False where it ends: what autograd saves between them is not kept.

    Reentrant checkpoints are run as non-reentrant ones without early stop, which save and run the same.
    """

    def __init__(self, running: Callable[[bool], None]) -> None:
        self.depth = 0
        self._running = running
        self._thread = threading.get_ident()

    @contextlib.contextmanager
    def tracked(self) -> Iterator[None]:
        """Tracks both kinds in this thread."""
        hook, function = torch_checkpoint._recomputation_hook, torch_checkpoint.CheckpointFunction
        discarding = torch_checkpoint._checkpoint_hook
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

        class Discarding(discarding):  # type: ignore[misc, valid-type]
            def __enter__(self) -> None:
                if threading.get_ident() == tracker._thread:
                    tracker._running(True)
                super().__enter__()

            def __exit__(self, *exception: object) -> None:
                if threading.get_ident() == tracker._thread:
                    tracker._running(False)
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
        patched._checkpoint_without_reentrant_generator, patched._checkpoint_hook = non_reentrant, Discarding
        try:
            yield
        finally:
            patched._recomputation_hook, patched.CheckpointFunction = hook, function
            patched._checkpoint_without_reentrant_generator, patched._checkpoint_hook = generator, discarding


def _with_equal_arguments(function: Callable[..., Any], first: tuple[Any, ...]) -> Callable[..., Any]:
    """The function, for which arguments that were one object in the first call are one again.

    Under hooks for saved tensors, autograd returns a tensor that was saved twice as two; attention, for one, projects a
    sequence at once only where query, key and value are the same tensor.
    """
    places = [next(place for place, each in enumerate(first) if each is argument) for argument in first]

    def run(*args: Any, **named: Any) -> Any:
        return function(*(args[place] for place in places), **named)

    return run
