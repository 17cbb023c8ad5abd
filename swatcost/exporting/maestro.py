"""MAESTRO's model file: a network of layers, to which MAESTRO's tools add a dataflow."""

from collections.abc import Sequence

from swatcost.counting.workload import Workload
from swatcost.exporting.form import ExportFormat, Files, identifier, is_sparse, named


def write(model: str, workloads: Sequence[Workload]) -> Files:
    """One file, `MODEL.m`."""
    layers = [text for each in workloads for text in _layers(each)]
    return {f"{model}.m": f"Network {identifier(model)} {{\n" + "".join(layers) + "}\n"}


def _layers(workload: Workload) -> list[str]:
    """One layer per group, as a CONV has no groups."""
    each = workload if workload.dilation == (1, 1) else workload.unfolded()
    name = identifier(workload.name)
    iy, ix = each.padded_input
    images, iy = (1, each.B) if each.kind == "product" else (each.B, iy)  # a product's rows become image rows
    layer = (
        "Type: CONV\n"
        f"Stride {{ X: {each.stride[1]}, Y: {each.stride[0]} }}\n"
        f"Dimensions {{ N: {images}, K: {each.K}, C: {each.C}, R: {each.FY}, S: {each.FX}, Y: {iy}, X: {ix} }}\n"
    )
    names = [name] if each.G == 1 else [f"{name}_group{group}" for group in range(each.G)]
    return [f"Layer {each} {{\n{layer}}}\n" for each in names]


def cannot(workloads: Sequence[Workload]) -> list[str]:
    """Sparsity and dataflow."""
    notes = ["Y and X are of padded inputs. MAESTRO requires a Dataflow in every layer: add yours."]
    sparse = [each for each in workloads if is_sparse(each)]
    if sparse:
        notes.append(f"The format has no sparsity: {named(sparse)} are written dense.")
    return notes


FORMAT = ExportFormat("maestro", "MAESTRO's model (.m)", "maestro-project/maestro, data/", write, cannot)
