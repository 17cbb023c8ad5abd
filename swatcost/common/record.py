"""The record of a training run: JSON lines, written during the run and read as data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal

import msgspec

try:
    import fcntl
except ImportError:  # Windows: nothing prevents two runs from writing to the same record
    fcntl = None  # type: ignore[assignment]

from swatcost.common.errors import SwatcostError
from swatcost.common.files import append_whole, cannot_write, write_atomically
from swatcost.common.reading import LARGEST_RECORD, Amount, Share, json_of, lines_of, read, warn
from swatcost.common.result import Result

SCHEMA: Literal["swatcost.record/1"] = "swatcost.record/1"


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class LayerRecord(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Measurements of one weight at one step.

    Thresholds are magnitudes (L1 norms per kernel), absent if there is none or more than one; sparsities are those of
    the actual masks, and `default_act_sparsity` is the fraction of zeros in the input before masking. `momentum_share`
    is the mean |momentum| of active weights over that of all layers. `macs` are the multiplications executed, by pass,
    and `kept_bytes` the bytes of the masked copies kept for the backward pass.
    """

    weight: str
    weight_threshold: Amount | None = None
    act_threshold: Amount | None = None
    weight_sparsity: Share
    act_sparsity: Share
    default_act_sparsity: Share
    output_sparsity: Share = 0.0
    momentum_share: Amount | None = None
    topk_seconds: Amount
    macs: dict[Literal["forward", "grad_input", "grad_weight"], _Count]
    kept_bytes: _Count


class Header(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag="header", tag_field="kind"):
    """The description of a run: everything that is needed to resume it."""

    schema: Literal["swatcost.record/1"] = SCHEMA
    version: str
    settings: dict[str, Any]
    classes: _Positive
    input_shape: tuple[_Positive, ...]
    data: str
    steps: _Positive
    weights: tuple[str, ...]


class Step(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="step", tag_field="kind"):
    """One training step: the mean loss and the accuracy on its batch [-], its time and that of its Top-K [s].

    Some steps are measured: these have `layers` and the bytes that autograd saves, and their time includes counting.
    """

    step: _Count
    loss: Annotated[float, msgspec.Meta(ge=-1e30, le=1e30)]
    accuracy: Share
    seconds: Amount
    topk_seconds: Amount
    saved_bytes: _Count | None = None
    layers: tuple[LayerRecord, ...] = ()


class Test(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag="test", tag_field="kind"):
    """The accuracy on held-out samples [-] after `steps` steps."""

    __test__ = False  # despite its name not a pytest class
    steps: _Positive
    accuracy: Share


_Line = Header | Step | Test


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
        """The steps in which layers were measured."""
        return tuple(step for step in self.steps if step.layers)

    def by_layer(self) -> dict[str, dict[str, float]]:
        """Columns by weight: weights, acts, zeros, and share where momentum was recorded.

        Sparsities are means over the measured steps; zeros are those of the input before masking. share is the
        momentum's share at the last measured step.
        """
        if not self.measured:
            raise SwatcostError(f"{self.path} has no step in which layers were measured")
        if (done := len(self.steps)) < self.header.steps:
            warn(f"{self.path} is of an unfinished run: {done:,} of {self.header.steps:,} steps")
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
    """Reads a record. An incomplete last line, as a killed run leaves, is dropped.

    Raises SwatcostError if the file cannot be read or is damaged, naming the line.
    """
    lines = read(path, "record of a run", lambda text: lines_of(text, _line), LARGEST_RECORD, growing=True)
    if not lines or not isinstance(header := lines[0], Header):
        raise SwatcostError(f"{path} is not the record of a run: it does not begin with a header")
    steps: list[Step] = []
    tests: list[Test] = []
    for number, line in enumerate(lines[1:], 2):
        if fault := _fault(line, header, len(steps), tests[-1].steps if tests else 0):
            raise SwatcostError(f"{path} is not a usable record of a run: line {number}: {fault}")
        steps += [line] if isinstance(line, Step) else []
        tests += [line] if isinstance(line, Test) else []
    return Record(str(path), header, tuple(steps), tuple(tests))


def _line(text: str) -> _Line:
    line: _Line = msgspec.convert(json_of(text), _Line)
    return line


def _fault(line: _Line, header: Header, done: int, tested: int) -> str:
    """What is wrong with a line after `done` steps, the last test after `tested` of them; empty if nothing is."""
    if isinstance(line, Header):
        return "a second header"
    if isinstance(line, Test):
        return "" if tested < line.steps == done else f"a test after {line.steps} steps where {done} stand before it"
    if line.step != done or done >= header.steps:
        return f"step {line.step} of {header.steps}, where {done} stand before it"
    if line.layers and tuple(layer.weight for layer in line.layers) != header.weights:
        return f"the layers of step {line.step} are not those of the header"
    return ""


def cut(path: Path, steps: int) -> None:
    """Removes everything after the first `steps` steps from a record, as if the run had stopped there."""
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
        """With a header, begins a new record, which must not exist yet; without, appends to an existing one."""
        self._path = path
        flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if header else 0)
        try:
            self._file = os.fdopen(os.open(path, flags, 0o666), "ab", buffering=0)  # nothing is left to fail at the end
        except FileExistsError:
            raise SwatcostError(f"{path} already exists: give another --output, or continue it with --resume") from None
        except (OSError, ValueError) as error:
            raise cannot_write(path, error) from None
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise SwatcostError(f"{path} is being written by another run") from None
        if header:
            try:
                self.append(header)
            except SwatcostError:
                self._file.close()
                path.unlink(missing_ok=True)  # it was not there before
                raise

    def append(self, line: _Line) -> None:
        """Writes a line at once, so that an interrupted run keeps it."""
        append_whole(self._file.fileno(), _encoded(line), self._path)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
