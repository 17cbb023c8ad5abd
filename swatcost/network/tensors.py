"""The tensors of a training step: where they are stored, which are saved, how long they live."""

from dataclasses import dataclass
from typing import Literal

from swatcost.network.fields import Name, Natural, Positive


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The memory of one or several tensors of a training step, other than parameters and buffers.

    `bytes` is its size at the traced batch size; if `scales_with_batch`, it is proportional to the batch size.
    `float_bytes` is the size of a floating-point element, which depends on the precision; 0 for integers.
    """

    bytes: Natural
    scales_with_batch: bool
    float_bytes: Natural


@dataclass(frozen=True, kw_only=True)
class SavedTensor:
    """A tensor that autograd keeps for the backward pass.

    `storage` is the index of its Storage in `Network.storages`: two saved tensors in one storage cost its bytes
    once. `operation` is the operation that saves it and `held_by` the qualified name of the innermost module that was
    running; `as_layer_input` says that a layer of the trace saves it as its input, not another operation of that
    module.
    """

    storage: Natural
    operation: Name
    held_by: Name
    as_layer_input: bool


@dataclass(frozen=True, kw_only=True)
class Accumulation:
    """The first time that the backward pass accumulates a parameter's gradient: after `event` events of the timeline.

    `parameter` is the index of its Parameter in `Network.parameters`, and `storage` that of the storage which is its
    gradient from then on. `copied` says that this storage was made by accumulating: the gradient as computed could not
    be kept (it was expanded, say), and nothing would be allocated if there were a gradient to add it to.
    """

    parameter: Natural
    storage: Natural
    event: Natural
    copied: bool = False


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The order in which a forward and a backward pass allocate and free storages.

    An event is n + 1 where storage n is allocated and −(n + 1) where it is freed; the backward pass begins at event
    `backward`. The first `inputs` storages are the network's inputs; `gradients` are the storages of parameters'
    gradients, `targets` those that the loss is given, such as labels, which are allocated after the inputs.
    `accumulations` say when gradients become that, in this order; older traces have none. If the backward pass could
    not be run, `backward` is the number of events.
    """

    events: tuple[int, ...] = ()
    backward: Natural = 0
    gradients: tuple[Natural, ...] = ()
    inputs: Natural = 0
    targets: tuple[Natural, ...] = ()
    accumulations: tuple[Accumulation, ...] = ()

    @property
    def allocations(self) -> dict[int, int]:
        """The place in `events` at which each storage is allocated."""
        return {event - 1: place for place, event in enumerate(self.events) if event > 0}

    def check(self) -> None:
        """Raises ValueError unless every storage is allocated once and freed at most once, after its allocation."""
        made: set[int] = set()
        alive: set[int] = set()
        for event in self.events:
            if event > 0 and event not in made:
                made.add(event)
                alive.add(event)
            elif event < 0 and -event in alive:
                alive.remove(-event)
            else:
                raise ValueError(
                    f"its timeline allocates or frees storage {abs(event) - 1} twice, or frees it before allocating it"
                )


@dataclass(frozen=True, kw_only=True)
class Movement:
    """An operation of a step that multiplies no tensors: its time is that of reading and writing them.

    `operation` is torch's name of it, such as "native_batch_norm" or "threshold_backward". `in_pass` is the pass that
    runs it; what checkpointing recomputes runs in the backward pass. `calls` is the number of calls that move as many
    bytes: each reads and writes `fixed_bytes` [bytes], whatever the batch, and `batch_bytes` [bytes] at the traced
    batch size, which are proportional to it.
    """

    operation: Name
    in_pass: Literal["forward", "backward"]
    calls: Positive
    fixed_bytes: Natural
    batch_bytes: Natural


@dataclass(frozen=True, kw_only=True)
class StepTensors:
    """The tensors of a step: their storages, those that autograd saves, their lifetimes, and each layer's input.

    `movements` are the operations that only move them, in the order of their first calls; older traces have none.

    Raises ValueError if they contradict each other.
    """

    storages: tuple[Storage, ...]
    saved: tuple[SavedTensor, ...]
    timeline: Timeline
    layer_inputs: tuple[Natural, ...]
    movements: tuple[Movement, ...] = ()

    def __post_init__(self) -> None:
        used = [each.storage for each in self.saved] + [abs(event) - 1 for event in self.timeline.events]
        used += (*self.timeline.gradients, *self.timeline.targets, *self.layer_inputs)
        if used and not 0 <= min(used) <= max(used) < len(self.storages):
            raise ValueError(f"a tensor is in none of the {len(self.storages)} storages")
        self.timeline.check()
        if self.timeline.backward > len(self.timeline.events):
            raise ValueError("its backward pass begins after its timeline ends")
        for each in self.timeline.accumulations:
            if each.storage not in self.timeline.gradients:
                raise ValueError("it accumulates a gradient that no parameter has")
            if not self.timeline.backward <= each.event <= len(self.timeline.events):
                raise ValueError("it accumulates a gradient outside its backward pass")
