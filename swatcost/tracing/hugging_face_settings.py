"""What a Hugging Face config may hold, and how a user's settings change it."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest

_DTYPES = ("float32", "bfloat16", "float16", "float64")
WAYS = {"attn_implementation": ("sdpa", "eager"), "experts_implementation": ("grouped_mm", "batched_mm", "eager")}
"""What attention and experts may run by: transformers' own code. Other ways are packages, or are downloaded."""

OF_DTYPE = ("dtype", "torch_dtype")
"""The names of the field that says in what dtype weights are."""

_SIZE = re.compile(r"^(hidden_size|intermediate_size|head_dim|vocab_size|num_attention_heads|num_key_value_heads)$")
_LARGEST = 2**40
_MOST = (  # what builds lists or modules one by one
    (re.compile(r"(^|_)(layers?|blocks?|depths?|stages?)(_|$)"), 1_000),
    (re.compile(r"(^|_)heads?(_|$)"), 10_000),
    (re.compile(r"^num_labels$"), 1_000_000),
)


def check_values(content: Mapping[str, Any], source: str) -> None:
    """Raises SwatcostError for values that no network can have, or that would take all memory."""
    for key, value in _values(content):
        _check(key.rpartition(".")[2], value, source)


def _check(key: str, value: Any, source: str) -> None:
    """Raises SwatcostError for a size that would take all memory, and for a dtype that is none."""
    most = next((most for pattern, most in _MOST if pattern.search(key)), _LARGEST)
    if isinstance(value, int) and abs(value) > most:
        raise SwatcostError(f"{source}: {key} is {value:,}, and the most that is built is {most:,}")
    if isinstance(value, int) and value < 0 and key.startswith(("num_", "n_")):
        raise SwatcostError(f"{source}: {key} is {value:,}, give a number of at least 0")
    if isinstance(value, int) and value < 1 and _SIZE.search(key):
        raise SwatcostError(f"{source}: {key} is {value}: give a number of at least 1")
    if key in OF_DTYPE and value not in (None, *_DTYPES):
        raise SwatcostError(f"{source}: {key} is {value!r:.40}; set dtype to one of {', '.join(_DTYPES)}")


def _values(part: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text in a config, with the name that it stands under."""
    if isinstance(part, Mapping):
        for name, each in part.items():
            yield from _values(each, str(name))
    elif isinstance(part, list | tuple):
        for each in part:
            yield from _values(each, key)
    else:
        yield key, part


def settings_of_classes(classes: int, kind: Any, config: Any) -> dict[str, Any]:
    """The settings that give a network `classes` labels, or a vocabulary of them.

    Raises SwatcostError if it has neither.
    """
    if "Classification" in kind.__name__:
        return {"id2label": None, "label2id": None, "num_labels": classes}
    for place, each in (("", config), ("text_config.", getattr(config, "text_config", None))):
        if hasattr(each, "vocab_size"):
            return {f"{place}vocab_size": classes}
    raise SwatcostError(f"classes {classes}: {kind.__name__} has neither labels nor a vocabulary, leave classes out")


def put(content: dict[str, Any], config: Any, setting: str, value: Any) -> None:
    """Puts a setting into the content. Raises SwatcostError if the config has no such field."""
    *path, name = setting.split(".")
    for part in path:
        inner = getattr(config, part, None) if part in config.sub_configs else None
        if inner is None:
            has = nearest(part, list(config.sub_configs)) if config.sub_configs else "it has no config in it"
            raise SwatcostError(f"setting {setting!r:.60}: {type(config).__name__} has no config {part!r:.40}: {has}")
        if not isinstance(content.get(part), dict):
            content[part] = {}
        content, config = content[part], inner
    known = {each.name for each in dataclasses.fields(config)} | {*vars(config), *config.attribute_map}
    known |= {"num_labels", *OF_DTYPE, *WAYS}
    if hasattr(config, "rope_parameters"):
        known |= {"rope_theta", "rope_scaling"}
    known = {each for each in known if not each.startswith("_")} - {"auto_map"}
    if name not in known:
        raise SwatcostError(
            f"setting {setting!r:.60}: {type(config).__name__} has no {name!r:.40}: {nearest(name, sorted(known))}"
        )
    if name in WAYS and value not in WAYS[name]:
        raise SwatcostError(f"setting {setting!r:.60} is {value!r:.40}: give one of {', '.join(WAYS[name])}")
    if name in OF_DTYPE:
        name = "dtype"
    field = config.attribute_map.get(name, name)
    content.pop(name, None)
    if field == config.attribute_map.get("num_hidden_layers", "num_hidden_layers") and isinstance(value, int):
        _shorten(content, getattr(config, field, None), value)
    content[field] = value


def _shorten(content: dict[str, Any], layers: Any, left: int) -> None:
    """Keeps the first entries of the lists with one entry per layer, where fewer layers are asked for."""
    for key, each in content.items():
        if isinstance(each, list) and "layer" in key and len(each) == layers and left < len(each):
            content[key] = each[:left]
