"""Timeloop's and Sparseloop's problems, version 0.4: one file per layer and pass."""

from collections.abc import Sequence
from typing import Any

from swatcost.counting.workload import Workload
from swatcost.exporting.form import ExportFormat, Files, identifier, named

_DIMENSIONS = ("N", "G", "M", "C", "P", "Q", "R", "S")
_COEFFICIENTS = ("Pstride", "Qstride", "Rdilation", "Sdilation")


def write(model: str, workloads: Sequence[Workload]) -> Files:
    """One `NUMBER_LAYER.yaml` each, in execution order."""
    import yaml

    digits = len(str(len(workloads)))
    return {
        f"{number:0{digits}}_{identifier(each.name)}.yaml": yaml.safe_dump(
            {"problem": _problem(each)}, sort_keys=False, default_flow_style=None, width=120
        )
        for number, each in enumerate(workloads)
    }


def _problem(each: Workload) -> dict[str, Any]:
    spaces = {
        "Weights": [[["G"]], [["M"]], [["C"]], [["R"]], [["S"]]],
        "Inputs": [
            [["N"]], [["G"]], [["C"]],
            [["R", "Rdilation"], ["P", "Pstride"]],
            [["S", "Sdilation"], ["Q", "Qstride"]],
        ],
        "Outputs": [[["N"]], [["G"]], [["M"]], [["P"]], [["Q"]]],
    }  # fmt: skip
    sizes = dict(zip(_DIMENSIONS, (each.B, each.G, each.K, each.C, each.OY, each.OX, each.FY, each.FX), strict=True))
    coefficients = dict(zip(_COEFFICIENTS, (*each.stride, *each.dilation), strict=True))
    densities = {"Weights": each.weight_density, "Inputs": each.input_density, "Outputs": each.output_density}
    sparse = {
        name: {
            "distribution": "fixed-structured" if name == "Weights" and each.pattern else "hypergeometric",
            "density": float(f"{density:.12g}"),
        }
        for name, density in densities.items()
        if density < 1
    }
    return {
        "version": 0.4,
        "shape": {
            "name": identifier(each.name),
            "dimensions": list(_DIMENSIONS),
            "coefficients": [{"name": name, "default": 1} for name in _COEFFICIENTS],
            "data_spaces": [
                {"name": name, "projection": projection, **({"read_write": True} if name == "Outputs" else {})}
                for name, projection in spaces.items()
            ],
        },
        "instance": {**sizes, **coefficients, **({"densities": sparse} if sparse else {})},
    }


def cannot(workloads: Sequence[Workload]) -> list[str]:
    """The places of zeros."""
    notes = ["Inputs are padded; zeros are at random places of a tensor (hypergeometric), as from one Top-K."]
    patterned = [each for each in workloads if each.pattern]
    if patterned:
        notes.append(f"N:M weights are fixed-structured, with the same density in every tile: {named(patterned)}.")
    return notes


FORMAT = ExportFormat(
    "timeloop", "Timeloop's and Sparseloop's problems, version 0.4 (YAML)", "Timeloop's documentation, version 4",
    write, cannot, folder=True,
)  # fmt: skip
