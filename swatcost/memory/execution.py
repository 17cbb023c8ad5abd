"""How training steps are executed: optimizer, precision, and how GPUs share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from swatcost.common.errors import SwatcostError
from swatcost.common.units import checked_count
from swatcost.memory.optimizers import OPTIMIZERS, Optimizer
from swatcost.memory.precisions import PRECISIONS, Precision
from swatcost.memory.sharding import SHARDINGS, Sharding


class Executing(TypedDict, total=False):
    """The keywords of every function whose result depends on how steps are executed."""

    optimizer: str
    precision: str
    gpus: int
    sharding: str
    tensor_parallel: int


EXECUTING = tuple(Executing.__annotations__)
"""The names of these keywords."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How training steps are executed. `Execution.of` makes it from names, and checks them.

    `tensor_parallel` of the `gpus` split every layer between them; these groups share the samples and the state as
    `sharding` says.
    """

    optimizer: Optimizer
    precision: Precision
    gpus: int
    sharding: Sharding
    tensor_parallel: int

    @staticmethod
    def of(
        optimizer: str = "momentum",
        precision: str = "fp32",
        gpus: int = 1,
        sharding: str = "ddp",
        tensor_parallel: int = 1,
    ) -> Execution:
        """The execution with these values.

        Raises SwatcostError for invalid ones.
        """
        gpus, split = checked_count(gpus, "gpus"), checked_count(tensor_parallel, "tensor_parallel")
        if gpus % split:
            raise SwatcostError(f"tensor_parallel {split}: {gpus} GPUs are not groups of {split}, give a multiple")
        return Execution(
            optimizer=OPTIMIZERS.choose(optimizer), precision=PRECISIONS.choose(precision), gpus=gpus,
            sharding=SHARDINGS.choose(sharding), tensor_parallel=split,
        )  # fmt: skip

    @property
    def replicas(self) -> int:
        """The number of GPUs, or groups of them, that run the step on samples of their own."""
        return self.gpus // self.tensor_parallel

    @property
    def title(self) -> str:
        """The execution in words, for reports."""
        shared = f", {self.gpus} GPUs" if self.gpus > 1 else ""
        shared += f", {self.sharding.name}" if self.replicas > 1 else ""
        shared += f", tensor parallel {self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        return f"{self.optimizer.name}, {self.precision.name} ({self.precision.title}){shared}"
