"""The memory of a training step as a table, JSON, CSV, Markdown or LaTeX."""

from collections import defaultdict
from typing import Any

from swatcost.memory.sparse_step import Kept, SparseMemory
from swatcost.memory.weight_storage import PARTS
from swatcost.planning import MemoryReport
from swatcost.report.estimate import question
from swatcost.report.numbers import change, percent, scaled, seconds
from swatcost.report.sheet import Caveat, Figure, Sheet, Table
from swatcost.report.sparsity import listed
from swatcost.report.traced import unlisted_saves, variation


def sheet(report: MemoryReport, layers: bool = False) -> Sheet:
    return Sheet(
        opening=[question(report.estimate), _step(report)],
        summary=summary(report),
        tables=_tables(report),
        notes=notes(report),
    )


def summary(report: MemoryReport) -> list[Figure]:
    """The peak, dense and compressed, and the largest batch that fits."""
    memory, asks = report.memory, report.estimate.plan.asks_for_sparsity
    dense, compressed = memory.dense.peak.bytes, memory.compressed_peak
    saved = scaled(memory.dense.saved_bytes, "B")
    found = [Figure("dense peak", scaled(dense, "B"), f"{saved} kept for the backward pass")]
    if asks:
        found += [
            Figure("compressed peak", scaled(compressed, "B"), f"{change(1 - compressed / dense)}, in sparse formats"),
            Figure("naive peak", scaled(memory.naive_peak, "B"), "with masked dense tensors"),
        ]
    if report.fits is not None and report.capacity is not None:
        beside = f"{report.fits['compressed']:,} compressed, {report.fits['naive']:,} naive" if asks else ""
        found.append(
            Figure(f"largest batch in {scaled(report.capacity, 'B')}", f"{report.fits['dense']:,} dense", beside)
        )
    return found


def _step(report: MemoryReport) -> str:
    step = report.memory.dense
    return f"a step of {step.batch_size} samples, {step.execution.title}"


def _tables(report: MemoryReport) -> list[Table]:
    step = report.memory.dense
    kept = Table(
        ["size of each part", ""],
        [[name, scaled(size, "B")] for name, size in step.constant.items()]
        + [["all gradients", scaled(step.gradients, "B")], ["input", scaled(step.input, "B")]],
    )
    saved = Table(
        ["saved for backward, by operation", ""],
        [[name, scaled(size, "B")] for name, size in step.saved.items()]
        + ([["cross-entropy loss", scaled(step.loss, "B")]] if step.loss else [])
        + [["total", scaled(step.saved_bytes, "B")]],
    )
    peak = Table(
        [f"peak, in the {step.peak.phase}" + (" pass" if step.peak.phase != "optimizer step" else ""), ""],
        [[name, scaled(size, "B")] for name, size in step.peak.holds.items() if size]
        + [["total", scaled(step.peak.bytes, "B")]],
    )
    tables = [kept, saved, peak]
    if report.estimate.plan.asks_for_sparsity:
        tables += [_views(report), _holders(report.memory), _weights(report.memory)]
    if report.fits is not None and report.capacity is not None:
        tables.append(_fits(report))
    if report.moving is not None and report.link is not None:
        dense, compressed = report.moving
        over = f"offloading to the host and back at {scaled(report.link, 'B')}/s"
        tables.append(Table([over, ""], [["dense", seconds(dense)], ["compressed", seconds(compressed)]]))
    return tables


def _views(report: MemoryReport) -> Table:
    """The paper's element count, masked dense tensors, and compressed tensors."""
    memory, estimate = report.memory, report.estimate
    dense = memory.dense.saved_bytes
    rows = [
        ["dense", scaled(dense, "B"), "", scaled(memory.dense.peak.bytes, "B")],
        ["elements (paper)", "", change(estimate.activation_reduction), ""],
    ]
    for name, saved, peak in (
        ("naive", memory.naive, memory.naive_peak),
        ("compressed", memory.compressed, memory.compressed_peak),
    ):
        rows.append([name, scaled(saved, "B"), change(1 - saved / dense) if dense else "", scaled(peak, "B")])
    if memory.dense_gradient_peak is not None:
        rows.append(["compressed, all gradients", "", "", scaled(memory.dense_gradient_peak, "B")])
    return Table(["view", "saved", "change in saved", "peak"], rows)


def _holders(memory: SparseMemory) -> Table:
    """Saved tensors by storage format and by the operation that saves them."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for each in memory.kept:
        row = groups[kept_as(each), each.operation]
        for place, size in enumerate((1, each.dense, each.compressed)):
            row[place] += size
    rows = [
        [how, operation, str(count), scaled(dense, "B"), scaled(compressed, "B")]
        for (how, operation), (count, dense, compressed) in sorted(groups.items(), key=lambda each: -each[1][1])
    ]
    if copies := memory.compressed_weights.saved_copies:
        rows.append(["sparse weight copy for backward", "", "", "", scaled(copies, "B")])
    if memory.thresholds:
        rows.append(["Top-K thresholds", "", "", "", scaled(memory.thresholds, "B")])
    return Table(["stored as", "saved by", "tensors", "dense", "compressed"], rows, text_columns=2)


def _weights(memory: SparseMemory) -> Table:
    """What is stored for weights, by part: dense, as masked dense tensors, and compressed."""
    views = (memory.dense_weights, memory.naive_weights.parts, memory.compressed_weights.parts)
    rows = [[name, *(scaled(each[name], "B") for each in views)] for name in PARTS if any(each[name] for each in views)]
    rows.append(["total", *(scaled(sum(each.values()), "B") for each in views)])
    return Table(["stored for weights", "dense", "naive", "compressed"], rows)


def kept_as(kept: Kept) -> str:
    """How a compressed tensor is stored, in words: its format, and whether each element was positive, for ReLU."""
    words = [kept.format] if kept.format else []
    return ", ".join([*words, "1 bit per element for ReLU"] if kept.signs else words)


def _fits(report: MemoryReport) -> Table:
    assert report.fits is not None
    assert report.capacity is not None
    rows = [["largest batch, dense", f"{report.fits['dense']:,}"]]
    if report.estimate.plan.asks_for_sparsity:
        rows.append(["largest batch, naive", f"{report.fits['naive']:,}"])
        rows.append(["largest batch, compressed", f"{report.fits['compressed']:,}"])
        needed = "no sparsity is enough" if report.needed is None else percent(report.needed)
        needed = "none: it fits densely" if report.needed == 0 else needed
        rows.append([f"activation sparsity needed for batch {report.memory.dense.batch_size}", needed])
    return Table([f"within {scaled(report.capacity, 'B')}", ""], rows)


def notes(report: MemoryReport) -> list[str]:
    """The assumptions behind the numbers."""
    sentences: list[str] = [
        "Each storage counts once, under the operation that saves it first; saved tensors exclude parameters and "
        "buffers. Attention without dropout saves what fused kernels save.",
        "Gradients are set to None between steps, and the optimizer updates parameters one by one. Not counted: "
        "allocator rounding, kernel workspaces and the program itself; in the peak, what the loss saves.",
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
    if report.memory.dense.execution.precision.name != "fp32":
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
    if min(phase.scale for phase in method.schedule(report.estimate.steps)) < 1:
        sentences.append(f"Sparse bytes are those of a step at the target sparsity; {method.name} begins less sparse.")
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
        "constant": step.constant,
        "gradients": step.gradients,
        "input": step.input,
        "saved": {**step.saved, "loss": step.loss},
        "saved_bytes": step.saved_bytes,
        "peak": {"bytes": step.peak.bytes, "phase": step.peak.phase, "holds": step.peak.holds},
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
        }
    if report.moving is not None:
        found["moving"] = {"bytes_per_second": report.link, "dense": report.moving[0], "compressed": report.moving[1]}
    return found


def rows(report: MemoryReport) -> list[dict[str, Any]]:
    step = report.memory.dense
    rows = [("constant", name, size) for name, size in step.constant.items()]
    rows += [("step", "gradients", step.gradients), ("step", "input", step.input)]
    rows += [("saved", name, size) for name, size in {**step.saved, "loss": step.loss}.items()]
    rows += [("peak", name, size) for name, size in step.peak.holds.items()]
    if report.estimate.plan.asks_for_sparsity:
        rows += [("view", "naive", report.memory.naive), ("view", "compressed", report.memory.compressed)]
        views = {"naive": report.memory.naive_weights, "compressed": report.memory.compressed_weights}
        rows += [(f"weights, {view}", name, size) for view, each in views.items() for name, size in each.parts.items()]
    return [{"part": part, "name": name, "bytes": size} for part, name, size in rows]
