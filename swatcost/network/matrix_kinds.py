"""Kinds of matrices in a transformer, such as those of attention: by the names of modules, or by what they do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType

from swatcost.network.layer import Layer
from swatcost.network.network import Network


@dataclass(frozen=True, kw_only=True)
class MatrixKind:
    """A kind of matrices.

    A linear layer is of this kind if a part of its name, in lower case, matches a pattern of `modules`, or its last
    part one of `layers`. Where parts name several kinds, the last one decides, or one that `takes_precedence`.
    """

    name: str
    meaning: str
    modules: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    takes_precedence: bool = False


_EVERY = (
    MatrixKind(
        name="attention",
        meaning="projections to queries, keys and values, fused or not, and the output projection",
        modules=("*attn*", "*attention*", "*qkv*", "[qkvo]_proj", "to_[qkv]", "to_out", "query", "key", "value"),
        layers=("[qkvo]",),
    ),
    MatrixKind(
        name="feed-forward",
        meaning="layers of an MLP through which every token runs, gated or not, those of shared experts included",
        modules=(
            "*mlp*", "*ffn*", "ff", "ffwd", "feedforward", "feed_forward", "densereludense", "intermediate", "fc1",
            "fc2", "linear1", "linear2", "lin1", "lin2", "c_fc", "gate_proj", "up_proj", "down_proj",
        ),
        layers=("gate", "up", "down"),
    ),
    MatrixKind(
        name="experts",
        meaning="layers of experts, of which a router chooses some for each token",
        modules=("experts", "expert_*"),
        takes_precedence=True,
    ),
    MatrixKind(
        name="router",
        meaning="the layer that scores the experts for each token",
        modules=("router", "shared_expert_gate"),
        takes_precedence=True,
    ),
    MatrixKind(name="head", meaning="the layer that gives the network's output, such as a language model's logits"),
    MatrixKind(
        name="embeddings",
        meaning="layers that embed the input, such as a ViT's patches; lookup tables are not layers",
        modules=("*embed*", "conv_proj"),
    ),
)  # fmt: skip

MATRIX_KINDS: Mapping[str, MatrixKind] = MappingProxyType({each.name: each for each in _EVERY})
"""The kinds by name. Their module names are those of torchvision, timm, transformers, nanoGPT, torch and the zoo."""

_Patterns = tuple[tuple[str, str], ...]  # each with its kind
_OF_MODULES: _Patterns = tuple((each, kind.name) for kind in _EVERY for each in kind.modules)
_OF_LAYERS: _Patterns = tuple((each, kind.name) for kind in _EVERY for each in (*kind.modules, *kind.layers))


def kind_by_name(layer: Layer) -> str | None:
    """The kind of a layer's matrix by the name of its module; None if that names none, as that of a head does not.

    Two names need more than their parts. A `gate` with fewer outputs than inputs is a router: that of a gated MLP
    widens. In BERT the second feed-forward layer is `output.dense`, as is, below `attention`, attention's projection.
    """
    if layer.kind not in ("linear", "conv"):
        return None
    parts = layer.name.lower().split(".")
    found = _kind_of_parts(parts)
    if layer.kind == "conv":
        return found if found == "embeddings" else None
    if parts[-1] == "gate" and found == "feed-forward" and layer.weight_shape[0] < layer.weight_shape[1]:
        return "router"
    return found or ("feed-forward" if parts[-2:] == ["output", "dense"] else None)


def _kind_of_parts(parts: Sequence[str]) -> str | None:
    """The kind that the parts of a name stand for."""
    kinds = [_kind_of_part(part, _OF_MODULES) for part in parts[:-1]] + [_kind_of_part(parts[-1], _OF_LAYERS)]
    named = [each for each in reversed(kinds) if each is not None]
    return next((each for each in [*(one for one in named if MATRIX_KINDS[one].takes_precedence), *named]), None)


@lru_cache(maxsize=4096)  # names of thousands of layers have few different parts
def _kind_of_part(part: str, patterns: _Patterns) -> str | None:
    """The kind whose pattern is the first to match a part of a name."""
    return next((kind for pattern, kind in patterns if fnmatchcase(part, pattern)), None)


def none_of_kind(kind: str, name: str) -> str:
    """What is said where the network of this name has no layer of a kind."""
    if kind == "embeddings":
        return f"{name} has no embedding layer: its embeddings are lookup tables, which cost no MACs and stay dense"
    return f"{name} has no layer of the kind {kind}"


def kinds_of(network: Network) -> dict[str, str]:
    """The kind of each matrix that has one, by the name of its weight.

    The head is the last layer of all, if it is linear, has no other kind by name and is not square, as BERT's pooler
    is; or that of a language model (`Network.output_layer`). Layers that no name tells are known by what they do:
    linear layers that read one tensor right before attention's products, and the one right behind them, are attention;
    linear layers that widen one tensor, and the one behind them that narrows it to as many features, are feed-forward.
    The latter are looked for in networks with attention alone.
    """
    found = {layer.weight: kind for layer in network.weight_layers if (kind := kind_by_name(layer)) is not None}
    if (head := network.output_layer or _last(network, found)) is not None:
        found[head.weight] = "head"
    for kind, layers in _by_structure(network):
        if not any(layer.weight in found for layer in layers):
            found |= {layer.weight: kind for layer in layers}
    return found


def _last(network: Network, named: Mapping[str, str]) -> Layer | None:
    """The last layer, if it can be a head."""
    for last in network.weight_layers[-1:]:
        if last.kind == "linear" and last.weight not in named and last.weight_shape[0] != last.weight_shape[1]:
            return last
    return None


def _by_structure(network: Network) -> Iterator[tuple[str, Sequence[Layer]]]:
    """Layers that are of one kind by what they do, for each place where there are some."""
    layers = network.counted_layers
    scores = [place for place, (one, two) in enumerate(pairwise(layers)) if _attends(one, two)]
    for place in scores:
        yield "attention", _reading_one_tensor(layers, place)
        yield "attention", [each for each in layers[place + 2 : place + 3] if each.kind == "linear"]
    for place, narrowing in enumerate(layers if scores else ()):
        widening = _reading_one_tensor(layers, place)
        if narrowing.kind == "linear" and widening and _narrows(widening[0], narrowing):
            yield "feed-forward", [*widening, narrowing]


def _attends(scores: Layer, mixing: Layer) -> bool:
    """Whether two products are those of attention: Q · Kᵀ, and then the values mixed by these scores."""
    return scores.kind == mixing.kind == "product" and scores.output_shape == mixing.input_shape


def _reading_one_tensor(layers: Sequence[Layer], place: int) -> Sequence[Layer]:
    """The linear layers right before a place, as far back as they read the same tensor."""
    first = place
    while first and layers[first - 1].kind == "linear" and _reads_with(layers[first - 1], layers[place - 1]):
        first -= 1
    return layers[first:place]


def _reads_with(one: Layer, other: Layer) -> bool:
    return one.input_storage == other.input_storage and one.input_shape == other.input_shape


def _narrows(widening: Layer, narrowing: Layer) -> bool:
    """Whether one layer undoes the widening of another; a gated MLP may compute both halves of its width in one."""
    wide, narrow = widening.weight_shape
    return any(narrow < read and narrowing.weight_shape == (narrow, read) for read in (wide, wide // 2))
