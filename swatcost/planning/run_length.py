"""How long a run is: epochs of a dataset, or tokens."""

from dataclasses import dataclass

from swatcost.common.errors import SwatcostError
from swatcost.common.units import checked_count, checked_tokens
from swatcost.counting.language import without_tokens
from swatcost.network import Network
from swatcost.planning.recipes import DATASETS, RECIPES, Recipe


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """`epochs` epochs of `samples` samples of `dataset`; of a run that was asked for in `tokens`, one epoch."""

    dataset: str
    samples: int
    epochs: int
    tokens: int | None = None


def length_of(
    network: Network,
    recipe: Recipe | None = None,
    *,
    dataset: str | None = None,
    samples: int | None = None,
    epochs: int | None = None,
    tokens: float | str | None = None,
) -> RunLength:
    """The length that these define; what is not given is the recipe's.

    Raises SwatcostError for what is missing, for values that exclude each other, and for tokens of a network that
    takes none.
    """
    if tokens is not None:
        tokens = checked_tokens(tokens)
        sequences = _sequences(network, tokens)
        given = {"recipe": recipe, "dataset": dataset, "samples": samples, "epochs": epochs}
        if beside := next((name for name, value in given.items() if value is not None), None):
            raise SwatcostError(f"{beside}: the tokens set the length of the run, leave one of the two out")
        return RunLength(dataset=f"{tokens:,} tokens", samples=sequences, epochs=1, tokens=tokens)
    if samples is not None and dataset is not None:
        raise SwatcostError("samples: the dataset sets them already, leave one of the two out")
    if recipe is not None:
        epochs = recipe.epochs if epochs is None else epochs
        dataset = recipe.dataset if dataset is None and samples is None else dataset
    if samples is None and dataset is not None:
        samples = DATASETS[dataset].samples
    if samples is None or epochs is None:
        raise SwatcostError(_unknown(network, samples, epochs))
    samples, epochs = checked_count(samples, "samples"), checked_count(epochs, "epochs")
    return RunLength(dataset=dataset or f"{samples:,} samples", samples=samples, epochs=epochs)


def _sequences(network: Network, tokens: int) -> int:
    """The samples that it takes to hold `tokens` tokens."""
    if network.tokens is None:
        raise SwatcostError(f"tokens: {without_tokens(network)}: give samples and epochs")
    return -(-tokens * network.batch_size // network.tokens)


def _unknown(network: Network, samples: int | None, epochs: int | None) -> str:
    missing = [name for name, value in (("epochs", epochs), ("dataset or samples", samples)) if value is None]
    instead = "" if network.tokens is None else ", or tokens"
    return (
        f"{network.name}: the paper has no recipe for this network: give {' and '.join(missing)}{instead}, or a recipe "
        f"({', '.join(RECIPES.names())})"
    )
