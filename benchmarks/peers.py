"""Other counters: what each calls MACs or FLOPs, as MACs of one forward pass over the whole input.

What cannot be imported is left out and named.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Peer:
    """A counter: `count` returns the MACs of a forward pass; `on_meta`: it runs on the meta device."""

    name: str
    module: str
    count: Callable[[nn.Module, Inputs], float]
    on_meta: bool = False

    @property
    def version(self) -> str:
        """The release that is installed, with the name under which it is: torch's for torch's own counter."""
        package = self.module.partition(".")[0]
        return f"{package} {version(package)}"

    def missing(self) -> str:
        """Why it cannot be used; empty if it can."""
        try:
            with quiet():
                importlib.import_module(self.module)
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
        return ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the peers, which print while they count."""
    logging.disable(logging.CRITICAL)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _torch(module: nn.Module, inputs: Inputs) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() / 2


def torch_backward(module: nn.Module, inputs: Inputs) -> float:
    """torch's count of a backward pass, with a loss over all outputs."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        output = module(*inputs)
        forward = counter.get_total_flops()
        total(output).backward()
    return (counter.get_total_flops() - forward) / 2


def total(output: Any) -> Tensor:
    """A loss over all outputs."""
    if isinstance(output, Tensor):
        return output.sum()
    return torch.stack([total(each) for each in output]).sum()


def _fvcore(module: nn.Module, inputs: Inputs) -> float:
    from fvcore.nn import FlopCountAnalysis

    return float(FlopCountAnalysis(module, inputs).unsupported_ops_warnings(False).total())


def _torchinfo(module: nn.Module, inputs: Inputs) -> float:
    from torchinfo import summary

    device = next(module.parameters()).device
    return float(summary(module, input_data=inputs, verbose=0, device=device, mode="train").total_mult_adds)


def _ptflops(module: nn.Module, inputs: Inputs) -> float:
    from ptflops import get_model_complexity_info

    macs, _ = get_model_complexity_info(
        _Single(module, inputs),
        (1,),
        as_strings=False,
        print_per_layer_stat=False,
        verbose=False,
        input_constructor=lambda _: {"x": inputs[0]},
    )
    return float(macs)


class _Single(nn.Module):
    """Passes the first input by name."""

    def __init__(self, module: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.module, self.rest = module, inputs[1:]

    def forward(self, x: Tensor) -> Any:
        return self.module(x, *self.rest)


def _thop(module: nn.Module, inputs: Inputs) -> float:
    from thop import profile

    return float(profile(module, inputs=inputs, verbose=False)[0])


def _calflops(module: nn.Module, inputs: Inputs) -> float:
    from calflops import calculate_flops

    found = calculate_flops(module, args=list(inputs), print_results=False, output_as_string=False)
    return float(found[1])


def _torchprofile(module: nn.Module, inputs: Inputs) -> float:
    from torchprofile import profile_macs

    return float(profile_macs(module, inputs))


PEERS = (
    Peer("FlopCounterMode", "torch.utils.flop_counter", _torch, on_meta=True),
    Peer("fvcore", "fvcore.nn", _fvcore),
    Peer("torchinfo", "torchinfo", _torchinfo, on_meta=True),
    Peer("ptflops", "ptflops", _ptflops),
    Peer("thop", "thop", _thop),
    Peer("calflops", "calflops", _calflops),
    Peer("torchprofile", "torchprofile", _torchprofile),
)
