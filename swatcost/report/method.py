"""One method whole, for a terminal: what is sparse in which pass, its course over a run, and its parameters."""

from functools import partial
from itertools import groupby

from tabulate import tabulate

from swatcost.methods import Method
from swatcost.methods.parameter import Value, written
from swatcost.network.passes import PASSES, Pass
from swatcost.report.numbers import percent
from swatcost.report.table import wrap

_FEW = 6  # stages of a run that are listed one by one
_TARGET = 0.9  # weight sparsity [-] for which is shown what depends on the target, unless the method has its own


def described(method: Method, *, width: int) -> str:
    """The method in lines of at most width columns."""
    facts = [
        *((f"sparse operands, {each}", _operands(method, each)) for each in PASSES),
        ("weight gradients", _gradients(method)),
        *(
            (
                f"weights in {each}",
                f"a set of their own, {percent(method.sparsity_in(each, _target(method)))} sparse{_at_target(method)}",
            )
            for each in method.weight_sets
        ),
        *((f"own target, {name}", percent(target)) for name, target in method.targets.items()),
        ("Top-K selects", ", ".join(sorted(method.selects)) or "nothing"),
        ("kept dense", _kept_dense(method)),
        ("over the run", _course(method)),
        *((f"every {each.period:,} steps", each.name) for each in method.off_step),
    ]
    if method.added:
        facts.append(("adds", "branches to layers" + (", merged for inference" if method.merges else "")))
    room = width - max(len(name) for name, _ in facts) - 2
    lines = [
        wrap(f"{method.name}: {method.title} ({method.citation})", width),
        "",
        tabulate([(name, wrap(text, room)) for name, text in facts], tablefmt="plain", disable_numparse=True),
    ]
    if method.departures:
        lines += ["", wrap(method.departures, width)]
    return "\n".join([*lines, "", _parameters(method, width)])


def _target(method: Method) -> float:
    return method.targets.get("weights", _TARGET)


def _at_target(method: Method) -> str:
    return f" (for a target of {percent(_target(method))})"


def _gradients(method: Method) -> str:
    if method.weight_gradient == "active":
        return "of those in its own set" if "grad_weight" in method.weight_sets else "of active weights"
    return {"all": "of all weights", "none": "none: weights are frozen"}[method.weight_gradient]


def _operands(method: Method, in_pass: Pass) -> str:
    names = {"output": "output" if in_pass == "forward" else "output gradient"}
    return ", ".join(sorted(names.get(each, each) for each in method.sparse[in_pass])) or "none"


def _kept_dense(method: Method) -> str:
    if method.sparse_only:
        return f"all but {method.sparse_layers}"
    return ", ".join(method.keeps_dense) or "as the distribution has it"


def _course(method: Method) -> str:
    """The stages of a run: from which share of it to which, and how sparse."""
    if not method.makes_sparse:
        return "the same throughout"
    phases = method.phases(32_000, _target(method))
    stages, begin = [], 0.0
    for reached, alike in groupby(phases, key=lambda each: each.reached):
        together = [*alike]
        share = sum(each.share for each in together)
        stages.append((begin, begin + share, reached))
        begin += share
    dense = sum(each.share for each in phases if each.dense_weight_gradient)
    also = f"; {percent(dense)} of the steps compute the gradient of every weight" if dense else ""
    also += "; the trained model is dense" if method.ends_dense else ""
    if len(stages) == 1:
        return f"at the target sparsity throughout{also}"
    words = partial(_words, target=_target(method) if method.target_schedule else None)
    shown = [f"{_at(end)}: {words(*reached)}" for _, end, reached in (stages if len(stages) <= _FEW else stages[:2])]
    if len(stages) > _FEW:
        shown += [f"{len(stages) - 3} more stages", f"{_at(1.0)}: {words(*stages[-1][2])}"]
    target = _at_target(method) if method.target_schedule else ""
    return f"{'; '.join(shown)}{target}{also}"


def _at(end: float) -> str:
    return f"to {100 * end:.3g} %" if end < 1 - 1e-9 else "to the end"


def _words(scale: float, density_scale: float, target: float | None) -> str:
    """How sparse a stage is: as a sparsity where the course depends on the target, or else relative to it."""
    if scale == 0:
        return "dense"
    if target is not None and (scale, density_scale) != (1, 1):
        return f"{percent(1 - (1 - target * scale) * density_scale)} sparse"
    if density_scale != 1:
        return f"{density_scale:.3g} of the target's density"
    return "at the target" if scale == 1 else f"{scale:.3g} of the target's sparsity"


def _parameters(method: Method, width: int) -> str:
    if not method.parameters:
        return "It has no parameters."
    header = ["parameter", "value", "takes", "meaning", "default from"]
    rows = [
        [
            each.name,
            _short(method.values.get(each.name, each.default)),
            each.allowed,
            each.meaning,
            each.source,
        ]
        for each in method.parameters
    ]
    narrow = [None, None, 14, *[max(12, (width - 46) // 2)] * 2]
    table = tabulate(rows, header, tablefmt="simple", disable_numparse=True, maxcolwidths=narrow)
    first = method.parameters[0]
    return f"{table}\n\nTo set them: --method {method.family}:{first.name}=…{',…' * (len(method.parameters) > 1)}"


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else written(value)
