"""The tables of a step's memory."""

from collections import defaultdict

from swatcost.memory.dense_step import Peak
from swatcost.memory.sparse_step import Kept, SparseMemory
from swatcost.memory.weight_storage import PARTS
from swatcost.planning import MemoryReport
from swatcost.planning.ways_to_fit import Way
from swatcost.report.numbers import change, percent, scaled, seconds
from swatcost.report.sheet import Table


def tables(report: MemoryReport) -> list[Table]:
    step = report.memory.dense
    parts = {**step.constant, "all gradients": step.gradients, "input": step.input}
    parts |= {"targets of the loss": step.targets} if step.targets else {}
    kept = Table(["size of each part", ""], [[name, scaled(size, "B")] for name, size in parts.items()])
    saved = Table(
        ["saved for backward, by operation", ""],
        [[_shown(name), scaled(size, "B")] for name, size in step.saved.items()]
        + ([[f"loss ({report.estimate.network.conditions.loss})", scaled(step.loss, "B")]] if step.loss else [])
        + [["total", scaled(step.saved_bytes, "B")]],
    )
    tables = [*_fit(report), kept, saved, _peak("peak", step.peak)]
    if report.estimate.plan.asks_for_sparsity:
        tables += [_views(report), _holders(report.memory), _weights(report.memory)]
    if step.sent:
        rows = [[name, scaled(size, "B")] for name, size in step.sent.items()]
        tables.append(Table(["sent by each GPU per step", ""], [*rows, ["total", scaled(step.sent_bytes, "B")]]))
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
        [how, _shown(operation), str(count), scaled(dense, "B"), scaled(compressed, "B")]
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


def _shown(operation: str) -> str:
    """An operation's name, short: the kernels of fused attention have long ones."""
    return "attention" if operation.startswith("_scaled_dot_product") else operation


def kept_as(kept: Kept) -> str:
    """How a compressed tensor is stored, in words: its format, and whether each element was positive, for ReLU."""
    words = [kept.format] if kept.format else []
    return ", ".join([*words, "1 bit per element for ReLU"] if kept.signs else words)


def _peak(what: str, peak: Peak) -> Table:
    rows = [[name, scaled(size, "B")] for name, size in peak.holds.items() if size]
    return Table([f"{what}, in the {during(peak)}", ""], [*rows, ["total", scaled(peak.bytes, "B")]])


def during(peak: Peak) -> str:
    """The phase of the peak, in words."""
    return peak.phase + ("" if peak.phase == "optimizer step" else " pass")


def _fit(report: MemoryReport) -> list[Table]:
    """What holds the memory at the largest batch that fits, and how more would."""
    if report.fits is None or report.capacity is None:
        return []
    found = []
    if report.fitted is not None:
        found.append(_peak(f"peak of {report.fitted.batch_size:,} samples", report.fitted.peak))
    if report.ways:
        ways = [[way.options, f"{'about ' * way.is_bound}{way.batch:,}", cost_of(way)] for way in report.ways]
        found.append(Table(["to fit more", "batch per GPU", "cost"], ways, text_columns=1))
    if report.estimate.plan.asks_for_sparsity:
        needed = "no sparsity is enough" if report.needed is None else percent(report.needed)
        needed = "none: it fits densely" if report.needed == 0 else needed
        asked = f"activation sparsity needed for batch {report.memory.dense.batch_size}"
        found.append(Table([f"within {scaled(report.capacity, 'B')}", ""], [[asked, needed]]))
    return found


def cost_of(way: Way) -> str:
    """What a way to fit more costs, in words."""
    if way.kind == "precision":
        return "fewer digits in products" if way.options.endswith("amp") else "2-byte weights"
    if way.kind == "checkpointing":
        return f"at most {percent(way.added_macs)} more MACs"
    if way.kind == "sharding":
        return f"{scaled(way.sent_bytes, 'B')} sent per GPU and step"
    return "sparse formats, accuracy"
