"""Many simulations: shapes × sparsities × networks × seeds, on local cores or a Dask cluster, through joblib.

A task's numbers depend only on the task, so a study gives the same rows wherever and in whatever order it runs. With a
record, rows are written as they arrive and an interrupted study resumes after them.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, Unpack

import msgspec

from swatcost.accelerator.architecture import Architecture, load_architecture
from swatcost.common.errors import MissingPackageError, SwatcostError
from swatcost.common.interrupts import end_with
from swatcost.common.several import pairs, several
from swatcost.loading import counted_network
from swatcost.methods import checked_sparsity
from swatcost.network import Network
from swatcost.network.passes import PASSES
from swatcost.setting import Settings
from swatcost.simulation.simulation import SIMULATING, simulate
from swatcost.simulation.study_record import SCHEMA, Row, recording, task_key

_MOST_TASKS = 1_000_000
_ATTEMPTS = 4  # rounds in which local workers may die before the study is given up
_DIGITS = 12  # hexadecimal digits of a digest


@dataclass(frozen=True, kw_only=True)
class Task:
    """One simulation of a study; `settings` are the other settings of `simulate`, as given."""

    network: Network = field(repr=False)
    digest: str
    architecture: Architecture
    weights: float
    acts: float | None
    seed: int
    masks: Mapping[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> Row:
        """The values that distinguish it from the other tasks."""
        return {
            "model": self.network.name,
            "network": self.digest,
            "architecture": self.architecture.name,
            "shape": self.architecture.shape.name,
            "weights": self.weights,
            "acts": self.acts,
            "seed": self.seed,
        }

    def run(self) -> Row:
        """Simulates it on one thread: the tasks share the processors."""
        from swatcost.accelerator.masks import MaskSource

        asked: dict[str, Any] = {**self.settings, "weights": self.weights, "acts": self.acts}
        masks = MaskSource(seed=self.seed, **self.masks)
        found = simulate(self.network, arch=self.architecture, masks=masks, threads=1, **asked)
        passes = {f"{each}_speedup": float(found.of(each).speedup) for each in PASSES}
        return {
            **self.row,
            **passes,
            "training_speedup": float(found.training.speedup),
            "step_speedup": float(found.speedup),
            "dense_step_cycles": float(found.dense_step_cycles),
            "step_cycles": float(found.step_cycles),
            "utilisation": float(found.training.utilisation),
        }


STUDYING = replace(SIMULATING, several=("weights", "acts"))
"""The settings of a study: weights and acts may be lists."""


def study(
    models: Sequence[str | Network],
    *,
    paired: bool = False,
    shapes: Sequence[str] = (),
    arch: str | Path | Architecture = "bit-tactical",
    seeds: int = 1,
    masks: Mapping[str, Any] | None = None,
    record: str | Path | None = None,
    scheduler: str | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], object] = lambda done, of: None,
    **settings: Unpack[Settings],
) -> list[Row]:
    """Simulates every combination of models, sparsities, shapes and seeds: one row each, in the order of the grid.

    settings are those of `simulate`; weights and acts may be lists, combined each with each, or first with first if
    `paired`. shapes defaults to the architecture's own; seeds is how many, from 0; masks are further fields of
    MaskSource. record is a .jsonl file that rows are written to and resumed from. scheduler is the address of a Dask
    cluster, whose workers need swatcost; without it, `jobs` local processes run, by default one per processor. progress
    is called with the numbers of finished and of all simulations.

    Raises SwatcostError for invalid arguments, and if local workers die repeatedly; MissingPackageError if joblib or
    numba is not installed.
    """
    for package in ("joblib", "numba"):
        if find_spec(package) is None:
            raise MissingPackageError(f"a study needs {package}: pip install 'swatcost[simulate]'")
    architecture = arch if isinstance(arch, Architecture) else load_architecture(arch)
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= 1_000_000:
        raise SwatcostError(f"seeds {seeds!r:.40}: give a whole number from 1")
    networks = [counted_network(each) for each in models]
    machines = [architecture.with_shape(shape) for shape in shapes] or [architecture]
    asked = STUDYING.given(settings)
    if "weights" not in asked:
        raise SwatcostError("a study needs at least one weight sparsity: give weights")
    targets = _targets(asked.pop("weights"), asked.pop("acts", None), paired)
    counts = (len(networks), len(machines), len(targets), seeds)
    if prod(counts) > _MOST_TASKS:
        raise SwatcostError(
            f"a study of {' × '.join(f'{each:,}' for each in counts)} = {prod(counts):,} simulations (models, shapes, "
            f"sparsities, seeds): give fewer, at most {_MOST_TASKS:,}"
        )
    record_of = SIMULATING.setting(asked).record()  # refuses invalid settings before any work
    tasks = {
        task_key(task.row): task
        for task in (
            Task(
                network=network,
                digest=digest,
                architecture=machine,
                weights=sparsity,
                acts=acts,
                seed=seed,
                masks=masks or {},
                settings=asked,
            )
            for (network, digest), machine, (sparsity, acts), seed in itertools.product(
                [(each, _digest(each)) for each in networks], machines, targets, range(seeds)
            )
        )
    }
    if not tasks:
        raise SwatcostError("a study needs at least one model")
    described = {name: record_of[name] for name in asked} | ({"masks": dict(masks)} if masks else {})
    header = {"schema": SCHEMA, "settings": described, "architecture": _described(architecture)}
    found: dict[str, Row] = {}
    with recording(Path(record) if record is not None else None, header) as (rows, write):
        found = {key: row for row in rows if (key := task_key(row)) in tasks}
        progress(len(found), len(tasks))
        for row in _run([task for key, task in tasks.items() if key not in found], scheduler, jobs):
            write(row)
            found[task_key(row)] = row
            progress(len(found), len(tasks))
    return [found[key] for key in tasks]


def _targets(weights: Any, acts: Any, paired: bool) -> list[tuple[float, float | None]]:
    """The pairs of a weight and an activation sparsity; None if no activation sparsity was given."""
    of_weights = [checked_sparsity(each, "weights") for each in several(weights, "weights")]
    of_acts = [None] if acts is None else [checked_sparsity(each, "acts") for each in several(acts, "acts")]
    if not paired and len(of_weights) * len(of_acts) > _MOST_TASKS:
        raise SwatcostError(
            f"{len(of_weights):,} weights × {len(of_acts):,} acts: give fewer, for at most {_MOST_TASKS:,} simulations"
        )
    if not paired:
        return list(itertools.product(of_weights, of_acts))
    count = pairs(len(of_weights), len(of_acts))
    return [(of_weights[place % len(of_weights)], of_acts[place % len(of_acts)]) for place in range(count)]


def _described(architecture: Architecture) -> dict[str, Any]:
    """The architecture without its shape, which differs between tasks."""
    content: dict[str, Any] = msgspec.to_builtins(architecture)
    return {name: value for name, value in content.items() if name != "shape"}


def _digest(network: Network) -> str:
    """Distinguishes networks of one name, for example traced with another input or from changed source."""
    return hashlib.sha256(network.to_json().encode()).hexdigest()[:_DIGITS]


def _run(tasks: list[Task], scheduler: str | None, jobs: int | None) -> Iterator[Row]:
    """Rows as they arrive. If a local worker dies, the tasks in progress are run again."""
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    if not tasks:
        return
    if scheduler is not None:
        with _cluster(scheduler):
            yield from joblib.Parallel(return_as="generator_unordered")(
                joblib.delayed(Task.run)(each) for each in tasks
            )
        return
    jobs = min(jobs or len(os.sched_getaffinity(0)), len(tasks))  # each is a process, busy or not
    left = {task_key(task.row): task for task in tasks}
    for _ in range(_ATTEMPTS):
        try:
            parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=2 * jobs)
            for row in parallel(joblib.delayed(_in_worker)(each, os.getpid()) for each in list(left.values())):
                del left[task_key(row)]
                yield row
            return
        except TerminatedWorkerError:
            continue
    raise SwatcostError(f"worker processes died {_ATTEMPTS} times, perhaps for lack of memory: try fewer jobs")


def _in_worker(task: Task, parent: int) -> Row:
    """Runs a task in a process that ends with the study, even if that is killed."""
    end_with(parent)
    return task.run()


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Sends joblib's work to a Dask cluster, which reruns the tasks of lost workers."""
    try:
        from distributed import Client
    except ImportError:
        raise SwatcostError("a scheduler needs Dask: pip install 'swatcost[dask]'") from None
    import joblib

    try:
        client = Client(address, timeout="10s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise SwatcostError(f"scheduler {address}: {str(error) or 'it does not answer'}") from None
    with client, joblib.parallel_config("dask", client=client):
        yield
