"""Random command lines: each ends with 0, or with 2 and one line, without a traceback and without leftovers.

Run as `python -m benchmarks.fuzz_commands --seconds 60 --seed 0`, or `--case 17` for one command line. Values are drawn
from each option's own type, good, at the border, and bad. Work that is long by nature (training, measuring, serving) is
not done: only what comes before it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import re
import resource
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import click
import torch
from torch import nn

import swatcost
from benchmarks.fuzz import fuzz
from swatcost.cli import COMMANDS, command_named, main

_MEMORY_BYTES = 16 * 2**30  # that a command may map
_WORDS = re.compile(r"(?<![\w-])(?:[+-]?inf|nan|infinity)(?![\w-])", re.IGNORECASE)
_NO_FRACTIONS = (
    "nan",
    "inf",
    "-inf",
    "-0.1",
    "1",
    "1.0000001",
    "1e309",
    "100%",
    "101%",
    "x",
    "",
    "0,8",
    "1_0",
    "٣",
    "0x1",
    "--",
)
NUMBERS = ("0", "-1", "nan", "inf", "1e308", str(2**31), str(2**63), str(2**64), str(10**30), "", "x")
"""Values that every option for a number has to take or to refuse."""

_NO_COUNTS = (*NUMBERS, "1.5", "1e400", "9" * 40, "1_0", "true", "--")
_TEXTS = (
    "",
    " ",
    "x",
    "é",
    "a\nb",
    "a\x1b[2Jb",
    "\u202e",
    "*",
    "../x",
    "x" * 5000,
    "=1+1",
    "None",
    "0",
    "-",
    "--help",
    "{}",
    "[",
)
_MODELS = ("tiny.json", "small.json", "cifar_resnet18", "resnet18", "language.json")
_NO_MODELS = (
    "",
    "nope",
    "resnet",
    "nope.json",
    "garbage.json",
    ".",
    "torchvision:nope",
    "a.b:c",
    "nope.py:f",
    "x" * 300,
    "/dev/null",
)
_FILES = (
    "out.csv",
    "out.json",
    "out",
    "out.svg",
    "out.md",
    "out.tex",
    "out.jsonl",
    "out.parquet",
    "out.html",
    "out.xyz",
)
_NO_FILES = (
    "",
    ".",
    "nope/x.csv",
    "garbage.json/x",
    "/dev/null",
    "/dev/full",
    "x" * 300,
    "/proc/x",
    "a\udc80b.csv",
    "tiny.json",
)
_COUNTS = ("N", "integer", "integer range")
_NAMED = ("method", "methods", "distribution", "convention", "conventions", "device", "source", "arch")
_OF_TRACING = ("input_shape", "input_dtype", "classes", "fresh")  # which a saved trace does not take
_GOOD = {
    "to": ["csv", "scalesim", "timeloop", "zigzag", "maestro"], "optimizer": ["momentum", "adam", "sgd"],
    "data": ["digits", "synthetic"], "precision": ["fp32"], "selection": ["introselect", "radix"],
    "over": ["nchw", "hw"],
    "any": ["1", "2", "0.5", "3x", "11GB", "80%", "table.csv"],
    "speedup": ["1", "2x", "3", "1.5×"], "fit": ["11GB", "1 GB", "500 MB"], "passes": ["forward", "grad_weight"],
    "shapes": ["T2,5", "L1,6"], "shape": ["T2,5", "L1,6"], "keep_dense": ["*", "0", "nope*"], "price": ["$2", "2 EUR"],
    "from_convention": ["swat", "exact"], "to_convention": ["rigl", "equations"], "default_act_sparsity": ["0.5", "0"],
}  # fmt: skip
_SOURCES = ("table.csv", "table.json", "garbage.json", "nope.csv", ".", "tiny.json", "/dev/null", "")


_IMAGES = """
from torch import nn

def build(num_classes=10):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
"""
_WORDS_BEFORE = {
    "tables": ("2",), "list": ("models",), "run": ("images.py:build", "--input-shape=3,8,8"),
    "validate": ("images.py:build", "--input-shape=3,8,8"),
    "solve": ("small.json", "--speedup=1.5"), "export": ("small.json", "--to=csv", "--output=out"),
}  # fmt: skip
"""What a command line needs besides the option in question, if that is not one saved trace."""


def prepare() -> None:
    """Files in the current folder that commands may be given."""
    swatcost.trace(nn.Sequential(nn.Linear(4, 3)), input_shape=(4,), name="tiny").save("tiny.json")
    convolutions = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), nn.Flatten(), nn.LazyLinear(3)
    )
    convolutions(torch.zeros(2, 3, 8, 8))
    swatcost.trace(convolutions, input_shape=(3, 8, 8), name="small").save("small.json")
    language = nn.Sequential(nn.Embedding(9, 4), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Linear(4, 9))
    swatcost.trace(language, input_shape=(5,), input_dtype="int64", name="language").save("language.json")
    Path("images.py").write_text(_IMAGES)
    Path("garbage.json").write_text('{"schema": "swatcost')
    Path("table.csv").write_text("layer,weights,acts,share\n*,0.5,0.25,1\n")
    Path("table.json").write_text('{"*": {"weights": 0.5}}')


class Commands(random.Random):
    """Draws command lines; in half of them every value is one that its option takes."""

    good = False

    def line(self) -> list[str]:
        name = self.choice([each for each in COMMANDS if each != "completion"])
        command = command_named(name)
        words = [] if name == "estimate" and self.random() < 0.8 else [name]
        self.good = self.random() < 0.5
        options = [each for each in command.params if isinstance(each, click.Option)]
        if self.good:
            options = [each for each in options if each.is_flag or (each.name not in _OF_TRACING and self.knows(each))]
        for argument in (each for each in command.params if isinstance(each, click.Argument)):
            words += self.argument(argument)
        wanted = self.sample(options, min(len(options), self.choice([0, 1, 1, 2, 2, 3, 5])))
        usual = [each for each in options if each.name in ("weights", "format") and self.random() < 0.5]
        for option in dict.fromkeys([*usual, *wanted]):
            words += self.option(option)
        if not self.good and self.random() < 0.05:
            words.insert(self.randrange(len(words) + 1), self.choice(_TEXTS))
        return words

    def argument(self, argument: click.Argument) -> list[str]:
        count = self.choice([0, 1, 1, 1, 2]) if argument.nargs == -1 or not argument.required else 1
        return [self.value(argument) for _ in range(count)]

    def option(self, option: click.Option) -> list[str]:
        flag = option.opts[-1]
        if option.is_flag or option.count:
            return [flag]
        again = 2 if option.multiple and self.random() < 0.3 else 1
        return [word for _ in range(again) for word in (flag, self.value(option))]

    def value(self, parameter: click.Parameter) -> str:
        """A value for a parameter: mostly good."""
        good = self.good or self.random() < 0.75
        kind, name = parameter.type, parameter.name or ""
        if name in ("model", "models", "what") or "model" in name:
            return self.choice(_MODELS if good else _NO_MODELS)
        if isinstance(kind, click.Choice):
            return str(self.choice(list(kind.choices) if good else _TEXTS))
        if "shape" in name and name != "shapes":
            return self.choice(
                ["3,8,8", "3,32,32", "4", "5"] if good else ["0,1", "-1", "3,,3", "x", "1e9", "3," * 99, ""]
            )
        if kind.name.startswith("S"):
            several = good and "," in kind.name and self.random() < 0.3
            fraction = str(self.choice([0, 0.5, 0.8, 0.9, 0.999999, "80%", "1e-9", "0.0"]))
            return f"{fraction},0.5" if several else fraction if good else self.choice(_NO_FRACTIONS)
        if kind.name.startswith("N,") or kind.name in _COUNTS:
            return str(self.choice([1, 2, 3, 8, 32, "1k"]) if good else self.choice(_NO_COUNTS))
        if isinstance(kind, click.Path):
            return self.choice(_FILES if good else _NO_FILES)
        if name in _NAMED:
            return self.choice(_named(name) if good else _TEXTS)
        if kind.name in ("float", "float range", "R", "M"):
            return str(self.choice([0.1, 0.5, 1, 2, 3]) if good else self.choice([*_NO_FRACTIONS, "1e308"]))
        return self.choice(_GOOD.get(name, _TEXTS) if good else [*_TEXTS, *_NO_COUNTS, *_GOOD["any"]])

    def knows(self, option: click.Option) -> bool:
        """Whether good values of an option are known."""
        kind, name = option.type, option.name or ""
        known = isinstance(kind, click.Choice | click.Path) or kind.name in ("S", "S,S,…", "N,N,…", *_COUNTS)
        return known or name in _NAMED or name in _GOOD or kind.name in ("float", "float range", "R", "M")


@functools.cache
def _named(setting: str) -> tuple[str, ...]:
    """Names of an extension point, or of a file."""
    if setting == "source":
        return _SOURCES
    if setting == "arch":
        return ("bit-tactical",)
    from swatcost.setting import OPTIONS

    names = OPTIONS[setting.removesuffix("s") if setting.endswith("s") else setting].names
    return tuple(names()) if names else ("x",)


def number_options() -> Iterator[tuple[str, click.Option]]:
    """The options that take numbers or free text, each with the first command that has it.

    Those that execute a network have settings of their own, so that they are looked at as well.
    """
    seen = set()
    for name in COMMANDS:
        for option in command_named(name).params:
            free = not isinstance(option.type, click.Choice | click.Path)
            key = option.opts[-1], name in ("run", "validate")
            if isinstance(option, click.Option) and free and not option.is_flag and not option.count:
                yield from [] if key in seen else [(name, option)]
                seen.add(key)


def lines_with(name: str, option: click.Option, value: str) -> Iterator[list[str]]:
    """Command lines that give an option a value: a dense estimate, and a sparse one where the command has such."""
    flag = f"{option.opts[-1]}={value}"
    before = [word for word in _WORDS_BEFORE.get(name, ("small.json",)) if not flag.startswith(word.split("=")[0])]
    sparse = name != "trace" and any(each.name == "weights" for each in command_named(name).params)
    yield [name, *before, flag]
    if sparse and option.name != "weights":
        yield [name, *before, "--weights=0.5", flag]


class _NotDoneError(swatcost.SwatcostError):
    """Takes the place of long work."""


@contextlib.contextmanager
def without_long_work() -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise _NotDoneError("not done here")

    places = (
        "reference.training.run", "reference.training.resume", "reference.validation.runnable",
        "reference.calibration.calibrate", "simulation.study._run",
        "published.quantities._cycles",
    )  # fmt: skip

    def close(_: Any, listener: Any, **__: Any) -> None:
        listener.close()

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("swatcost.explorer.serving.serve", close))
        for place in places:
            stack.enter_context(mock.patch(f"swatcost.{place}", refuse))
        yield


def wrong(words: list[str]) -> str | None:
    """What a command line did that it must not; None if nothing."""
    before = set(os.listdir())
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.simplefilter("always")
        code = main(words)
    made = set(os.listdir()) - before
    for each in made:
        remove(Path(each))
    printed, lines = out.getvalue(), err.getvalue().splitlines()
    if code not in (0, 2) and (code, words[0]) != (1, "solve"):  # 1: the goal is out of reach, as is printed
        return f"exit code {code}"
    if [each for each in lines if not each.startswith("swatcost: ")]:
        return f"standard error: {err.getvalue()}"
    if code == 2 and (printed or not lines):
        return f"exit code 2 after output {printed[:200]!r}, standard error {err.getvalue()!r}"
    if code == 2 and made and "not done here" not in lines[-1]:
        return f"exit code 2 with files left: {', '.join(sorted(made))}: {err.getvalue()}"
    if [each for each in made if each.endswith(".part")]:
        return f"temporary files left: {', '.join(made)}"
    page = printed.startswith("<!DOCTYPE")
    if code == 0 and not page and (found := _WORDS.search(printed)) and not any(_WORDS.search(each) for each in words):
        return f"{found[0]!r} in the output: {printed[max(0, found.start() - 200) : found.end() + 100]}"
    if code == 0 and "--format" in words and "json" in words and printed.startswith("{"):
        json.loads(printed, parse_constant=_refuse)
    return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} in JSON")


def remove(path: Path) -> None:
    if path.is_dir():
        for each in path.iterdir():
            remove(each)
        path.rmdir()
    else:
        path.unlink()


def check(seed: int) -> str | None:
    words = Commands(seed).line()
    try:
        with without_long_work():
            found = wrong(words)
    except BaseException as error:
        error.add_note(f"swatcost {shlex.join(words)}")
        if isinstance(error, SystemExit):
            raise RuntimeError(f"it exits by itself: {error}") from error
        raise
    return found and f"{found}\nswatcost {shlex.join(words)}"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    os.environ |= {"SWATCOST_CACHE_DIR": "", "HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        prepare()
        sys.exit(fuzz("commands", check))
