"""Measuring a machine: dense operations, memory-bound ones, sparse kernels, Top-K, and a profile made of all."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.common.units import checked_count
from swatcost.devices import DenseStep, Device, Rates
from swatcost.devices.fits import fitted
from swatcost.devices.operations import ProductPrecision
from swatcost.reference.calibration_record import Conditions, recording
from swatcost.reference.instructions import Instructions
from swatcost.reference.left_out import LeftOut, left_out
from swatcost.reference.measured_networks import PERIOD, DenseStepTime, sparse
from swatcost.reference.measured_selections import algorithms, line
from swatcost.reference.measured_tables import tables
from swatcost.reference.measurements import (
    Measurement,
    Sizes,
    conditions,
    measured_operations_of,
    measurements,
    operation_key,
    step_key,
    steps_key,
    stream_key,
    topk_key,
)
from swatcost.reference.quiet import DISTURBED, quietest
from swatcost.reference.runnable import runnable
from swatcost.timing.dense_step import StepTime

PRECISIONS: dict[str, tuple[ProductPrecision, ...]] = {
    "cpu": ("fp32", "bf16"),
    "cuda": ("fp32", "tf32", "bf16", "fp16"),
}
"""In what dense operations can be measured, by device."""

_TOPK_NETWORK = "cifar_resnet18"  # whose Top-K is timed if no network is asked for


@dataclass(frozen=True)
class TimedSelection:
    """The time of one algorithm on one array [s], measured and on the fitted line."""

    algorithm: str
    elements: int
    seconds: float
    fitted: float


@dataclass(frozen=True)
class TimedOperation:
    """One measured operation: its kind, pass or precision in words, its work, its time [s], and its spread [-]."""

    kind: str
    name: str
    in_pass: str
    precision: str
    macs: int
    bytes: int
    seconds: float
    spread: float


@dataclass(frozen=True)
class Prediction:
    """A time [s] of one network, predicted by the profile and measured."""

    network: str
    batch_size: int
    quantity: str
    predicted: float
    measured: float
    calibrated_on: bool

    @property
    def error(self) -> float:
        """predicted / measured − 1 [-]."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, kw_only=True, repr=False)
class Calibration(Result):
    """A device profile, the measurements that it consists of or was fitted to, and its predictions beside times.

    `disturbed` names the measurements during which other programs were running.
    """

    report = "calibration"

    device: Device
    operations: tuple[TimedOperation, ...]
    disturbed: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    selections: tuple[TimedSelection, ...]
    instructions: tuple[Instructions, ...]
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class Standing:
    """How far a calibration is, before a measurement: how many are done of all, and the expected seconds likewise."""

    key: str
    done: int
    of: int
    done_seconds: float
    of_seconds: float


def calibrate(
    *,
    name: str = "this-machine",
    networks: Sequence[str] = (),
    unseen: Sequence[str] = ("cifar_vgg16",),
    batch_size: int = 8,
    on: str = "cpu",
    precisions: Sequence[ProductPrecision] = ("fp32",),
    count_instructions: bool = True,
    record: Path | None = None,
    sizes: Sizes | None = None,
    progress: Callable[[Standing], object] = lambda standing: None,
) -> Calibration:
    """Measures this machine.

    Dense operations are measured in fp32 and the other `precisions`, memory-bound operations by bytes, sparse kernels
    beside dense ones, and Top-K by algorithm; `sizes` can name fewer. The dense steps of networks are measured too;
    with two or more, rates are fitted to them. The steps of unseen networks
    are predicted and measured, with nothing fitted to them. batch_size is that of all steps, on is cpu or cuda.

    Each measurement is appended to the record, if there is one, and is not repeated if the record has it. progress is
    called before each.

    Raises SwatcostError for a network that cannot be run, for cuda without a GPU, and for a record of another machine,
    torch version or number of threads.
    """
    _check(on, precisions)
    sizes = sizes or Sizes()
    if not networks and not sizes.shapes:
        raise SwatcostError("there is nothing to time a step by: give networks, or shapes of operations")
    checked_count(batch_size, "batch_size")
    precisions = tuple(dict.fromkeys(("fp32", *precisions)))
    unseen = [network for network in unseen if network not in networks]
    topk_network = (*networks, _TOPK_NETWORK)[0]
    todo = measurements(
        sizes=sizes, precisions=precisions, networks=networks, unseen=unseen, topk_network=topk_network,
        batch_size=batch_size, on=on, count_instructions=count_instructions,
    )  # fmt: skip
    found = measure(todo, conditions(on), record, progress)
    results = found.results
    source = _source(conditions(on))
    measured = tables(sizes, precisions, on, source, results)
    device = Device(
        name=name,
        title=conditions(on).machine,
        source=source,
        topk=results[topk_key(topk_network, batch_size)],
        dense_steps=tuple(_dense_step(network, batch_size, results) for network in networks),
        rates=_rates(networks, batch_size, results),
        peaks=results["products and copies"],
        selections=tuple(line(algorithm, results[algorithm]) for algorithm in algorithms(on)),
        masking=line("masking", results["masking"]),
        memory_bytes=int(torch.cuda.get_device_properties(0).total_memory) if on == "cuda" else None,
        operations=measured.operations,
        streams=measured.streams,
        kernels=measured.kernels,
    )
    return Calibration(
        device=device,
        disturbed=found.disturbed,
        left_out=left_out(device),
        operations=(*_operations(sizes, precisions, results), *_streams(sizes, results)),
        selections=tuple(
            TimedSelection(each, size, seconds, device.selection(each).seconds(size))
            for each in algorithms(on)
            for size, seconds in results[each].items()
        ),
        instructions=results.get("instructions of numpy.partition", ()),
        predictions=tuple(
            each
            for network in (*networks, *unseen)
            for each in _predictions(network, batch_size, device, results, calibrated_on=network in networks)
        ),
    )


def _check(on: str, precisions: Sequence[str]) -> None:
    if on == "cuda" and not torch.cuda.is_available():
        raise SwatcostError("on 'cuda': torch finds no usable GPU")
    for each in precisions:
        if each not in PRECISIONS[on]:
            raise SwatcostError(f"precision {each!r} on {on}: choose from {', '.join(PRECISIONS[on])}")


@dataclass(frozen=True)
class Measured:
    """Results by key, and the keys of those that were measured while other programs were running."""

    results: Mapping[str, Any]
    disturbed: tuple[str, ...]


def measure(
    todo: Sequence[Measurement],
    under: Conditions,
    record: Path | None,
    progress: Callable[[Standing], object],
) -> Measured:
    """The results by key: those that the record has, and all others, which are measured and appended to it.

    What was measured while other programs were running is measured again, a few times at most.
    """
    results: dict[str, Any] = {}
    disturbed: list[str] = []
    with recording(record, under) as (recorded, write), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR|BSR) tensor support")  # is in beta state
        for each in todo:
            if each.key in recorded:
                results[each.key] = _of_record(each, recorded[each.key].value, record)
                disturbed += [each.key] * (recorded[each.key].others > DISTURBED)
        left = [each for each in todo if each.key not in results]
        total = sum(each.expected_seconds for each in todo)
        done = total - sum(each.expected_seconds for each in left)
        for each in left:
            progress(Standing(each.key, len(results), len(todo), done, total))
            results[each.key], others = quietest(each.run)
            write(each.key, results[each.key], others)
            disturbed += [each.key] * (others > DISTURBED)
            done += each.expected_seconds
    return Measured(results, tuple(disturbed))


def _of_record(measurement: Measurement, found: Any, record: Path | None) -> Any:
    try:
        return msgspec.convert(found, measurement.of, str_keys=True)
    except msgspec.ValidationError as error:
        raise SwatcostError(
            f"{record} is a damaged record of a calibration: {measurement.key!r:.80}: {error}"
        ) from None


def _source(under: Conditions) -> str:
    where = f"{under.threads} threads" if under.on == "cpu" else "CUDA"
    return f"measured by swatcost calibrate, torch {under.torch}, {where}"


def _faster(network: str, batch_size: int, results: Mapping[str, Any]) -> DenseStepTime:
    """A network's dense step was measured twice, in case something disturbed one of them."""
    twice: list[DenseStepTime] = [results[step_key(network, batch_size, again)] for again in (False, True)]
    return min(twice, key=lambda each: each.seconds)


def _dense_step(network: str, batch_size: int, results: Mapping[str, Any]) -> DenseStep:
    found = _faster(network, batch_size, results)
    return DenseStep(network=network, batch_size=batch_size, seconds=found.seconds, training_macs=found.training_macs)


def _rates(networks: Sequence[str], batch_size: int, results: Mapping[str, Any]) -> Rates | None:
    """The throughput and bandwidth that best fit the dense steps of networks.

    None if the two cannot be told apart: with fewer than two steps, or where only one of them explains the times.
    """
    steps = [_faster(network, batch_size, results) for network in networks]
    if len(steps) < 2:
        return None
    work = [(float(each.training_macs * batch_size), float(each.traffic_bytes)) for each in steps]
    fit = fitted(work, [each.seconds for each in steps])
    if not all(fit.coefficients):
        return None
    of_macs, of_bytes = fit.coefficients
    return Rates(macs_per_second=1 / of_macs, bytes_per_second=1 / of_bytes, worst_residual=fit.worst_residual)


def _operations(
    sizes: Sizes, precisions: Sequence[ProductPrecision], results: Mapping[str, Any]
) -> list[TimedOperation]:
    found = []
    for shape, in_pass, precision in measured_operations_of(sizes, precisions):
        result = results[operation_key(shape, in_pass, precision)]
        macs = shape.point(1.0).macs
        found.append(TimedOperation(shape.kind, shape.name, in_pass, precision, macs, 0, result.seconds, result.spread))
    return found


def _streams(sizes: Sizes, results: Mapping[str, Any]) -> list[TimedOperation]:
    found = []
    for stream in sizes.streams:
        for size in sizes.stream_bytes:
            result = results[stream_key(stream, size)]
            found.append(
                TimedOperation(
                    stream.kind, stream.name, stream.in_pass, "fp32", 0, result.bytes, result.seconds, result.spread
                )
            )
    return found


def _predictions(
    network: str, batch_size: int, device: Device, results: Mapping[str, Any], *, calibrated_on: bool
) -> list[Prediction]:
    """A dense step, one Top-K and a step of the reference: predicted by the profile, and measured."""
    built = runnable(network)
    found = sparse(built, device=device, batch_size=batch_size, period=PERIOD)
    measured = results[steps_key(network, batch_size)]
    update = _update_seconds(found.dense_step)  # not measured here

    def prediction(quantity: str, predicted: float, measured: float) -> Prediction:
        return Prediction(network, batch_size, quantity, predicted, measured, calibrated_on)

    rows = [
        prediction("dense step", found.dense_step.seconds - update, measured.dense),
        prediction("one Top-K", found.topk_seconds, measured.topk),
    ]
    if found.masked_step_seconds is not None:
        quantity = f"SWAT step, masked, period {PERIOD}"
        rows.append(prediction(quantity, found.masked_step_seconds - update, measured.masked))
    return rows


def _update_seconds(step: StepTime) -> float:
    """The optimizer's time in a step that is summed from operations."""
    return sum(each.seconds for each in step.parts if each.in_pass == "update") if step.basis == "operations" else 0.0
