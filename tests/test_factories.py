"""Factories that fail or meddle: one line that names the factory, and everything else as it was."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from swatcost.cli import main

FILE = """
import os, random, sys
import numpy as np
import torch
from torch import nn

class Odd(BaseException):
    pass

class Nasty(Exception):
    def __str__(self):
        raise RuntimeError("worse")

def raises(): raise ValueError("no\\nluck")
def exits(): sys.exit(3)
def exits_with_words(): raise SystemExit("bye\\nnow")
def ends(): raise GeneratorExit
def odd(): raise Odd("odd")
def nasty(): raise Nasty()
def recursion(): return recursion()
def memory(): raise MemoryError
def stops(): raise StopIteration(5)
def steers(): raise ValueError("\\x1b[2J\\u202eevil")
def interrupts(): raise KeyboardInterrupt
def nothing(): return None
def number(): return 5
def a_class(): return nn.Linear
def too_much(): return nn.Linear(4, 4), torch.zeros(1, 4), 3
def empty(): return ()
def needs(width): return nn.Linear(4, width)

def meddles():
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(7), random.seed(7), np.random.seed(7)
    sys.setrecursionlimit(500)
    os.chdir("/")
    return nn.Linear(4, 4), torch.zeros(3, 4)

def meddles_and_raises():
    meddles()
    raise ValueError("after all")
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWATCOST_CACHE_DIR", "")
    path = tmp_path / "factories.py"
    path.write_text(FILE)
    return path


def state() -> list[Any]:
    return [
        torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
        torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist(),  # type: ignore[union-attr, index]
        sys.getrecursionlimit(), os.getcwd(), sys.path,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("raises", "raised ValueError: no"),
        ("exits", "raised SystemExit: 3"),
        ("exits_with_words", "raised SystemExit: bye"),
        ("ends", "raised GeneratorExit: GeneratorExit"),
        ("odd", "raised Odd: odd"),
        ("nasty", "raised Nasty: Nasty"),
        ("recursion", "raised RecursionError: maximum recursion depth exceeded"),
        ("memory", "raised MemoryError: MemoryError"),
        ("stops", "raised StopIteration: 5"),
        ("steers", "raised ValueError: ?[2J?evil"),
        ("nothing", "returned a value of type NoneType"),
        ("number", "returned a value of type int"),
        ("a_class", "returned a value of type type"),
        ("too_much", "returned a value of type tuple"),
        ("empty", "returned a value of type tuple"),
        ("needs", "raised TypeError: needs() missing 1 required positional argument"),
        ("meddles_and_raises", "raised ValueError: after all"),
    ],
)
def test_a_factory_that_fails_is_one_line(factory: str, words: str, file: Path, capsys: pytest.CaptureFixture) -> None:
    before = state()
    assert main(["trace", f"{file}:{factory}"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"swatcost: {file}:{factory} {words}")
    assert state() == before


def test_an_interrupt_in_a_factory_is_an_interrupt(file: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["trace", f"{file}:interrupts"]) == 130
    assert capsys.readouterr().err.strip() == "swatcost: interrupted"


def test_global_state_is_as_before_whatever_a_factory_does(file: Path, capsys: pytest.CaptureFixture) -> None:
    before = state()
    assert main(["trace", f"{file}:meddles"]) == 0
    assert state() == before
    assert capsys.readouterr().err == ""
