"""Which tensors are weights, and their names."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from swatcost.tracing.module_names import without_wrappers
from swatcost.tracing.running_modules import Frame
from swatcost.tracing.storages import Storages, address

# Modules that are one layer: tensors that they compute a weight from (a mask, a scaling) belong to that layer. Other
# normalisations use their parameters directly, which identifies them.
_SINGLE_LAYERS = (_ConvNd, nn.Linear, _BatchNorm)


class Weights:
    """Parameters, and tensors computed from parameters, buffers and constants only.

    So a masked, scaled or converted weight still counts as a weight. The result of a product is an activation.
    """

    def __init__(
        self, model: nn.Module, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], storages: Storages
    ) -> None:
        self._model = model
        self._parameters = parameters
        self._storages = storages
        self._known = {without_wrappers(name) for name in parameters}
        self._origins: dict[int, frozenset[str]] = {
            **{address(tensor): frozenset() for tensor in buffers.values()},
            **{address(tensor): frozenset((name,)) for name, tensor in parameters.items()},
        }

    def track(self, inputs: Iterable[Tensor], results: Iterable[Tensor], *, multiplies: bool) -> None:
        """Records the parameters behind an operation's results; `multiplies` says that it was a layer or a product."""
        origins = [self._origins.get(address(tensor)) for tensor in inputs]
        for tensor in results:
            if multiplies or None in origins:
                self._origins.pop(address(tensor), None)
            else:
                self._origins[address(tensor)] = frozenset().union(*(each for each in origins if each))

    def holds(self, tensor: Tensor) -> bool:
        """Whether the tensor is a parameter, a part of one, or computed from parameters only."""
        return bool(self._of(tensor))

    def distinct_matrices(self, weight: Tensor) -> int:
        """The number of matrices in a batch of them that is used as a weight; 1 if they are copies of one matrix."""
        if weight.dim() < 3 or weight.stride(0) == 0:
            return 1
        sizes = [self._parameters[name].numel() for name in self._of(weight)]
        copied = any(size * weight.shape[0] == weight.numel() for size in sizes)
        return 1 if copied else int(weight.shape[0])

    def name(self, weight: Tensor, frame: Frame) -> str:
        """The parameter's name, with [start:end] for a part of it, or a name for a computed weight.

        A masked, scaled or converted parameter keeps its name. A module that is one layer has one computed weight,
        however often it is called; elsewhere each computed tensor is a weight of its own.
        """
        distinct = prod(size for size, stride in zip(weight.shape, weight.stride(), strict=True) if stride)
        alone = distinct // weight.shape[0] if weight.dim() == 3 and self.distinct_matrices(weight) == 1 else distinct
        names = [each for each in self._of(weight) if self._parameters[each].numel() in (distinct, alone)]
        if len(names) == 1:
            return without_wrappers(names[0])
        for name, parameter in self._parameters.items():
            if address(parameter) == address(weight):
                start = int(weight.storage_offset())
                return f"{without_wrappers(name)}[{start}:{start + distinct}]"
        tensor = "" if isinstance(frame.module, _SINGLE_LAYERS) else f", {self._storages.number(weight)}"
        return f"(computed in {frame.name}{tensor})"

    def parameters(self, tensors: Sequence[Tensor | None], frame: Frame) -> tuple[str, ...]:
        """The names of the parameters behind a layer's weight, bias and other operands."""
        names = [name for each in tensors if each is not None for name in sorted(self._of(each))]
        if isinstance(frame.module, _SINGLE_LAYERS):
            prefix = "" if frame.module is self._model else f"{frame.name}."
            names += [prefix + key for key, _ in frame.module.named_parameters(recurse=False)]
        return tuple(dict.fromkeys(name for name in map(without_wrappers, names) if name in self._known))

    def _of(self, tensor: Tensor) -> frozenset[str]:
        return self._origins.get(address(tensor), frozenset())
