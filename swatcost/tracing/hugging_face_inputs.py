"""What a network of transformers is given, as far as its class and config define it."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from swatcost.common.errors import SwatcostError
from swatcost.network.batches import identifiable_batch_size
from swatcost.tracing.sources import without_tokens

LONGEST = 4096
"""Tokens in one sample unless seq_len is given, where the config allows more: a trace of more takes long."""

_WITHOUT_POSITIONS = 512  # tokens where the config sets no limit
_SIDE = 224  # pixels of an image where the config says nothing
_SECONDS, _RATE = 10, 16_000  # of audio, where the network takes its samples, which no config limits
_LEARNED = ("position", "wpe", "pos_emb")  # in the names of tables of learned positions
_OTHERS = ("vision", "visual", "image", "audio", "encoder.embed_positions")


@dataclass(frozen=True)
class Given:
    """The arguments of a forward call on the meta device, their batch, and what was assumed, in sentences."""

    arguments: dict[str, Tensor]
    batch_size: int
    notes: tuple[str, ...]


def inputs_of(
    module: nn.Module,
    config: Any,
    source: str,
    input_shape: Sequence[int] | None,
    input_dtype: str | None,
    seq_len: int | None,
) -> Iterator[Given]:
    """What the network may be given, in the order to try: its main input, and then with images or tokens beside it.

    An encoder and a decoder get sequences of the same length. Raises SwatcostError for inputs that a class and a config
    do not define, and for more tokens than the network has positions.
    """
    if input_dtype is not None:
        raise SwatcostError(f"input_dtype {input_dtype}: the inputs of {source} are known, leave input_dtype out")
    names = set(inspect.signature(module.forward).parameters)
    said: Any = module.main_input_name
    main: str = said if isinstance(said, str) else said[0]
    shapes = _Shapes(module, config, source, seq_len)
    own = shapes.of(main) if input_shape is None else tuple(input_shape)
    if own is None:
        raise SwatcostError(
            f"{source}: a config does not define the input {main!r} of {type(module).__name__}: write a factory that "
            "returns (module, example_inputs)"
        )
    first = {main: own}
    if main == "input_ids" and input_shape is not None and len(own) == 1:
        shapes.check(*own)
    if "decoder_input_ids" in names and config.is_encoder_decoder:
        first["decoder_input_ids"] = (own if main == "input_ids" else shapes.of("input_ids")) or ()
    beside = {"input_ids": "pixel_values", "pixel_values": "input_ids"}.get(main)
    second = shapes.of(beside) if beside in names and beside is not None else None
    tried = [first] + ([{**first, str(beside): second}] if second is not None else [])
    if seq_len is not None and not any("input_ids" in name for each in tried for name in each):
        raise SwatcostError(without_tokens(source, seq_len))
    for each in tried:
        yield _given(module, each, shapes, images="pixel_values" in names and main == "input_ids")


def _given(module: nn.Module, samples: dict[str, tuple[int, ...]], shapes: "_Shapes", *, images: bool) -> Given:
    tensors = [*module.parameters(), *module.buffers()]
    sizes = [size for tensor in tensors for size in tensor.shape] + [size for each in samples.values() for size in each]
    batch = identifiable_batch_size(sizes)
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)
    try:
        arguments = {
            name: torch.empty((batch, *shape), dtype=torch.int64 if "input_ids" in name else dtype, device="meta")
            for name, shape in samples.items()
        }
    except (RuntimeError, OverflowError, TypeError):
        raise SwatcostError(f"input shape {next(iter(samples.values()))} is too large for a tensor") from None
    notes = [shapes.notes[name] for name in samples if name in shapes.notes]
    if images and "pixel_values" not in samples:
        notes.append("Samples are text only: the image encoder counts as parameters but does not run.")
    return Given(arguments, batch, tuple(dict.fromkeys(notes)))


class _Shapes:
    """The shape of one sample of each input; `notes` say by its name what was assumed."""

    def __init__(self, module: nn.Module, config: Any, source: str, seq_len: int | None) -> None:
        self._module, self._config, self._source, self._seq_len = module, config, source, seq_len
        self.notes: dict[str, str] = {}

    def of(self, name: str) -> tuple[int, ...] | None:
        """The shape of one sample of the input; None if the config does not say it."""
        made = {
            "input_ids": self._tokens, "pixel_values": self._image, "pixel_values_videos": self._image,
            "input_features": self._spectrogram, "input_values": self._sound,
        }.get(name)  # fmt: skip
        return None if made is None else made(name)

    def check(self, tokens: int) -> None:
        """Raises SwatcostError for more tokens than there are learned positions."""
        learned = self._learned_positions()
        if learned is not None and tokens > learned:
            raise SwatcostError(
                f"seq_len {tokens:,}: {self._source} has {learned:,} learned positions; give fewer tokens, or set "
                "max_position_embeddings"
            )

    def _tokens(self, name: str) -> tuple[int, ...]:
        if self._seq_len is not None:
            self.check(self._seq_len)
            return (self._seq_len,)
        limits = [self._limit(), self._learned_positions()]
        positions = min((each for each in limits if each), default=None)
        length = min(positions or _WITHOUT_POSITIONS, LONGEST)
        if positions is None:
            note = f"A sample is assumed to have {length:,} tokens: neither seq_len nor the config gives a number."
        else:
            of = (
                f" of the {positions:,} that the config allows"
                if length < positions
                else ", as many as the config allows"
            )
            note = f"A sample has {length:,} tokens{of}; seq_len sets another number."
        self.notes[name] = note
        self.notes["decoder_input_ids"] = self.notes[name]
        return (length,)

    def _limit(self) -> int | None:
        text = self._config.get_text_config()
        found = (
            getattr(text, each, None) for each in ("max_position_embeddings", "n_positions", "max_target_positions")
        )
        return next((each for each in found if isinstance(each, int) and each > 0), None)

    def _learned_positions(self) -> int | None:
        """Tokens that the smallest table of learned positions has rows for; None if there is no table."""
        tables = [
            each.num_embeddings - getattr(each, "offset", 0) - (0 if each.padding_idx is None else each.padding_idx + 1)
            for name, each in self._module.named_modules()
            if isinstance(each, nn.Embedding)
            and any(part in name for part in _LEARNED)
            and not any(part in name for part in _OTHERS)
        ]
        return min(tables, default=None)

    def _image(self, name: str) -> tuple[int, ...] | None:
        vision = getattr(self._config, "vision_config", None)
        config = self._config if vision is None else vision
        side, channels = getattr(config, "image_size", None), getattr(config, "num_channels", 3)
        if isinstance(side, dict):
            side = [side.get("height"), side.get("width")]
        if side is None:
            side = _SIDE
            self.notes[name] = f"Images are {_SIDE} × {_SIDE}, as the config does not say; input_shape sets it."
        sides = tuple(side) if isinstance(side, list | tuple) else (side, side)
        if not all(isinstance(each, int) for each in (channels, *sides)):
            return None
        frames = getattr(config, "num_frames", None)
        return (frames, channels, *sides) if isinstance(frames, int) else (channels, *sides)

    def _spectrogram(self, name: str) -> tuple[int, ...] | None:
        """Whisper's: mel bins by frames, of which its second convolution keeps every other one."""
        bins, places = (getattr(self._config, each, None) for each in ("num_mel_bins", "max_source_positions"))
        return (bins, 2 * places) if isinstance(bins, int) and isinstance(places, int) else None

    def _sound(self, name: str) -> tuple[int, ...]:
        bins, frames = (getattr(self._config, each, None) for each in ("num_mel_bins", "max_length"))
        if isinstance(bins, int) and isinstance(frames, int) and not hasattr(self._config, "conv_stride"):
            return (frames, bins)
        self.notes[name] = (
            f"One sample is assumed to be {_SECONDS} s of audio at {_RATE // 1000} kHz; configs do not say. "
            "input_shape sets it."
        )
        return (_SECONDS * _RATE,)
