"""Numbers formatted for people."""

from collections.abc import Sequence
from decimal import Decimal

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def scaled(value: float, unit: str = "") -> str:
    """A number with an SI prefix and three decimals, such as 4.089 G; small whole numbers as they are."""
    for factor, prefix in _PREFIXES:
        if value >= factor:
            return f"{value / factor:.3f} {prefix}{unit}"
    return f"{value:.0f} {unit}".strip()


_ZETTA = 1e21


def power_of_ten(value: float) -> str:
    """A number as 3.143e23."""
    return f"{value:.3e}".replace("e+", "e")


def column_unit(total: float) -> tuple[str, float]:
    """An SI prefix and its factor for a column with this total: three decimals then show every row's share."""
    for factor, prefix in _PREFIXES:
        if total >= 1e3 * factor:
            return prefix, factor
    return "", 1.0


_OF_TOKENS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def token_unit(total: float) -> tuple[str, float]:
    """The prefix that papers write for a number of tokens as large as `total`, and its factor."""
    return next(((prefix, factor) for factor, prefix in _OF_TOKENS if total >= factor), ("", 1.0))


def token_count(value: float) -> str:
    """A number of tokens in up to four digits, such as 300 B, 4.194 M or 512."""
    prefix, factor = token_unit(value)
    return f"{value / factor:.4g} {prefix}".strip()


def flop_count(value: float) -> str:
    """FLOPs with an SI prefix; from 10^21 on as papers write them, such as 3.143e23 FLOP."""
    return f"{power_of_ten(value)} FLOP" if value >= _ZETTA else scaled(value, "FLOP")


def byte_count(value: float) -> str:
    """Bytes with an SI prefix, such as 9.664 GB."""
    return scaled(value, "B")


def spans(ends: Sequence[tuple[float, float]]) -> list[str]:
    """Stretches of a run, from one number to the next, with as few decimals as tell them all apart, at least one.

    >>> spans([(0, 0.83), (0.83, 1)]), spans([(0, 0.99), (0.99, 1)])
    (['0.0 – 0.8', '0.8 – 1.0'], ['0.00 – 0.99', '0.99 – 1.00'])
    """
    bounds = sorted({each for pair in ends for each in pair})
    decimals = next(
        (each for each in range(1, 9) if len({f"{bound:.{each}f}" for bound in bounds}) == len(bounds)), 9
    )  # fmt: skip
    return [f"{begin:.{decimals}f} – {end:.{decimals}f}" for begin, end in ends]


def axis_unit(largest: float) -> tuple[str, float]:
    """An SI prefix and its factor for an axis: its largest number has one to three digits before the point."""
    return next(((prefix, factor) for factor, prefix in _PREFIXES if largest >= factor), ("", 1.0))


def percent(fraction: float) -> str:
    """A fraction in per cent with two decimals; one that rounds to zero has no sign.

    >>> percent(0.7612), percent(-0.0302), percent(-1e-9)
    ('76.12 %', '−3.02 %', '0.00 %')
    """
    digits = f"{abs(100 * fraction):.2f}"
    return f"{'−' if fraction < 0 and float(digits) else ''}{digits} %"


def change(reduction: float) -> str:
    """A reduction as what changes: −76.12 %, or +3.20 % where there is more."""
    sign = "" if abs(reduction) < 5e-5 else "−" if reduction > 0 else "+"
    return f"{sign}{percent(abs(reduction))}"


def signed(value: float | Decimal, decimals: int = 2) -> str:
    """A difference with its sign: +9.03 or −0.11; one that rounds to zero is +0.00."""
    digits = f"{abs(value):.{decimals}f}"
    return ("−" if value < 0 and float(digits) else "+") + digits


def three_digits(value: float) -> str:
    """A number with at least three digits, such as 1,234.5, 36.79 or 0.0213.

    >>> three_digits(147.147), three_digits(36.78675), three_digits(0.02134), three_digits(0)
    ('147.1', '36.79', '0.0213', '0')
    """
    if value >= 100:
        return f"{value:,.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def times(factor: float) -> str:
    return f"{factor:.2f}×"


_MINUTE, _HOUR, _DAY = 60, 3600, 86_400  # [s]


def seconds(value: float) -> str:
    """A time in readable units: 3.2 ms, 41.30 s, 2 min 5 s, 3 h 12 min, 2 d 4 h."""
    whole = round(value)
    if whole < _MINUTE:
        if round(value, 2) >= 1:
            return f"{value:.2f} s"
        if round(value, 6) >= 1e-3:
            return f"{value * 1e3:.1f} ms"
        return f"{value * 1e6:.1f} µs" if round(value, 9) >= 1e-7 or not value else f"{value * 1e9:.1f} ns"
    # Each is rounded to its own smaller unit before it is split, so that 59.9 minutes are 1 h 0 min.
    minutes, hours = round(value / _MINUTE), round(value / _HOUR)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < _DAY // _MINUTE else f"{hours // 24:,} d {hours % 24} h"


def held_together(text: str) -> str:
    """The text with no-break spaces before per cent signs."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def shape(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))
