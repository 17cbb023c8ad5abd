"""SCALE-Sim 3: topology, layout and configuration."""

from collections.abc import Sequence

from swatcost.common.printing import cell
from swatcost.counting.workload import Workload
from swatcost.exporting.form import ExportFormat, Files, is_sparse, named

_TOPOLOGY = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides, Sparsity,"
)
_INTRALINE = ("IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channel", "Num Filter")
_ORDERS = (
    *(f"{each} Intraline Order" for each in ("IFMAP Height", "IFMAP Width", "Channel")),
    *(f"{each} Interline Order" for each in ("IFMAP Height", "IFMAP Width", "Channel")),
    *(f"{each} Intraline Order" for each in ("Num Filter", "Channel", "Filter Height", "Filter Width")),
    *(f"{each} Interline Order" for each in ("Num Filter", "Channel", "Filter Height", "Filter Width")),
)
_LAYOUT = ", ".join(("Layer name", *(f"{each} Intraline Factor" for each in _INTRALINE), *_ORDERS)) + ","

_CONFIGURATION = """\
# The array and memories are an example: replace them by those of your machine.
[general]
run_name = {model}

[architecture_presets]
ArrayHeight = 128
ArrayWidth = 128
IfmapSramSzkB = 1024
FilterSramSzkB = 1024
OfmapSramSzkB = 1024
IfmapOffset = 1000000000
FilterOffset = 2000000000
OfmapOffset = 3000000000
Bandwidth = 64
Dataflow = ws
MemoryBanks = 1
ReadRequestBuffer = 512
WriteRequestBuffer = 512

[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2

[sparsity]
SparsitySupport = {sparse}
SparseRep = ellpack_block
OptimizedMapping = false
BlockSize = 8
RandomNumberGeneratorSeed = 40

[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


def write(model: str, workloads: Sequence[Workload]) -> Files:
    """`MODEL_topology.csv`, `MODEL_layout.csv` and `MODEL.cfg`."""
    rows = [(name, each) for workload in workloads for name, each in _rows(workload)]
    topology = [_TOPOLOGY, *(_topology(name, each) for name, each in rows)]
    layout = [_LAYOUT, *(f"{name}, {', '.join(['1'] * len(_INTRALINE))}, {_ORDER}," for name, each in rows)]
    sparse = any(_sparsity(each) != "1:1" for _, each in rows)
    return {
        f"{model}_topology.csv": "\n".join(topology) + "\n",
        f"{model}_layout.csv": "\n".join(layout) + "\n",
        f"{model}.cfg": _CONFIGURATION.format(model=model, sparse=str(sparse).lower()),
    }


_ORDER = ", ".join(str(place) for group in (3, 3, 4, 4) for place in range(group))


def _rows(workload: Workload) -> list[tuple[str, Workload]]:
    """One row per group: SCALE-Sim has no loop over groups, a single stride, and no dilation."""
    supported = workload.kind == "product" or (workload.dilation == (1, 1) and workload.stride[0] == workload.stride[1])
    each = workload if supported else workload.unfolded()
    name = workload.name.replace(",", "_").replace("DP", "Dp")  # a comma ends the name; DP means depthwise there
    name = str(cell(name))  # the apostrophe is a part of the name there
    return [(name if each.G == 1 else f"{name}.group{group}", each) for group in range(each.G)]


def _topology(name: str, each: Workload) -> str:
    iy, ix = (each.B, 1) if each.kind == "product" else each.padded_input
    sizes = (iy, ix, each.FY, each.FX, each.C, each.K, each.stride[0], _sparsity(each))
    return f"{name}, {', '.join(map(str, sizes))},"


def _sparsity(each: Workload) -> str:
    """N:M with N ≤ M / 2, if the weights have that pattern; 1:1 means dense."""
    if each.pattern is None or 2 * each.pattern[0] > each.pattern[1]:
        return "1:1"
    return f"{each.pattern[0]}:{each.pattern[1]}"


def cannot(workloads: Sequence[Workload]) -> list[str]:
    """Batches and unstructured sparsity."""
    notes = ["IFMAPs are padded. The array and memories in the .cfg are an example: replace them by your own."]
    lost = [each for each in workloads if is_sparse(each) and _sparsity(each) == "1:1"]
    if lost:
        notes.append(f"SCALE-Sim supports only N:M filters with N ≤ M / 2: {named(lost)} are written dense.")
    several = [each for each in workloads if each.kind == "conv" and each.B > 1]
    if several:
        notes.append(f"SCALE-Sim has no batch: {named(several)} are written for one image of {several[0].B}.")
    if any(_sparsity(each) != "1:1" for each in workloads):
        notes.append("SCALE-Sim keeps the first N of every M along rows of filter elements, the same in all filters.")
    return notes


FORMAT = ExportFormat(
    "scalesim", "SCALE-Sim 3's topology, layout and configuration",
    "scalesim 3.0.0: topology_utils.py, layout_utils.py",
    write, cannot, folder=True,
)  # fmt: skip
