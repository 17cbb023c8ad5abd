"""What work costs on a machine: profiles as TOML files, and their loader."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import msgspec

from swatcost.errors import SwatcostError
from swatcost.registry import nearest

PositiveSeconds = Annotated[float, msgspec.Meta(gt=0, lt=1e9)]
PositiveCount = Annotated[int, msgspec.Meta(gt=0)]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measured time [s] for so many elements."""

    seconds: PositiveSeconds
    elements: PositiveCount

    @property
    def per_element(self) -> float:
        """Seconds an element."""
        return self.seconds / self.elements


@dataclass(frozen=True, kw_only=True)
class TopkTimes:
    """What selecting the K largest costs in weights and in activations."""

    weights: Measured
    activations: Measured


@dataclass(frozen=True, kw_only=True)
class DenseStep:
    """A measured dense forward and backward pass of a network.

    `training_macs` are the network's own, per sample, as autograd executes them (convention `exact`): they
    tell the network from another of the same name and give the throughput.
    """

    network: str
    batch_size: PositiveCount
    seconds: PositiveSeconds
    training_macs: PositiveCount


@dataclass(frozen=True)
class StepTime:
    """The time of a dense training step [s], and a phrase that says where it comes from."""

    seconds: float
    source: str
    measured: bool


@dataclass(frozen=True, kw_only=True)
class Device:
    """A machine's profile. The first dense step gives the throughput for networks without one of their own."""

    name: str
    title: str
    source: str
    topk: TopkTimes
    dense_steps: Annotated[tuple[DenseStep, ...], msgspec.Meta(min_length=1)]

    @property
    def macs_per_second(self) -> float:
        """Executed multiply-accumulates a second in the first measured dense step."""
        step = self.dense_steps[0]
        return step.training_macs * step.batch_size / step.seconds

    def dense_step(self, network: str, training_macs: int, batch_size: int) -> StepTime:
        """The time of a dense training step of batch_size samples.

        training_macs are per sample, as autograd executes them.
        """
        measured = [step for step in self.dense_steps if (step.network, step.training_macs) == (network, training_macs)]
        if measured:
            step = min(measured, key=lambda step: abs(step.batch_size - batch_size))
            scaled = "" if step.batch_size == batch_size else f" at batch {step.batch_size} and scaled to {batch_size}"
            seconds = step.seconds * batch_size / step.batch_size
            return StepTime(seconds, f"measured{scaled} ({self.source})", measured=True)
        step = self.dense_steps[0]
        return StepTime(
            training_macs * batch_size / self.macs_per_second,
            f"not measured, estimated from the throughput of {step.network} at batch {step.batch_size}, "
            f"{self.macs_per_second / 1e12:.2f} TMAC/s",
            measured=False,
        )


_PROFILES = files(__package__)


def device_names() -> list[str]:
    """The shipped profiles."""
    return sorted(each.name.removesuffix(".toml") for each in _PROFILES.iterdir() if each.name.endswith(".toml"))


def load_device(name: str) -> Device:
    """Reads a shipped profile by its name, or a profile of one's own by the path of its .toml file.

    Raises SwatcostError for an unknown name and for a file that is no profile.
    """
    source: Traversable
    if name.endswith(".toml"):
        source = Path(name)
    elif name in (names := device_names()):
        source = _PROFILES / f"{name}.toml"
    else:
        raise SwatcostError(f"unknown device {name!r}: {nearest(name, names)}")
    try:
        return msgspec.convert(tomllib.loads(source.read_text(encoding="utf-8")), Device)
    except OSError as error:
        raise SwatcostError(f"cannot read device profile {name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise SwatcostError(f"{name} is not a usable device profile: {error}") from None
