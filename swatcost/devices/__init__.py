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
from swatcost.layer import LARGEST
from swatcost.registry import nearest

PositiveSeconds = Annotated[float, msgspec.Meta(ge=1e-12, le=1e9)]
PositiveCount = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]


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
    """The time of a dense training step [s], and the measured step that it was taken or scaled from.

    `same_network` says whether that was a step of the network itself; otherwise its throughput was used.
    """

    seconds: float
    reference: DenseStep
    same_network: bool


@dataclass(frozen=True, kw_only=True)
class Device:
    """A machine's profile. The first dense step gives the throughput for networks without one of their own.

    `memory_bytes` is what its memory holds, if it says.
    """

    name: str
    title: str
    source: str
    topk: TopkTimes
    dense_steps: Annotated[tuple[DenseStep, ...], msgspec.Meta(min_length=1)]
    memory_bytes: PositiveCount | None = None

    @property
    def macs_per_second(self) -> float:
        """Executed multiply-accumulates a second in the first measured dense step."""
        step = self.dense_steps[0]
        return step.training_macs * step.batch_size / step.seconds

    def dense_step(self, network: str, training_macs: float, batch_size: int) -> StepTime:
        """The time of a dense training step of batch_size samples.

        training_macs are per sample, as autograd executes them.
        """
        own = [step for step in self.dense_steps if (step.network, step.training_macs) == (network, training_macs)]
        if own:
            nearest_step = min(own, key=lambda step: abs(step.batch_size - batch_size))
            return StepTime(nearest_step.seconds * batch_size / nearest_step.batch_size, nearest_step, True)
        return StepTime(training_macs * batch_size / self.macs_per_second, self.dense_steps[0], False)


_PROFILES = files(__package__)


def device_names() -> list[str]:
    """The shipped profiles."""
    return sorted(each.name.removesuffix(".toml") for each in _PROFILES.iterdir() if each.name.endswith(".toml"))


def load_device(name: str | Path) -> Device:
    """Reads a shipped profile by its name, or a profile of one's own by the path of its .toml file.

    Raises SwatcostError for an unknown name and for a file that is no profile.
    """
    source: Traversable = Path(str(name))
    if not str(name).endswith(".toml"):
        if name not in (names := device_names()):
            raise SwatcostError(f"unknown device {name!r}: {nearest(str(name), names)}")
        source = _PROFILES / f"{name}.toml"
    try:
        return msgspec.convert(tomllib.loads(source.read_text(encoding="utf-8")), Device)
    except OSError as error:
        raise SwatcostError(f"cannot read device profile {name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SwatcostError(f"{name} is not a usable device profile: {error}") from None
