"""Many simulations: shapes × sparsities × networks × seeds, over local cores or a Dask cluster, by way of joblib.

Every task's numbers depend on nothing but the task, so that a study is the same wherever and in whichever order it
runs. With a record, rows are written as they arrive and a study that was interrupted goes on after them.
"""

import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import IO, Any, Unpack

import msgspec

from swatcost.accelerator.architecture import Architecture, load_architecture
from swatcost.common.errors import MissingPackageError, SwatcostError
from swatcost.common.several import pairs, several
from swatcost.loading import counted_network
from swatcost.methods import checked_sparsity
from swatcost.network import Network
from swatcost.network.passes import PASSES
from swatcost.setting import OPTIONS, Settings
from swatcost.simulation.simulation import SIMULATING, simulate

SCHEMA = "swatcost.study/2"
_ATTEMPTS = 4  # rounds in which local workers may die before the study is given up

_TOLD_APART = ("model", "network", "architecture", "shape", "weights", "acts", "seed")
_WORDS = ("model", "network", "architecture", "shape")
_FIGURES = (
    "weights", "seed", *(f"{each}_speedup" for each in (*PASSES, "training", "step")), "dense_step_cycles",
    "step_cycles", "utilisation",
)  # fmt: skip
_DIGITS = 12  # hexadecimal ones of a digest

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One simulation of a study; `settings` are the others of `simulate`, as they were given."""

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
        """What tells it from the other tasks."""
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
        """Simulates it, on one thread: the tasks share the processors."""
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
"""Settings as a study takes them: weights and acts may be several."""


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

    settings are those of `simulate`; weights and acts may be several, each with each, or with `paired` the first with
    the first. Without shapes it is the architecture's own; seeds counts from 0; masks are other fields of MaskSource.
    record is a .jsonl file that rows are written to, and resumed from. scheduler is the address of a Dask cluster,
    whose workers need swatcost; without it, jobs local processes, as many as processors by default. progress is called
    with how many are done of how many.

    Raises SwatcostError for what cannot be used, and where local workers die again and again; MissingPackageError
    where joblib or numba is not installed.
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
    record_of = SIMULATING.setting(asked).record()  # what cannot be used is refused before any work
    tasks = {
        _key(task.row): task
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
    with _recording(Path(record) if record is not None else None, header) as (rows, write):
        found = {key: row for row in rows if (key := _key(row)) in tasks}
        progress(len(found), len(tasks))
        for row in _run([task for key, task in tasks.items() if key not in found], scheduler, jobs):
            write(row)
            found[_key(row)] = row
            progress(len(found), len(tasks))
    return [found[key] for key in tasks]


def _targets(weights: Any, acts: Any, paired: bool) -> list[tuple[float, float | None]]:
    """The pairs of a weight sparsity and an activation sparsity; None where no activations were asked for."""
    of_weights = [checked_sparsity(each, "weights") for each in several(weights, "weights")]
    of_acts = [None] if acts is None else [checked_sparsity(each, "acts") for each in several(acts, "acts")]
    if not paired:
        return list(itertools.product(of_weights, of_acts))
    count = pairs(len(of_weights), len(of_acts))
    return [(of_weights[place % len(of_weights)], of_acts[place % len(of_acts)]) for place in range(count)]


def _described(architecture: Architecture) -> dict[str, Any]:
    """What of the architecture all tasks share."""
    content: dict[str, Any] = msgspec.to_builtins(architecture)
    return {name: value for name, value in content.items() if name != "shape"}


def _digest(network: Network) -> str:
    """Tells networks of one name apart: traced with another input, say, or after a change of their source."""
    return hashlib.sha256(network.to_json().encode()).hexdigest()[:_DIGITS]


def _key(row: Row) -> str:
    return json.dumps([row[name] for name in _TOLD_APART])


def _run(tasks: list[Task], scheduler: str | None, jobs: int | None) -> Iterator[Row]:
    """Rows as they arrive. A local worker that dies takes the tasks at hand with it, and they are done again."""
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
    jobs = min(jobs or len(os.sched_getaffinity(0)), len(tasks))  # each is a process, with work or without
    left = {_key(task.row): task for task in tasks}
    for _ in range(_ATTEMPTS):
        try:
            parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=2 * jobs)
            for row in parallel(joblib.delayed(Task.run)(each) for each in list(left.values())):
                del left[_key(row)]
                yield row
            return
        except TerminatedWorkerError:
            continue
    raise SwatcostError(f"worker processes died {_ATTEMPTS} times, perhaps for lack of memory: try fewer jobs")


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """joblib's work goes to a Dask cluster, which does again what a lost worker had."""
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


@contextmanager
def _recording(path: Path | None, header: Row) -> Iterator[tuple[list[Row], Callable[[Row], None]]]:
    """The rows that a record has, and how to write one more; one process at a time."""
    if path is None:
        yield [], lambda row: None
        return
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise SwatcostError(f"{path} is no file that a study could go on from: choose another")
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise SwatcostError(f"cannot write {path}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SwatcostError(f"{path}: another study is writing it") from None
        rows = _read(file, path, header)

        def write(row: Row) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()

        yield rows, write


def _read(file: IO[str], path: Path, header: Row) -> list[Row]:
    """A record's rows, after writing the header into a new one and cutting off a line that was not finished."""
    file.seek(0)
    try:
        text = file.read()
    except UnicodeDecodeError:
        raise SwatcostError(f"{path} is no record of a study: choose another file") from None
    whole = text[: text.rfind("\n") + 1]
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
    except (ValueError, RecursionError):
        raise SwatcostError(f"{path} is a damaged record of a study: move it away") from None
    if not lines and not json.dumps(header).startswith(text):  # but for a header that was being written
        raise SwatcostError(f"{path} is no record of a study: choose another file")
    if lines and (not isinstance(lines[0], dict) or lines[0].get("schema") != SCHEMA):
        raise SwatcostError(f"{path} is no record of a study: choose another file")
    if lines and _without_defaults(lines[0]) != _without_defaults(json.loads(json.dumps(header))):
        raise SwatcostError(f"{path} is of a study with other settings or another architecture: choose another file")
    if len(whole) < len(text):
        file.truncate(len(whole.encode()))
    if not lines:
        file.write(json.dumps(header) + "\n")
        file.flush()
    rows = lines[1:]
    if not _are_rows(rows):
        raise SwatcostError(f"{path} is a damaged record of a study: move it away")
    return rows


def _without_defaults(header: Row) -> Row:
    """A header without settings that are as if they were not given."""
    given = header.get("settings")
    if not isinstance(given, dict):
        return header
    known = {name: option.default for name, option in OPTIONS.items()}
    return header | {"settings": {name: value for name, value in given.items() if value != known.get(name)}}


def _are_rows(rows: Iterable[Any]) -> bool:
    return all(
        isinstance(row, dict)
        and all(isinstance(row.get(name), str) for name in _WORDS)
        and all(_is_figure(row.get(name)) for name in _FIGURES)
        and (row.get("acts") is None or _is_figure(row["acts"]))
        for row in rows
    )


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < inf
