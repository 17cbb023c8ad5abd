"""Networks by a Hugging Face config or by a class of transformers: what is built, what is said, and what is refused."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import swatcost
from swatcost.cli import cli
from swatcost.common.errors import SwatcostError
from swatcost.loading import loading_words
from swatcost.loading.hugging_face import setting_words, settings_of
from swatcost.tracing.hugging_face import trace_config
from swatcost.tracing.offline import offline

from .families import EXPERTS, LANGUAGE, OTHERS, SEQUENCES

pytest.importorskip("transformers")

LLAMA: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]} | LANGUAGE["llama"]
BERT: dict[str, Any] = {"model_type": "bert"} | LANGUAGE["bert"]


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATCOST_CACHE_DIR", "")


def written(folder: Path, content: Any) -> Path:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def macs(network: swatcost.Network) -> float:
    return sum(layer.forward_macs for layer in network.layers) / network.batch_size


# Per token of Llama: q and o 2 · 32 · 32, k and v 2 · 32 · 16, three matrices of 32 · 64, two products of 32 · 16 keys
BLOCK = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32 * 16
LOGITS = 32 * 96


def test_a_file_and_its_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("not read")
    for model in (written(tmp_path, LLAMA), tmp_path):
        assert macs(swatcost.load(model, seq_len=16)) == 16 * (2 * BLOCK + LOGITS)


def test_settings_and_classes() -> None:
    small = {**LANGUAGE["llama"], "num_hidden_layers": 3}
    for name in ("hf:LlamaForCausalLM", "hf:llama"):
        assert macs(swatcost.load(name, seq_len=16, settings=small)) == 16 * (3 * BLOCK + LOGITS)
    network = swatcost.load("hf:llama", seq_len=16, settings=small, classes=50)
    assert macs(network) == 16 * (3 * BLOCK + 32 * 50)
    classifier = swatcost.load("hf:BertForSequenceClassification", settings=LANGUAGE["bert"], seq_len=8, classes=7)
    assert classifier.output_shapes[0][-1] == 7


def test_settings_of_a_config_in_a_config() -> None:
    clip = SEQUENCES["clip"]
    settings = {
        f"{part}.{name}": value for part in ("text_config", "vision_config") for name, value in clip[part].items()
    }
    one = swatcost.load("hf:clip", settings=settings | {"vision_config.image_size": 16}, seq_len=8)
    assert one.input_shapes[1][1:] == (3, 16, 16)


def test_fewer_layers_of_lists_with_one_entry_per_layer(tmp_path: Path) -> None:
    gemma = {"model_type": "gemma2", **LANGUAGE["gemma2"], "layer_types": ["sliding_attention", "full_attention"]}
    path = written(tmp_path, gemma)
    one, two = (swatcost.load(path, seq_len=8, settings={"num_hidden_layers": layers}) for layers in (1, 2))
    assert 2 * (macs(one) - 8 * LOGITS) == macs(two) - 8 * LOGITS


def test_attention_written_out_has_the_same_macs(tmp_path: Path) -> None:
    eager = swatcost.load(written(tmp_path, LLAMA), seq_len=16, settings={"attn_implementation": "eager"})
    assert macs(eager) == 16 * (2 * BLOCK + LOGITS)
    assert not any(layer.attention for layer in eager.layers)


def test_a_network_is_traced_in_single_precision_unless_a_dtype_is_set(tmp_path: Path) -> None:
    path = written(tmp_path, {**LLAMA, "torch_dtype": "bfloat16"})
    network = swatcost.load(path, seq_len=8)
    assert {each.element_bytes for each in network.parameters} == {4}
    assert any("stores weights in bfloat16" in each for each in swatcost.estimate(network).notes)
    assert {each.element_bytes for each in swatcost.load(path, seq_len=8, autocast="amp").parameters} == {4}
    for name in ("dtype", "torch_dtype"):
        half = swatcost.load(path, seq_len=8, settings={name: "bfloat16"})
        assert {each.element_bytes for each in half.parameters} == {2}
        assert not half.assumed


@pytest.mark.parametrize(
    ("content", "tokens", "said"),
    [
        ({**LLAMA, "max_position_embeddings": 40}, 40, "as many as the config allows"),
        ({**LLAMA, "max_position_embeddings": 9_000}, 4096, "of the 9,000 that the config allows"),
        (
            {"model_type": "roberta", **LANGUAGE["roberta"]},
            64,
            "as many as the config allows",
        ),  # 66 less padding, 0 and 1
        ({"model_type": "opt", **LANGUAGE["opt"], "max_position_embeddings": 20}, 20, "as many"),
        ({"model_type": "bloom", **LANGUAGE["bloom"]}, 512, "neither seq_len nor the config gives a number"),
    ],
)
def test_tokens_that_nobody_sets(content: dict[str, Any], tokens: int, said: str, tmp_path: Path) -> None:
    network = swatcost.load(written(tmp_path, content))
    assert network.input_shapes[0][1:] == (tokens,)
    assert network.tokens == tokens * network.batch_size
    (sentence,) = network.assumed
    assert said in sentence


def test_more_tokens_than_learned_positions() -> None:
    settings = LANGUAGE["gpt2"] | {"n_positions": 32}
    assert swatcost.load("hf:gpt2", settings=settings, seq_len=32).input_shapes[0][1:] == (32,)
    for given in ({"seq_len": 33}, {"input_shape": (33,)}):
        with pytest.raises(SwatcostError, match="seq_len 33: hf:gpt2 has 32 learned positions"):
            swatcost.load("hf:gpt2", settings=settings, **given)  # type: ignore[arg-type]
    swatcost.load("hf:llama", settings=LANGUAGE["llama"] | {"max_position_embeddings": 8}, seq_len=33)  # rotary


def test_code_of_the_configs_authors_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit")
    content = {**LLAMA, "auto_map": {"AutoModelForCausalLM": "evil.Evil"}, "_name_or_path": str(tmp_path)}
    (sentence,) = swatcost.load(written(tmp_path, content), seq_len=8).assumed
    assert "auto_map" in sentence


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    content = {**BERT, "architectures": ["MyBert"], "quantization_config": {"quant_method": "bitsandbytes"}}
    quantized, other = swatcost.load(written(tmp_path, content), seq_len=8).assumed
    assert "quantization_config" in quantized
    assert other == "transformers has no class 'MyBert': the network is its BertForMaskedLM."
    sound = {"model_type": "wav2vec2", **OTHERS["wav2vec2"]}
    masks, layers = trace_config("wav2vec2", config=sound, input_shape=(400,)).assumed
    assert "apply_spec_augment" in masks
    assert "layerdrop" in layers
    llava = trace_config("llava", config={"model_type": "llava", **SEQUENCES["llava"]}, seq_len=8)
    assert llava.assumed == ("Samples are text only: the image encoder counts as parameters but does not run.",)
    llama4 = trace_config("l", config={"model_type": "llama4_text", **SEQUENCES["llama4_text"]}, seq_len=8)
    assert llama4.assumed[0].endswith("multiplies every token by all 4 experts, although each token is routed to 1.")


def test_experts_by_hand() -> None:
    config = {"model_type": "mixtral", **EXPERTS["mixtral"]}
    experts = 2 * 3 * 32 * 64 + 32 * 8  # two of eight, three matrices each, and the router
    expected = 16 * (2 * (BLOCK - 3 * 32 * 64 + experts) + LOGITS)
    assert macs(trace_config("mixtral", config=config, seq_len=16)) == expected


def test_no_connection_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)
    assert swatcost.load(written(tmp_path, LLAMA), seq_len=8).layers


def test_connections_are_refused_in_this_thread_alone() -> None:
    with offline("it"), pytest.raises(SwatcostError, match="it needs a download, and swatcost makes none"):
        socket.getaddrinfo("localhost", 80)
    assert socket.getaddrinfo("localhost", 80)


def test_settings_in_words() -> None:
    settings = {"a": 2, "b.c": "gelu", "d": None, "e": [1, 2], "f": "2", "g": True}
    assert settings_of(setting_words(settings)[1::2]) == settings
    assert loading_words(settings={"num_hidden_layers": 2}) == ["--set", "num_hidden_layers=2"]
    for wrong in (["a"], ["=2"], ["a=1", "a=2"]):
        with pytest.raises(SwatcostError, match="--set"):
            settings_of(wrong)


HUGE = 10**9
REFUSED: dict[str, tuple[Any, str]] = {
    "neither": ({"a": 1}, "no schema, as a saved trace has, nor model_type or architectures"),
    "a list": ([], "not an object of names and values"),
    "cut short": ("{", "not a usable trace or config"),
    "nested": ('{"model_type": "llama", "x": ' + "[" * 50 + "]" * 50 + "}", "nested too deeply"),
    "model type": ({"model_type": "lama"}, "no model_type 'lama': did you mean llama"),
    "number as type": ({"model_type": 3}, "no model_type 3"),
    "class": ({"architectures": ["os"]}, "no class 'os'"),
    "text for a list": ({"architectures": "BertModel"}, "not a list of names"),
    "class of another type": ({**LLAMA, "architectures": ["BertModel"]}, "do not belong together"),
    "layers": ({**LLAMA, "num_hidden_layers": HUGE}, "num_hidden_layers is 1,000,000,000, and the most"),
    "less than none": ({**LLAMA, "num_hidden_layers": -1}, "give a number of at least 0"),
    "depths": ({"model_type": "swin", "depths": [2, HUGE]}, "depths is 1,000,000,000"),
    "labels": ({**BERT, "num_labels": HUGE}, "num_labels is 1,000,000,000"),
    "modules": ({"model_type": "nllb-moe", "num_experts": HUGE}, "has more than 50,000 modules"),
    "width": ({**LLAMA, "hidden_size": 2**60}, "hidden_size is 1,152,921,504,606,846,976"),
    "wide": ({**LLAMA, "hidden_size": 2**39}, "cannot build LlamaForCausalLM"),
    "text for a number": ({**LLAMA, "hidden_size": "x"}, "refuses its LlamaConfig"),
    "no heads": ({**LLAMA, "num_attention_heads": 0}, "num_attention_heads is 0: give a number of at least 1"),
    "dtype": ({**LLAMA, "torch_dtype": "save"}, "torch_dtype is 'save'; set dtype to one of"),
    "activation": ({**LLAMA, "hidden_act": "os.system"}, "it has no 'os.system'"),
    "own method": ({**LLAMA, "get_text_config": "x", "to_dict": 3, "sub_configs": {"a": 1}}, "config.json"),
    "download": (
        {"model_type": "detr", "use_timm_backbone": False, "backbone": "microsoft/resnet-50"},
        "it needs a download, and swatcost makes none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_damaged_and_hostile_configs_are_one_line(case: str, tmp_path: Path) -> None:
    content, line = REFUSED[case]
    path = written(tmp_path, content)
    with pytest.raises(SwatcostError) as refused:
        swatcost.load(path, seq_len=8)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("model", "given", "line"),
    [
        ("hf:LlamaForCausalM", {}, "has no 'LlamaForCausalM': did you mean LlamaForCausalLM"),
        ("hf:__class__", {}, "has no '__class__'"),
        ("hf:llama", {"settings": {"num_hiden_layers": 2}}, "no 'num_hiden_layers': did you mean num_hidden_layers"),
        ("hf:llama", {"settings": {"text_config.x": 2}}, "no config 'text_config': it has no config in it"),
        ("hf:llama4", {"settings": {"txt_config.x": 2}}, "no config 'txt_config': did you mean text_config"),
        ("hf:llama", {"settings": {"attn_implementation": "a/b"}}, "give one of sdpa, eager"),
        ("hf:llama", {"settings": {"num_hidden_layers": HUGE}}, "the settings: num_hidden_layers is"),
        ("hf:llama", {"settings": {"auto_map": {}}}, "no 'auto_map'"),
        ("hf:llama", {"settings": {"x": object()}}, "give numbers, text, lists"),
        ("hf:llama", {"settings": [1]}, "give values by name"),
        ("hf:llama", {"input_dtype": "int32"}, "input_dtype int32: the inputs of hf:llama are known"),
        ("hf:vit", {"seq_len": 8}, "seq_len 8: hf:vit does not take tokens"),
        ("hf:vit", {"settings": {"num_hidden_layers": 1}, "input_shape": (4, 224, 224)}, "does not accept"),
        ("hf:seamless_m4t", {"settings": {"encoder_layers": 1}}, "a config does not define the input 'input_features'"),
        ("resnet18", {"settings": {"num_hidden_layers": 2}}, "fields of a Hugging Face config"),
    ],
)
def test_misuse_is_one_line(model: str, given: dict[str, Any], line: str) -> None:
    with pytest.raises(SwatcostError) as refused:
        swatcost.load(model, **given)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATCOST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("swatcost.network.formulas._REGISTERED_HERE", set())  # by other tests
    path = written(tmp_path, LLAMA)
    words = [str(tmp_path), "--seq-len", "16", "--set", "num_hidden_layers=1", "--format", "json"]
    first, second = (CliRunner().invoke(cli, words) for _ in range(2))
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["totals"]["macs"]["forward"]["dense"] == 16 * (BLOCK + LOGITS)
    assert second.stdout == first.stdout
    (entry,) = (tmp_path / "cache").glob("*.json")
    assert not any("site-packages" in name for name in json.loads(entry.read_text())["entry"]["files"])
    written(tmp_path, {**LLAMA, "vocab_size": 10})  # which is another network
    changed = CliRunner().invoke(cli, words)
    assert json.loads(changed.stdout)["totals"]["macs"]["forward"]["dense"] == 16 * (BLOCK + 320)
    assert CliRunner().invoke(cli, [*words, "--fresh"]).exit_code == 0
    refused = CliRunner().invoke(cli, ["run", str(path)])
    assert "is a config, which is traced but not run" in str(refused.exception)


def test_transformers_settings_are_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import transformers
    from transformers import masking_utils

    transformers.logging.set_verbosity_info()
    reads = masking_utils.find_packed_sequence_indices
    torch.manual_seed(3)
    state = torch.get_rng_state()
    swatcost.load(written(tmp_path, LLAMA), seq_len=8)
    assert masking_utils.find_packed_sequence_indices is reads
    assert transformers.logging.get_verbosity() == transformers.logging.INFO
    assert torch.equal(state, torch.get_rng_state())
    transformers.logging.set_verbosity_warning()
    assert capsys.readouterr().out == ""
