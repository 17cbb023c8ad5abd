"""How training steps are executed: optimizer, precision, updates, and how sparse weights are stored, sharding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypedDict

from swatcost.common.errors import SwatcostError
from swatcost.common.units import checked_count
from swatcost.memory.optimizers import OPTIMIZERS, Optimizer, Way
from swatcost.memory.precisions import PRECISIONS, Precision
from swatcost.memory.sharding import SHARDINGS, Sharding
from swatcost.memory.weight_storage import storage_changes


class ExecutingRun(TypedDict, total=False):
    """The keywords of a function that plans a run, whose number of GPUs is its own."""

    optimizer: str | None
    precision: str | None
    update: str | None
    accumulate: int
    update_in_backward: bool
    weight_storage: str | None
    sharding: str
    tensor_parallel: int


class Executing(ExecutingRun, total=False):
    """The keywords of every function whose result depends on how steps are executed."""

    gpus: int


EXECUTING = tuple(Executing.__required_keys__ | Executing.__optional_keys__)
"""The names of these keywords."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How training steps are executed. `Execution.of` makes it from names, and checks them.

    `update` is how the optimizer updates: "foreach", "fused" or "loop". An update follows `accumulate` micro-batches,
    each of the batch size, whose gradients add up. With `update_in_backward`, each parameter is updated, and its
    gradient freed, as soon as the backward pass has computed it. `weight_storage` are the fields, and their values, in
    which compressed weights differ from the least that the method allows.

    `tensor_parallel` of the `gpus` split every layer between them; these groups share the samples and the state as
    `sharding` says. The batch size is that of one group.
    """

    optimizer: Optimizer
    precision: Precision
    update: str
    accumulate: int = 1
    update_in_backward: bool = False
    weight_storage: tuple[tuple[str, Any], ...] = ()
    gpus: int = 1
    sharding: Sharding = SHARDINGS["ddp"]
    tensor_parallel: int = 1

    @staticmethod
    def of(
        optimizer: str | None = None,
        precision: str | None = None,
        update: str | None = None,
        accumulate: int = 1,
        update_in_backward: bool = False,
        weight_storage: str | None = None,
        gpus: int = 1,
        sharding: str = "ddp",
        tensor_parallel: int = 1,
    ) -> Execution:
        """The execution with these values: by default SGD with momentum in single precision; update None is the
        optimizer's default on a GPU, weight_storage as in "transposes=1,mask_bits=8".

        Raises SwatcostError for invalid ones.
        """
        chosen = OPTIMIZERS.choose("momentum" if optimizer is None else optimizer)
        accumulate = checked_count(accumulate, "accumulate")
        if not isinstance(update_in_backward, bool):
            raise SwatcostError(f"update_in_backward {update_in_backward!r:.60}: give True or False")
        if update_in_backward and accumulate > 1:
            raise SwatcostError(
                f"accumulate {accumulate}: updating in the backward pass frees each gradient, so none accumulates: "
                "give accumulate 1 or no update_in_backward"
            )
        return Execution(
            optimizer=chosen,
            precision=PRECISIONS.choose("fp32" if precision is None else precision),
            update=chosen.way(update),
            accumulate=accumulate,
            update_in_backward=update_in_backward,
            weight_storage=() if weight_storage is None else tuple(storage_changes(weight_storage).items()),
            sharding=SHARDINGS.choose(sharding),
        ).on(gpus, tensor_parallel)

    def on(self, gpus: int, tensor_parallel: int = 1) -> Execution:
        """The same on another number of GPUs. Raises SwatcostError if they cannot execute it."""
        gpus, split = checked_count(gpus, "gpus"), checked_count(tensor_parallel, "tensor_parallel")
        if gpus % split:
            raise SwatcostError(f"tensor_parallel {split}: {gpus} GPUs are not groups of {split}, give a multiple")
        if gpus > split and self.accumulate > 1 and self.sharding.name.startswith("zero"):
            raise SwatcostError(
                f"accumulate {self.accumulate} is not modelled with {self.sharding.name}: give ddp, fsdp or 1"
            )
        if gpus > split and self.update_in_backward:
            raise SwatcostError(f"update_in_backward: {gpus} GPUs exchange gradients before an update, leave it out")
        return replace(self, gpus=gpus, tensor_parallel=split)

    @property
    def replicas(self) -> int:
        """The number of GPUs, or groups of them, that run the step on samples of their own."""
        return self.gpus // self.tensor_parallel

    @property
    def update_share(self) -> float:
        """The share of an update that falls on one micro-batch on one GPU [-], before tensor parallelism."""
        return 1 / (self.accumulate * (self.replicas if self.sharding.divides_update else 1))

    @property
    def way(self) -> Way:
        """How the optimizer updates."""
        return self.optimizer.updates[self.update]

    @property
    def title(self) -> str:
        """The execution in words, for reports."""
        by_default = self.update == self.optimizer.way(None)
        name = self.optimizer.name if by_default else f"{self.optimizer.name} ({self.update})"
        words = [name, f"{self.precision.name} ({self.precision.title})"]
        if self.accumulate > 1:
            words.append(f"{self.accumulate:,} micro-batches per update")
        if self.update_in_backward:
            words.append("updates in the backward pass")
        words += [f"{self.gpus} GPUs"] if self.gpus > 1 else []
        words += [self.sharding.name] if self.replicas > 1 else []
        words += [f"tensor parallel {self.tensor_parallel}"] if self.tensor_parallel > 1 else []
        return ", ".join([*words, *(f"{name}={value}" for name, value in self.weight_storage)])
