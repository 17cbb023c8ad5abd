"""Precisions in which a training step may run: bytes per number of everything that it holds."""

from dataclasses import dataclass

from swatcost.common.registry import Registry
from swatcost.network.conditions import AUTOCASTS

FULL = 4
"""Bytes per number in single precision."""


@dataclass(frozen=True)
class Precision:
    """Bytes per number of parameters and gradients, of activations, and of the optimizer's state.

    They replace the 4 bytes per number of a trace in single precision; tensors traced at another size keep it. Under
    autocast a trace has the sizes already, and nothing is replaced.

    `master` is the bytes per number of the master copy of each parameter that the optimizer updates, 0 if it updates
    the parameter itself. `products` says in what products are computed: the first that the device has.
    """

    name: str
    title: str
    parameter: int
    activation: int
    state: int
    master: int = 0
    products: tuple[str, ...] = ("fp32",)

    @property
    def convolutions(self) -> tuple[str, ...]:
        """In what convolutions are computed: for products in fp32, TF32 unless torch is told not to.

        Source: torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32, as of torch 2.13.
        """
        return ("tf32", "fp32") if self.products == ("fp32",) else self.products

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU runs it: autocast with the lists of a CPU does not."""
        return not self.name.startswith("amp-cpu")

    @property
    def autocast(self) -> str:
        """The kind of autocast under which the step has to be traced; empty for none."""
        return self.name if self.name in AUTOCASTS else ""


_MASTER = "2-byte parameters, gradients, activations; 4-byte master copy and state, as in DeepSpeed and Megatron"

PRECISIONS = Registry[Precision](
    "precision",
    Precision,
    Precision("fp32", "4 bytes per number", 4, 4, 4),
    Precision("tf32", "4 bytes per number, products in TF32", 4, 4, 4, products=("tf32",)),
    Precision("bf16", "2 bytes per number", 2, 2, 2, products=("bf16",)),
    Precision("fp16", "2 bytes per number", 2, 2, 2, products=("fp16",)),
    Precision(
        "amp", "torch.autocast in bf16, as on CUDA: fp32 parameters, gradients and state", 4, 4, 4, products=("bf16",)
    ),
    Precision(
        "amp-fp16",
        "torch.autocast in fp16, as on CUDA: fp32 parameters, gradients and state",
        4,
        4,
        4,
        products=("fp16",),
    ),
    Precision(
        "amp-cpu",
        "torch.autocast in bf16, as on a CPU: fp32 parameters, gradients and state",
        4,
        4,
        4,
        products=("bf16",),
    ),
    Precision(
        "amp-cpu-fp16",
        "torch.autocast in fp16, as on a CPU: fp32 parameters, gradients and state",
        4,
        4,
        4,
        products=("fp16",),
    ),
    Precision("master", _MASTER, 2, 2, 4, 4, products=("bf16", "fp16")),
    Precision("mixed", f"another name for master: {_MASTER}", 2, 2, 4, 4, products=("bf16", "fp16")),
)


def autocast_of(precision: str | None) -> str | None:
    """The kind of autocast under which a network has to be traced for this precision, None if it is not given or
    needs none.
    """
    return None if precision is None else PRECISIONS.choose(precision).autocast or None
