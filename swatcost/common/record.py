"""The record of a training run: JSON lines, written as the run goes and read as data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

try:
    import fcntl
except ImportError:  # Windows: two runs into one record are not kept apart
    fcntl = None  # type: ignore[assignment]

from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_atomically
from swatcost.common.result import Result

SCHEMA: Literal["swatcost.record/1"] = "swatcost.record/1"


class LayerRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One weight at a step.

    Thresholds are magnitudes (L1 norms by kernel), absent where there is none or more than one; sparsities are those
    that masks really have, and `default_act_sparsity` the zeros that the input has before. `momentum_share` is the mean
    |momentum| of active weights over that of all layers. `macs` are multiplications executed, by pass, and
    `kept_bytes` of the masked copies that are kept for the backward pass.
    """

    weight: str
    weight_threshold: float | None = None
    act_threshold: float | None = None
    weight_sparsity: float
    act_sparsity: float
    default_act_sparsity: float
    output_sparsity: float = 0.0
    momentum_share: float | None = None
    topk_seconds: float
    macs: dict[str, int]
    kept_bytes: int


class Header(msgspec.Struct, kw_only=True, tag="header", tag_field="kind"):
    """What a run is: all that is needed to go on with it."""

    schema: Literal["swatcost.record/1"] = SCHEMA
    version: str
    settings: dict[str, Any]
    classes: int
    input_shape: tuple[int, ...]
    data: str
    steps: int
    weights: tuple[str, ...]


class Step(msgspec.Struct, kw_only=True, omit_defaults=True, tag="step", tag_field="kind"):
    """One training step: the mean loss and the accuracy on its batch [-], its time and that of its Top-K [s].

    Some steps are measured: those have `layers`, the bytes that autograd keeps, and a time that counting is part of.
    """

    step: int
    loss: float
    accuracy: float
    seconds: float
    topk_seconds: float
    saved_bytes: int | None = None
    layers: tuple[LayerRecord, ...] = ()


class Test(msgspec.Struct, kw_only=True, tag="test", tag_field="kind"):
    """The accuracy on held-out samples [-] after so many steps."""

    __test__ = False  # no test case, whatever its name
    steps: int
    accuracy: float


_Line = Header | Step | Test
_DECODER = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, repr=False)
class Record(Result):
    """A run's header, steps and tests, in order."""

    report = "run"

    path: str
    header: Header
    steps: tuple[Step, ...]
    tests: tuple[Test, ...]

    @property
    def measured(self) -> tuple[Step, ...]:
        """The steps in which layers were looked at."""
        return tuple(step for step in self.steps if step.layers)

    def by_layer(self) -> dict[str, dict[str, float]]:
        """Columns by weight: sparsities as means over the measured steps, the momentum's share as it was last.

        weights, acts, zeros (what the input has before it is masked) and share, where momentum was recorded.
        """
        if not self.measured:
            raise SwatcostError(f"{self.path} has no step in which layers were measured")
        columns = {"weights": "weight_sparsity", "acts": "act_sparsity", "zeros": "default_act_sparsity"}
        rows: dict[str, dict[str, float]] = {weight: {} for weight in self.header.weights}
        for name, field in columns.items():
            for place, weight in enumerate(self.header.weights):
                values = [getattr(step.layers[place], field) for step in self.measured]
                rows[weight][name] = sum(values) / len(values)
        for layer in self.measured[-1].layers:
            if layer.momentum_share is not None:
                rows[layer.weight]["share"] = layer.momentum_share
        return rows


def read_record(path: str | Path) -> Record:
    """Reads a record. A last line that was cut off, by a run that was killed, is left out.

    Raises SwatcostError when the file cannot be read or is damaged, naming the line.
    """
    try:
        lines = Path(path).read_bytes().splitlines(keepends=True)
    except (OSError, ValueError) as error:
        raise SwatcostError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    entries: list[_Line] = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(_DECODER.decode(line))
        except (msgspec.DecodeError, RecursionError) as error:
            raise SwatcostError(f"{path} is no usable record of a run: line {number}: {error}") from None
    if not entries or not isinstance(header := entries[0], Header):
        raise SwatcostError(f"{path} is no record of a run: it does not begin with a header")
    steps = tuple(each for each in entries if isinstance(each, Step))
    for step in steps:
        if step.layers and tuple(layer.weight for layer in step.layers) != header.weights:
            raise SwatcostError(
                f"{path} is no usable record of a run: step {step.step} has other layers than its header"
            )
    return Record(str(path), header, steps, tuple(each for each in entries if isinstance(each, Test)))


def cut(path: Path, steps: int) -> None:
    """Takes everything after so many steps out of a record, as if the run had stopped there."""
    record = read_record(path)
    kept: list[_Line] = [record.header]
    kept += sorted(
        [each for each in record.steps if each.step < steps] + [each for each in record.tests if each.steps <= steps],
        key=lambda each: each.step + 0.5 if isinstance(each, Step) else each.steps,
    )
    write_atomically(path, "".join(_encoded(each).decode() for each in kept))


def _encoded(line: _Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"


class Writer:
    """Appends to a record, a whole line at a time. Raises SwatcostError when the file cannot be written."""

    def __init__(self, path: Path, header: Header | None = None) -> None:
        """With a header, begins a new record, which must not be there yet; without, goes on with one."""
        self._path = path
        flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if header else 0)
        try:
            self._file = os.fdopen(os.open(path, flags, 0o666), "ab")
        except FileExistsError:
            raise SwatcostError(f"{path} is there already: name another --output, or go on with --resume") from None
        except (OSError, ValueError) as error:
            raise SwatcostError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise SwatcostError(f"{path} is being written by another run") from None
        if header:
            self.append(header)

    def append(self, line: _Line) -> None:
        """Writes a line and hands it to the system, so that an interrupted run keeps it."""
        try:
            self._file.write(_encoded(line))
            self._file.flush()
        except OSError as error:
            raise SwatcostError(f"cannot write {self._path}: {error.strerror or error}") from None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
