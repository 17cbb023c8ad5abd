"""Which tensors are weights, and their names."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import prod

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from swatcost.tracing.module_names import without_wrappers
from swatcost.tracing.origins import OF_A_LAYER, Names, Origins
from swatcost.tracing.running_modules import Frame

# Modules that are one layer: tensors that they compute a weight from (a mask, a scaling) belong to that layer. Other
# normalisations use their parameters directly, which identifies them.
_LAYERS = (_ConvNd, nn.Linear)
_SINGLE_LAYERS = (*_LAYERS, _BatchNorm)
_WEIGHTS = {"weight", "original", "original1"}  # as the parts of torch's names for what is masked or parametrised


class Weights:
    """Parameters, and tensors computed from parameters, buffers and constants only.

    So a masked, scaled, normalised or converted weight still counts as a weight, as does a product of parameters. The
    result of a layer is an activation.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor], origins: Origins) -> None:
        self._model = model
        self._parameters = parameters
        self._origins = origins
        self._known = {without_wrappers(name) for name in parameters}
        self._computed: dict[Hashable, int] = {}

    def holds(self, tensor: Tensor) -> bool:
        """Whether the tensor is a parameter, a part of one, or computed from parameters only."""
        return self._origins.chosen(tensor) is None and bool(self._of(tensor))

    def of_layer(self, operands: Sequence[Tensor], frame: Frame) -> Callable[[Tensor], bool]:
        """Which operands are weights of a layer that runs on constants alone: none if it rather computes a weight.

        A layer has parameters of its own and reads something from elsewhere, such as a learned query or a table of
        positions. A module that multiplies what is its own computes a weight: it mixes kernels, merges an adapter or
        iterates towards a norm.
        """
        prefix = "" if frame.module is self._model else f"{frame.name}."
        names = [(each, self._origins.names(each)) for each in operands]
        own = {id(each) for each, behind in names if self._all_in(prefix, behind)}
        weight = vars(frame.module).get("weight", frame.module._parameters.get("weight"))
        reads_constant = (
            isinstance(frame.module, _LAYERS)
            and isinstance(weight, Tensor)
            and any(self._origins.place(weight) == self._origins.place(each) for each in operands)
        )
        foreign = any(id(each) not in own and (behind or reads_constant) for each, behind in names)
        return (lambda tensor: id(tensor) in own and self.holds(tensor)) if foreign else (lambda tensor: False)

    @staticmethod
    def _all_in(prefix: str, names: Names) -> bool:
        """Whether they are names of the parameters and buffers of one module, and there are any."""
        return bool(names) and names != OF_A_LAYER and all(without_wrappers(name).startswith(prefix) for name in names)

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
        if (chosen := self._origins.chosen(weight)) is not None:
            distinct = chosen.matrices * prod(weight.shape[1:])
        alone = distinct // weight.shape[0] if weight.dim() == 3 and self.distinct_matrices(weight) == 1 else distinct
        names = [each for each in self._of(weight) if self._parameters[each].numel() in (distinct, alone)]
        if len(names) > 1:  # a mask or scores of the same size may be parameters, too
            names = [each for each in names if _WEIGHTS & set(each.rpartition(".")[2].split("_"))]
        if len(names) == 1:
            return without_wrappers(names[0])
        whole = self._origins.own.name(weight)
        if whole is not None and whole in self._parameters:
            start = int(weight.storage_offset() - self._parameters[whole].storage_offset())
            return f"{without_wrappers(whole)}[{start}:{start + distinct}]"
        if isinstance(frame.module, _SINGLE_LAYERS):
            return f"(computed in {frame.name})"
        number = self._computed.setdefault(self._origins.value(weight), len(self._computed) + 1)
        return f"(computed in {frame.name}, {number})"

    def parameters(self, tensors: Sequence[Tensor | None], frame: Frame) -> tuple[str, ...]:
        """The names of the parameters behind a layer's weight, bias and other operands."""
        names = [name for each in tensors if each is not None for name in sorted(self._of(each))]
        if isinstance(frame.module, _SINGLE_LAYERS):
            prefix = "" if frame.module is self._model else f"{frame.name}."
            names += [prefix + key for key, _ in frame.module.named_parameters(recurse=False)]
        return tuple(dict.fromkeys(name for name in map(without_wrappers, names) if name in self._known))

    def _of(self, tensor: Tensor) -> frozenset[str]:
        chosen = self._origins.chosen(tensor)
        names = self._origins.names(tensor) if chosen is None else chosen.names
        return frozenset(name for name in names if name in self._parameters)
