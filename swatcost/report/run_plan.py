"""A whole run as a table, Markdown or LaTeX."""

from collections.abc import Callable, Iterator

from swatcost.counting.costs import Cost
from swatcost.planning.answers import Answers
from swatcost.planning.run_plan import RunPlan
from swatcost.planning.whole_run import PFLOP_S_DAY
from swatcost.report.attainable import attainable_sentence
from swatcost.report.estimate import machine, question, unmeasured
from swatcost.report.numbers import (
    byte_count,
    change,
    flop_count,
    percent,
    scaled,
    seconds,
    spans,
    three_digits,
    times,
    token_count,
    token_unit,
)
from swatcost.report.run_plan_data import rows as rows
from swatcost.report.run_plan_data import summary_rows as summary_rows
from swatcost.report.run_plan_data import to_dict as to_dict
from swatcost.report.run_plan_notes import fit, notes_of
from swatcost.report.sheet import Figure, Sheet, Table
from swatcost.report.speedups import no_faster

_Show = Callable[[float], str]


def sheet(plan: RunPlan, layers: bool = False) -> Sheet:
    """The whole report; if sparse training is no faster on the device, that comes first and only once."""
    found, asks = plan.estimate, plan.estimate.plan.asks_for_sparsity
    first = [attainable_sentence(found)] if asks and no_faster(found) else []
    notes = [*(unmeasured([found.device]) if asks else []), *notes_of(plan)]
    return Sheet(
        opening=[question(found), run_line(plan), *fit(plan), *first],
        summary=summary(plan),
        tables=[*(_costs(plan) if asks else [_dense(plan)]), *([_schedule(plan)] if len(plan.curve()) > 1 else [])],
        notes=[each for each in notes if each not in first],
    )


def summary(plan: RunPlan) -> list[Figure]:
    """What the run takes: work and memory dense and sparse; time, and what follows from it, by every account."""
    bound = ", at least" if plan.estimate.dense_step.basis == "bound" else ""
    found = [_figure(plan, "training FLOPs", plan.training_flops, flop_count)]
    if plan.estimate.flops_per_token is not None:
        found.append(_figure(plan, "… per token", plan.estimate.flops_per_token, flop_count))
    found.append(_figure(plan, f"{_kind_of_time(plan)}{bound}", plan.seconds, seconds, speedups=True))
    if plan.gpus > 1 and plan.seconds_without_overlap is not None:
        found.append(_figure(plan, "… no overlap", plan.seconds_without_overlap, seconds))
    if plan.tokens is not None:
        found += [*_of_tokens(plan, bound)]
    if plan.energy_kwh is not None:
        found.append(_figure(plan, f"energy{bound}", plan.energy_kwh, _energy))
    if plan.money is not None:
        found.append(_figure(plan, f"cost{bound}", plan.money, _money(plan)))
    return [*found, _peak(plan)]


def _of_tokens(plan: RunPlan, bound: str) -> Iterator[Figure]:
    """What papers on language models print beside: GPU-hours, utilisation, throughput."""
    yield _figure(plan, f"GPU time{bound}", plan.gpu_hours, _gpu_hours)
    if plan.utilisation is not None:
        yield Figure("MFU of the dense run", f"{'at most ' * bool(bound)}{percent(plan.utilisation)}", _of_step(plan))
    if plan.tokens_per_second is not None:
        label = f"tokens per second{', at most' * bool(bound)}"
        yield _figure(plan, label, plan.tokens_per_second, token_count)


def _peak(plan: RunPlan) -> Figure:
    """The peak, and the memory that a dense run of tokens has for it."""
    found = _figure(plan, "peak memory per GPU", plan.peak_bytes, byte_count)
    if found.remark or plan.tokens is None or plan.capacity_bytes is None:
        return found
    return Figure(found.label, found.value, f"of {byte_count(plan.capacity_bytes)}")


def _of_step(plan: RunPlan) -> str:
    """Where the utilisation comes from: that of the step, if communication and undivided layers lower it."""
    step = plan.estimate.dense_step
    whose = {"mfu": "as given", "bound": "no measured times"}.get(step.basis, "from the device's times")
    if step.utilisation is None or plan.utilisation is None or percent(step.utilisation) == percent(plan.utilisation):
        return whose
    return f"{percent(step.utilisation)} of a GPU's step alone, {whose}"


def _figure(plan: RunPlan, label: str, found: Cost | Answers, show: _Show, speedups: bool = False) -> Figure:
    """A line of the summary; only what is dense, where nothing is sparse."""
    if not plan.estimate.plan.asks_for_sparsity:
        return Figure(label, show(found.dense))
    if isinstance(found, Cost):
        formats = "in sparse formats" if found is plan.peak_bytes else "sparse"
        changes = f" ({change(found.reduction)})" if found.reduction else ""
        return Figure(label, f"dense {show(found.dense)}", f"{formats} {show(found.sparse)}{changes}")
    others = ", ".join(
        f"{name} {show(value)}{f' ({times(found.dense / value)})' * speedups}".replace(" ", "\N{NO-BREAK SPACE}")
        for name, value in sparse_answers(plan, found).items()
    )
    return Figure(label, f"dense {show(found.dense)}", others)


def sparse_answers(plan: RunPlan, found: Answers) -> dict[str, float]:
    """The sparse answers by the word that has to stand beside them."""
    if plan.is_simulated:
        return {"simulated": found.ideal}
    return {"attainable": found.attainable, "ideal": found.ideal}


def run_line(plan: RunPlan) -> str:
    """How long the run is, and on what, in one line."""
    execution = plan.execution
    whose = f"group of {execution.tensor_parallel} GPUs" if execution.tensor_parallel > 1 else "GPU"
    micro = f" and micro-batch, {execution.accumulate} of them per iteration" if execution.accumulate > 1 else ""
    samples = f"{plan.estimate.batch_size} sample{'s' * (plan.estimate.batch_size != 1)}"
    gpus = f"{plan.gpus} × {machine(plan.estimate.device)}, {samples} per {whose}{micro}"
    return f"{_length(plan)}, batch {_batch(plan)}{_whose(plan)}: {_several(plan.iterations, 'iteration')} on {gpus}"


def _length(plan: RunPlan) -> str:
    """Epochs of a dataset, or tokens in as many sequences."""
    if plan.tokens_asked is not None:
        return f"{token_count(plan.tokens_asked)} tokens in {_several(plan.samples, 'sequence')}"
    samples = f"{plan.samples:,} samples"
    data = samples if plan.dataset == samples else f"{plan.dataset} ({samples})"
    return f"{plan.epochs} epoch{'s' * (plan.epochs != 1)} of {data}"


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _batch(plan: RunPlan) -> str:
    """The samples of an iteration, and their tokens."""
    each = plan.estimate.tokens_per_sample
    return str(plan.batch_size) if each is None else f"{plan.batch_size} ({token_count(plan.batch_size * each)} tokens)"


def _whose(plan: RunPlan) -> str:
    """The recipe's source, and of what, if not of all that the line says."""
    recipe = plan.recipe
    if recipe is None:
        return ""
    own = {
        "epochs": plan.epochs == recipe.epochs,
        "dataset": plan.dataset == recipe.dataset,
        "batch": plan.batch_size == recipe.batch_size,
        "GPUs": plan.gpus == recipe.gpus,
    }
    names = [name for name, same in own.items() if same]
    if not names:
        return ""
    return f" ({recipe.source})" if len(names) == len(own) else f" ({', '.join(names)}: {recipe.source})"


def _kind_of_time(plan: RunPlan) -> str:
    """What a plan's time covers: in a word, if GPUs have something to send."""
    if plan.gpus == 1:
        return "time"
    return "compute time" if plan.link is None else "time, full overlap"


def _gpu_hours(value: float) -> str:
    return f"{three_digits(value)} GPU-h"


def _energy(value: float) -> str:
    return f"{three_digits(value)} kWh"


def _money(plan: RunPlan) -> _Show:
    return lambda value: f"{value:,.2f} {plan.currency}"


def _work(plan: RunPlan) -> list[tuple[str, Cost, _Show]]:
    """Work and memory."""
    found: list[tuple[str, Cost, _Show]] = [
        ("training FLOPs", plan.training_flops, flop_count),
        ("… (convention exact)", plan.exact_flops, flop_count),
    ]
    if plan.estimate.flops_per_token is not None:
        found += [
            ("… per token", plan.estimate.flops_per_token, flop_count),
            ("… in PFLOP/s-days", plan.training_flops, lambda value: three_digits(value / PFLOP_S_DAY)),
        ]
    return found


def _memory(plan: RunPlan) -> list[tuple[str, Cost, _Show]]:
    found: list[tuple[str, Cost, _Show]] = [("peak memory per GPU", plan.peak_bytes, byte_count)]
    if plan.gpus > 1:
        found += [
            ("gradients per step", plan.gradient_bytes, byte_count),
            ("sent per GPU and step", plan.traffic_bytes, byte_count),
        ]
    return found


def _times(plan: RunPlan) -> list[tuple[str, Answers, _Show]]:
    """Time, what it consists of if something is sent over a link, and what follows from it, as far as it is known."""
    rate = plan.tokens_per_second
    found: list[tuple[str, Answers | None, _Show]] = [(_kind_of_time(plan), plan.seconds, seconds)]
    if plan.gpus > 1 and plan.link is not None:
        found = [
            ("compute time", plan.compute_seconds, seconds),
            ("communication time", plan.traffic_seconds, seconds),
            ("… not overlapped", plan.exposed_traffic_seconds, seconds),
            *found,
            ("time, no overlap", plan.seconds_without_overlap, seconds),
        ]
    found += [
        ("tokens per second", rate, token_count),
        ("… per GPU", None if rate is None else 1 / plan.gpus * rate, token_count),
        ("GPU time", plan.gpu_hours, _gpu_hours),
        ("energy", plan.energy_kwh, _energy),
        ("CO₂", plan.co2_kg, lambda value: f"{three_digits(value)} kg"),
        ("cost", plan.money, _money(plan)),
    ]
    return [(name, each, show) for name, each, show in found if each is not None]


def _dense(plan: RunPlan) -> Table:
    """All costs of a dense run."""
    every: list[tuple[str, Cost | Answers, _Show]] = [*_work(plan), *_times(plan), *_memory(plan)]
    lines = [[name, show(found.dense)] for name, found, show in every]
    return Table(["whole run", "dense"], lines)


def _costs(plan: RunPlan) -> list[Table]:
    """Time and what follows from it, by every account; work and memory, dense and sparse."""
    whole = sparse_answers(plan, plan.seconds)
    lines = [
        [name, show(found.dense), *map(show, sparse_answers(plan, found).values())]
        for name, found, show in _times(plan)
    ]
    lines.append(["speedup", "", *(times(plan.seconds.dense / each) for each in whole.values())])
    if plan.topk_refreshes:
        spent = sparse_answers(plan, plan.topk)
        cells = [f"{seconds(spent[name])} ({percent(spent[name] / whole[name])})" for name in whole]
        lines.append([f"Top-K ({plan.topk_refreshes:,} refreshes)", "", *cells])
    work = [
        [name, show(cost.dense), show(cost.sparse), change(cost.reduction)]
        for name, cost, show in (*_work(plan), *_memory(plan))
    ]
    return [
        Table(["whole run", "dense", *whole], lines),
        Table(["work and memory", "dense", "sparse", "change"], work),
    ]


def _schedule(plan: RunPlan) -> Table:
    dense, curve, (name, length) = plan.estimate.costs.training.dense, plan.curve(), unit_of_length(plan)
    lines = [
        [
            span,
            percent(each.weight_sparsity),
            scaled(each.training_macs, "MAC"),
            percent(1 - each.training_macs / dense),
        ]
        for span, each in zip(spans([(length * each.begin, length * each.end) for each in curve]), curve, strict=True)
    ]
    return Table([name, "weight sparsity", "training,\nper sample", "reduction"], lines)


def unit_of_length(plan: RunPlan) -> tuple[str, float]:
    """What the run's length is in, and how long it is."""
    if plan.tokens_asked is None:
        return "epochs", plan.epochs
    prefix, factor = token_unit(plan.tokens_asked)
    return f"tokens [{prefix}]" if prefix else "tokens", plan.tokens_asked / factor
