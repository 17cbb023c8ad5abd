"""Parameters of methods, such as RigL's ΔT: what they mean, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.common.units import count_from, fraction_from

Value = int | float | str | bool
"""What a parameter can be: of the same type as its default."""

_WORDS = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number, word or yes/no that a method can be asked with.

    `meaning` is a phrase with the unit, `source` says where the default comes from. Numbers are from `least` to `most`,
    words one of `choices`, unless these are empty.

    Raises ValueError for a default that is not allowed itself.
    """

    name: str
    default: Value
    meaning: str
    source: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"parameter {self.name!r} is not a Python name")
        try:
            self.checked(self.default)
        except SwatcostError as error:
            raise ValueError(f"its default: {error}") from error

    @property
    def allowed(self) -> str:
        """The values that it takes, in words."""
        if isinstance(self.default, bool):
            return "yes or no"
        if isinstance(self.default, str):
            return " or ".join(self.choices) or "a word"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        ends = [f"{word} {end:g}" for word, end in (("from", self.least), ("to", self.most)) if end is not None]
        return " ".join([kind, *ends])

    def read(self, text: str) -> Value:
        """The value from text: 200, 1k, 0.75 or 75%, yes. Raises SwatcostError as `checked` does."""
        try:
            if isinstance(self.default, bool):
                return self.checked(_WORDS.get(text.lower(), text))
            if isinstance(self.default, int):
                return self.checked(count_from(text))
            if isinstance(self.default, float):
                return self.checked(fraction_from(text))
        except SwatcostError:
            raise self._refused(text) from None
        return self.checked(text)

    def checked(self, value: object) -> Value:
        """The value, with the default's type. Raises SwatcostError for another type or out of range."""
        if isinstance(self.default, bool) or isinstance(value, bool):
            if isinstance(self.default, bool) and isinstance(value, bool):
                return value
        elif isinstance(self.default, str):
            if isinstance(value, str) and (not self.choices or value in self.choices):
                return value
        elif isinstance(self.default, int):
            if isinstance(value, Integral) and self._in_range(int(value)):
                return int(value)
        elif isinstance(value, Real) and self._in_range(float(value)):
            return float(value)
        raise self._refused(value)

    def _in_range(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def _refused(self, value: object) -> SwatcostError:
        written = value if isinstance(value, str) else repr(value)
        return SwatcostError(f"{self.name}={written:.40}: give {self.allowed}")


def read_parameters(method: str, parameters: Sequence[Parameter], text: str) -> dict[str, Value]:
    """The values in `delta_t=200,t_end=0.75`, for the method of that name.

    Raises SwatcostError for a parameter that it does not have or that is given twice, and for a value out of range.
    """
    values: dict[str, Value] = {}
    named = {each.name: each for each in parameters}
    for part in text.split(","):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not value:
            example = f", such as {parameters[0].name}={written(parameters[0].default)}" if parameters else ""
            raise SwatcostError(f"method {method!r}: {part!r:.40} is not NAME=VALUE{example}")
        known(method, named, name)
        if name in values:
            raise SwatcostError(f"method {method!r}: {name} is given twice, give it once")
        values[name] = named[name].read(value)
    return values


def known(method: str, named: Mapping[str, Parameter], name: str) -> None:
    """Raises SwatcostError if the method has no parameter of that name."""
    if not named:
        raise SwatcostError(f"method {method!r} has no parameters: leave {name!r:.40} out")
    if name not in named:
        raise SwatcostError(f"method {method!r} has no parameter {name!r:.40}: {nearest(name, [*named])}")


def written(value: Value) -> str:
    """A value as `Parameter.read` reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
