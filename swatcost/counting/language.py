"""What conventions of language models make of a network as a whole: its output layer, embeddings and other parameters.

They count what a token costs from a number of parameters, N. Here N is counted from the trace: weights by the products
that they are multiplied in, and all other parameters once per token in each pass where the convention has them in N.
Sparsity acts on the products as in `exact`; the other parameters stay dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from swatcost.common.errors import SwatcostError
from swatcost.counting.convention import Convention
from swatcost.counting.costs import Cost, PassCosts
from swatcost.network import Layer, Network
from swatcost.network.layer import parameter_of


def tokens_of(network: Network) -> int | None:
    """Tokens in the traced batch: the inputs' or, where they are none, the queries of the first attention kernel."""
    queries = (layer.attention.queries for layer in network.layers if layer.attention is not None)
    return network.tokens or next(queries, None)


def without_tokens(network: Network) -> str:
    """Why nothing is counted per token of a network whose inputs are none."""
    return f"the inputs of {network.name} are not tokens (whole numbers of shape samples × positions)"


def why_not(convention: Convention, network: Network) -> str | None:
    """Why a convention cannot count a network, as a sentence with the remedy; None if it can."""
    if convention.per == "sample":
        return None
    if network.embeddings is None:
        return f"the trace of {network.name} does not say which parameters are embeddings: trace it again"
    if tokens_of(network) is None:
        return (
            f"it counts what a token costs, but {without_tokens(network)}, nor has it attention whose positions could "
            "stand for them: choose one per sample, such as exact"
        )
    return None


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """The parts of a network that conventions of language models treat differently; `tokens` are of the traced batch.

    `logits` is the weight of the output layer: the last linear layer, if it has as many outputs as the embedding of the
    tokens has rows; it is `tied` if it is that embedding. The others are names of parameters: `other_parameters` are
    neither weights of products nor embeddings, and `token_embeddings` may be the output layer's weight, too.
    `recomputes` says that activation checkpointing computes something again.
    """

    tokens: int
    logits: str | None
    tied: bool
    token_embeddings: frozenset[str]
    other_embeddings: frozenset[str]
    other_parameters: frozenset[str]
    recomputes: bool

    @staticmethod
    def of(network: Network, convention: Convention) -> LanguageModel:
        """Raises SwatcostError if the convention cannot count the network."""
        tokens, refused = tokens_of(network), why_not(convention, network)
        if refused is not None or tokens is None:
            raise SwatcostError(f"convention {convention.name!r}: {refused}")
        of_tokens, others = network.looked_up(reads_input=True), network.looked_up(reads_input=False)
        weights = {parameter_of(each.weight)[0] for each in network.weight_layers}
        logits = network.output_layer
        return LanguageModel(
            tokens=tokens,
            logits=None if logits is None else logits.weight,
            tied=logits is not None and parameter_of(logits.weight)[0] in of_tokens,
            token_embeddings=of_tokens,
            other_embeddings=others - of_tokens - weights,
            other_parameters=frozenset(each.name for each in network.parameters) - weights - of_tokens - others,
            recomputes=any(each.recomputed for each in network.counted_layers),
        )

    def counted_beside(self, convention: Convention) -> frozenset[str]:
        """The parameters that the convention counts beside the products."""
        nothing: frozenset[str] = frozenset()
        embeddings = {
            "none": nothing,
            "positions": self.other_embeddings,
            "parameters": self.other_embeddings | (nothing if self.tied else self.token_embeddings),
            "product": self.token_embeddings,
        }[convention.embedding]
        return embeddings | (self.other_parameters if convention.other_parameters == "once per token" else nothing)


def of_language_model(convention: Convention, network: Network, layers: Sequence[PassCosts]) -> list[PassCosts]:
    """The costs of the counted layers over the traced batch, as the convention has the output layer and experts."""
    model = LanguageModel.of(network, convention)
    seen: set[str] = set()
    found: list[PassCosts] = []
    for layer, costs in zip(network.counted_layers, layers, strict=True):
        times = _times(convention, model, layer, layer.weight in seen)
        seen.add(layer.weight)
        costs = costs if times == 1 else _scaled(costs, times)
        found.append(_again(convention, model, costs))
    return found


def beside_layers(convention: Convention, network: Network) -> dict[str, PassCosts]:
    """The costs over the traced batch, by parameter, of those that count although no product does: once per token."""
    if convention.per == "sample":
        return {}
    model = LanguageModel.of(network, convention)
    counted = model.counted_beside(convention)
    found = {}
    for each in network.parameters:
        if each.name in counted:
            macs = Cost(model.tokens * each.elements, model.tokens * each.elements)
            costs = PassCosts(forward=macs, grad_input=macs, grad_weight=macs, inference=macs)
            found[each.name] = _again(convention, model, costs)
    return found


def _times(convention: Convention, model: LanguageModel, layer: Layer, seen: bool) -> Fraction:
    """How often a layer's costs count."""
    if layer.is_product or layer.per_step:
        return Fraction(1)
    times = Fraction(1)
    if convention.experts == "all":
        times = Fraction(0) if seen else Fraction(model.tokens * layer.weight_elements, layer.forward_macs)
    if layer.weight == model.logits:
        if convention.logits == "untied only" and model.tied:
            return Fraction(0)
        if convention.logits == "three quarters" and not model.recomputes:
            times *= Fraction(3, 4)
    return times


def _again(convention: Convention, model: LanguageModel, costs: PassCosts) -> PassCosts:
    whole = convention.recompute == "whole forward" and model.recomputes
    return replace(costs, recompute=costs.forward) if whole else costs


def _scaled(costs: PassCosts, times: Fraction) -> PassCosts:
    """The costs so often; dense ones stay whole numbers where they are."""

    def scaled(cost: Cost) -> Cost:
        dense = times * Fraction(cost.dense)
        return Cost(int(dense) if dense.denominator == 1 else float(dense), float(times) * cost.sparse)

    return PassCosts(**{name: scaled(cost) for name, cost in vars(costs).items()})
