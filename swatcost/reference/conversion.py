"""Replaces a network's layers by those of Algorithm 1, and restores them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from swatcost.common.errors import SwatcostError
from swatcost.estimate import Estimate
from swatcost.network.passes import Pass
from swatcost.reference.chosen_kernels import KERNEL_CHOICES, KernelChoice, chosen
from swatcost.reference.counts import Counts
from swatcost.reference.layers import SPARSE, Layer, SparseAttention
from swatcost.reference.sparsifier import OVER, Clock, Over, Sparsifier
from swatcost.reference.thresholds import SELECTIONS
from swatcost.sparsity import SparsityPlan
from swatcost.tracing import unwrapped
from swatcost.tracing.module_names import without_wrappers

METHODS_THAT_RUN = ("dense", "swat", "swat-structured", "saw", "meprop")


@dataclass
class Converted:
    """A module whose layers compute Algorithm 1. As a context manager, it undoes the conversion on exit.

    `layers` are by weight name, in network order. `left_dense` are weights in the trace that no layer of torch's own
    multiplies, such as one that a user's module passes to a function.
    """

    module: nn.Module
    estimate: Estimate
    clock: Clock
    layers: dict[str, Layer]
    left_dense: tuple[str, ...]
    _undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def undo(self) -> None:
        """Restores every layer's own class; parameters keep their values."""
        self._undo.close()

    def __enter__(self) -> Converted:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.undo()

    @contextlib.contextmanager
    def counting(self) -> Iterator[dict[str, list[Counts]]]:
        """Counts what each call of each layer multiplies; the dictionary is filled when the context ends."""
        found: dict[str, list[Counts]] = {}
        for layer in self.layers.values():
            layer.counters = []
        try:
            yield found
        finally:
            for name, layer in self.layers.items():
                found[name] = [each.counts for each in layer.counters or ()]
                layer.counters = None

    def topk_seconds(self) -> dict[str, float]:
        """The time spent on thresholds since the last call of this method [s], by layer."""
        seconds = {}
        for name, layer in self.layers.items():
            seconds[name] = sum(each.seconds for each in layer.operands.values())
            for each in layer.operands.values():
                each.seconds = 0.0
        return seconds

    def follow(self, plan: SparsityPlan) -> None:
        """Switches to another plan's sparsities, for all thresholds found from now on."""
        for layer, sparsity in plan.by_weight(self.estimate.network):
            if layer.weight in self.layers:
                for operand, each in self.layers[layer.weight].operands.items():
                    each.sparsity = sparsity.of(operand)

    def state_dict(self) -> dict[str, Any]:
        """Thresholds, targets and the iteration; the module's own state_dict is unchanged."""
        return {
            "iteration": self.clock.iteration,
            "layers": {
                name: {operand: _state(each) for operand, each in layer.operands.items()}
                for name, layer in self.layers.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resumes from the state of another conversion of the same network.

        Raises SwatcostError if the state belongs to another network.
        """
        layers = state.get("layers")
        if not isinstance(layers, Mapping) or layers.keys() != self.layers.keys():
            raise SwatcostError("this state belongs to another network: its layers have other names")
        try:
            self.clock.iteration = int(state["iteration"])
            for name, layer in self.layers.items():
                layer.called_in = -1
                for operand, each in layer.operands.items():
                    _restore(each, layers[name][operand])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SwatcostError(f"this state of thresholds is damaged: {error!r:.80}") from None


def convert(
    module: nn.Module,
    estimate: Estimate,
    *,
    over: Over | None = None,
    selection: str = "exact",
    one_sample: bool = False,
    ahead: int = 0,
    seed: int = 0,
    kernels: KernelChoice = "dense",
) -> Converted:
    """Makes a module train with the method, sparsities and Top-K period of its estimate.

    The module's convolutions, linear layers and attention projections get another class; nothing else changes:
    parameters, buffers, hooks, names and optimizers stay, and the module can be copied and saved. `undo` restores the
    classes. Each training forward pass of the whole module is an iteration; thresholds are found in every
    estimate.topk_period-th. In evaluation mode the last thresholds mask the weights, if the method's forward pass is
    sparse.

    over is the span of one threshold (Figure 9): "nchw" (the paper's runs), "chw", "hw", "kernel" (structured, used by
    swat-structured) or "random". selection is the algorithm for thresholds (SELECTIONS). one_sample finds the threshold
    of activations on the first sample and uses it for the batch; ahead starts each selection that many iterations early
    (A.4). seed is for "random". kernels is what computes the products of sparse operands: "dense", torch on masked
    tensors; "sparse", kernels that skip zeros, in fp32 on a CPU; "auto", the faster of both for each pass of each layer
    by the profile of the estimate's device. Results are equal to rounding.

    Raises SwatcostError if the estimate belongs to another network, its method cannot be run, or its device has no
    times of the sparse kernels for "auto" to go by.

    >>> import swatcost, torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> estimate = swatcost.estimate(swatcost.trace(module, input_shape=(8,)), weights=0.5, acts=0.5, period=1)
    >>> with convert(module, estimate) as converted, converted.counting() as counts:
    ...     module(torch.randn(4, 8)).sum().backward()
    >>> counts["2.weight"][0].weight_sparsity
    0.5
    """
    if not isinstance(estimate, Estimate):
        raise SwatcostError(f"{estimate!r:.60} is not an estimate: give swatcost.estimate's result for this module")
    method, plan = estimate.plan.method, estimate.plan
    if method.name not in METHODS_THAT_RUN:
        raise SwatcostError(f"method {method.name!r} is estimated, not run: choose from {', '.join(METHODS_THAT_RUN)}")
    if over is not None and over not in OVER:
        raise SwatcostError(f"over {over!r}: choose from {', '.join(OVER)}")
    if over == "kernel" and not method.structured:
        raise SwatcostError("over 'kernel' prunes whole kernels: choose method 'swat-structured'")
    if over in ("chw", "hw", "random") and selection != "exact":
        raise SwatcostError(f"over {over!r} does not use selection {selection!r}: leave it out")
    if kernels not in KERNEL_CHOICES:
        raise SwatcostError(f"kernels {kernels!r}: choose from {', '.join(KERNEL_CHOICES)}")
    if ahead and not 0 < ahead < estimate.topk_period:
        raise SwatcostError(f"ahead {ahead}: give iterations between 0 and the period, {estimate.topk_period}")
    module = unwrapped(module)
    if any(type(part) in SPARSE.values() for part in module.modules()):
        raise SwatcostError("the module is converted already: undo that first")
    names = {id(parameter): without_wrappers(name) for name, parameter in module.named_parameters()}
    _check_same(module, estimate)
    clock, found = Clock(period=estimate.topk_period, ahead=ahead, seed=seed), SELECTIONS.choose(selection)
    traced = [layer.weight for layer, _ in plan.by_weight(estimate.network)]
    layers: dict[str, Layer] = {}

    def layer_of(name: str) -> Layer:
        def sparsifier(operand: str) -> Sparsifier:
            of_weight = operand == "weight"
            spans: Over = over or "nchw"
            if method.structured:
                spans = "kernel" if of_weight else ("nchw" if spans == "kernel" else spans)
            return Sparsifier(clock, 0.0, spans, found, not of_weight, one_sample and not of_weight, len(layers))

        if name not in layers:
            layers[name] = Layer(
                name, dict(method.sparse), clock, sparsifier("weight"), sparsifier("activation"), sparsifier("output")
            )
        return layers[name]

    undo = contextlib.ExitStack()
    for part in module.modules():
        if (sparse := SPARSE.get(type(part))) is None:
            continue
        if sparse is SparseAttention:
            swat: Any = _of_attention(part, names, traced, layer_of)
        else:
            weight = part._parameters.get("weight", part._parameters.get("weight_orig"))
            name = names.get(id(weight), "")
            swat = layer_of(name) if name in traced else None
        if swat:
            _swap(part, sparse, swat, undo)
    try:
        _on_kernels(module, layers, chosen(kernels, estimate), undo)
    except BaseException:
        undo.close()
        raise
    hook = module.register_forward_pre_hook(clock.tick)
    undo.callback(hook.remove)
    ordered = {name: layers[name] for name in traced if name in layers}
    converted = Converted(module, estimate, clock, ordered, tuple(each for each in traced if each not in layers), undo)
    converted.follow(plan)
    return converted


def _on_kernels(
    module: nn.Module, layers: Mapping[str, Layer], passes: Mapping[str, frozenset[Pass]], undo: contextlib.ExitStack
) -> None:
    """Gives layers their sparse kernels; normalisation and pooling then read the same layout of memory."""
    if not any(passes.values()):
        return
    from swatcost.reference.batch_last import BATCH_LAST  # imports numba
    from swatcost.reference.kernel_products import SparseKernels, share_threads
    from swatcost.reference.usual_order import UsualOrder

    share_threads()
    for name, layer in layers.items():
        layer.kernels = SparseKernels(passes.get(name, frozenset()))
    for part in module.modules():
        if (batch_last := BATCH_LAST.get(type(part))) is not None:
            _swap(part, batch_last, None, undo)
    order = UsualOrder()
    undo.callback(order.close)
    for part in module.modules():
        # all parts, as checkpoints run some of them again in the backward pass
        undo.callback(part.register_forward_pre_hook(order.enter).remove)
        undo.callback(part.register_forward_hook(order.leave, always_call=True).remove)


def _nothing(module: nn.Module, args: Any) -> None:
    """A hook that does nothing."""


def _swap(part: nn.Module, sparse: type[nn.Module], swat: Any, undo: contextlib.ExitStack) -> None:
    own = type(part)
    # with a hook, torch's encoder layers do not take the fast path, which bypasses the module
    hook = part.register_forward_pre_hook(_nothing)
    part.__class__ = sparse
    part.swat = swat

    def restore() -> None:
        hook.remove()
        part.__class__ = own
        del part.swat

    undo.callback(restore)


def _of_attention(
    part: Any, names: Mapping[int, str], traced: list[str], layer_of: Any
) -> dict[int | str, Layer] | None:
    """The layers of an attention's projections, by their first row in the weight; None for unsupported variants."""
    if part.in_proj_weight is None or part.bias_k is not None or part.add_zero_attn:
        return None
    name, out, width = names[id(part.in_proj_weight)], names[id(part.out_proj.weight)], part.embed_dim
    square = width * width  # elements of a projection; the trace names parts of a weight by their elements
    parts = {f"{name}[{start * square}:{end * square}]": start * width for start in range(3) for end in (start + 1, 3)}
    projections = {row: layer_of(each) for each, row in parts.items() if each in traced}
    if name in traced:
        projections["in_proj"] = layer_of(name)
    if not projections or out not in traced:
        return None
    return {**projections, "out_proj": layer_of(out)}


def _check_same(module: nn.Module, estimate: Estimate) -> None:
    shapes = {without_wrappers(name): tuple(parameter.shape) for name, parameter in module.named_parameters()}
    for parameter in estimate.network.parameters:
        if shapes.get(parameter.name) != parameter.shape:
            raise SwatcostError(
                f"the estimate is for another network, {estimate.network.name}: this module has no {parameter.name} of "
                f"shape {parameter.shape}"
            )


def _state(each: Sparsifier) -> dict[str, Any]:
    return {
        "sparsity": each.sparsity,
        "found_in": dict(each.found_in),
        **{key: {call: t.detach().clone() for call, t in getattr(each, key).items()} for key in _TENSORS},
    }


_TENSORS = ("thresholds", "started")


def _restore(each: Sparsifier, state: Mapping[str, Any]) -> None:
    each.sparsity = float(state["sparsity"])
    each.found_in = {int(call): int(iteration) for call, iteration in state["found_in"].items()}
    for key in _TENSORS:
        setattr(each, key, {int(call): _tensor(t) for call, t in state[key].items()})


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"a {type(value).__name__} is not a threshold")
    return value.clone()
