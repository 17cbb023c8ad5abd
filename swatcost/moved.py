"""Old names that still work: of modules, from before they were grouped by room, and of a class's fields.

They are those that the documentation had; other old names are gone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from operator import attrgetter
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")

MOVED = {
    "accelerator.simulation": "simulation.simulation", "accelerator.study": "simulation.study",
    "accelerator.two_four": "counting.two_four", "cache": "loading.trace_cache",
    "compression": "memory.sparse_step", "conventions": "counting.conventions", "costs": "counting.costs",
    "errors": "common.errors", "exporting.workload": "counting.workload", "files": "common.files",
    "formats": "memory.storage_formats", "formulas": "network.formulas", "layer": "network.layer",
    "macs": "counting.equations", "planning.comparing": "planning.comparison",
    "planning.fitting": "planning.capacity", "planning.holding": "planning.memory",
    "planning.running": "planning.run_plan", "planning.saved": "planning.difference",
    "planning.searching": "planning.search", "planning.solving": "planning.solution",
    "planning.sweeping": "planning.sweep", "record": "common.record", "registry": "common.registry",
    "selecting": "timing.selection", "simulation.two_four": "counting.two_four", "step": "memory.dense_step",
    "topk": "timing.topk", "units": "common.units",
    "zoo": "loading.load",
}  # fmt: skip
"""The old name of each module → its new name, both within swatcost."""


class OldNames(MetaPathFinder, Loader):
    """Finds a module of MOVED by its old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        moved = fullname.removeprefix("swatcost.") in MOVED and fullname.startswith("swatcost.")
        return ModuleSpec(fullname, self) if moved else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(f"swatcost.{MOVED[spec.name.removeprefix('swatcost.')]}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restores the module's own specification, which the import under the old name replaced."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state
        if module.__name__ == "swatcost.counting.conventions":  # its old name is that of a function today
            module.__class__ = _Conventions


class _Conventions(ModuleType):
    """The module of conventions, which can be called as the function that has its old name, `swatcost.conventions`."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return import_module("swatcost.planning").conventions(*args, **settings)


def keep_old_names() -> None:
    """Makes the old names of modules importable."""
    sys.meta_path.append(OldNames())


def renamed_fields(**new_names: str) -> Callable[[type[T]], type[T]]:
    """A decorator by which a class also takes and has its fields under their old names, given as old="new"."""

    def decorate(cls: type[T]) -> type[T]:
        init: Callable[..., None] = cls.__init__

        @wraps(init)
        def with_old_names(self: T, **given: Any) -> None:
            init(self, **{new_names.get(name, name): value for name, value in given.items()})

        setattr(cls, "__init__", with_old_names)  # noqa: B010
        for old, new in new_names.items():
            setattr(cls, old, property(attrgetter(new)))
        return cls

    return decorate
