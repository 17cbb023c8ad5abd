"""Layers by the names of their modules, for methods that are applied to chosen ones."""

from fnmatch import fnmatchcase

from swatcost.methods.parameter import Parameter
from swatcost.network.layer import Layer

MODULES = Parameter(
    name="modules", default="*", meaning="patterns of layer names, with + between them, as in *query*+*value*",
    source="our choice: every layer",
)  # fmt: skip


def is_named(layer: Layer, *, modules: str, kinds: tuple[str, ...]) -> bool:
    """Whether it is of one of these kinds, and its name matches one of the patterns."""
    return layer.kind in kinds and any(fnmatchcase(layer.name, each) for each in modules.split("+"))


def layers_named(modules: str) -> str:
    """What these layers are called."""
    return f"layers named {' or '.join(modules.split('+'))}"
