"""Runs one training step of a module and records it.

A torch dispatch mode sees every operation below autograd, however the network is written, and saved-tensor hooks see
the tensors that autograd saves. The module runs on stand-ins for its parameters and buffers, and is left unchanged.
"""

import contextlib
import gc
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nested._internal.nested_tensor import NestedTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from swatcost.common.errors import SwatcostError, first_line
from swatcost.network import Network
from swatcost.network.conditions import IN_LOSS
from swatcost.tracing.arguments import tensors_in
from swatcost.tracing.autocast import Autocast
from swatcost.tracing.batch import Batch, Statements
from swatcost.tracing.checkpointing import CheckpointedModules, Checkpointing, modules_to_checkpoint
from swatcost.tracing.flex_attention import FRONT, flex_attention_passed_to
from swatcost.tracing.forward_error import ForwardError
from swatcost.tracing.fused_attention import fused_attention
from swatcost.tracing.loss import Ending, NotAssumableError
from swatcost.tracing.meta_kernels import Kernels
from swatcost.tracing.module_state import stand_in, untouched
from swatcost.tracing.operations import is_composite, name_of, saves
from swatcost.tracing.random_state import Generators
from swatcost.tracing.recording import Recording
from swatcost.tracing.running_modules import Frame, RunningModules
from swatcost.tracing.scripted_calls import flat_weights_replaced, scripts_as_written
from swatcost.tracing.torch_control_flow import eager_control_flow, saving
from swatcost.tracing.value_reads import ValueReads
from swatcost.tracing.wanted import Wanted, installed, region_of


@dataclass(frozen=True)
class Offloaded:
    """A saved tensor that is on the host until the backward pass needs it."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Traced:
    """A trace, what its modules say of the batch, and what may make another run differ.

    `draws` says that the forward pass drew random numbers whose values it may use, `reads` that it read values of
    tensors that are not the same in every run; `operations` is the number of operations that ran.
    """

    network: Network
    batch: Batch | None
    draws: bool
    reads: bool
    operations: int


def traced_step(
    model: nn.Module,
    name: str,
    batch: Batch,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wanted: Wanted,
    *,
    meta: bool,
    seed: int = 0,
    most_operations: int | None = None,
) -> Traced:
    """Runs a module forward and backward once, as is wanted, with this seed for all random generators.

    Raises ForwardError if the module raises, or needs more than `most_operations` operations, SwatcostError if it
    cannot be run as is wanted, and NotAssumableError if it ends in an assumed loss that cannot be computed.
    """
    again = CheckpointedModules(modules_to_checkpoint(model, wanted.checkpoint))
    if wanted.offload and not meta:
        raise SwatcostError(f"offload: {name} has to be run with values, whose way to the host cannot be followed")
    parameters = {key: nn.Parameter(stand_in(each, meta), each.requires_grad) for key, each in model.named_parameters()}
    buffers = {key: stand_in(each, meta) for key, each in model.named_buffers()}
    given = tensors_in((args, kwargs))
    inputs = [each.values() if each.is_nested else each for each in given]
    recording, running = Recording(model, parameters, buffers, inputs, batch), RunningModules(model)
    statements = Statements(model, given)
    generators = Generators(model)
    observer = _Observer(
        model, recording, running, statements, generators, wanted, meta=meta, most_operations=most_operations
    )
    tracked = running.tracked(observer.left), observer.checkpointing.tracked()
    casting = wanted.casting()
    try:
        with (
            untouched(model), generators.restored(), _as_written(), _existing_objects_frozen(), installed(casting),
            tracked[0], tracked[1],
        ):  # fmt: skip
            again.install()
            generators.seed(seed)
            device = torch.device("meta") if meta else contextlib.nullcontext()
            fuses = meta or (casting is not None and casting.is_of_cuda)
            attention = fused_attention(casting) if fuses else contextlib.nullcontext()
            flex = flex_attention_passed_to(observer.flex_attention)
            scripts = flat_weights_replaced(model, parameters)
            try:
                reads = observer.reads.noted()
                saved = saving(observer.save, observer.needed, observer.within_transform)
                with scripts, saved, eager_control_flow(), device, attention, flex, reads, observer:
                    named = {f"model.{key}": each for key, each in (*parameters.items(), *buffers.items())}
                    functional_call(_WholeStep(model, observer, casting), named, args, kwargs)
            except (SwatcostError, NotAssumableError):
                raise
            except (Exception, SystemExit) as error:
                raise ForwardError(error, name, inputs, batch, running.failed_in(error)) from error
        again.check(wanted.checkpoint)
        return observer.traced(name, tuple(again.called))
    except BaseException as error:
        _forget_tensors(error)
        raise
    finally:
        recording.release()


def _forget_tensors(error: BaseException | None) -> None:
    """Clears the local variables of the frames in which the exception and its causes were raised.

    They hold autograd's graph, which has to be freed by `Recording.release`.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


_VALUE = torch.ops.aten._local_scalar_dense.default


class _Observer(TorchDispatchMode):
    """Executes each operation and passes it to the recording, with the module that is running."""

    def __init__(
        self,
        model: nn.Module,
        recording: Recording,
        running: RunningModules,
        statements: Statements,
        generators: Generators,
        wanted: Wanted,
        *,
        meta: bool,
        most_operations: int | None,
    ) -> None:
        super().__init__()
        self.model = model
        self.wanted = wanted
        self.recording = recording
        self.running = running
        self.statements = statements
        self.generators = generators
        self.reads = ValueReads()
        self.operations = 0
        self.most_operations = most_operations
        self.kernels = Kernels() if meta else None
        self.checkpointing = Checkpointing(self.checkpointed)
        self.in_backward = False
        self.in_nested = False
        self.in_transform = False
        self.unlisted_saves: dict[str, None] = {}
        self.draws_values = self.draws_tensors = self.reads_values = False
        self.loss = "none"
        self.targets: list[Tensor] = []
        self.other_leaves: list[Tensor] = []

    def traced(self, name: str, checkpointed: tuple[str, ...]) -> Traced:
        """The trace, once the step is over."""
        # Without values in the inputs, as on the meta device, only drawn ones differ.
        of_values = self.reads_values and (self.kernels is None or self.draws_tensors)
        draws = self.draws_values or (of_values and self.draws_tensors)
        conditions = self.wanted.met(self.loss, checkpointed)
        network = self.recording.network(name, conditions)
        network = replace(network, unlisted_saves=tuple(self.unlisted_saves))
        return Traced(network, self.statements.batch, draws, of_values, self.operations)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(issubclass(each, NestedTensor) for each in types):
            return NotImplemented if self.in_nested else self._nested(func, args, kwargs)
        if is_composite(func):  # without an autograd kernel, as under inference_mode, it arrives whole
            with self:
                return func.decompose(*args, **kwargs)
        of_forward = not self.in_backward or self.checkpointing.depth > 0
        if of_forward:
            self.operations += 1
            if self.most_operations is not None and self.operations > self.most_operations:
                raise RuntimeError(f"it runs more than {self.most_operations:,} operations")
            if func is _VALUE and self.recording.constants.knows(args[0]):
                return self._value(*args)
            self.reads.operation(func, args)
            if self.in_transform and torch.is_grad_enabled() and saves(name_of(func), args):
                self.unlisted_saves[self.running.here.name] = None
            self.recording.operation_begins()
            if func.is_view:
                self.recording.view(func, args)
                return func(*args, **kwargs)
        result = self.kernels.run(func, args, kwargs) if self.kernels else func(*args, **kwargs)
        self.recording.operation_ended(func, result)
        if of_forward and self.in_backward:
            self.recording.recomputed(func, args, kwargs, result, self.running.here)
        elif of_forward:
            self.recording.forward(func, args, kwargs, result, self.running.here)
        elif not func.is_view:
            self.recording.backward(func, args, kwargs, result)
        return result

    def _value(self, constant: Tensor) -> Any:
        """The number in a constant, which is the same in every run."""
        value = self.recording.constants.value(constant)
        return _VALUE(constant if value is None else value)

    def flex_attention(self, args: tuple[Any, ...], result: Any) -> None:
        """Records a call of flex attention in the forward pass."""
        self.recording.memory(result)
        if not self.in_backward:
            self.recording.fused("flex_attention", args, result, self.running.here)

    def _nested(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs an operation on nested tensors, which runs others on their values: these are the ones to record."""
        self.in_nested, before = True, self.recording.executed_layers
        try:
            with self:
                result = func(*args, **kwargs)
        finally:
            self.in_nested = False
        if not self.in_backward:
            self.recording.nested(before, args, result)
        return result

    def forward_ended(self, result: Any) -> Ending:
        """Computes the loss of a network's result."""
        self.draws_values, self.draws_tensors = self.generators.drawn()
        self.reads_values = self.reads.found
        self.recording.network_ended(result)
        with self.running.within(IN_LOSS):
            ending = self.wanted.loss.of(result, self.model, self._targets)
        self.loss = ending.name
        return ending

    def _targets(self, output: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor that the loss is given beside an output."""
        with _disable_current_modes():
            made = torch.zeros(shape, dtype=dtype, device=output.device)
        self.recording.target(made, output)
        self.targets.append(made)  # as whoever runs the step holds it
        return made

    def graph_made(self, result: Any, ending: Ending) -> None:
        """Reads autograd's graph of the whole forward pass."""
        self.other_leaves = self.recording.graph_made(result, ending.scalar)

    def backward(self, ending: Ending) -> None:
        """Runs the backward pass to record its memory."""
        others = [(each, each.grad) for each in self.other_leaves]
        for each, _ in others:
            each.grad = None  # autograd may add to it in place
        self.recording.backward_begins()
        self.in_backward = True
        try:
            if ending.scalar is not None:
                ending.scalar.backward()
        except (Exception, SystemExit) as error:  # a custom autograd function may not run on such tensors
            if self.wanted.checkpoint:
                again = ", ".join(self.wanted.checkpoint)
                reason = f"what it is given has changed when it runs again: {first_line(error)}"
                raise SwatcostError(f"checkpoint {again:.60}: the backward pass cannot be run: {reason}") from error
            self.recording.backward_failed()
        else:
            self.recording.backward_ended()
        for each, gradient in others:
            each.grad = gradient

    def checkpointed(self, begins: bool) -> None:
        if not self.in_backward:
            self.recording.checkpointed(begins)

    def within_transform(self, begins: bool) -> None:
        self.in_transform = begins

    def left(self, frame: Frame, result: Any) -> None:
        if not self.in_backward:  # a module that checkpointing recomputes is already in the trace
            self.statements.read(frame)
            self.recording.left(frame, result)

    def save(self, tensor: Tensor) -> Tensor | Offloaded:
        self.recording.saved(tensor._values if isinstance(tensor, NestedTensor) else tensor, self.running.here)
        if self.wanted.offload and self.recording.is_activation(tensor):
            return Offloaded(tensor.shape, tensor.stride(), tensor.dtype)
        return tensor.detach()  # returned as it is, a result and its node would hold each other

    @staticmethod
    def needed(saved: Tensor | Offloaded) -> Tensor:
        """A saved tensor as the backward pass needs it: where it is, or brought back."""
        if isinstance(saved, Tensor):
            return saved
        return torch.empty_strided(saved.shape, saved.stride, dtype=saved.dtype, device="meta")


class _WholeStep(nn.Module):
    """Runs a model, its loss and the backward pass, while parameters are replaced; module hooks do not see it."""

    def __init__(self, model: nn.Module, observer: _Observer, casting: Autocast | None) -> None:
        super().__init__()
        self.model = model
        self._observer = observer
        self._casting = casting

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        with region_of(self._casting):
            result = self.model(*args, **kwargs)
            ending = self._observer.forward_ended(result)
        self._observer.graph_made(result, ending)
        if not self._observer.wanted.hold_outputs:
            del result
        self._observer.backward(ending)


@contextlib.contextmanager
def _as_written() -> Iterator[None]:
    """Disables torch.compile, TorchScript's optimisations and attention's fast path, so that operations are seen."""
    compiles = not {"torch._dynamo", FRONT}.isdisjoint(sys.modules)
    stance = torch.compiler.set_stance("force_eager") if compiles else contextlib.nullcontext()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with stance, scripts_as_written(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Using `torch.compile")  # module hooks may run twice: harmless
            warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


@contextlib.contextmanager
def _existing_objects_frozen() -> Iterator[None]:
    """Excludes existing objects from garbage collection, which torch's many objects make slow.

    Objects created during the step are collected as usual, so that tensors in cycles are freed when they would be.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
