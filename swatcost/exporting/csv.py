"""A table of loop bounds and densities, for your own tools."""

import csv
import io
from collections.abc import Sequence

from swatcost.common.printing import cell
from swatcost.counting.workload import Workload
from swatcost.exporting.form import ExportFormat, Files

_COLUMNS = (
    "name", "layer", "pass", "kind", "B", "G", "K", "C", "OY", "OX", "FY", "FX", "IY", "IX", "stride_y", "stride_x",
    "dilation_y", "dilation_x", "input_density", "weight_density", "output_density", "pattern", "bits", "macs",
)  # fmt: skip


def write(model: str, workloads: Sequence[Workload]) -> Files:
    """One row per layer and pass."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for each in workloads:
        table.writerow(
            (
                cell(each.name), cell(each.layer), each.in_pass, each.kind, each.B, each.G, each.K, each.C, each.OY,
                each.OX, each.FY, each.FX, *each.padded_input, *each.stride, *each.dilation,
                *(f"{density:.12g}" for density in (each.input_density, each.weight_density, each.output_density)),
                ":".join(map(str, each.pattern)) if each.pattern else "", each.bits, each.macs,
            )
        )  # fmt: skip
    return {f"{model}.csv": text.getvalue()}


def cannot(workloads: Sequence[Workload]) -> list[str]:
    """It holds everything."""
    return []


FORMAT = ExportFormat("csv", "loop bounds and densities, one row per layer and pass", "", write, cannot)
