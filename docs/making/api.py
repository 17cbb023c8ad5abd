"""The library reference: which modules are public, and what each page describes."""

from __future__ import annotations

import inspect
import re
import sys
from functools import cache, partial
from importlib import import_module
from types import ModuleType

from docs.making.markdown import paragraphs
from swatcost.distributions import DISTRIBUTIONS

PUBLIC = (
    "swatcost", "swatcost.planning", "swatcost.setting", "swatcost.methods", "swatcost.distributions",
    "swatcost.counting.convention", "swatcost.counting.conventions", "swatcost.devices", "swatcost.accelerator",
    "swatcost.simulation.simulation", "swatcost.simulation.study", "swatcost.counting.two_four", "swatcost.exporting",
    "swatcost.plots", "swatcost.page", "swatcost.reference", "swatcost.published",
    "swatcost.published.sparse_hardware", "swatcost.common.units",
)  # fmt: skip
BENEATH = (
    "swatcost.counting.equations", "swatcost.counting.switches", "swatcost.counting.deviations",
    "swatcost.counting.costs", "swatcost.counting.attention", "swatcost.counting.language",
    "swatcost.network.attention", "swatcost.counting.off_step", "swatcost.common.bound",
    "swatcost.counting.counting", "swatcost.counting.default_sparsity", "swatcost.timing.topk",
    "swatcost.timing.attainable", "swatcost.timing.dense_step", "swatcost.timing.kernel_times",
    "swatcost.timing.rooflines", "swatcost.timing.selection", "swatcost.timing.shapes", "swatcost.timing.streams",
    "swatcost.timing.times", "swatcost.devices.kernels", "swatcost.devices.operations", "swatcost.planning.answers",
    "swatcost.sparsity", "swatcost.memory",
    "swatcost.memory.adafactor", "swatcost.memory.adam", "swatcost.memory.allocator", "swatcost.memory.dense_step",
    "swatcost.memory.execution", "swatcost.memory.held_weights", "swatcost.memory.muon", "swatcost.memory.optimizers",
    "swatcost.memory.module_schedule", "swatcost.memory.precisions", "swatcost.memory.sharding",
    "swatcost.memory.shares", "swatcost.memory.sparse_step",
    "swatcost.memory.storage_formats", "swatcost.memory.tensor_parallel",
    "swatcost.memory.trained_parameters", "swatcost.memory.weight_storage",
    "swatcost.network", "swatcost.network.conditions", "swatcost.common.record",
)  # fmt: skip
"""Where numbers are made: what the pages about them point to."""

_ALSO: dict[str, tuple[str, ...]] = {
    "swatcost": ("swatcost.estimate.LayerEstimate", "swatcost.common.result.Result"),
    "swatcost.planning": (
        "swatcost.planning.assumptions.Assumption", "swatcost.planning.readings.Coincidence",
        "swatcost.planning.readings.Candidate", "swatcost.planning.readings.Stated",
        "swatcost.planning.printed_number.PrintedNumber", "swatcost.planning.printed_number.Quantity",
        "swatcost.planning.conventions.Count", "swatcost.planning.conventions.Turn",
        "swatcost.planning.difference.LayerChange", "swatcost.planning.explanation.Step",
        "swatcost.planning.inference_work.Phase", "swatcost.planning.kv_cache.KeyValueCache",
        "swatcost.planning.module_tree.ModuleTotals", "swatcost.planning.module_tree.Totals",
        "swatcost.planning.recipes.Recipe", "swatcost.planning.whole_run.Moment", "swatcost.planning.goals.Goals",
        "swatcost.planning.goals.OperatingPoint", "swatcost.planning.search.Answer",
        "swatcost.planning.solution.Asked", "swatcost.planning.memory.Asked", "swatcost.planning.run_plan.Asked",
        "swatcost.planning.run_plan.RunAsked", "swatcost.planning.run_comparison.ScaledRun",
        "swatcost.planning.ways_to_fit.Way", "swatcost.planning.communication.Communication",
    ),
    "swatcost.timing.rooflines": ("swatcost.devices.fits.Fit",),
    "swatcost.reference": (
        "swatcost.reference.left_out.LeftOut", "swatcost.reference.calibration.Prediction",
        "swatcost.reference.calibration.Standing", "swatcost.reference.calibration.TimedOperation",
        "swatcost.reference.calibration.TimedSelection", "swatcost.reference.measurements.Sizes",
        "swatcost.reference.instructions.Instructions", "swatcost.reference.measured_kernels.SparseKernel",
        "swatcost.reference.measured_operations.Shape", "swatcost.reference.measured_operations.Operands",
        "swatcost.reference.measured_streams.Stream", "swatcost.reference.timed_steps.TimedSteps",
        "swatcost.reference.timed_steps.Repeated", "swatcost.reference.timed_steps.TimedStep",
        "swatcost.reference.timed_steps.TimedPart", "swatcost.reference.measured_streams.Prepared",
        "swatcost.reference.training.Progress",
        "swatcost.reference.validation.LayerCheck", "swatcost.reference.validation.StepCheck",
        "swatcost.reference.validation.Work",
    ),
}  # fmt: skip
"""Types that public functions return or consist of, described on the same page."""


def pages() -> dict[str, str]:
    """One page per module, and their index."""
    return {f"api/{name}.md": _page(import_module(name)) for name in (*PUBLIC, *BENEATH)} | {"api/index.md": _index()}


def _index() -> str:
    def toctree(caption: str, names: tuple[str, ...]) -> str:
        entries = "\n".join(names)
        return f"## {caption}\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```"

    return paragraphs(
        "# Library",
        "Generated from the docstrings. `import swatcost` covers most uses; `swatcost.planning` has the rest of what "
        "the command line does. Neither imports torch until a network is traced. Modules that moved when they were "
        "[grouped in rooms](../rooms.md) still import under their old names.",
        toctree("Public modules", PUBLIC),
        toctree("Where numbers are made", BENEATH),
    )


def _page(module: ModuleType) -> str:
    directives = [f".. automodule:: {module.__name__}\n   :no-members:", *map(_directive, _described(module.__name__))]
    return paragraphs(f"# {module.__name__}", "```{eval-rst}\n" + "\n\n".join(directives) + "\n```")


def _described(name: str) -> list[str]:
    """The names that a module's page describes, by the path to import them from, less those of an earlier page."""
    earlier = [*PUBLIC, *BENEATH][: [*PUBLIC, *BENEATH].index(name)]
    known = {id(getattr(import_module(other), each)) for other in earlier for each in _offered(other)}
    own = [f"{name}.{each}" for each in _offered(name) if id(getattr(import_module(name), each)) not in known]
    if name == "swatcost.distributions":
        allocations = (each.allocate for each in DISTRIBUTIONS)
        functions = (each.args[0] if isinstance(each, partial) else each for each in allocations)
        own += [f"{each.__module__}.{each.__name__}" for each in functions]
    return [*own, *_ALSO.get(name, ())]


def _offered(name: str) -> list[str]:
    """The names in a module's `__all__`, or else the public ones defined in it."""
    module = import_module(name)
    named = getattr(module, "__all__", None)
    if named is not None:
        return [each for each in named if each != "__version__"]
    return [
        name for name, each in vars(module).items()
        if not name.startswith("_") and getattr(each, "__module__", None) == module.__name__
        and (inspect.isclass(each) or inspect.isfunction(each))
    ]  # fmt: skip


def _object(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _directive(path: str) -> str:
    each = _object(path)
    if inspect.isclass(each):
        return f".. autoclass:: {path}\n   :members:"
    return f".. autofunction:: {path}" if inspect.isroutine(each) else f".. autodata:: {_home_of_data(path)}"


def _home_of_data(path: str) -> str:
    """Where a constant and its docstring are written, which classes and functions know and constants do not."""
    module, _, name = path.rpartition(".")
    holders = [each for key, each in sys.modules.items() if key.startswith("swatcost.") and name in vars(each)]
    for each in (import_module(module), *holders):
        if getattr(each, name) is _object(path) and re.search(rf"^{name}\b.*=", inspect.getsource(each), re.MULTILINE):
            return f"{each.__name__}.{name}"
    return path


@cache
def aliases() -> dict[str, str]:
    """Where each class and function is defined → where it is described, if that differs."""
    found: dict[str, str] = {}
    for path in (path for name in (*PUBLIC, *BENEATH) for path in _described(name)):
        each = _object(path)
        home = f"{getattr(each, '__module__', '')}.{getattr(each, '__qualname__', '')}"
        if home != path:
            found.setdefault(home, path)
    return found
