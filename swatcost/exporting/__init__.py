"""Files for other tools: an Estimate → its layers' loops and densities in a simulator's own format.

Each format is a module with a FORMAT. Other packages add theirs through the entry points `swatcost.exports`.
"""

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.files import cannot_write, write_atomically
from swatcost.common.registry import Registry
from swatcost.counting.workload import Workload, workloads
from swatcost.estimate import Estimate, estimate_setting
from swatcost.exporting import csv, maestro, scalesim, timeloop, zigzag
from swatcost.exporting.form import ExportFormat, Files, identifier
from swatcost.loading import counted_network
from swatcost.network import Network
from swatcost.network.passes import PASSES, Pass
from swatcost.setting import Scope, Settings

EXPORTS = Registry(
    "export format", ExportFormat,
    scalesim.FORMAT, zigzag.FORMAT, timeloop.FORMAT, maestro.FORMAT, csv.FORMAT,
    entry_points="swatcost.exports",
)  # fmt: skip

__all__ = ["EXPORTS", "Export", "ExportFormat", "Workload", "export"]


@dataclass(frozen=True, kw_only=True)
class Export:
    """The files of an export by name, their workloads, and notes on what the format cannot express."""

    format: ExportFormat
    batch_size: int
    workloads: tuple[Workload, ...] = field(repr=False)
    files: Files = field(repr=False)
    notes: tuple[str, ...]

    def save(self, path: str | Path) -> Path:
        """Writes a single file to path, or several into a new folder there; returns the path.

        Raises SwatcostError if it cannot be written, and leaves nothing behind.
        """
        path = Path(path)
        if not self.format.folder:
            write_atomically(path, next(iter(self.files.values())))
            return path
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise SwatcostError(
                f"{path} exists already: {self.format.name} writes {len(self.files)} files, name a new folder"
            )
        beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
        try:
            beside.mkdir()
            for name, text in self.files.items():
                (beside / name).write_text(text, encoding="utf-8")
            beside.replace(path)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise cannot_write(path, error) from None
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return path


EXPORTING = Scope(defaults={"batch_size": 1})
"""The settings of an export: one sample by default."""


def export(
    network: Network | str | Path | Estimate,
    to: str | ExportFormat,
    *,
    passes: Sequence[Pass] = ("forward",),
    bits: int | None = None,
    **settings: Unpack[Settings],
) -> Export:
    """A network's layers over a batch, in the format of another tool.

    settings are those of `estimate`; an Estimate brings its own. passes are the passes to write: forward, grad_input,
    grad_weight. bits is the width of a value, by default the network's own.

    Raises SwatcostError for an unknown format or pass.
    """
    format = EXPORTS.choose(to)
    unknown = [each for each in passes if each not in PASSES]
    if unknown or not passes:
        raise SwatcostError(f"passes {', '.join(unknown) or 'none'}: choose from {', '.join(PASSES)}")
    if bits is not None and not 1 <= bits <= 64:
        raise SwatcostError(f"bits {bits}: give the bits per value, from 1 to 64")
    if isinstance(network, Estimate):
        if settings:
            raise SwatcostError(f"{next(iter(settings))}: an Estimate has its settings already, leave it out")
        estimate = network
    else:
        estimate = estimate_setting(counted_network(network), EXPORTING.setting(settings))
    found, left_out = workloads(estimate.network, estimate.plan, estimate.batch_size, passes, bits)
    if not found:
        raise SwatcostError(f"{estimate.network.name} has no layer whose loops can be exported")
    return Export(
        format=format,
        batch_size=estimate.batch_size,
        workloads=tuple(found),
        files=format.write(identifier(estimate.network.name), found),
        notes=(*_notes(estimate, found, left_out), *format.cannot(found)),
    )


def _notes(estimate: Estimate, found: Sequence[Workload], left_out: Sequence[str]) -> list[str]:
    """The notes that hold for every format."""
    notes = []
    if left_out:
        notes.append(f"Left out, as only their MACs are known: {', '.join(left_out)}.")
    if any(each.in_pass != "forward" for each in found):
        notes.append(
            "Backward passes are products over unfolded windows, which hides that windows overlap in the input."
        )
    if any(each.in_pass == "grad_weight" for each in found) and estimate.plan.method.weight_gradient == "active":
        notes.append(
            f"{estimate.plan.method.name} needs the gradients of some weights only, which a density of an operand does "
            "not express: grad_weight computes all."
        )
    if len(estimate.plan.phases(estimate.steps)) > 1:
        notes.append(f"{estimate.plan.method.name} changes over a run: densities are those at the target sparsity.")
    if estimate.plan.method.added:
        notes.append(f"{estimate.plan.method.name} adds branches beside layers, which are left out.")
    if estimate.plan.method.structured:
        notes.append(f"{estimate.plan.method.name} prunes whole kernels, which a density alone does not express.")
    return notes
