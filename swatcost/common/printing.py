"""Text from outside (names of layers, files, methods) as terminals, spreadsheets and other programs can take it."""

import re
from collections.abc import Sequence
from unicodedata import category

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")  # what our own tables on a terminal hold


def printable(name: str) -> str:
    """A name that fits on one line of any file: without control characters and lone surrogates."""
    plain = name if name.isprintable() else "".join(each if each.isprintable() else "?" for each in name)
    return plain.encode("utf-8", "replace").decode("utf-8")


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first names, and how many more there are.

    >>> listed(["q", "k", "v"], most=2)
    'q, k and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def printable_lines(text: str) -> str:
    """Text without characters that steer a terminal or turn the direction of writing; lines and colours stay.

    >>> printable_lines("a\\u202eb\\x9b2J")
    'a?b?2J'
    """
    if text.replace("\n", "").isprintable():
        return text
    parts = _COLOUR.split(text)  # every second one is a colour
    return "".join(part if place % 2 else "".join(map(_shown, part)) for place, part in enumerate(parts))


def escaped_in_json(text: str) -> str:
    """JSON text that shows such characters as escapes, which leaves its values as they are.

    >>> escaped_in_json('{"name": "a\\u202e"}')
    '{"name": "a\\\\u202e"}'
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(each if _shown(each) == each else _escape(each) for each in text)


def cell(value: object) -> object:
    """What a CSV file holds for a value: of text that a spreadsheet would take for a formula, the text.

    Text other than numbers that begins with =, +, -, @, a tab or a line break gets an apostrophe before it; `uncelled`
    takes it away.

    >>> cell("=1+1"), cell("-0.5"), cell(-0.5), cell("layer1.conv")
    ("'=1+1", '-0.5', -0.5, 'layer1.conv')
    """
    if not isinstance(value, str) or not value.startswith((*_FORMULA_STARTS, "'")):
        return value
    formula = value.lstrip("'").startswith(_FORMULA_STARTS)
    return f"'{value}" if formula and not _is_number(value) else value


def uncelled(text: str) -> str:
    """The text of a cell that `cell` wrote."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA_STARTS) else text


def _shown(character: str) -> str:
    plain = character.isprintable() or character == "\n" or category(character) == "Zs"
    return character if plain else "?"


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
