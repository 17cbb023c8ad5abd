"""Changes the formulas, one small mistake at a time, and sees whether the tests notice. Run by `make mutants`.

cosmic-ray makes the mutants: another operator, another comparison, a number that is off by one, a decorator or a loop
removed. Each runs against its module's tests in a process forked from one that has already imported torch and pytest,
so that it costs only the time of its tests; the mutated code exists in that process only, and no file is changed. A
mutant is killed when a test fails. Two other ends are counted separately, because no test noticed anything: its tests
take longer than a minute, or they do not finish, because the mutant cannot be imported or its process dies. Mutants
that are not Python, or that differ in type annotations only, which are not evaluated, are left out.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import gc
import os
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import islice
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

import hypothesis
import pytest
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db

# The tests of each module, the fastest first. They check arithmetic by hand, laws, independent counts, or numbers that
# others measured or published; tests of earlier output, README and documentation do not count.
_COUNTS = ("test_conventions", "test_methods", "test_macs", "test_estimate")
JUDGES: dict[str, Sequence[str]] = {
    "counting/equations.py": _COUNTS,
    "counting/convention.py": _COUNTS,
    "counting/conventions.py": _COUNTS,
    "counting/attention.py": ("test_language_models",),
    "counting/language.py": ("test_language_models",),
    "network/attention.py": ("test_language_models",),
    "counting/costs.py": _COUNTS,
    "counting/counting.py": (*_COUNTS, "test_running_plans"),
    "counting/padding.py": ("test_borders",),
    "counting/default_sparsity.py": ("test_conventions",),
    "timing/*.py": ("test_times", "test_topk", "test_estimate"),
    "sparsity/plan.py": ("test_sparsity", "test_distributions", "test_methods", "test_estimate", "test_sweeping"),
    "methods/method.py": ("test_macs", "test_sparsity", "test_methods", "test_estimate", "test_sweeping"),
    "distributions/*.py": ("test_distributions", "test_momentum", "test_two_four", "test_sweeping"),
    "memory/dense_step.py": ("test_dense_step", "test_sparse_step"),
    "memory/kept_values.py": ("test_kept_values", "test_sparse_step"),
    "memory/saved_storages.py": ("test_kept_values", "test_sparse_step"),
    "memory/sparse_step.py": ("test_sparse_step",),
    "memory/storage_formats.py": ("test_formats",),
    "planning/capacity.py": ("test_capacity",),
}

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("MUTANTS.md")
_ENDS = ("killed", "timed out", "crashed")
_HEADER = "| where | original | mutant | why no test fails |"


class Mutant(NamedTuple):
    """A module's path, its source, and its source with the mistake."""

    path: str
    source: str
    code: str

    def change(self) -> tuple[int, str, str]:
        """The first line that differs: its number, the original and the mutant."""
        old, new = self.source.splitlines(), self.code.splitlines()
        _, i, i_end, j, j_end = next(
            each for each in difflib.SequenceMatcher(None, old, new).get_opcodes() if each[0] != "equal"
        )
        return i + 1, " ".join(map(str.strip, old[i:i_end])), " ".join(map(str.strip, new[j:j_end]))


class _WithoutAnnotations(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(None))
        return node


@cache
def _behaviour(source: str) -> str | None:
    try:
        return ast.dump(_WithoutAnnotations().visit(ast.parse(source)))
    except SyntaxError:
        return None


def mutants(paths: Iterable[str], order: random.Random) -> Iterator[Mutant]:
    """All mutants of these modules, shuffled."""
    with use_db(":memory:", WorkDB.Mode.create) as database:
        init(map(Path, paths), database, {})
        found = sorted(
            (str(each.module_path), each.operator_name, each.occurrence)
            for item in database.work_items
            for each in item.mutations
        )
    order.shuffle(found)
    for path, operator, occurrence in found:
        source = Path(path).read_text()
        code = mutate_code(source, get_operator(operator)(), occurrence)
        if code is not None and _behaviour(code) not in (None, _behaviour(source)):
            yield Mutant(path, source, code)


class _Mutated(MetaPathFinder, SourceFileLoader):
    """Imports the mutant instead of its module."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(mutant.path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"), mutant.path)
        self.code = mutant.code

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_file_location(name, ROOT / self.path, loader=self) if name == self.name else None

    def get_code(self, name: str) -> CodeType:
        return compile(self.code, str(ROOT / self.path), "exec", dont_inherit=True)


def judges(path: str) -> list[str]:
    """The tests of a module: the examples in its own docstrings, and files."""
    (files,) = (files for pattern, files in JUDGES.items() if Path(path).match(pattern))
    return [path, *(f"tests/{each}.py" for each in files)]


def tested(files: Iterable[str]) -> int:
    """pytest's exit code."""
    # plain: pytest's own import hook would precede the mutant's
    options = ["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    return int(pytest.main([*options, *files]))


def start(mutant: Mutant) -> int:
    """Tests a mutant in a separate process, which exits with pytest's exit code. Returns the process's id."""
    if process := os.fork():
        return process
    signal.alarm(60)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)
    try:
        sys.meta_path.insert(0, _Mutated(mutant))
        os._exit(tested(judges(mutant.path)))
    finally:
        os._exit(pytest.ExitCode.INTERNAL_ERROR)


def end_of(status: int) -> str:
    """How a mutant ended, from its process's status: survived, or one of _ENDS."""
    if os.WIFSIGNALED(status):
        return "timed out" if os.WTERMSIG(status) == signal.SIGALRM else "crashed"
    ends: dict[int, str] = {pytest.ExitCode.OK: "survived", pytest.ExitCode.TESTS_FAILED: "killed"}
    return ends.get(os.WEXITSTATUS(status), "crashed")


def judged(chosen: Sequence[Mutant], at_once: int) -> list[tuple[Mutant, str]]:
    """Each mutant and how it ended."""
    waiting, running, found = list(chosen), dict[int, Mutant](), list[tuple[Mutant, str]]()
    while waiting or running:
        while waiting and len(running) < at_once:
            mutant = waiting.pop()
            running[start(mutant)] = mutant
        process, status = os.wait()
        mutant = running.pop(process)
        found.append((mutant, end := end_of(status)))
        if end != "killed":
            line, old, new = mutant.change()
            print(f"\n{end.capitalize()} ({len(waiting)} to go): {mutant.path}:{line}\n- {old}\n+ {new}", flush=True)
    return sorted(found)


def report(found: Sequence[tuple[Mutant, str]], seed: int) -> str:
    """The report as Markdown, with the reasons from the previous table of survivors."""
    rows = re.findall(r"^\| `(.*?):\d+` \| (.*) \| (.*?) \|$", RESULTS.read_text(), re.M) if RESULTS.exists() else []
    reasons = {(path, change): reason for path, change, reason in rows}
    made = Counter(mutant.path for mutant, _ in found)
    ends, of_all = Counter((mutant.path, end) for mutant, end in found), Counter(end for _, end in found)
    share = 100 * of_all["killed"] / len(found)
    lines = [
        "# Mutants of the formulas",
        "",
        f"Written by `make mutants ARGS=--write`: {len(found)} mutants, seed {seed}. {of_all['killed']} are killed "
        f"({share:.1f} %): a test fails. Counted separately: {of_all['timed out']} time out after a minute and "
        f"{of_all['crashed']} crash: they cannot be imported, or their process dies. "
        f"{of_all['survived']} survive; the table at the end says why. "
        "Tests were added for mutants of this seed that survived at first, so another seed is a fairer test.",
        "",
        f"| module | mutants | {' | '.join(_ENDS)} |",
        f"| --- | ---: |{' ---: |' * len(_ENDS)}",
        *(
            f"| `{path}` | {made[path]} | {' | '.join(str(ends[path, end]) for end in _ENDS)} |"
            for path in sorted(made)
        ),
        "",
        _HEADER,
        "| --- | --- | --- | --- |",
    ]
    for each in (mutant for mutant, end in found if end == "survived"):
        line, *texts = each.change()
        change = " | ".join("`" + text.replace("|", "\\|") + "`" for text in texts)
        lines.append(f"| `{each.path}:{line}` | {change} | {reasons.get((each.path, change), '?')} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "modules", nargs="*", help="such as swatcost/timing/topk.py; by default all modules with tests named here"
    )
    parser.add_argument("--sample", type=int, default=500, help="number of mutants (500)")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive a fork
    everything = sorted(str(path.relative_to(ROOT)) for pattern in JUDGES for path in (ROOT / "swatcost").glob(pattern))
    paths = options.modules or everything
    hypothesis.settings.register_profile("mutants", max_examples=30, deadline=None, database=None, derandomize=True)
    if tested(dict.fromkeys(file for path in paths for file in judges(path))):  # also imports what they need
        print("The tests fail without any mutant.")
        return 1
    for name in [name for name in sys.modules if name.split(".")[0] in ("swatcost", "swatcost_models", "tests")]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # keeps memory shared with the forked processes
    found = mutants(paths, random.Random(options.seed))
    chosen = list(found if options.all else islice(found, options.sample))
    print(f"{len(chosen)} mutants of {len(paths)} modules", flush=True)
    text = report(judged(chosen, os.cpu_count() or 1), options.seed)
    print(f"\n{text}")
    if options.write:
        RESULTS.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
