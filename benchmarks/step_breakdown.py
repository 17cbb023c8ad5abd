"""Where the time of a training step goes, from torch's profiler: operations by kind."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

from torch.profiler import ProfilerActivity, profile, record_function

from swatcost.kernels import activation_products, layout
from swatcost.reference.sparse_form import SparseForm

_MARK = "part: "
PRODUCTS = ("forward products", "grad_input products", "grad_weight products")
PACKING, LAYOUT, DENSE_PRODUCTS, UPDATE, REST = "packing", "layout", "dense products", "update", "rest"
_MARKED: tuple[tuple[Any, str, str], ...] = (
    (SparseForm, "forward", PRODUCTS[0]), (SparseForm, "grad_input", PRODUCTS[1]),
    (SparseForm, "grad_weight", PRODUCTS[2]), (SparseForm, "packed", PACKING),
    (SparseForm, "in_order", PACKING),
    (layout, "batch_last", LAYOUT), (layout, "batch_first", LAYOUT),
    (activation_products, "beside", LAYOUT), (activation_products, "arranged", LAYOUT),
)  # fmt: skip
"""Functions whose time the profiler cannot attribute by itself, and the part that each belongs to."""

_KINDS = {
    "batch_norm": "normalisation", "convolution": DENSE_PRODUCTS, "mkldnn": DENSE_PRODUCTS, "mm": DENSE_PRODUCTS,
    "linear": DENSE_PRODUCTS, "relu": "activation functions", "threshold": "activation functions",
    "clamp": "activation functions", "pool": "pooling", "where": "masking", "abs": "masking", "gt": "masking",
    "softmax": "loss", "nll": "loss", "cross_entropy": "loss", "copy": LAYOUT, "clone": LAYOUT, "contiguous": LAYOUT,
    "add": "sums", "sum": "sums",
}  # fmt: skip
"""The kind of an operation by what its name contains, the first that fits."""

PARTS = (
    *PRODUCTS, PACKING, LAYOUT, DENSE_PRODUCTS, "masking", "normalisation", "activation functions", "pooling", "sums",
    "loss", UPDATE, "other operations", REST,
)  # fmt: skip


@contextmanager
def _marked() -> Iterator[None]:
    """Within it, the profiler sees the sparse kernels and what prepares their operands."""

    def marking(function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with record_function(_MARK + part):
                return function(*args, **kwargs)

        return run

    with ExitStack() as stack:
        for home, name, part in _MARKED:
            stack.enter_context(patch.object(home, name, marking(getattr(home, name), part)))
        yield


def parts_of(steps: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, dict[str, float]]:
    """The median time of each part of each kind of step [s]; the kinds take turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
    with _marked():
        for _ in range(repetitions):
            for name, step in steps.items():
                found[name].append(_profiled(step))
    return {
        name: {part: median(each.get(part, 0.0) for each in times) for part in PARTS} for name, times in found.items()
    }


def _profiled(step: Callable[[], object]) -> dict[str, float]:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        began = time.perf_counter()
        step()
        elapsed = time.perf_counter() - began
    found: dict[str, float] = defaultdict(float)
    for event in profiler.events():
        found[_part(event)] += event.self_cpu_time_total / 1e6  # from µs
    found[REST] += elapsed - sum(found.values())
    return dict(found)


def _part(event: Any) -> str:
    """The part that an event belongs to: that of the optimizer, or its own."""
    above = event
    while above is not None:
        if above.name.startswith("Optimizer."):
            return UPDATE
        above = above.cpu_parent
    if event.name.startswith(_MARK):
        return str(event.name.removeprefix(_MARK))
    return next((kind for part, kind in _KINDS.items() if part in event.name.lower()), "other operations")
