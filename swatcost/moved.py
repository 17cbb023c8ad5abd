"""Old names of modules, from before they were grouped by room, that still import and give the same modules.

They are those that callers may have had from the documentation; the others are gone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "accelerator.simulation": "simulation.simulation", "accelerator.study": "simulation.study",
    "accelerator.two_four": "simulation.two_four", "cache": "loading.trace_cache",
    "compression": "memory.sparse_step", "conventions": "counting.conventions", "costs": "counting.costs",
    "errors": "common.errors", "exporting.workload": "counting.workload", "files": "common.files",
    "formats": "memory.storage_formats", "formulas": "network.formulas", "layer": "network.layer",
    "macs": "counting.equations", "planning.comparing": "planning.comparison",
    "planning.fitting": "planning.capacity", "planning.holding": "planning.memory",
    "planning.running": "planning.run_plan", "planning.saved": "planning.difference",
    "planning.searching": "planning.search", "planning.solving": "planning.solution",
    "planning.sweeping": "planning.sweep", "record": "common.record", "registry": "common.registry",
    "selecting": "timing.selection", "step": "memory.dense_step", "topk": "timing.topk", "units": "common.units",
    "zoo": "loading.load",
}  # fmt: skip
"""The old name of each module, and where it is now, both within swatcost."""


class OldNames(MetaPathFinder, Loader):
    """Finds a module of MOVED under its old name."""

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
        """It has run under its own name, whose specification importing it under another one replaced."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def keep_old_names() -> None:
    """Lets old names be imported."""
    sys.meta_path.append(OldNames())
