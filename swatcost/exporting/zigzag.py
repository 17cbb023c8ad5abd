"""ZigZag's workload: a YAML list of layers with equation, loops and precisions."""

from collections.abc import Sequence
from typing import Any

from swatcost.counting.workload import Workload
from swatcost.exporting.form import ExportFormat, Files, is_sparse, named

_MAX_BITS = 32  # of a partial sum, which has twice its operands' bits up to this


def write(model: str, workloads: Sequence[Workload]) -> Files:
    """One file, `MODEL.yaml`."""
    import yaml

    layers = [_layer(number, each) for number, each in enumerate(workloads)]
    return {f"{model}.yaml": yaml.safe_dump(layers, sort_keys=False, default_flow_style=None, width=120)}


def _layer(number: int, each: Workload) -> dict[str, Any]:
    partial = max(each.bits, min(2 * each.bits, _MAX_BITS))
    precision = {"W": each.bits, "I": each.bits, "O": partial, "O_final": each.bits}
    common = {"id": number, "name": each.name}
    # an operand whose source is the layer itself comes from the outermost memory
    ends = {"operand_precision": precision, "operand_source": {"W": number, "I": number}}
    if each.kind == "product":
        groups = "[h]" if each.G > 1 else ""
        dims = {"C": each.C, "D": each.B, "K": each.K} | ({"H": each.G} if each.G > 1 else {})
        return {
            **common,
            "operator_type": "Gemm",
            "equation": f"O{groups}[d][k]+=I{groups}[d][c]*W{groups}[c][k]",
            "dimension_relations": [],
            "loop_dims": list(dims),
            "loop_sizes": list(dims.values()),
            **ends,
        }
    dims = {"B": each.B, "K": each.K, "G": each.G, "OX": each.OX, "OY": each.OY}
    dims |= {"C": each.C, "FX": each.FX, "FY": each.FY}
    iy, ix = each.padded_input
    return {
        **common,
        "operator_type": "Conv",
        "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
        "dimension_relations": [
            f"ix={each.stride[1]}*ox+{each.dilation[1]}*fx",
            f"iy={each.stride[0]}*oy+{each.dilation[0]}*fy",
        ],
        "loop_dims": list(dims),
        "loop_sizes": list(dims.values()),
        "pr_loop_dims": ["IX", "IY"],
        "pr_loop_sizes": [ix, iy],
        "padding": [[0, 0], [0, 0]],
        **ends,
    }


def cannot(workloads: Sequence[Workload]) -> list[str]:
    """Sparsity and data kept between layers."""
    sparse = [each for each in workloads if is_sparse(each)]
    notes = [
        "Inputs are padded; each layer reads its operands from the outermost memory, keeping nothing between layers."
    ]
    if sparse:
        notes.append(f"ZigZag has no sparsity: {named(sparse)} are written dense.")
    return notes


FORMAT = ExportFormat(
    "zigzag", "ZigZag's workload (YAML)", "zigzag-dse 3.9: zigzag/parser/workload_validator.py", write, cannot
)
