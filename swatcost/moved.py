"""Modules under the names that they had before they were grouped by room: importing those gives the same modules."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "swatcost.accelerator.simulation": "swatcost.simulation.simulation",
    "swatcost.accelerator.study": "swatcost.simulation.study",
    "swatcost.accelerator.two_four": "swatcost.simulation.two_four",
    "swatcost.cache": "swatcost.loading.trace_cache",
    "swatcost.compression": "swatcost.memory.sparse_step",
    "swatcost.conventions": "swatcost.counting.conventions",
    "swatcost.costs": "swatcost.counting.costs",
    "swatcost.errors": "swatcost.common.errors",
    "swatcost.exporting.workload": "swatcost.counting.workload",
    "swatcost.files": "swatcost.common.files",
    "swatcost.formats": "swatcost.memory.storage_formats",
    "swatcost.formulas": "swatcost.network.formulas",
    "swatcost.layer": "swatcost.network.layer",
    "swatcost.macs": "swatcost.counting.equations",
    "swatcost.planning.comparing": "swatcost.planning.comparison",
    "swatcost.planning.fitting": "swatcost.planning.capacity",
    "swatcost.planning.holding": "swatcost.planning.memory",
    "swatcost.planning.running": "swatcost.planning.run_plan",
    "swatcost.planning.saved": "swatcost.planning.difference",
    "swatcost.planning.searching": "swatcost.planning.search",
    "swatcost.planning.solving": "swatcost.planning.solution",
    "swatcost.planning.sweeping": "swatcost.planning.sweep",
    "swatcost.record": "swatcost.common.record",
    "swatcost.registry": "swatcost.common.registry",
    "swatcost.selecting": "swatcost.timing.selection",
    "swatcost.step": "swatcost.memory.dense_step",
    "swatcost.topk": "swatcost.timing.topk",
    "swatcost.units": "swatcost.common.units",
    "swatcost.zoo": "swatcost.loading.load",
}


class OldNames(MetaPathFinder, Loader):
    """Finds a module of MOVED under its old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run under its own name, whose specification importing it under another one replaced."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def keep_old_names() -> None:
    """Lets old names be imported."""
    sys.meta_path.append(OldNames())
