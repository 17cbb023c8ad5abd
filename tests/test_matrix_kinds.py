"""Kinds of matrices in transformers: how they are recognised, kept dense, and given sparsities of their own."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import swatcost
from swatcost.cli import main
from swatcost.network import Layer, Network
from swatcost.network.matrix_kinds import kind_by_name, kinds_of

GPT2, LLAMA = swatcost.load("gpt2"), swatcost.load("llama2_7b")


def anonymous(network: Network) -> Network:
    """The same network whose modules have names that say nothing."""
    called = {name: f"m{number}" for number, name in enumerate(dict.fromkeys(each.name for each in network.layers))}
    return replace(network, layers=tuple(replace(each, name=called[each.name]) for each in network.layers))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("gpt2", {"attention": 12 * 2, "feed-forward": 12 * 2, "head": 1}),  # qkv in one; 12 blocks
        ("llama2_7b", {"attention": 32 * 4, "feed-forward": 32 * 3, "head": 1}),  # gate, up and down
        ("vit_b_16", {"attention": 12 * 2, "feed-forward": 12 * 2, "head": 1, "embeddings": 1}),
        ("resnet50", {"head": 1}),
    ],
)
def test_kinds_in_the_zoo(name: str, counts: dict[str, int]) -> None:
    assert Counter(kinds_of(swatcost.load(name)).values()) == counts


@pytest.mark.parametrize("name", ["gpt2", "llama2_7b", "vit_b_16"])
def test_what_layers_do_tells_what_their_names_tell(name: str) -> None:
    network = swatcost.load(name)
    by_name = {weight: kind for weight, kind in kinds_of(network).items() if kind != "embeddings"}
    assert kinds_of(anonymous(network)) == by_name


def small(transformers: Any, name: str) -> tuple[nn.Module, Any]:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 60}
    wide = {**sizes, "intermediate_size": 64}
    gpt2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 60, "bos_token_id": 0, "eos_token_id": 0}
    distil = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "vocab_size": 60}
    t5 = {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 60}
    opt = {**sizes, "ffn_dim": 64, "word_embed_proj_dim": 32}
    config, model, sizes = {
        "llama": ("LlamaConfig", "LlamaForCausalLM", {**wide, "num_key_value_heads": 1}),
        "bert": ("BertConfig", "BertForMaskedLM", wide),
        "distilbert": ("DistilBertConfig", "DistilBertForMaskedLM", distil),
        "gpt2": ("GPT2Config", "GPT2LMHeadModel", gpt2),
        "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", wide),
        "opt": ("OPTConfig", "OPTForCausalLM", opt),
        "mixtral": ("MixtralConfig", "MixtralForCausalLM", {**wide, "num_key_value_heads": 1}),
        "qwen2_moe": (
            "Qwen2MoeConfig",
            "Qwen2MoeForCausalLM",
            {
                **wide,
                "num_key_value_heads": 1,
                "moe_intermediate_size": 16,
                "num_experts": 4,
                "num_experts_per_tok": 2,
                "shared_expert_intermediate_size": 16,
            },
        ),
        "modernbert": ("ModernBertConfig", "ModernBertForMaskedLM", {**wide, "pad_token_id": 0}),
        "t5": ("T5Config", "T5ForConditionalGeneration", t5),
    }[name]
    tokens = torch.zeros(1, 8, dtype=torch.int64)
    module = getattr(transformers, model)(getattr(transformers, config)(**sizes))
    return module, {"input_ids": tokens, "decoder_input_ids": tokens} if name == "t5" else (tokens,)


@pytest.mark.parametrize(
    ("name", "each_block"),  # linear layers in each of two blocks
    [
        ("llama", {"attention": 4, "feed-forward": 3}),
        ("bert", {"attention": 4, "feed-forward": 2}),
        ("distilbert", {"attention": 4, "feed-forward": 2}),
        ("gpt2", {"attention": 2, "feed-forward": 2}),
        ("gpt_neox", {"attention": 2, "feed-forward": 2}),
        ("opt", {"attention": 4, "feed-forward": 2}),
        ("mixtral", {"attention": 4, "experts": 2, "router": 1}),
        ("qwen2_moe", {"attention": 4, "experts": 2, "router": 2, "feed-forward": 3}),  # shared, with a gate of its own
        ("modernbert", {"attention": 2, "feed-forward": 2}),
        ("t5", {"attention": 4 + 8, "feed-forward": 2 + 2}),  # a decoder's block attends twice
    ],
)
def test_kinds_in_transformers(name: str, each_block: dict[str, int]) -> None:
    transformers = pytest.importorskip("transformers")
    module, inputs = small(transformers, name)
    network = swatcost.trace(module, example_inputs=inputs)
    expected = {kind: 2 * count for kind, count in each_block.items()}
    assert Counter(kinds_of(network).values()) == {**expected, "head": 1}


def test_kinds_in_torchs_own_encoder() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 2, 64, batch_first=True), 2)
    network = swatcost.trace(encoder, input_shape=(8, 32))
    assert Counter(kinds_of(network).values()) == {"attention": 2 * 2, "feed-forward": 2 * 2}


class Gated(nn.Module):
    """Attention written out, and an MLP whose gate is the other half of its width; names say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 64)
        self.d, self.e = nn.Linear(32, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.a(x).chunk(3, -1)
        x = self.b((first @ second.transpose(1, 2)).softmax(-1) @ third)
        one, other = self.c(x).chunk(2, -1)
        y: Tensor = self.e(x + self.d(one.sigmoid() * other))
        return y


def test_kinds_by_structure() -> None:
    kinds = kinds_of(swatcost.trace(Gated(), input_shape=(8, 16)))
    attention, feed_forward = ["a.weight", "b.weight"], ["c.weight", "d.weight"]
    assert kinds == {**dict.fromkeys(attention, "attention"), **dict.fromkeys(feed_forward, "feed-forward")}


def linear(name: str, outputs: int, inputs: int) -> Layer:
    return replace(
        LLAMA.weight_layers[0], name=name, weight_shape=(outputs, inputs), input_shape=(1, inputs),
        output_shape=(1, outputs),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("model.layers.0.mlp.gate", (8, 64), "router"),  # Mixtral's
        ("model.layers.0.mlp.gate", (128, 64), "feed-forward"),  # a gated MLP's
        ("blocks.0.gate", (128, 64), "feed-forward"),
        ("layers.1.ffn.router.classifier", (8, 64), "router"),
        ("encoder.block.1.layer.1.mlp.experts.expert_0.wi", (128, 64), "experts"),
        ("model.layers.0.mlp.shared_experts.gate_proj", (128, 64), "feed-forward"),  # runs for every token
        ("model.layers.0.mlp.experts.3.gate_proj", (128, 64), "experts"),
        ("bert.encoder.layer.0.output.dense", (64, 128), "feed-forward"),
        ("bert.encoder.layer.0.attention.output.dense", (64, 64), "attention"),
        ("patch_embed.proj", (64, 48), "embeddings"),
        ("layers.0.mixer.out_proj", (64, 128), None),  # Mamba's
        ("pooler.dense", (64, 64), None),
    ],
)
def test_kinds_by_name(name: str, shape: tuple[int, int], kind: str | None) -> None:
    assert kind_by_name(linear(name, *shape)) == kind


# --- layers kept dense ----------------------------------------------------------------------------------------------


def test_a_kind_is_kept_dense() -> None:
    plan = swatcost.estimate(GPT2, weights=0.5, keep_dense=["attention", "head"]).plan
    assert set(plan.kept_dense.values()) == {"named by attention", "named by head"}
    sparse = [layer.name for layer, each in plan.by_weight(GPT2) if each.weight]
    assert len(sparse) == 24
    assert all(".mlp." in each for each in sparse)


def test_a_layer_of_that_very_name_comes_first() -> None:
    named = replace(GPT2, layers=tuple(
        replace(each, name="attention") if each.name == "blocks.3.proj" else each for each in GPT2.layers
    ))  # fmt: skip
    assert list(swatcost.estimate(named, weights=0.5, keep_dense="attention").plan.kept_dense) == [
        "blocks.3.proj.weight"
    ]


# --- sparsities by kind ---------------------------------------------------------------------------------------------


def sparsities(**asked: Any) -> dict[str, float]:
    found = swatcost.estimate(GPT2, distribution="kinds", **asked)
    return {each.layer.weight: each.sparsity.weight for each in found.layers if each.layer.is_weight_layer}


def test_sparsities_by_kind_add_up_by_hand() -> None:
    """12 blocks of width 768: 4 · 768² weights in attention, 8 · 768² in the MLP, and 50,257 · 768 in the head."""
    found = swatcost.estimate(GPT2, distribution="kinds", source={"attention": 0.5, "feed-forward": 0.75})
    attention, feed_forward, head = 12 * 4 * 768**2, 12 * 8 * 768**2, 50_257 * 768
    assert found.non_zero_weights == pytest.approx(attention / 2 + feed_forward / 4 + head)
    scores = 12 * 2 * 1024 * 768  # Q · Kᵀ and the values mixed, per token
    assert found.costs.forward.sparse == pytest.approx(1024 * (attention / 2 + feed_forward / 4 + head + scores))


def test_the_target_is_that_of_layers_without_a_sparsity_of_their_own() -> None:
    found = sparsities(source={"attention": 0.5, "blocks.0.*": 0.9, "blocks.0.proj": 0.1}, weights=0.25)
    assert found["tokens.weight"] == found["blocks.1.mlp.0.weight"] == 0.25
    assert found["blocks.1.qkv.weight"] == 0.5
    assert found["blocks.0.qkv.weight"] == found["blocks.0.mlp.0.weight"] == 0.9  # a pattern before a kind
    assert found["blocks.0.proj.weight"] == 0.1  # a layer's own name before a pattern
    assert sparsities(source={"attention": 0.5})["tokens.weight"] == 0


def test_the_same_for_all_kinds_is_uniform() -> None:
    every = {"attention": 0.8, "feed-forward": 0.8, "head": 0.8}
    uniform = swatcost.estimate(GPT2, weights=0.8)
    assert swatcost.estimate(GPT2, distribution="kinds", source=every).costs == uniform.costs
    assert swatcost.estimate(GPT2, distribution="kinds", source={"head": 0.8}, weights=0.8).costs == uniform.costs


@pytest.mark.parametrize("written", ["text", "table.csv", "table.json", "table.yaml"])
def test_forms_of_a_source(written: str, tmp_path: Any) -> None:
    content = {
        "table.csv": "layer,weights\nattention,0.5\nblocks.0.*,0.9\n",
        "table.json": '{"attention": 0.5, "blocks.0.*": 0.9}',
        "table.yaml": "attention: 0.5\nblocks.0.*: 0.9\n",
    }
    source = "attention=50%, blocks.0.*=0.9"
    if written in content:
        source = str(tmp_path / written)
        (tmp_path / written).write_text(content[written])
    assert sparsities(source=source) == sparsities(source={"attention": 0.5, "blocks.0.*": 0.9})


def test_activations_have_their_own_column_or_target() -> None:
    found = swatcost.estimate(
        GPT2, distribution="kinds", source={"attention": {"weights": 0.5, "acts": 0.25}}, acts=0.75
    )
    by_name = {each.layer.name: each.sparsity.activation for each in found.layers}
    assert (by_name["blocks.0.qkv"], by_name["blocks.0.mlp.0"]) == (0.25, 0.75)


def test_a_file_by_layer_takes_kinds_too() -> None:
    of_file = swatcost.estimate(GPT2, distribution="file", source="attention=0.5").plan
    of_kinds = swatcost.estimate(GPT2, distribution="kinds", source="attention=0.5").plan
    assert [each.weight for each in of_file.layers] == [each.weight for each in of_kinds.layers]


def test_the_command_that_an_estimate_names_gives_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    found = swatcost.estimate("gpt2", distribution="kinds", source={"attention": 0.5, "blocks.0.*": 0.9}, weights=0.25)
    assert main(["gpt2", *found.setting.words(), "--format", "json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["totals"] == json.loads(json.dumps(found.to_dict()))["totals"]
    assert again["setting"] == found.to_dict()["setting"]


def test_a_sweep_gives_what_estimates_give() -> None:
    asked: dict[str, Any] = {"distribution": "kinds", "source": "attention=0.5"}
    swept = swatcost.sweep(GPT2, weights=[0.25, 0.5], **asked)
    for row in swept.to_dict("records"):
        single = swatcost.estimate(GPT2, weights=row["weights"], **asked)
        assert row["training_reduction"] == pytest.approx(single.training_reduction)
        assert row["weight_sparsity"] == pytest.approx(single.weight_sparsity)


def test_n_of_m_with_kinds() -> None:
    both = swatcost.estimate(GPT2, method="sr-ste", distribution="kinds", source="attention=0.5,feed-forward=0.75")
    one = swatcost.estimate(GPT2, method="sr-ste", distribution="kinds", source="feed-forward=0.5")
    assert (both.plan.pattern, one.plan.pattern) == (None, (2, 4))
    swept = swatcost.sweep(GPT2, method="sr-ste", distribution="kinds", source="attention=0.5", weights=[0, 0.5])
    assert len(swept) == 2


def test_a_gradual_schedule_ends_at_the_sparsity_of_all_layers() -> None:
    """A schedule of the whole network's sparsity does not see the target of the layers that no entry names."""
    given = swatcost.estimate(GPT2, method="pruning", distribution="kinds", source="attention=0.8,feed-forward=0.8")
    target = swatcost.estimate(GPT2, method="pruning", distribution="kinds", source="attention=0.8,feed-forward=0.8",
                               weights=0.0)  # fmt: skip
    assert target.costs.training.sparse == pytest.approx(given.costs.training.sparse)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"source": None}, "needs sparsities by kind of matrix, such as attention=0.5"),
        ({"source": "attention"}, "needs sparsities by kind of matrix"),
        ({"source": "atention=0.5"}, "'atention' matches no layer: did you mean attention"),
        ({"source": "router=0.5"}, "the network has no layer of the kind router"),
        ({"source": "embeddings=0.5"}, "its embeddings are lookup tables, which cost no MACs and stay dense"),
        ({"source": "head=1.5"}, "weights of 'head': 1.5 is not a sparsity"),
        ({"source": "head=half"}, "'head': 'half' is not a fraction"),
        ({"source": "head=0.5,head=0.6"}, "has 'head' twice"),
        ({"source": "head=0.5,=0.6"}, "'=0.6' in 'head=0.5,=0.6': give name=sparsity"),
        ({"source": "head=0.5", "keep_dense": "head"}, "'head' names only layers that are kept dense"),
        ({"source": "head=0.5", "method": "spdf"}, "'head' names only layers that are kept dense"),
        ({"source": "attention=0.6", "method": "sr-ste"}, "'attention': the method keeps N of every 4 weights"),
    ],
)
def test_unusable_kinds(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(swatcost.SwatcostError, match=message):
        swatcost.estimate(GPT2, distribution="kinds", **asked)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("atention", "did you mean attention"),
        ("experts", "gpt2 has no layer of the kind experts"),
        ("embeddings", "gpt2 has no embedding layer: its embeddings are lookup tables"),
    ],
)
def test_unusable_kinds_to_keep_dense(pattern: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpt2", "--weights", "0.5", "--keep-dense", pattern]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "said", "unsaid"),
    [
        ({}, "Embeddings stay dense (positions.weight)", "(tokens.weight"),
        ({}, "tokens.weight is an embedding and the weight of head: it is as sparse", None),
        (
            {},
            "the first layer that uniform keeps dense is one that reads it (--first-layer dense keeps blocks.0.qkv",
            None,
        ),
        ({"keep_dense": "head"}, "Embeddings stay dense (tokens.weight, positions.weight)", "as sparse as that layer"),
        ({"first_layer": "dense"}, "Kept dense: blocks.0.qkv (first layer)", "is one that reads it"),
    ],
)
def test_what_is_said_of_embeddings_and_the_first_layer(asked: dict[str, Any], said: str, unsaid: str | None) -> None:
    notes = " ".join(swatcost.estimate(GPT2, weights=0.5, **asked).notes)
    assert said in notes
    assert unsaid is None or unsaid not in notes


def test_methods_of_feed_forward_layers_find_those_of_the_zoo() -> None:
    found = swatcost.estimate(LLAMA, method="fst")
    sparse = {each.layer.name.rpartition(".")[2] for each in found.layers if each.sparsity.weight}
    assert sparse == {"gate", "up", "down"}


def test_json_and_csv_say_of_which_kind_a_layer_is() -> None:
    found = swatcost.estimate(GPT2, distribution="kinds", source="attention=0.5,blocks.0.*=0.9")
    assert {each["name"]: each["matrix_kind"] for each in found.to_dict()["layers"]}["blocks.0.qkv"] == "attention"
    assert set(found.to_frame()["matrix_kind"]) == {"attention", "feed-forward", "head", ""}  # of products


def test_notes_say_how_sparse_each_kind_is() -> None:
    """Of 12 blocks one is 90 % sparse: 0.9 / 12 + 0.5 · 11 / 12 in attention, and 0.9 / 12 in the MLPs."""
    found = swatcost.estimate(GPT2, distribution="kinds", source="attention=0.5,blocks.0.*=0.9")
    (note,) = (each for each in found.notes if "by kind" in each)
    assert "attention 53.33 % of 28.312 M, feed-forward 7.50 % of 56.623 M, head 0.00 % of 38.597 M" in note
