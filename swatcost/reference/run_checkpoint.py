"""The checkpoint of a run, checked before anything of it is used: it is a file that others may have written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from swatcost.distributions.checkpoint_files import check_tensor, read_checkpoint

_KEYS = {"step", "model", "optimizer", "swat", "random", "random_cuda", "sparsity"}


def read_state(path: Path, module: torch.nn.Module, optimizer: torch.optim.SGD, steps: int) -> Mapping[str, Any]:
    """The state of a run of `steps` steps of this module and optimizer.

    Raises SwatcostError if the file cannot be read, and ValueError if it does not fit.
    """
    state = read_checkpoint(path, str(next(module.parameters()).device))
    if state.keys() != _KEYS:
        raise ValueError("it has other keys")
    if type(state["step"]) is not int or not 0 <= state["step"] <= steps:
        raise ValueError(f"step {state['step']!r:.40} of {steps}")
    shares = state["sparsity"]
    if not isinstance(shares, list) or len(shares) != 2 or not all(type(x) is float and 0 <= x <= 1 for x in shares):
        raise ValueError(f"sparsity {shares!r:.60}")
    own = module.state_dict()
    if not isinstance(state["model"], Mapping) or state["model"].keys() != own.keys():
        raise ValueError("its tensors have other names")
    for name, tensor in own.items():
        _check(state["model"][name], tensor, name)
    _check_optimizer(state["optimizer"], optimizer)
    _check_thresholds(state["swat"])
    if not isinstance(state["random"], Tensor) or state["random"].dtype != torch.uint8:
        raise ValueError("it has no state of random numbers")
    return state


def _check_optimizer(state: Any, optimizer: torch.optim.SGD) -> None:
    """Raises ValueError unless its settings, but for the learning rate, are this optimizer's, and its momenta fit."""
    own = optimizer.state_dict()
    if not isinstance(state, Mapping) or state.keys() != own.keys():
        raise ValueError("it has no state of this optimizer")
    settings = [[{**group, "lr": None} for group in each["param_groups"]] for each in (state, own)]
    if settings[0] != settings[1]:
        raise ValueError("its optimizer has other settings")
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for number, values in state["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters) or values.keys() != {"momentum_buffer"}:
            raise ValueError(f"its optimizer has a state {number!r:.40}")
        if values["momentum_buffer"] is not None:
            _check(values["momentum_buffer"], parameters[number], f"momentum {number}")


def _check_thresholds(state: Any) -> None:
    """Raises ValueError unless thresholds are magnitudes; `Converted.load_state_dict` checks the rest."""
    if type(state["iteration"]) is not int or state["iteration"] < -1:
        raise ValueError(f"iteration {state['iteration']!r:.40}")
    for operands in state["layers"].values():
        for each in operands.values():
            if type(each["sparsity"]) is not float or not 0 <= each["sparsity"] < 1:
                raise ValueError(f"sparsity {each['sparsity']!r:.40}")
            for tensor in (*each["thresholds"].values(), *each["started"].values()):
                check_tensor(tensor, "a threshold", None, tensor.numel())
                if not bool(((tensor >= 0) & tensor.isfinite()).all()):
                    raise ValueError("a threshold is not a magnitude")


def _check(tensor: Any, own: Tensor, name: str) -> None:
    if not isinstance(tensor, Tensor) or tensor.dtype != own.dtype:
        raise ValueError(f"{name} is not a tensor of {str(own.dtype).removeprefix('torch.')}")
    check_tensor(tensor, name, tuple(own.shape), own.numel())
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} contains numbers that are not finite")
