"""Where the samples of a network's inputs are: what the caller, the inputs and the modules say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.rnn import PackedSequence

from swatcost.common.errors import SwatcostError
from swatcost.network.batches import without_dim
from swatcost.tracing.arguments import tensors_in
from swatcost.tracing.running_modules import Frame

CALLER = "the caller"
_MOST_CHANNELS = 4  # of an image: RGBA
_SEQUENCES = (
    nn.RNNBase, nn.MultiheadAttention, nn.Transformer, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer,
)  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """The number of samples, the dimension of the inputs that counts them, None if none does, and who says so.

    `told_by` is empty if it is assumed.
    """

    size: int
    dim: int | None = 0
    told_by: str = ""

    def sample_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """An input's shape without the batch."""
        return without_dim(shape, self.dim)

    def is_along(self, other: "Batch") -> bool:
        """Whether both mean the same samples."""
        return (self.size, self.dim) == (other.size, other.dim)


def batch_asked(batch_size: int | None, batch_dim: int | None, inputs: Sequence[Tensor], told: Batch) -> Batch | None:
    """The batch that the caller says the inputs hold; None if nothing is said.

    `told` is what the inputs themselves say. Raises SwatcostError if no input is like that.
    """
    if batch_dim is not None:
        nested = inputs[0].is_nested  # its other dimensions are not those of its values
        shape = (told.size,) if nested else tuple(inputs[0].shape)
        if not -len(shape) <= batch_dim < len(shape):
            first = f"{told.size} jagged samples" if nested else _times(shape)
            raise SwatcostError(f"batch_dim {batch_dim}: the first input, {first}, has no such dimension")
        size = shape[batch_dim]
        if batch_size not in (None, size):
            raise SwatcostError(f"batch_size {batch_size}: dimension {batch_dim} of the first input has size {size}")
        return Batch(size, None if nested else batch_dim % len(shape), CALLER)
    if batch_size is None:
        return None
    if told.size == batch_size:
        return Batch(batch_size, told.dim, CALLER)
    shapes = [tuple(each.shape) for each in inputs if not each.is_nested]
    dims = [shape.index(batch_size) for shape in shapes if batch_size in shape]
    if not dims and batch_size > 1:
        raise SwatcostError(f"batch_size {batch_size}: no dimension of the example inputs has this size")
    return Batch(batch_size, dims[0] if dims else None, CALLER)


def batch_of_inputs(args: Sequence[Any], inputs: Sequence[Tensor]) -> Batch:
    """What the inputs say: a packed sequence, a nested tensor or a list of images; or else the first dimension."""
    for each in args:
        if isinstance(each, PackedSequence):
            return Batch(int(each.batch_sizes[0]), None, "a packed sequence")
        if isinstance(each, Tensor) and each.is_nested:
            return Batch(each.size(0), None, "a nested tensor")
        if (
            isinstance(each, list | tuple)
            and each
            and all(isinstance(one, Mapping) and tensors_in(one) for one in each)
        ):
            return Batch(len(each), None, f"a list of {len(each)} mapping{'s' * (len(each) > 1)}")
        if isinstance(each, list | tuple) and each and all(isinstance(one, Tensor) for one in each):
            if _is_one_per_sample([tuple(one.shape) for one in each]):
                return Batch(len(each), None, f"a list of {len(each)} tensor{'s' * (len(each) > 1)}")
            break
        if tensors_in(each):
            break
    first = inputs[0]
    return Batch(first.shape[0]) if first.dim() else Batch(1, None)


def _is_one_per_sample(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether a list holds one tensor per sample: images, or sequences whose lengths differ."""
    dims = {len(shape) for shape in shapes}
    images = dims == {3} and len({shape[0] for shape in shapes}) == 1 and shapes[0][0] <= _MOST_CHANNELS
    return images or (len(dims) == 1 and dims != {0} and len({shape[0] for shape in shapes}) > 1)


class Statements:
    """What the modules that run say of the batch; the first one that is sure of it counts."""

    def __init__(self, model: nn.Module, inputs: Sequence[Tensor]) -> None:
        self._model = model
        self._inputs = [each for each in inputs if not each.is_nested]
        self._shapes = [tuple(each.shape) for each in self._inputs]
        self._sure: Batch | None = None
        self._likely: Batch | None = None

    @property
    def batch(self) -> Batch | None:
        """The batch of the inputs; None if no module says."""
        return self._sure or self._likely

    def read(self, frame: Frame) -> None:
        """Reads a module's call."""
        if self._sure is not None:
            return
        given = [each for each in frame.args if isinstance(each, Tensor) and not each.is_nested]
        packed = [each for each in frame.args if isinstance(each, PackedSequence)]
        if not frame.args and frame.module is self._model:
            given = self._inputs  # hooks do not see arguments by name
        kind = type(frame.module).__name__
        told = kind if frame.module is self._model else f"{frame.name} ({kind})"
        for sequence, shape in product(packed, self._shapes):
            self._sure = self._sure or _packed(frame.module, told, sequence, shape)
        for each, shape in product(given, self._shapes):
            self._sure = self._sure or _said(frame.module, told, tuple(each.shape), shape)
            if isinstance(frame.module, nn.Linear) and each.dim() == len(shape) == 2 and each.shape[0] == shape[0]:
                self._likely = self._likely or Batch(shape[0], 0, told)


def _said(module: nn.Module, told: str, given: tuple[int, ...], shape: tuple[int, ...]) -> Batch | None:
    """What a module that is given a tensor says of an input of this shape; None if it says nothing of it."""
    dims, same = len(given), given[:1] == shape[:1]
    alone = Batch(1, None, f"{told}, which is given one sample without a batch")
    first = getattr(module, "batch_first", None)
    if isinstance(first, bool):
        if isinstance(module, _SEQUENCES) and dims == 2 and len(shape) <= 2 and same:
            return alone
        if dims >= 3 and len(shape) >= 2 and given[:2] in (shape[:2], shape[1::-1]):
            dim = 0 if first == (given[:2] == shape[:2]) else 1  # it may be given the input transposed
            return Batch(shape[dim], dim, f"{told} with batch_first={first}")
    elif isinstance(module, _ConvNd) and same and dims == len(shape):
        batched = dims == len(module.kernel_size) + 2
        return Batch(shape[0], 0, told) if batched else alone
    elif isinstance(module, nn.Linear | nn.RNNCellBase) and dims == 1 and given == shape:
        return alone
    elif isinstance(module, _BatchNorm | nn.RNNCellBase) and same and dims >= 2 and dims == len(shape):
        return Batch(shape[0], 0, told)
    return None


def _packed(module: nn.Module, told: str, given: PackedSequence, shape: tuple[int, ...]) -> Batch | None:
    """What a recurrent layer that is given a packed sequence says of an input of this shape."""
    size, first = int(given.batch_sizes[0]), getattr(module, "batch_first", None)
    dim = 0 if first else 1
    if first is None or len(shape) < 2 or shape[dim] != size or shape[1 - dim] < len(given.batch_sizes):
        return None
    return Batch(size, dim, f"{told} with batch_first={first}")


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a scalar"
