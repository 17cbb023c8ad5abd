"""A training step that is traced, and run again where it draws random numbers or reads values."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from swatcost.common.errors import SwatcostError
from swatcost.network import Network, StepTensors, Variation
from swatcost.tracing.arguments import Arguments, tensors_in
from swatcost.tracing.batch import Batch
from swatcost.tracing.loss import NotAssumableError
from swatcost.tracing.traced_step import Traced, traced_step
from swatcost.tracing.wanted import Wanted

_RUNS_THAT_DRAW, _RUNS_THAT_READ = 8, 4  # drawing a rare branch takes more runs than reading, which is slower
_MOST_TIMES_AS_LONG = 10  # a loop that runs until a value is small may never end on another input
_SHORT = 10_000  # operations


class Step:
    """A step of a module, run with seed 0; `arguments` makes the arguments of a call, which may change them.

    `of_zeros` says that the input holds zeros because no values are known. Raises ForwardError if the module raises.
    """

    def __init__(
        self,
        model: nn.Module,
        name: str,
        batch: Batch,
        arguments: Callable[[], Arguments],
        wanted: Wanted,
        *,
        meta: bool,
        of_zeros: bool = False,
    ) -> None:
        self._model, self._name, self._batch = model, name, batch
        self._arguments, self._meta, self._of_zeros = arguments, meta, of_zeros
        self._wanted = wanted
        try:
            self._traced = self._run()
        except NotAssumableError:
            self._wanted = replace(wanted, loss=wanted.loss.without())
            self._traced = self._run()

    @property
    def batch_told(self) -> Batch | None:
        """What the modules say of the batch."""
        return self._traced.batch

    def network(self) -> Network:
        """The trace, compared with other runs of the step if these may differ."""
        first = self._traced
        network = replace(first.network, amp=self._under_amp())
        if not first.draws and not first.reads:
            return network
        counts = [_macs(first.network)]
        for seed in range(1, _RUNS_THAT_DRAW if first.draws else _RUNS_THAT_READ):
            with contextlib.suppress(
                SwatcostError, NotAssumableError
            ):  # what the forward pass raises on other values is no answer
                counts.append(_macs(self._again(seed)))
        forward, training = zip(*counts, strict=True)
        variation = Variation(
            runs=len(counts),
            draws=first.draws,
            reads=first.reads,
            forward_macs=(min(forward), max(forward)),
            training_macs=(min(training), max(training)),
        )
        return replace(network, variation=variation)

    def _under_amp(self) -> StepTensors | None:
        """The tensors of the same step under torch.autocast; None where nobody wants them or it takes long."""
        if not self._wanted.under_amp or self._wanted.autocast or not self._meta:
            return None
        args, kwargs = self._arguments()
        wanted = replace(self._wanted, autocast="amp")
        try:
            found = traced_step(self._model, self._name, self._batch, args, kwargs, wanted, meta=True).network
        except SwatcostError:  # what a module refuses under autocast, such as binary_cross_entropy
            return None
        if len(found.layers) != len(self._traced.network.layers):
            return None
        return StepTensors(
            storages=found.storages,
            saved=found.saved,
            timeline=found.timeline,
            layer_inputs=tuple(each.input_storage for each in found.layers),
            movements=found.movements,
        )

    def _run(self) -> Traced:
        args, kwargs = self._arguments()
        return traced_step(self._model, self._name, self._batch, args, kwargs, self._wanted, meta=self._meta)

    def _again(self, seed: int) -> Network:
        args, kwargs = self._arguments()
        if self._traced.reads and not self._meta:
            self._fill((args, kwargs), seed)
        most = _SHORT + _MOST_TIMES_AS_LONG * self._traced.operations
        return traced_step(
            self._model,
            self._name,
            self._batch,
            args,
            kwargs,
            self._wanted,
            meta=self._meta,
            seed=seed,
            most_operations=most,
        ).network

    def _fill(self, arguments: Arguments, seed: int) -> None:
        """Gives inputs other values: random ones, and whole numbers 0 and 1 where they were zeros."""
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for each in tensors_in(arguments):
                with contextlib.suppress(RuntimeError, NotImplementedError):  # not every dtype or layout can be filled
                    if each.is_floating_point() or each.is_complex():
                        each.copy_(torch.randn(each.shape).to(each.dtype))
                    elif self._of_zeros:
                        each.copy_(torch.randint(2, each.shape).to(each.dtype))


def _macs(network: Network) -> tuple[int, int]:
    """Executed MACs of the traced batch: forward, and in training."""
    return sum(each.forward_macs for each in network.layers), sum(each.training_macs for each in network.layers)
