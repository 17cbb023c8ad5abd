"""One page per method: its definition, from its own data, and its cost on a network under every convention."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence

from docs.making.markdown import listed, paragraphs, table
from swatcost.common.bound import Bound
from swatcost.loading import load
from swatcost.methods import METHODS, Method, Phase
from swatcost.methods.parameter import written
from swatcost.network.passes import PASSES
from swatcost.planning import Comparison, compare
from swatcost.planning.comparison import remaining, where_they_differ
from swatcost.report.numbers import percent, times

NETWORK, TRANSFORMER, TARGET = "resnet50", "vit_b_16", 0.9
STEPS = 32_000  # over which `estimate` averages schedules by default
_OPERANDS = {"weight": "weights", "activation": "activations", "output": "outputs, or their gradients"}
_READS = {
    "forward": "weights and activations",
    "grad_input": "weights and the output's gradient",
    "grad_weight": "activations and the output's gradient",
}
_NETWORKS = {(True, False): "unstructured", (False, True): "structured", (True, True): "unstructured or structured"}
_ACROSS = {"fixed": "is fixed", "variable": "varies", "fixed or variable": "is fixed or varies"}


def pages() -> dict[str, str]:
    """One page per method, and their index."""
    return {f"methods/{each.name}.md": page(each) for each in METHODS} | {"methods/index.md": index()}


def index() -> str:
    """All methods in the form of the paper's Table 1, and their pages."""
    rows = [
        [f"[{each.name}]({each.name}.md)", each.title, *(_sparse_in(each, in_pass) for in_pass in PASSES),
         each.weight_gradient, "constant" if len(each.phases(STEPS)) == 1 else "changes"]
        for each in METHODS
    ]  # fmt: skip
    header = ["method", "title", *(f"sparse in {each}" for each in PASSES), "gradient of", "schedule"]
    return paragraphs(
        "# Methods",
        "A method is what the algorithm does: which operands are sparse in which pass, which weights need a gradient, "
        "and how that changes over a run. How its authors counted is a [convention](../conventions.md). Each page is "
        "generated from the data that the program computes with.",
        table(header, rows, words=len(header)),
        "```{toctree}\n:hidden:\n\n" + "\n".join(METHODS.names()) + "\n```",
    )


def page(method: Method) -> str:
    """One method."""
    home = sys.modules[_home(method)]
    about = inspect.getdoc(home) or method.title
    return paragraphs(
        f"# {method.name}: {method.title}",
        about,
        f"**Source.** {method.citation}.",
        "## What is sparse",
        table(
            ["pass", "reads", "sparse"],
            [[each, _READS[each], _sparse_in(method, each)] for each in PASSES],
            words=3,
        ),
        _in_words(method),
        _parameters(method),
        "## Schedule",
        _schedule(method),
        f"## Departures from the source\n\n{method.departures}" if method.departures else "",
        f"## {_heading(method)}",
        _numbers(method),
        f"Defined in `{home.__name__.replace('.', '/')}.py`.",
    )


def _home(method: Method) -> str:
    """The module that defines it."""
    from pkgutil import iter_modules

    import swatcost.methods

    for each in iter_modules(swatcost.methods.__path__, prefix="swatcost.methods."):
        if getattr(sys.modules[each.name], "METHOD", None) is method:
            return each.name
    raise LookupError(f"{method.name} is in no file of swatcost/methods/")


def _sparse_in(method: Method, in_pass: str) -> str:
    return listed(_OPERANDS[each] for each in sorted(method.sparse[in_pass])) if method.sparse[in_pass] else "–"


def _in_words(method: Method) -> str:
    """What the table does not show."""
    sentences = []
    if any(method.sparse.values()):
        sentences.append(
            f"Its sparse networks are {_NETWORKS[method.unstructured, method.structured]}."
            if (method.unstructured or method.structured)
            else "The trained network is dense."
        )
        sentences.append(f"Sparsity across layers {_ACROSS[method.across_layers]}.")
    whose = {"all": "every weight", "active": "the active weights", "none": "none of the network's weights"}[
        method.weight_gradient
    ]
    sentences.append(f"It needs the gradient of {whose}.")
    if method.relies_on_default_sparsity:
        sentences.append(
            "No operand of grad_weight is made sparse. The conventions `swat` and `equations` still reduce that pass, "
            "by the default activation sparsity: the zeros that ReLU produces."
        )
    if method.selects:
        sentences.append(
            f"Top-K selects {listed(f'{_OPERANDS[each]}' for each in sorted(method.selects))} once per period."
        )
    if method.keeps_dense:
        names = listed(f"`{each}`" for each in method.keeps_dense)
        sentences.append(
            f"{method.kept_by or 'SWAT'} keeps layers of it dense whose names match {names}; `--keep-dense none` makes "
            "them sparse. "
            f"{method.sparse_elsewhere}".rstrip()
        )
    if method.sparse_only:
        sentences.append(f"It makes only {method.sparse_layers} sparse; `--keep-dense none` makes all layers sparse.")
    if method.targets:
        targets = listed(f"{name} {percent(target)}" for name, target in method.targets.items())
        sentences.append(f"Its own targets, if none are given: {targets}.")
    for in_pass, of in method.weight_sets.items():
        sentences.append(f"In {in_pass} it has a set of weights of its own: {_about(of)}")
    for work in (method.extra_macs, method.added):
        if work is not None:
            sentences.append(f"It adds work of its own: {_about(work)}")
    for each in method.off_step:
        sentences.append(f"Every {each.period:,} steps, in no total: {each.name} ({each.source}).")
    if method.ends_dense:
        sentences.append("The trained model is dense.")
    return " ".join(sentences)


def _about(function: Callable[..., object]) -> str:
    """The first sentence on a function, or on the one whose arguments are bound."""
    return _first_sentence(inspect.getdoc(function.function if isinstance(function, Bound) else function))


def _first_sentence(text: str | None) -> str:
    return (text or "").split("\n\n")[0].replace("\n", " ")


def _parameters(method: Method) -> str:
    """What it can be asked with, as `--method NAME:PARAMETER=VALUE`."""
    if not method.parameters:
        return ""
    rows = [
        [f"`{each.name}`", each.meaning, each.allowed, written(each.default), each.source] for each in method.parameters
    ]
    first = method.parameters[0]
    return paragraphs(
        "## Parameters",
        f"`--method {method.name}:{first.name}={written(first.default)}` sets one; several are separated by commas.",
        table(["parameter", "meaning", "takes", "default", "from"], rows, words=5),
    )


def _schedule(method: Method) -> str:
    phases = method.phases(STEPS, TARGET)
    parts = [_about(method.target_schedule or method.schedule)]
    if len(phases) > 1:
        parts.append(f"Over {STEPS:,} steps:")
        parts.append(_phases(phases, method.weight_gradient))
    if method.published_schedule is not None:
        parts.append(
            "The convention `rigl` uses the closed form that its authors published: "
            f"{_about(method.published_schedule)}"
        )
    return paragraphs(*parts)


def _phases(phases: Sequence[Phase], weight_gradient: str) -> str:
    """One row for all phases with the same sparsity and gradient; in sparser ones than the target, the density."""
    shares: dict[tuple[float, float, bool], float] = {}
    for phase in phases:
        key = *phase.reached, phase.dense_weight_gradient
        shares[key] = shares.get(key, 0.0) + phase.share
    usual = {"all": "every weight", "active": "active weights", "none": "–"}[weight_gradient]
    rows = [
        [percent(share), percent(scale), percent(density), "every weight" if dense else usual]
        for (scale, density, dense), share in shares.items()
    ]
    header = ["share of the run", "of the target sparsity", "of the target's density", "gradient of"]
    if all(density == 1 for _, density, _ in shares):
        header, rows = [header[0], "share of the target sparsity", header[3]], [[*row[:2], row[3]] for row in rows]
    return table(header, rows, words=0)


def _example(method: Method) -> tuple[str, dict[str, float]]:
    """The network and the targets of the worked number: a transformer where ResNet-50 has none of its layers."""
    only = method.sparse_only
    layers = load(NETWORK).weight_layers
    lacking = any(callable(which) and not any(map(which, layers)) for which in (only, method.adds_to))
    return TRANSFORMER if lacking else NETWORK, {
        "weights": TARGET
    } if method.makes_sparse and not method.targets else {}


def _heading(method: Method) -> str:
    network, targets = _example(method)
    title = {NETWORK: "ResNet-50", TRANSFORMER: "ViT-B/16"}[network]
    if not any(method.sparse.values()):
        return title
    return f"{title} at {100 * TARGET:.0f} %" if targets else f"{title} at its own targets"


def _numbers(method: Method) -> str:
    """The worked number: every pass under every convention, and why they differ."""
    network, targets = _example(method)
    found = compare(network, method=method, methods=[method], **targets)
    options = "".join(f" --{name} {target:g}" for name, target in targets.items())
    header = ["convention", *PASSES, "training", "inference", "ideal speedup"]
    rows = [
        [f"[{name}](../conventions.md#{name})", *(percent(cost.reduction) for cost in each.costs.by_pass().values()),
         percent(each.training_reduction), percent(each.inference_reduction), times(each.speedup)]
        for name, each in found.by_convention.items()
    ]  # fmt: skip
    return paragraphs(
        f"```sh\nswatcost compare {network}{options} --method {method.name}\n```",
        "Reductions of MACs in each pass, of a training step on average over the run, and of inference. "
        "The ideal speedup is that of a step on an RTX 2080 Ti by [Eq. 7](../numbers.md#top-k), from FLOPs alone.",
        table(header, rows),
        _differences(found),
    )


def _differences(found: Comparison) -> str:
    """What each convention leaves of the passes, where it does not agree with `exact`, and in which pass mostly."""
    exact = found.by_convention["exact"].costs
    differing = {name: where_they_differ(exact, each.costs) for name, each in found.by_convention.items()}
    if not any(differing.values()):
        return ""
    rows = [
        [name, differing[name] or "–", *(percent(remaining(each.costs, in_pass)) for in_pass in PASSES)]
        for name, each in found.by_convention.items()
    ]
    return paragraphs(
        "What is left of each pass, as a share of dense training, and the pass in which a convention differs most from "
        "`exact`:",
        table(["convention", "differs from exact in", *PASSES], rows, words=2),
    )
