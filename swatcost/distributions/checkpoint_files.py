"""Checkpoints as files, which are data: nothing in them is executed."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.reading import MIB, check_regular, json_of

if TYPE_CHECKING:
    from torch import Tensor

_OBJECT = re.compile(r"GLOBAL ([\w.]+)")
_LARGEST_HEADER = 100 * MIB  # of a .safetensors file, as its library has it


def read_checkpoint(path: str | Path, device: str = "cpu") -> Mapping[str, Any]:
    """The content of a .safetensors file, or of one that torch.save wrote. Nothing in it is executed.

    Raises SwatcostError if it cannot be read, is damaged, or holds objects other than tensors and plain data.
    """
    import pickle

    import torch
    from safetensors.torch import load_file

    refusal = f"{path} is not a usable checkpoint"
    check_regular(path)
    try:
        if Path(path).suffix == ".safetensors":
            _check_header(Path(path))
            return load_file(path, device=device)
        _check_archive(Path(path))
        with warnings.catch_warnings(action="ignore"):  # torch's, about files not its own
            content = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        found = _OBJECT.search(str(error))
        objects = f"it holds objects ({found[1]:.60}) that are not read, save a state dict of tensors" if found else ""
        raise SwatcostError(f"{refusal}: {objects or 'it is damaged, or no file of tensors'}") from None
    except ValueError as error:
        raise SwatcostError(f"{refusal}: {first_line(error)}") from None
    except Exception:  # a damaged file can raise anything, and torch's text advises to load it unsafely
        raise SwatcostError(f"{refusal}: it is damaged, or no file of tensors") from None
    if not isinstance(content, Mapping):
        raise SwatcostError(f"{path} holds a {type(content).__name__}, not a state dict")
    return content


def _check_archive(path: Path) -> None:
    """Raises ValueError if a part of a zip archive is damaged or there twice; torch does not look."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return  # as torch saved before 1.6
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("a part of it is there twice")
        if bad := archive.testzip():
            raise ValueError(f"its part {bad!r:.60} is damaged")


def _check_header(path: Path) -> None:
    """Raises ValueError if the header of a .safetensors file names a tensor twice; the last would count."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length <= min(_LARGEST_HEADER, path.stat().st_size):
            with contextlib.suppress(UnicodeDecodeError):  # the library says what is wrong
                json_of(file.read(length).decode())


def check_tensor(tensor: Tensor, name: str, shape: Sequence[int] | None, elements: int) -> None:
    """Raises ValueError unless a tensor has the network's shape, or number of elements if that is None, and holds them.

    One whose memory holds fewer is an expanded view of a few numbers, which training does not save.
    """
    found = tuple(tensor.shape)
    if tensor.numel() != elements:
        raise ValueError(f"{name} has {tensor.numel()} elements, not the network's {elements}")
    if shape is not None and found != tuple(shape):
        have, want = ("×".join(map(str, each)) for each in (found, shape))
        transposed = ": it is stored transposed" if found == tuple(reversed(shape)) else ""
        raise ValueError(f"{name} has the shape {have}, not the network's {want}{transposed}")
    import torch

    if tensor.layout == torch.strided and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} is an expanded view of fewer than {elements} numbers")
