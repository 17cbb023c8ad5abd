"""The registry of methods, which finds `rigl:delta_t=200` too."""

from __future__ import annotations

from swatcost.common.registry import Registry
from swatcost.methods.method import Method


class MethodRegistry(Registry[Method]):
    """Methods by name; parameters follow it after a colon."""

    def __getitem__(self, name: str) -> Method:
        family, colon, parameters = str(name).partition(":")
        method = super().__getitem__(family)
        return method.asked(parameters) if colon else method

    def parameters_after(self, begun: str) -> list[str]:
        """How `rigl:del` or `rigl:delta_t=200,` can go on: all that is typed, with each parameter not given yet."""
        family, colon, typed = begun.rpartition(",")[2].partition(":")
        if not colon:  # perhaps parameters were given before: the method is the last part with a colon
            before, colon, typed = begun.rpartition(":")
            family = before.rpartition(",")[2]
        if not colon or family not in self.names():
            return []
        *given, last = typed.split(",")
        if any("=" not in each for each in given):  # other methods' names follow
            return []
        names = [each.name for each in (*self[family].parameters, *self[family].askable_targets)]
        left = [each for each in names if each not in {part.partition("=")[0] for part in given}]
        return [f"{begun.removesuffix(last)}{each}=" for each in left if each.startswith(last)]
