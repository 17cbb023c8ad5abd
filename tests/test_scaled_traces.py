"""Traces of language models for any number of tokens against fresh traces, and against counts by hand."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import msgspec
import pytest
import torch
from swatcost_models import ZOO
from swatcost_models.llama import Block, Llama
from torch import nn

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.loading.scaled_trace import ScaledTrace, scaled
from swatcost.network.batches import identifiable_sizes

SIZES = (11, 13)
OF_TOKENS = [name for name, network in ZOO.items() if network.input_dtype]


def small() -> Llama:
    """A block of width 64, with 8 heads of queries and 2 of keys, and a vocabulary of 100."""
    with torch.device("meta"):
        return Llama(100, 64, 8, 10_000, [Block(64, 8, 2, 96)])


def text(module: nn.Module, tokens: int, batch_size: int | None = None) -> bytes:
    return msgspec.json.encode(
        swatcost.trace(module, input_shape=(tokens,), input_dtype="int64", batch_size=batch_size)
    )


@pytest.fixture(scope="module")
def of_small() -> ScaledTrace:
    texts = {(size, length): text(small(), length, size) for size, length in product(SIZES, (64, 128, 256))}
    return scaled(texts, identifiable_sizes(size for each in small().parameters() for size in each.shape))


def test_a_scaled_trace_is_the_fresh_one_at_every_length(of_small: ScaledTrace) -> None:
    """In every byte of its text: layers, tensors under autocast, timeline, loss and movements."""
    lengths = {*range(2, 28), 77, 143, 255, 500} - {4}  # 22, 77 and 143 are multiples of 11, which a batch then is not
    for tokens in sorted(lengths):
        assert of_small.text(tokens) == text(small(), tokens), tokens


def test_lengths_of_another_structure_are_traced(of_small: ScaledTrace) -> None:
    """Heads of 8 features are turned by 4 angles: with 4 tokens, counting either is the same operation, in one row."""
    assert [tokens for tokens in range(1, 28) if of_small.network(tokens, "small") is None] == [1, 4]
    assert of_small.network(2**26, "small") is None  # more than a trace can hold


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("gpt2", 1), ("gpt2", 77), ("gpt2", 1023), ("gpt2_xl", 300), ("llama2_7b", 2048), ("llama3_8b", 1000),
        ("mixtral_8x7b", 121), ("bert_base", 128),
    ],
)  # fmt: skip
def test_the_zoos_are_fresh_traces(name: str, tokens: int) -> None:
    assert swatcost.load(name, seq_len=tokens) == swatcost.load(name, seq_len=tokens, fresh=True)


@pytest.mark.parametrize("name", OF_TOKENS)
def test_torch_is_not_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    network = swatcost.load(name, seq_len=300)
    assert network == swatcost.load(name, input_shape=(300,)) == swatcost.load(name, seq_len=300, input_dtype="int64")
    assert network.tokens == 300 * network.batch_size
    scores = next(each.attention for each in network.layers if each.attention)
    heads = {"gpt2_xl": 25, "gpt2": 12, "bert_base": 12}.get(name, 32)
    needed = 300 * 301 // 2 if scores.causal else 300 * 300
    assert (scores.pairs, scores.needed) == tuple(network.batch_size * heads * each for each in (300 * 300, needed))


def test_other_requests_are_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for asked in ({"classes": 7}, {"loss": "none"}, {"input_dtype": "int32"}, {"offload": True}, {"fresh": True}):
        with pytest.raises(SwatcostError, match="needs torch"):
            swatcost.load("gpt2", seq_len=64, **asked)  # type: ignore[arg-type]
    with pytest.raises(SwatcostError, match="needs torch"):
        swatcost.load("resnet18", input_shape=(3, 32, 32))
    assert swatcost.load("resnet18", input_shape=(3, 224, 224)) == swatcost.load("resnet18")
    assert swatcost.load("gpt2", seq_len=64, autocast="amp") == swatcost.load("gpt2", seq_len=64).under("amp")


@pytest.mark.parametrize(("name", "context"), [("gpt2", 1024), ("gpt2_xl", 1024), ("bert_base", 512)])
def test_there_are_no_more_tokens_than_positions(name: str, context: int) -> None:
    for asked in ({"seq_len": context + 1}, {"input_shape": (context + 1,)}, {"seq_len": 10**12, "classes": 7}):
        with pytest.raises(SwatcostError, match=f"tokens: {name} has {context:,} learned positions; give fewer"):
            swatcost.load(name, **asked)  # type: ignore[arg-type]


def test_a_factory_says_so_itself() -> None:
    with pytest.raises(SwatcostError, match="513 tokens: it has 512 learned positions") as refused:
        swatcost.load("swatcost_models.bert:bert_base", seq_len=513)
    assert "\n" not in str(refused.value)


def texts_of(number: Any, words: Any = lambda s: "") -> dict[tuple[int, int], bytes]:
    return {(b, s): b"[%d]%s" % (number(b, s), words(s).encode()) for b, s in product(SIZES, (8, 16, 32))}


def test_the_polynomials_of_a_text() -> None:
    found = scaled(texts_of(lambda b, s: 5 + b * (7 * s + s * (s + 1) // 2)), SIZES)
    assert found.polynomials == ((5, 0, 0, 0, 8, 1),)  # s·(s + 1)/2 = s + s·(s − 1)/2
    assert (bytes(found.trace), found.text(10)) == (b'["$0"]', b"[1380]")  # 5 + 11 · (70 + 55)
    assert found.text(22) == b"[5296]"  # 5 + 13 · (154 + 253)
    assert found.text(11 * 13) is None


@pytest.mark.parametrize(
    ("number", "words", "message"),
    [
        (lambda b, s: s // 3, lambda s: "", "is not a polynomial of whole numbers"),
        (lambda b, s: s, lambda s: "" if s < 32 else "!", r"\[8, 16, 32\] tokens differ in more than numbers"),
        (lambda b, s: s if b == 11 else s + 1, lambda s: "", "is not a polynomial of whole numbers"),
    ],
)
def test_what_is_no_polynomial_is_refused(number: Any, words: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scaled(texts_of(number, words), SIZES)


def test_a_damaged_file_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(sys.modules["swatcost.loading.traces"], "_SHIPPED", tmp_path)
    for content in ("{", "[]", '{"batch_sizes":[11],"polynomials":[],"trace":{"name":"$3"}}'):
        (tmp_path / "gpt2.json").write_text(content)
        with pytest.raises(SwatcostError, match=r"^the shipped trace of gpt2 is not usable: ") as refused:
            swatcost.load("gpt2", seq_len=64)
        assert "\n" not in str(refused.value)
