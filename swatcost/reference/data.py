"""The training data of a run: images and labels in memory."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.reading import MIB, check_regular, read_bytes

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".webp")
_HELD_OUT = 5  # one sample in five is held out for testing, unless the data has a test set
_SYNTHETIC = 512  # samples
_MOST = 100_000  # classes
_MOST_BYTES = 2**33  # of arrays, unpacked
_MOST_OF_IMAGE = 64 * MIB  # of an image's file


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Images (n, C, H, W), in single precision, with labels (n,), for training and for testing."""

    title: str
    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int

    def at(self, shape: tuple[int, ...]) -> Samples:
        """The samples at a network's input shape: images are interpolated, gray ones repeated as colours.

        Raises SwatcostError if the shapes cannot be matched that way.
        """
        if tuple(self.images.shape[1:]) == shape:
            return self
        channels = self.images.shape[1]
        if len(shape) != 3 or self.images.dim() != 4 or channels not in (1, shape[0]):
            have = "×".join(map(str, self.images.shape[1:]))
            raise SwatcostError(
                f"{self.title} has samples of {have}, which do not fit an input of {'×'.join(map(str, shape))}"
            )

        def made(images: Tensor) -> Tensor:
            if images.shape[2:] != shape[1:] and len(images):
                images = functional.interpolate(images, size=shape[1:], mode="bilinear", antialias=True)
            return images.expand(-1, shape[0], -1, -1).contiguous()

        return replace(self, images=made(self.images), test_images=made(self.test_images))

    def batches(self, batch_size: int, seed: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless training batches from the start-th on; each epoch is shuffled, its incomplete batch dropped."""
        count = len(self.images) // batch_size
        epoch, first = divmod(start, count)
        while True:
            order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(seed + epoch))
            for number in range(first, count):
                rows = order[number * batch_size : (number + 1) * batch_size]
                yield self.images[rows], self.labels[rows]
            epoch, first = epoch + 1, 0


def samples(source: str, *, input_shape: tuple[int, ...], classes: int | None, seed: int = 0) -> Samples:
    """The samples that --data names, at a network's input shape.

    source is "digits" (UCI's 1,797 handwritten digits), "synthetic" (normal noise with random labels, for measuring),
    an .npz file (arrays x and y, or x_train, y_train, x_test, y_test) or a folder with one folder of images per class.
    Nothing in a file is executed.

    Raises SwatcostError if it cannot be read or is none of these.
    """
    if source == "digits":
        return _digits(seed).at(input_shape)
    if source == "synthetic":
        return synthetic(input_shape, classes or 10, seed)
    path = Path(source)
    if path.is_dir():
        return _folder(path, input_shape, seed).at(input_shape)
    if path.suffix == ".npz":
        return _arrays(path, seed).at(input_shape)
    raise SwatcostError(f"data {source!r}: give digits, synthetic, a folder of images by class, or an .npz file")


def synthetic(shape: tuple[int, ...], classes: int, seed: int) -> Samples:
    """Normal noise with random labels: nothing can be learnt from it."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(_SYNTHETIC, *shape, generator=generator)
    labels = torch.randint(0, classes, (_SYNTHETIC,), generator=generator)
    return _split("synthetic noise", images, labels, classes, seed)


def _digits(seed: int) -> Samples:
    """The test set of UCI's "Optical Recognition of Handwritten Digits": pixels count from 0 to 16.

    Source: E. Alpaydin and C. Kaynak, 1998, https://archive.ics.uci.edu/dataset/80, CC BY 4.0.
    """
    with (files(__package__) / "digits.npz").open("rb") as file, numpy.load(file, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    pixels = torch.as_tensor(images, dtype=torch.float32).unsqueeze(1) / 16
    return _split("UCI's digits", pixels, torch.as_tensor(labels).long(), 10, seed)


def _arrays(path: Path, seed: int) -> Samples:
    arrays = _read_arrays(path)
    split = "x_train" in arrays
    names = {"x_train", "y_train", "x_test", "y_test"} if split else {"x", "y"}
    if arrays.keys() != names and arrays.keys() != {"x_train", "y_train"}:
        raise SwatcostError(
            f"{path} holds {', '.join(arrays)[:80] or 'nothing'}: it needs arrays x and y, or x_train, y_train, x_test "
            "and y_test, and no others"
        )
    images, labels = _pair(path, arrays, "_train" if split else "")
    if not len(images):
        raise SwatcostError(f"{path} holds no images")
    classes = int(labels.max()) + 1
    if "x_test" not in arrays:
        return _split(path.name, images, labels, classes, seed)
    test_images, test_labels = _pair(path, arrays, "_test")
    if test_images.shape[1:] != images.shape[1:]:
        raise SwatcostError(f"{path}: x_test {tuple(test_images.shape)} does not match y_test or x_train")
    return Samples(
        title=path.name, images=images, labels=labels, test_images=test_images, test_labels=test_labels,
        classes=max(classes, int(test_labels.max()) + 1 if len(test_labels) else 0),
    )  # fmt: skip


def _read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file, whose parts are not unpacked if they are too large in all."""
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as parts:
            names = parts.namelist()
            size = sum(each.file_size for each in parts.infolist())
        if len(set(names)) < len(names):
            raise ValueError("an array is there twice")
        if size > _MOST_BYTES:
            raise ValueError(f"its arrays have {size:,} bytes, and the limit is {_MOST_BYTES:,}")
        with numpy.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise SwatcostError(f"cannot read {path}: {error.strerror or first_line(error)}") from None
    except Exception as error:  # zip, header and pickle errors of many kinds
        pickled = "allow_pickle" in str(error)
        said = "it holds Python objects, which are not read" if pickled else first_line(error)
        raise SwatcostError(f"{path} is not a usable .npz file: {said}") from None


def _pair(path: Path, arrays: dict[str, Any], which: str) -> tuple[Tensor, Tensor]:
    images, labels = _images(path, arrays[f"x{which}"]), _labels(path, arrays[f"y{which}"])
    if len(images) != len(labels):
        raise SwatcostError(f"{path} holds {len(images)} images and {len(labels)} labels")
    return images, labels


def _images(path: Path, array: Any) -> Tensor:
    """(n, H, W), (n, C, H, W) or (n, H, W, C) numbers as (n, C, H, W); bytes are scaled to [0, 1]."""
    if array.dtype.kind not in "fiub":
        raise SwatcostError(f"{path}: images of dtype {array.dtype} are not numbers")
    if array.ndim not in (2, 3, 4) or 0 in array.shape[1:]:
        raise SwatcostError(f"{path}: images of shape {array.shape}: give (n, H, W), (n, C, H, W) or (n, H, W, C)")
    with numpy.errstate(over="ignore"):  # what is too large is not finite then
        images = torch.as_tensor(array.astype("float32"))
    if array.dtype.kind == "u" and array.dtype.itemsize == 1:
        images = images / 255
    if images.dim() == 3:
        images = images.unsqueeze(1)
    if images.dim() == 4 and images.shape[1] > 4 >= images.shape[3]:
        images = images.permute(0, 3, 1, 2)
    if not torch.isfinite(images).all():
        raise SwatcostError(f"{path} holds numbers that are not finite")
    return images.contiguous()


def _labels(path: Path, array: Any) -> Tensor:
    if array.dtype.kind not in "iu" or array.ndim != 1 or (array.size and not 0 <= array.min() <= array.max() < _MOST):
        raise SwatcostError(f"{path}: labels must be whole numbers from 0 to {_MOST - 1:,}, one per sample")
    return torch.as_tensor(array.astype("int64"))


def _folder(path: Path, shape: tuple[int, ...], seed: int) -> Samples:
    """Images by class: the sorted folder names are the classes."""
    try:
        from PIL import Image
    except ImportError:
        raise SwatcostError("reading a folder of images needs Pillow: install pillow, or give an .npz file") from None
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise SwatcostError(f"{path} holds images, but the network takes {'×'.join(map(str, shape))}")
    bomb = Image.DecompressionBombWarning  # of an image that unpacks to gigabytes
    folders = [each for each in _inside(path) if each.is_dir()]
    images, labels = [], []
    for label, folder in enumerate(folders):
        for file in (each for each in _inside(folder) if each.suffix.lower() in IMAGES):
            content = io.BytesIO(read_bytes(file, _MOST_OF_IMAGE))
            try:
                with warnings.catch_warnings(action="error", category=bomb), Image.open(content) as image:
                    pixels = image.convert("L" if shape[0] == 1 else "RGB").resize(shape[:0:-1])
            except Exception as error:  # of many kinds
                raise SwatcostError(f"{file} is not a usable image: {first_line(error)}") from None
            images.append(torch.as_tensor(numpy.asarray(pixels, dtype="float32") / 255).reshape(*shape[1:], shape[0]))
            labels.append(label)
    if not images:
        raise SwatcostError(f"{path} has no folders of images: it needs one per class")
    stacked = torch.stack(images).permute(0, 3, 1, 2).contiguous()
    return _split(path.name or str(path), stacked, torch.tensor(labels), len(folders), seed)


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise SwatcostError(f"cannot read {folder}: {error.strerror}") from None


def _split(title: str, images: Tensor, labels: Tensor, classes: int, seed: int) -> Samples:
    """Holds out a fifth, chosen by the seed, for testing."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    held_out = len(images) // _HELD_OUT
    test, train = order[:held_out], order[held_out:]
    return Samples(
        title=title,
        images=images[train],
        labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        classes=classes,
    )
