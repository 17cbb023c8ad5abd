"""Conventions, distributions, devices and export formats as tables, from their own data, with numbers for ResNet-50."""

from __future__ import annotations

from functools import partial

from docs.making.markdown import code_options, listed, paragraphs, table
from swatcost.common.errors import SwatcostError
from swatcost.counting.convention import Convention
from swatcost.counting.conventions import CONVENTIONS, conventions_of
from swatcost.counting.deviations import DEVIATIONS
from swatcost.counting.language_conventions import LANGUAGE_CONVENTIONS
from swatcost.counting.switches import SWITCHES
from swatcost.devices import Device, device_names, load_device
from swatcost.distributions import DISTRIBUTIONS
from swatcost.estimate import Estimate, estimate
from swatcost.exporting import EXPORTS
from swatcost.loading import load
from swatcost.network.matrix_kinds import MATRIX_KINDS
from swatcost.network.passes import PASSES
from swatcost.planning.comparison import remaining
from swatcost.planning.conventions import conventions as count_conventions
from swatcost.planning.conventions import differing
from swatcost.report.numbers import percent, scaled, seconds, times

NETWORK = "resnet50"
TARGETS = (0.8, 0.9)


def pages() -> dict[str, str]:
    """Parts of pages, included by those that are written by hand."""
    return {
        "generated/conventions.md": conventions(),
        "generated/convention-numbers.md": convention_numbers(),
        "generated/convention-switches.md": convention_switches(),
        "generated/language-switches.md": language_switches(),
        "generated/language-numbers.md": language_numbers(),
        "generated/switches.md": switches(),
        "generated/deviations.md": deviations(),
        "generated/distributions.md": distributions(),
        "generated/distribution-numbers.md": distribution_numbers(),
        "generated/matrix-kinds.md": matrix_kinds(),
        "generated/devices.md": devices(),
        "generated/device-numbers.md": device_numbers(),
        "generated/exports.md": exports(),
    }


def conventions() -> str:
    """One section per convention: what it counts, and its source."""
    return paragraphs(*(_convention(each) for each in CONVENTIONS))


def _convention(convention: Convention) -> str:
    return paragraphs(f"### {convention.name}", f"**Counts**: {convention.title}. **Source**: {convention.source}.")


def convention_switches() -> str:
    """The value of every switch in which they differ, in every convention per sample."""
    every = [each for each in CONVENTIONS if each.per == "sample"]
    rows = [[f"`{name}`", *(getattr(each, name) for each in every)] for name in differing(every)]
    header = ["switch", *(f"`{each.name}`" for each in every)]
    return table(header, rows, words=len(header))


def language_switches() -> str:
    """The value of every switch in which they differ, in every convention per token: one row per convention."""
    names = differing(LANGUAGE_CONVENTIONS)
    rows = [[f"`{each.name}`", *(getattr(each, name) for name in names)] for each in LANGUAGE_CONVENTIONS]
    return table(["convention", *(f"`{name}`" for name in names)], rows, words=1 + len(names))


def language_numbers() -> str:
    """FLOPs per token of two language models under every convention that counts them."""
    found = {name: count_conventions(name) for name in ("gpt2", "llama2_7b")}
    names = [each.convention.name for each in next(iter(found.values())).counts]
    rows = [[f"`{name}`", *(scaled(each.of(name).flops.dense, "FLOP") for each in found.values())] for name in names]
    return table(["convention", *(f"`{name}`" for name in found)], rows)


def switches() -> str:
    """Every value of every switch: its effect in a convention, and who counts that way."""
    rows = [
        [f"`{name}`" if first else "", f"`{value}`", each.words, each.source]
        for name, switch in SWITCHES.items()
        for first, (value, each) in zip([True, *[False] * len(switch.values)], switch.values.items(), strict=False)
    ]
    return table(["switch", "value", "a convention with this value", "source"], rows, words=4)


def deviations() -> str:
    """Every deviation: what a counter with it does, and whose it is."""
    rows = [[f"`{each.name}`", each.kind, each.title, each.source] for each in DEVIATIONS]
    return table(["deviation", "kind", "a counter with it", "source"], rows, words=4)


def _link(function: object, words: str = "") -> str:
    if isinstance(function, partial):  # as er and erk are; a partial has no name of its own
        function = function.args[0]
    module, name = function.__module__, getattr(function, "__qualname__", "")
    return f"{{py:obj}}`{words or name} <{module}.{name}>`"


def convention_numbers() -> str:
    """SWAT on ResNet-50 under every convention, and in which passes its remaining work is."""
    names = [each.name for each in conventions_of(load(NETWORK))]
    found = {name: {target: _swat(name, target) for target in TARGETS} for name in names}
    rows = []
    for name, at in found.items():
        costs = at[TARGETS[0]].costs
        rows.append([
            f"`{name}`", scaled(costs.training.dense), *(percent(each.training_reduction) for each in at.values()),
            *(percent(remaining(costs, in_pass)) for in_pass in PASSES),
        ])  # fmt: skip
    left = [f"left in {in_pass}" for in_pass in PASSES]
    return table(["convention", "dense MACs", *(f"reduction at {t:.0%}" for t in TARGETS), *left], rows)


def _swat(convention: str, target: float) -> Estimate:
    return estimate(NETWORK, weights=target, acts=target, convention=convention)


def distributions() -> str:
    """What each does, and what its authors keep dense."""
    what = [[_link(each.allocate, each.name), code_options(each.title), each.citation or "–"] for each in DISTRIBUTIONS]
    unless_told = [
        [
            f"`{each.name}`", "dense" if each.first_layer_dense else "sparse",
            "as sparse as the weights" if each.acts_follow_weights else "dense", "yes" if each.reads_source else "no",
        ]
        for each in DISTRIBUTIONS
    ]  # fmt: skip
    return paragraphs(
        table(["name", "how a target becomes a sparsity per layer", "source"], what, words=3),
        "Defaults, which `--first-layer` and `--acts` override:",
        table(["name", "first layer", "activations", "reads `--from`"], unless_told, words=4),
    )


def matrix_kinds() -> str:
    """Which layers each kind holds, and by which parts of names they are known."""
    rows = [
        [f"`{each.name}`", each.meaning, ", ".join(f"`{name}`" for name in (*each.modules, *each.layers))]
        for each in MATRIX_KINDS.values()
    ]
    return table(["name", "which layers", "patterns of parts of module names"], rows, words=3)


def distribution_numbers() -> str:
    """ResNet-50 at each target, by the distributions that need only the target."""
    rows, left_out = [], []
    for each in DISTRIBUTIONS:
        try:
            found = [estimate(NETWORK, weights=t, acts=t, distribution=each) for t in TARGETS]
        except SwatcostError:
            left_out.append(f"`{each.name}`")
            continue
        if each.measured or found[0].weight_sparsity == 0:
            left_out.append(f"`{each.name}`")
            continue
        for target, one in zip(TARGETS, found, strict=True):
            sparsities = [layer.sparsity.weight for layer in one.layers if layer.layer.is_weight_layer]
            rows.append([
                f"`{each.name}`", percent(target), percent(one.weight_sparsity),
                f"{percent(min(sparsities))} to {percent(max(sparsities))}",
                percent(one.training_reduction), percent(one.inference_reduction), times(one.speedup),
            ])  # fmt: skip
    header = [
        "distribution",
        "target",
        "zero weights",
        "range over layers",
        "training reduction",
        "inference reduction",
        "ideal speedup",
    ]
    return paragraphs(
        table(header, rows),
        f"Not in the table: {listed(left_out)}, which need a file, pruning masks in the network, or an N:M pattern.",
    )


def devices() -> str:
    """Profiles: measured or from a data sheet, and their sources."""
    rows = [
        [f"`{each.name}`", each.title, "measured" if each.measured else "**data sheet: lower bounds**", each.source,
         _whole(scaled(each.memory_bytes, "B")) if each.memory_bytes else "–",
         _whole(f"{each.watts:g} W") if each.watts else "–"]
        for each in map(load_device, device_names())
    ]  # fmt: skip
    header = ["name", "machine", "times are", "source", "memory", "board power"]
    return table(header, rows, words=len(header))


def _whole(amount: str) -> str:
    """A number and its unit on one line."""
    return amount.replace(" ", "\u00a0")


def device_numbers() -> str:
    """One estimate of ResNet-50 on every device."""
    rows = [_on(load_device(name)) for name in device_names()]
    header = [
        "device",
        "dense step",
        "one Top-K",
        "attainable speedup",
        "ideal speedup",
        "without Top-K",
        "break-even period",
    ]
    return table(header, rows)


def _on(device: Device) -> list[str]:
    found = estimate(NETWORK, weights=0.8, acts=0.8, period=1000, device=device)
    return [
        f"`{device.name}`", seconds(found.dense_step.seconds), seconds(found.topk_seconds),
        times(found.attainable_speedup), times(found.speedup),
        times(found.speedup_limit), f"{found.break_even_period:,}" if found.break_even_period else "none",
    ]  # fmt: skip


def exports() -> str:
    """Formats of other tools."""
    return table(
        ["`--to`", "what it is", "source"],
        [[f"`{each.name}`", each.title, each.source or "ours"] for each in EXPORTS],
        words=3,
    )
