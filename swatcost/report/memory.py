"""The memory of a training step as a table, JSON, CSV, Markdown or LaTeX."""

from typing import Any

from swatcost.common.printing import listed
from swatcost.memory.dense_step import Peak
from swatcost.memory.precisions import FULL
from swatcost.planning import MemoryReport
from swatcost.report.estimate import question
from swatcost.report.memory_tables import during, tables
from swatcost.report.numbers import change, scaled
from swatcost.report.sheet import Caveat, Figure, Sheet
from swatcost.report.traced import unlisted_saves, variation


def sheet(report: MemoryReport, layers: bool = False) -> Sheet:
    return Sheet(
        opening=[question(report.estimate), *_step(report)],
        summary=summary(report),
        tables=tables(report),
        notes=notes(report),
    )


def summary(report: MemoryReport) -> list[Figure]:
    """The largest batch that fits, what holds the memory then, and the peaks."""
    memory, asks = report.memory, report.estimate.plan.asks_for_sparsity
    dense, compressed = memory.dense.peak.bytes, memory.compressed_peak
    found = []
    if report.fits is not None and report.capacity is not None:
        beside = f"{report.fits['compressed']:,} compressed, {report.fits['naive']:,} naive" if asks else ""
        if report.fitted is not None:
            most = max(report.fitted.peak.holds.items(), key=lambda each: each[1])
            beside = beside or f"mostly {most[0]}, {scaled(most[1], 'B')}"
        found.append(
            Figure(f"largest batch in {scaled(report.capacity, 'B')}", f"{report.fits['dense']:,} dense", beside)
        )
        if report.fitted_on_gpu is not None:
            batch, gpu = report.fitted_on_gpu
            beside = f"{scaled(gpu.allocated, 'B')}, CUDA's context apart"
            found.append(Figure("… as allocated on a GPU", f"{batch:,} dense", beside))
    at = f", batch {memory.dense.batch_size:,}" if report.fits is not None else ""
    saved = scaled(memory.dense.saved_bytes, "B")
    away = "on the host meanwhile" if report.estimate.network.conditions.offload else "saved"
    found.append(Figure(f"dense peak{at}", scaled(dense, "B"), f"in the {during(memory.dense.peak)}; {saved} {away}"))
    if asks:
        found += [
            Figure("compressed peak", scaled(compressed, "B"), f"{change(1 - compressed / dense)}, in sparse formats"),
            Figure("naive peak", scaled(memory.naive_peak, "B"), "with masked dense tensors"),
        ]
    if report.on_gpu is not None:
        reserved = scaled(report.on_gpu.reserved, "B")
        found.append(
            Figure(f"on a GPU{at}", scaled(report.on_gpu.allocated, "B"), f"allocated by torch, {reserved} reserved")
        )
    return found


def _step(report: MemoryReport) -> list[str]:
    step = report.memory.dense
    samples = f"{step.batch_size:,} sample{'s' * (step.batch_size != 1)}"
    return [f"a step of {samples}, {step.execution.title}, {report.estimate.network.conditions.title}"]


def notes(report: MemoryReport) -> list[str]:
    """The assumptions behind the numbers."""
    sentences: list[str] = [
        "Each storage counts once, under the operation that saves it first; saved tensors exclude parameters and "
        "buffers. Attention saves what fused kernels save; with dropout only under amp.",
        "Gradients are set to None between steps; the optimizer updates as its library does on a GPU, unless told "
        "otherwise. Step counters that torch keeps on the host are not counted.",
        *_loss(report),
        *_dropout(report),
        *_too_large(report),
        *_on_gpu(report),
        *_sharing(report),
        *variation(report.estimate.network),
        *unlisted_saves(report.estimate.network),
    ]
    if report.estimate.plan.asks_for_sparsity:
        sentences.append(
            "Compressed includes indices, ReLU's bits, sparse weight copies and thresholds: more than the saved "
            "activations of an estimate, which are non-zeros alone."
        )
    if not report.estimate.network.batch_is_identifiable:
        sentences.append(
            Caveat(
                f"Traced with batch {report.estimate.network.batch_size}, which divides dimensions of the network: the "
                "tensors that grow with the batch were inferred from shapes and may be wrong at another batch size."
            )
        )
    if report.memory.dense.execution.precision.activation != FULL:
        sentences.append("All floating-point activations are assumed to be in that precision, statistics included.")
    if report.estimate.plan.asks_for_sparsity:
        even = ", ".join(
            f"{name} {100 * density:.3g} %" for name, density in report.memory.break_even.items() if name != "dense"
        )
        sentences += [
            "elements: the masked share of the elements entering conv, linear and normalisation layers (Act ↓). naive: "
            "every layer saves its masked input as a separate dense tensor, beside what other operations save, and a "
            "masked copy of its weights; a mask that outlives the step takes a byte per weight. compressed: each "
            "tensor in its smallest format, zeros at random; plus one bit per element if ReLU saves it too; dense if "
            "any other operation needs it.",
            *_stored(report),
            f"A format saves memory below a density of: {even}.",
            "A tensor is dense while it is produced and used: the compressed peak includes the largest one. At low "
            "sparsity, weight copies may cost more than compressed activations save.",
        ]
    return sentences


def _stored(report: MemoryReport) -> list[str]:
    """What compressed weights hold, and in which step."""
    memory, method = report.memory, report.estimate.plan.method
    storage = memory.compressed_weights.storage
    held = {"parameters": storage.parameters, "gradients": storage.gradients, "optimizer state": storage.state}
    active = [name for name, elements in held.items() if elements == "active"]
    sentences = []
    if active:
        sentences.append(
            f"Compressed {listed(active)} of {method.name} are those of active weights"
            + (", with one set of indices." if len(active) > 1 else ", with their indices.")
        )
    if memory.dense_gradient_peak is not None:
        sentences.append(
            f"Some steps of {method.name} need the gradient of every weight: if they hold all of them at once, the "
            f"compressed peak is {scaled(memory.dense_gradient_peak, 'B')}."
        )
    phases = report.estimate.plan.phases(report.estimate.steps)
    if min(each.scale for each in phases) < 1:
        sentences.append(
            f"Sparse bytes are those of a step at the target sparsity; {method.name} is less sparse in some steps."
        )
    return sentences


def _loss(report: MemoryReport) -> list[str]:
    """Which loss is counted, if nobody named it."""
    has = report.estimate.network.conditions
    if not has.loss_is_assumed:
        return []
    if has.loss == "none":
        return [Caveat("No loss is counted: the output looks like neither classes nor tokens. --loss names one.")]
    if has.loss == "its own":
        return ["The loss is the scalar that the network returns. --loss names another."]
    return [f"The loss is assumed from the output: {has.loss}. --loss names another."]


def _dropout(report: MemoryReport) -> list[str]:
    """That dropout in the network's own precision is a CPU's."""
    network = report.estimate.network
    if network.amp is None or not any(each.operation == "native_dropout" for each in network.amp.saved):
        return []
    fused = "scaled_dot_product" in " ".join(each.operation for each in network.amp.saved)
    written_out = any(each.operation == "_softmax" for each in network.saved) and fused
    return [
        Caveat(
            "Dropout is counted as on a CPU, with masks as large as what they mask"
            + (" and attention that is not fused: a GPU holds far less" if written_out else "")
            + ". --precision amp counts it as on CUDA."
        )
    ]


def _too_large(report: MemoryReport) -> list[str]:
    """Why not even one sample fits."""
    if report.fits is None or report.fits["dense"]:
        return []
    resident = sum(report.memory.dense.constant.values())
    return [Caveat(f"Not one sample fits: parameters, optimizer state and buffers alone take {scaled(resident, 'B')}.")]


def _on_gpu(report: MemoryReport) -> list[str]:
    """What a GPU holds beside the step's tensors."""
    found = report.on_gpu
    if found is None:
        return ["Not counted: the allocator's rounding, kernel workspaces and the program itself."]
    workspace = f", with {scaled(found.workspace, 'B')} for cuBLAS" if found.workspace else ""
    convolutions = f"; cuDNN's workspaces may take {scaled(found.convolutions, 'B')} more" if found.convolutions else ""
    return [
        f"On a GPU: CUDA's caching allocator, simulated from torch's source{workspace}{convolutions}. Not counted: the "
        "CUDA context, several hundred MB, and the program itself. Not measured for this network."
    ]


def _sharing(report: MemoryReport) -> list[str]:
    """How GPUs share the step."""
    step = report.memory.dense
    if step.execution.gpus == 1:
        return []
    shared = f", {step.execution.sharding.title}" if step.execution.replicas > 1 else ""
    sentences = [f"All figures are of one of {step.execution.gpus} GPUs{shared}."]
    if step.whole:
        sentences.append(Caveat(f"Not split by tensor parallelism: {listed(list(step.whole), 5)}."))
    if step.execution.replicas > 1 and step.execution.sharding.name.startswith("zero"):
        sentences.append("DeepSpeed allocates its bucket of 500 million elements whole, however small the network is.")
    return sentences


def to_dict(report: MemoryReport) -> dict[str, Any]:
    """Plain data [bytes, seconds]."""
    memory, step, estimate = report.memory, report.memory.dense, report.estimate
    found: dict[str, Any] = {
        "schema": "swatcost.memory/1",
        "model": estimate.network.name,
        "batch_size": step.batch_size,
        "setting": estimate.setting.record(),
        "optimizer": step.execution.optimizer.name,
        "precision": step.execution.precision.name,
        "weight_storage": dict(step.execution.weight_storage),
        "update": step.execution.update,
        "accumulate": step.execution.accumulate,
        "update_in_backward": step.execution.update_in_backward,
        "gpus": step.execution.gpus,
        "sharding": step.execution.sharding.name,
        "tensor_parallel": step.execution.tensor_parallel,
        "loss": estimate.network.conditions.loss,
        "checkpointed": list(estimate.network.conditions.checkpointed),
        "offload": estimate.network.conditions.offload,
        "hold_outputs": estimate.network.conditions.holds_outputs,
        "constant": step.constant,
        "gradients": step.gradients,
        "input": step.input,
        "targets": step.targets,
        "sent": dict(step.sent),
        "not_split": list(step.whole),
        "saved": {**step.saved, "loss": step.loss},
        "saved_bytes": step.saved_bytes,
        "peak": _peak(step.peak),
        "on_gpu": None if report.on_gpu is None else vars(report.on_gpu),
        "timeline": {"bytes": list(step.live), "backward": step.backward},
        "notes": [*map(str, notes(report))],
    }
    if estimate.plan.asks_for_sparsity:
        found["views"] = {
            "elements": {"activation_reduction": estimate.activation_reduction},
            "naive": {
                "saved_bytes": memory.naive,
                "peak_bytes": memory.naive_peak,
                "weights": memory.naive_weights.parts,
            },
            "compressed": {
                "saved_bytes": memory.compressed,
                "peak_bytes": memory.compressed_peak,
                "peak_bytes_with_dense_gradients": memory.dense_gradient_peak,
                "weights": memory.compressed_weights.parts,
            },
        }
        found["break_even_density"] = memory.break_even
    if report.fits is not None:
        found["fit"] = {
            "capacity": report.capacity,
            **report.fits,
            "needed_sparsity": report.needed,
            "peak": None if report.fitted is None else _peak(report.fitted.peak),
            "on_gpu": None
            if report.fitted_on_gpu is None
            else {"batch": report.fitted_on_gpu[0], **vars(report.fitted_on_gpu[1])},
            "ways": [vars(way) for way in report.ways],
        }
    if report.moving is not None:
        found["moving"] = {"bytes_per_second": report.link, "dense": report.moving[0], "compressed": report.moving[1]}
    return found


def _peak(peak: Peak) -> dict[str, Any]:
    return {"bytes": peak.bytes, "phase": peak.phase, "holds": peak.holds}


def rows(report: MemoryReport) -> list[dict[str, Any]]:
    step = report.memory.dense
    rows = [("constant", name, size) for name, size in step.constant.items()]
    rows += [("step", "gradients", step.gradients), ("step", "input", step.input), ("step", "targets", step.targets)]
    rows += [("sent", name, size) for name, size in step.sent.items()]
    rows += [("saved", name, size) for name, size in {**step.saved, "loss": step.loss}.items()]
    rows += [("peak", name, size) for name, size in step.peak.holds.items()]
    if report.estimate.plan.asks_for_sparsity:
        rows += [("view", "naive", report.memory.naive), ("view", "compressed", report.memory.compressed)]
        views = {"naive": report.memory.naive_weights, "compressed": report.memory.compressed_weights}
        rows += [(f"weights, {view}", name, size) for view, each in views.items() for name, size in each.parts.items()]
    return [{"part": part, "name": name, "bytes": size} for part, name, size in rows]
