"""A Hugging Face config and the class of transformers that it is of, made from data and a user's settings."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.tracing.hugging_face_settings import OF_DTYPE, check_values, put, settings_of_classes

_NOT_READ = re.compile(
    r"(torch_)?dtype|_?name_or_path|_commit_hash|transformers_version|_?(attn|experts)_implementation(_internal)?"
)
_SAID = {
    "auto_map": "The config's auto_map names its authors' own code, which is not run: transformers' network is traced.",
    "quantization_config": "The config's quantization_config is left out: no weight is quantised.",
}

_ORDER = (
    "SPEECH_SEQ_2_SEQ", "SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM", "CAUSAL_LM", "IMAGE_TEXT_TO_TEXT",
    "ZERO_SHOT_IMAGE_CLASSIFICATION", "IMAGE_CLASSIFICATION", "VIDEO_CLASSIFICATION", "CTC", "AUDIO_CLASSIFICATION",
)  # fmt: skip
"""The tasks of which a model type's class is the first that it has, if its config names none."""


@dataclasses.dataclass(frozen=True)
class Named:
    """A class of transformers, the config to build it from, and what was assumed of them, in sentences."""

    kind: Any
    config: Any
    notes: tuple[str, ...]


def configured(
    library: Any,
    source: str,
    content: Mapping[str, Any] | None,
    settings: Mapping[str, Any] | None,
    classes: int | None,
) -> Named:
    """The class and config that the content of a config.json describes, or `hf:NAME` if there is none.

    NAME is a class of transformers, or a model type, with the config's defaults. settings replace fields, those of a
    config in a config by names with dots. classes are its vocabulary, or the labels of a classifier.

    Raises SwatcostError for an unknown class, model type or setting, and for what transformers refuses.
    """
    notes = [sentence for key, sentence in _SAID.items() if content and key in content]
    given = _named(library, source) if content is None else _read(content, source)
    config = _made(library, source, given)
    asked = dict(settings or {})
    check_values(asked, "the settings")
    if classes is not None:
        asked |= settings_of_classes(classes, _kind(library, source, given, config), config)
    for name, value in asked.items():
        put(given, config, name, value)
    if asked:
        config = _made(library, source, given)
    kind = _kind(library, source, given, config)
    if (named := given.get("architectures")) and kind.__name__ not in named:
        notes.append(f"transformers has no class {named[0]!r:.60}: the network is its {kind.__name__}.")
    config = _of_class(config, kind, source)
    notes += _without_randomness(config)
    set_dtype = given.get("dtype")
    config.dtype = getattr(torch, set_dtype or "float32")
    if not set_dtype and (stored := _stored(content or {})) not in (None, "float32"):
        notes.append(
            f"The config stores weights in {stored}. The network is traced in fp32, like every network: precision sets "
            f"the training precision, and the setting dtype={stored} stores every parameter in it."
        )
    return Named(kind, config, tuple(notes))


def _without_randomness(config: Any) -> list[str]:
    """Turns off the cache, and what changes a training step at random; says what of the latter."""
    said = []
    for each in _configs(config):
        if hasattr(each, "use_cache"):
            each.use_cache = False
        if getattr(each, "apply_spec_augment", False):
            said.append("No features are masked: the config's apply_spec_augment, which adds no product, is left out.")
            each.apply_spec_augment = False
        for name in (name for name in vars(each) if name.endswith("layerdrop") and getattr(each, name)):
            said.append(f"Every layer runs: the config's {name}, which would skip layers at random, is left out.")
            setattr(each, name, 0.0)
    return said


def one_line(error: BaseException) -> str:
    """An exception's message without line breaks, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = f"it has no {text}" if isinstance(error, KeyError) else text
    return text if len(text) <= 240 else f"{text[:240]} …"


def _named(library: Any, source: str) -> dict[str, Any]:
    """The content of a config that is nothing but `hf:NAME`."""
    name = source.partition(":")[2]
    if _class(library, name) is not None:
        return {"architectures": [name]}
    types = _auto(library).configuration_auto.CONFIG_MAPPING_NAMES
    if name in types:
        return {"model_type": name}
    known = [each for each in dir(library) if ("For" in each or each.endswith("Model")) and not each.startswith("Auto")]
    raise SwatcostError(f"transformers {library.__version__} has no {name!r:.60}: {nearest(name, [*types, *known])}")


def _read(content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The content without what is not read. Raises SwatcostError for values that no network can have."""
    check_values(content, source)

    def of(part: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: of(each) if isinstance(each, Mapping) else each for key, each in part.items()}
        if "use_pretrained_backbone" in kept:
            kept["use_pretrained_backbone"] = False  # which would be downloaded
        return {key: each for key, each in kept.items() if not _NOT_READ.fullmatch(key) and key not in _SAID}

    return deepcopy(of(content))


def _stored(content: Mapping[str, Any]) -> str | None:
    """The dtype of the weights that a config came with, by name, if it says that."""
    parts = (content, content.get("text_config"))
    told = (part[name] for part in parts if isinstance(part, Mapping) for name in OF_DTYPE if part.get(name))
    return next(told, None)


def _made(library: Any, source: str, content: Mapping[str, Any]) -> Any:
    """The config object of this content, of the class that its model_type, or else its architecture, has."""
    model_type, mapping = content.get("model_type"), _auto(library).configuration_auto.CONFIG_MAPPING
    if model_type is not None:
        if not isinstance(model_type, str) or model_type not in mapping:
            raise SwatcostError(
                f"{source}: transformers {library.__version__} knows no model_type {model_type!r:.60}: "
                f"{nearest(str(model_type), list(mapping.keys()))}"
            )
        kind = mapping[model_type]
    else:
        classes = (_class(library, name) for name in _architectures(content, source))
        found = next((each for each in classes if each is not None), None)
        if found is None:
            asked = content.get("architectures")
            has_not = f"no class {' or '.join(map(repr, asked))}" if asked else "nothing to go by: it names no class"
            raise SwatcostError(f"{source}: it has no model_type, and transformers {library.__version__} has {has_not}")
        kind = found.config_class
    fields = deepcopy({key: value for key, value in content.items() if key != "model_type"})
    try:
        return kind(**_with_floats(fields))
    except SwatcostError:
        raise
    except Exception as error:
        raise SwatcostError(f"{source}: transformers refuses its {kind.__name__}: {one_line(error)}") from None


def _with_floats(part: Any) -> Any:
    """The content with the numbers that JSON does not have, NaN and Infinity."""
    if isinstance(part, dict):
        name = part.get("__float__")
        return (
            float(name) if name in ("NaN", "Infinity", "-Infinity") else {k: _with_floats(v) for k, v in part.items()}
        )
    return [_with_floats(each) for each in part] if isinstance(part, list) else part


def _architectures(content: Mapping[str, Any], source: str) -> list[str]:
    names = content.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SwatcostError(f"{source}: architectures is {names!r:.60}, not a list of names of classes")
    return names


def _class(library: Any, name: str) -> Any:
    """The network of transformers that has this name; None if there is none."""
    try:
        found = getattr(library, name, None) if name.isidentifier() else None
    except (ImportError, RuntimeError):  # it needs another package
        return None
    is_network = isinstance(found, type) and issubclass(found, library.PreTrainedModel)
    return found if is_network and getattr(found, "config_class", None) is not None else None


def _kind(library: Any, source: str, content: Mapping[str, Any], config: Any) -> Any:
    """The class to build: the first of the config's that transformers has, or else its model type's main one."""
    for name in _architectures(content, source):
        if (kind := _class(library, name)) is not None:
            return kind
    tasks = _auto(library).modeling_auto
    names = [getattr(tasks, f"MODEL_FOR_{task}_MAPPING_NAMES", {}) for task in _ORDER] + [tasks.MODEL_MAPPING_NAMES]
    for each in names:
        found = each.get(config.model_type)
        kind = _class(library, found if isinstance(found, str) else (found or ("",))[0])
        if kind is not None:
            return kind
    raise SwatcostError(f"{source}: transformers {library.__version__} has no network of type {config.model_type!r}")


def _of_class(config: Any, kind: Any, source: str) -> Any:
    """The config that this class takes: the given one, or the one of its text."""
    for each in (config, config.get_text_config()):
        if isinstance(each, kind.config_class):
            return each
    raise SwatcostError(
        f"{source}: {kind.__name__} takes a {kind.config_class.__name__}, not a {type(config).__name__}: "
        "its model_type and architectures do not belong together"
    )


def _configs(config: Any) -> Iterator[Any]:
    """The config and those in it."""
    yield config
    for name in config.sub_configs:
        inner = getattr(config, name, None)
        if inner is not None:
            yield from _configs(inner)


def _auto(library: Any) -> Any:
    return library.models.auto
