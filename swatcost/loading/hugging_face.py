"""Hugging Face configs: which names stand for one, and what a file holds. Nothing is downloaded or executed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.common.reading import LARGEST_JSON, mapping_of, read
from swatcost.network import Network, network_of

PLACE = "hf"
"""The place of networks of transformers: `hf:CLASS`."""

_FILE = "config.json"
_MARKS = ("model_type", "architectures")  # of which a config has one


def config_file(name: str) -> str | None:
    """The path of the .json file that the name stands for: itself, or the config in a folder; None if it is neither."""
    if name.endswith(".json"):
        return name
    inside = os.path.join(name, _FILE)
    return inside if os.path.isdir(name) and os.path.exists(inside) else None


def trace_or_config(path: str | Path) -> Network | dict[str, Any]:
    """A saved trace, or the content of a Hugging Face config, which is known by its keys.

    Raises SwatcostError if the file cannot be read, or is neither.
    """

    def parse(text: str) -> Network | dict[str, Any]:
        content = mapping_of(text)
        if "schema" not in content and any(mark in content for mark in _MARKS):
            return content
        if "schema" not in content:
            raise ValueError(
                "it has no schema, as a saved trace has, nor model_type or architectures, as a Hugging Face config"
            )
        return network_of(content, str(path))

    return read(path, "trace or config", parse, LARGEST_JSON)


def checked_settings(settings: Any) -> dict[str, Any] | None:
    """Settings of a config by name, copied; None if there are none. Raises SwatcostError unless they are JSON's."""
    if not settings and (settings is None or isinstance(settings, Mapping)):
        return None
    if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in settings):
        raise SwatcostError(f"settings {settings!r:.60}: give values by name, such as {{'num_hidden_layers': 2}}")
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    except (TypeError, ValueError, RecursionError):
        raise SwatcostError(
            f"settings {dict(settings)!r:.60}: give numbers, text, lists and mappings of them"
        ) from None
    return copied


def settings_of(words: Iterable[str]) -> dict[str, Any] | None:
    """The settings of words such as `num_hidden_layers=2`, whose values are JSON, or else text; None without words.

    >>> settings_of(["num_hidden_layers=2", "text_config.hidden_act=gelu", "layer_types=null"])
    {'num_hidden_layers': 2, 'text_config.hidden_act': 'gelu', 'layer_types': None}

    Raises SwatcostError for a word that is not one, and for a name that is given twice.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not name:
            raise SwatcostError(f"--set {word!r:.60}: give KEY=VALUE, such as num_hidden_layers=2")
        if name in found:
            raise SwatcostError(f"--set {word!r:.60}: {name} is set twice")
        found[name] = _value(value)
    return found or None


def setting_words(settings: Mapping[str, Any] | None) -> list[str]:
    """These settings as command-line options."""
    texts = {
        name: value if isinstance(value, str) and _value(value) == value else json.dumps(value)
        for name, value in (settings or {}).items()
    }
    return [word for name, text in texts.items() for word in ("--set", f"{name}={text}")]


def _value(word: Any) -> Any:
    try:
        return json.loads(word)
    except (TypeError, ValueError, RecursionError):
        return word
