"""Pages generated when the documentation is built, from the program's own data and numbers."""

from __future__ import annotations


def pages() -> dict[str, str]:
    """Every generated page or part of a page: path → Markdown."""
    from docs.making import api, choices, commands, methods, settings

    return {**methods.pages(), **choices.pages(), **commands.pages(), **settings.pages(), **api.pages()}
