"""Amounts as people write them: 80%, 1k, 11GB, 4x, $2, ranges such as 0.5:0.95:0.05 and lists such as 1,10,100."""

import re
from collections.abc import Callable
from decimal import Decimal
from numbers import Integral

from swatcost.common.errors import SwatcostError

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""A number as it is written in options and in files."""

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGTP", 1)}
_UNITS |= {f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGTP", 1)}
_MOST_BYTES = 10**18
_THOUSANDS = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "B": 9, "T": 12}
_MOST_IN_A_RANGE = 1_000_000
_CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP"}


def bytes_from(text: str) -> int:
    """Bytes from text: 11GB is 11 · 10⁹, 11GiB is 11 · 2³⁰.

    >>> bytes_from("11GB"), bytes_from("1.5 KiB")
    (11000000000, 1536)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS:
        raise SwatcostError(f"{text!r:.40} is not a memory size: give one such as 11GB or 24GiB, or a device's name")
    amount = float(match[1]) * _UNITS[match[2].upper()]
    if not 1 <= amount <= _MOST_BYTES:
        raise SwatcostError(f"{text!r:.40}: give more than 0 and at most {_MOST_BYTES / 1e15:g}PB")
    return round(amount)


def fraction_from(text: str) -> float:
    """A fraction from 0.8 or 80%. The caller checks its range.

    >>> fraction_from("0.8"), fraction_from("80 %")
    (0.8, 0.8)
    """
    return float(_fraction(text))


def factor_from(text: str) -> float:
    """A factor from 4, 4x or 4.00×. Its range is for the caller to check.

    >>> factor_from("4"), factor_from("2.5x"), factor_from("4.00 ×")
    (4.0, 2.5, 4.0)
    """
    value = _decimal(re.sub(r"[xX×]$", "", text.strip()))
    if value is None:
        raise SwatcostError(f"{text!r:.40} is not a factor: give one such as 4 or 4x")
    return float(value)


def price_from(text: str) -> tuple[float, str | None]:
    """A price from 2.5, $2.5 or 2.5 USD, and the currency if it is stated. Its range is for the caller to check.

    >>> price_from("2.5"), price_from("$2"), price_from("2 EUR")
    ((2.5, None), (2.0, 'USD'), (2.0, 'EUR'))
    """
    match = re.fullmatch(r"([$€£]?)\s*([^\sA-Za-z$€£]+)\s*([A-Z]{3}|[$€£])?", text.strip())
    value = None if match is None or (match[1] and match[3]) else _decimal(match[2])
    if match is None or value is None:
        raise SwatcostError(f"{text!r:.40} is not a price: give one such as 2.5, $2.5 or '2.5 EUR'")
    currency = match[1] or match[3]
    return float(value), _CURRENCIES.get(currency, currency) or None


def count_from(text: str) -> int:
    """A whole number from 1000, 1_000, 1k, 1.5M, 300B, 2T or 1.5e12.

    >>> count_from("1k"), count_from("1.5M"), count_from("256"), count_from("1.5e12") == count_from("1.5T")
    (1000, 1500000, 256, True)
    """
    return int(_count(text))


def fractions_from(text: str) -> list[float]:
    """Fractions from a comma-separated list of values and ranges FIRST:LAST:STEP, both ends included.

    >>> fractions_from("0.5:0.8:0.1,90%")
    [0.5, 0.6, 0.7, 0.8, 0.9]
    """
    return [float(each) for each in _several(text, _fraction)]


def counts_from(text: str) -> list[int]:
    """Whole numbers from a comma-separated list of values and ranges FIRST:LAST:STEP, both ends included.

    >>> counts_from("1,10,1k"), counts_from("32:128:32")
    ([1, 10, 1000], [32, 64, 96, 128])
    """
    return [int(each) for each in _several(text, _count)]


def names_from(text: str) -> list[str]:
    """Names from a comma-separated list; a part with = goes on with the parameters of the name before.

    >>> names_from("swat,rigl"), names_from("set,rigl:delta_t=200,t_end=0.75,swat")
    (['swat', 'rigl'], ['set', 'rigl:delta_t=200,t_end=0.75', 'swat'])
    """
    names: list[str] = []
    for part in (each.strip() for each in text.split(",") if each.strip()):
        if names and ":" in names[-1] and "=" in part and ":" not in part.partition("=")[0]:
            names[-1] += f",{part}"
        else:
            names.append(part)
    if not names:
        raise SwatcostError(f"{text!r:.40} has no names: give names separated by commas")
    return names


def _fraction(text: str) -> Decimal:
    number = text.strip(" ")
    value = _decimal(number.removesuffix("%"))
    if value is None:
        raise SwatcostError(f"{text!r:.40} is not a fraction: give one such as 0.8 or 80%")
    return value / 100 if number.endswith("%") else value


def _count(text: str) -> Decimal:
    number = r"[+-]?(?:\d+(?:_\d+)*)?\.?\d*(?:[eE]\+?\d+)?"
    match = re.fullmatch(rf"({number})\s*([A-Za-z]?)", text.strip(), re.ASCII)
    value = _decimal(match[1].replace("_", "")) if match and match[2] in _THOUSANDS else None
    if match is None or value is None:
        raise SwatcostError(f"{text!r:.40} is not a whole number: give one such as 1000 or 1k")
    value = value.scaleb(_THOUSANDS[match[2]])
    if value != value.to_integral_value():
        raise SwatcostError(f"{text!r:.40} is not a whole number: give one such as 1000 or 1k")
    return value


def _decimal(text: str) -> Decimal | None:
    """The number of ASCII digits; None for anything else, such as 1_0 and digits of other scripts."""
    if not NUMBER.fullmatch(text.strip(" ")):
        return None
    value = Decimal(text.strip(" "))
    return value if value.is_finite() and abs(value) <= 10**18 else None


def _several(text: str, one: Callable[[str], Decimal]) -> list[Decimal]:
    """The values of a list, with ranges expanded: as decimals, so that three times 0.1 is 0.3."""
    found: list[Decimal] = []
    for part in text.split(","):
        ends = [one(each) for each in part.split(":")]
        if len(ends) == 1:
            found.append(ends[0])
            continue
        if len(ends) != 3 or ends[2] <= 0 or ends[1] < ends[0]:
            raise SwatcostError(f"{part!r:.40} is not a range: give FIRST:LAST:STEP, such as 0.5:0.95:0.05")
        first, last, step = ends
        count = int((last - first) / step) + 1
        if len(found) + count > _MOST_IN_A_RANGE:
            raise SwatcostError(f"{part!r:.40} is more than {_MOST_IN_A_RANGE:,} values: give a larger step")
        found += [first + step * each for each in range(count)]
    return found


_LARGEST_COUNT = 12  # power of ten: samples, steps or iterations; larger than in any run
_LARGEST_TOKENS = 15  # power of ten: larger than in any run

_LARGEST_SEED = 2**63 - 1  # of torch's and NumPy's generators


def checked_seed(value: int, name: str = "seed") -> int:
    """The value as an int. Raises SwatcostError unless it is a whole number from 0 to 2^63 − 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= value <= _LARGEST_SEED:
        raise SwatcostError(f"{name} {value!r:.40}: give a whole number from 0 to 2^63 - 1")
    return int(value)


def checked_count(value: int, name: str, power: int = _LARGEST_COUNT) -> int:
    """The value as an int. Raises SwatcostError unless it is a whole number from 1 to 10^power."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= value <= 10**power:
        raise SwatcostError(f"{name} {value!r:.40}: give a whole number from 1 to 10^{power}")
    return int(value)


def checked_tokens(value: float | str) -> int:
    """A number of tokens, such as 2e12 or "2T". Raises SwatcostError unless it is a whole number from 1 to 10^15.

    >>> checked_tokens(2e12) == checked_tokens("2T") == 2_000_000_000_000
    True
    """
    if isinstance(value, str):
        value = count_from(value)
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return checked_count(whole, "tokens", _LARGEST_TOKENS)  # type: ignore[arg-type]
