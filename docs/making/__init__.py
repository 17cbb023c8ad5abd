"""What the documentation's pages are made from when it is built: the program's own data, and its numbers."""

from __future__ import annotations


def pages() -> dict[str, str]:
    """Every page, and every part of a page, that is written by no hand: path → Markdown."""
    from docs.making import api, choices, commands, methods, settings

    return {**methods.pages(), **choices.pages(), **commands.pages(), **settings.pages(), **api.pages()}
