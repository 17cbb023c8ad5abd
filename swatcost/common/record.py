"""The record of a training run: JSON lines, written during the run and read as data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

try:
    import fcntl
except ImportError:  # Windows: nothing prevents two runs from writing to the same record
    fcntl = None  # type: ignore[assignment]

from swatcost.common.errors import SwatcostError
from swatcost.common.files import append_whole, cannot_write, write_atomically
from swatcost.common.result import Result

SCHEMA: Literal["swatcost.record/1"] = "swatcost.record/1"


class LayerRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Measurements of one weight at one step.

    Thresholds are magnitudes (L1 norms per kernel), absent if there is none or more than one; sparsities are those of
    the actual masks, and `default_act_sparsity` is the fraction of zeros in the input before masking. `momentum_share`
    is the mean |momentum| of active weights over that of all layers. `macs` are the multiplications executed, by pass,
    and `kept_bytes` the bytes of the masked copies kept for the backward pass.
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
    """The description of a run: everything that is needed to resume it."""

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

    Some steps are measured: these have `layers` and the bytes that autograd saves, and their time includes counting.
    """

    step: int
    loss: float
    accuracy: float
    seconds: float
    topk_seconds: float
    saved_bytes: int | None = None
    layers: tuple[LayerRecord, ...] = ()


class Test(msgspec.Struct, kw_only=True, tag="test", tag_field="kind"):
    """The accuracy on held-out samples [-] after `steps` steps."""

    __test__ = False  # despite its name not a pytest class
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
        """The steps in which layers were measured."""
        return tuple(step for step in self.steps if step.layers)

    def by_layer(self) -> dict[str, dict[str, float]]:
        """Columns by weight: weights, acts, zeros, and share where momentum was recorded.

        Sparsities are means over the measured steps; zeros are those of the input before masking. share is the
        momentum's share at the last measured step.
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
    """Reads a record. An incomplete last line, as a killed run leaves, is dropped.

    Raises SwatcostError if the file cannot be read or is damaged, naming the line.
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
            raise SwatcostError(f"{path} is not a usable record of a run: line {number}: {error}") from None
    if not entries or not isinstance(header := entries[0], Header):
        raise SwatcostError(f"{path} is not the record of a run: it does not begin with a header")
    steps = tuple(each for each in entries if isinstance(each, Step))
    for step in steps:
        if step.layers and tuple(layer.weight for layer in step.layers) != header.weights:
            raise SwatcostError(
                f"{path} is not a usable record of a run: the layers of step {step.step} are not those of the header"
            )
    return Record(str(path), header, steps, tuple(each for each in entries if isinstance(each, Test)))


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
