"""torch's control-flow operators and function transforms, run so that their operations are seen.

torch.cond, while_loop, scan and map compile their branches and bodies; here they run as Python's own if and for, which
have the same results, gradients and counts. torch.func.grad and its relatives refuse hooks on saved tensors: these are
lifted while they run, so the tensors that autograd saves meanwhile are not listed, which the trace says.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops.cond import CondOp
from torch._higher_order_ops.map import MapImpl
from torch._higher_order_ops.scan import ScanOp
from torch._higher_order_ops.while_loop import WhileLoopOp
from torch.utils._pytree import tree_flatten, tree_unflatten


def _cond(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    return (true_fn if pred else false_fn)(*operands)


def _while_loop(cond_fn: Any, body_fn: Any, carried_inputs: Any, additional_inputs: Any = (), **_: Any) -> Any:
    carried = carried_inputs
    while cond_fn(*carried, *additional_inputs):
        carried = body_fn(*carried, *additional_inputs)
    return tuple(carried)


def _scan(combine_fn: Any, init: Any, xs: Any, additional_inputs: Any = ()) -> Any:
    carried, rows = list(init), []
    for slices in zip(*(each.unbind(0) for each in xs), strict=True):
        found = combine_fn(*carried, *slices, *additional_inputs)
        carried = list(found[: len(carried)])
        rows.append(found[len(carried) :])
    return [*carried, *(torch.stack(column) for column in zip(*rows, strict=True))]


def _map(f: Any, xs: Any, pos_args: Any = ()) -> Any:
    rows = [f(*slices, *pos_args) for slices in zip(*(each.unbind(0) for each in xs), strict=True)]
    columns = zip(*(tree_flatten(row)[0] for row in rows), strict=True)
    return tree_unflatten([torch.stack(column) for column in columns], tree_flatten(rows[0])[1])


_EAGER: dict[Any, Callable[..., Any]] = {
    CondOp: _cond, WhileLoopOp: _while_loop, ScanOp: _scan, MapImpl: _map,
}  # fmt: skip


@contextlib.contextmanager
def eager_control_flow() -> Iterator[None]:
    """Runs the control-flow operators, and what a forward pass compiles, as ordinary Python in this thread."""
    thread, compiled = threading.get_ident(), torch.compile
    patched: Any = torch
    own = {kind: kind.__call__ for kind in _EAGER}

    def either(kind: Any) -> Callable[..., Any]:
        def call(operator: Any, *args: Any, **kwargs: Any) -> Any:
            here = threading.get_ident() == thread
            return _EAGER[kind](*args, **kwargs) if here else own[kind](operator, *args, **kwargs)

        return call

    def uncompiled(model: Any = None, **options: Any) -> Any:
        if threading.get_ident() != thread:
            return compiled(model, **options)
        return model if model is not None else lambda each: each

    for kind in _EAGER:
        kind.__call__ = either(kind)
    patched.compile = uncompiled
    try:
        yield
    finally:
        patched.compile = compiled
        for kind, call in own.items():
            kind.__call__ = call


@contextlib.contextmanager
def saving(
    pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor], within_transform: Callable[[bool], None]
) -> Iterator[None]:
    """Calls `pack` with every tensor that autograd saves in this thread, except within function transforms.

    Autograd keeps what that returns, and calls `unpack` with it when it needs the tensor. Calls `within_transform` with
    True when the outermost of these transforms begins, and with False when it ends.
    """
    thread = threading.get_ident()
    graph: Any = torch.autograd.graph
    disable = graph.disable_saved_tensors_hooks
    hooks: Any = torch._C._autograd
    depth = 0

    @contextlib.contextmanager
    def lifted(message: str) -> Iterator[None]:
        nonlocal depth
        if threading.get_ident() != thread:
            with disable(message):
                yield
            return
        depth += 1
        if depth == 1:
            hooks._pop_saved_tensors_default_hooks()
            within_transform(True)
        try:
            with disable(message):
                yield
        finally:
            depth -= 1
            if depth == 0:
                within_transform(False)
                hooks._push_saved_tensors_default_hooks(pack, unpack)

    graph.disable_saved_tensors_hooks = lifted
    try:
        with graph.saved_tensors_hooks(pack, unpack):
            yield
    finally:
        graph.disable_saved_tensors_hooks = disable
