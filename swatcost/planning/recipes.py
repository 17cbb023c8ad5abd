"""Recipes (the paper's hyperparameters) and datasets, as data."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from swatcost.common.reading import toml_of, typed
from swatcost.common.registry import Registry
from swatcost.sparsity import DenseOrSparse


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of a published run; `batch_size` is over all `gpus`, `learning_rate` is (first epoch, rate).

    `models` are those that use it by default.
    """

    name: str
    title: str
    source: str
    models: tuple[str, ...]
    dataset: str
    epochs: int
    batch_size: int
    gpus: int
    period: int
    method: str
    optimizer: str
    learning_rate: tuple[tuple[int, float], ...]
    remarks: str
    last_layer: DenseOrSparse | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset and its samples per epoch."""

    name: str
    title: str
    samples: int
    source: str


@dataclass(frozen=True)
class _File:
    recipes: tuple[Recipe, ...]
    datasets: tuple[Dataset, ...]


@cache
def _file() -> _File:
    found: _File = typed(toml_of((files(__package__) / "recipes.toml").read_text(encoding="utf-8")), _File)
    return found


RECIPES = Registry("recipe", Recipe, *_file().recipes)
DATASETS = Registry("dataset", Dataset, *_file().datasets)


def recipe_of(model: str) -> Recipe | None:
    """The paper's recipe for a network of this name, if it has one."""
    return next((RECIPES[name] for name in RECIPES.names() if model in RECIPES[name].models), None)
