"""Steps that several GPUs share: torch's own trackers of memory, DeepSpeed's documentation, bytes added up by hand."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
import torch.distributed
from hypothesis import given, settings
from hypothesis import strategies as st
from swatcost_models import resnet
from torch import nn

import swatcost
from swatcost.memory.collectives import sent_share
from swatcost.memory.dense_step import StepMemory, training_memory
from swatcost.memory.fsdp import block_of
from swatcost.memory.sharding import SHARDINGS
from swatcost.memory.zero import BUCKET
from swatcost.network import Network

from .by_hand import chain, fork
from .transformers_by_hand import GPT

GIB = 2**30


def gpt() -> tuple[nn.Module, torch.Tensor, int]:
    """A small GPT, its input, and the dimension that counts the samples.

    Its logits are small: in these tests their gradient is not materialised, as that of a loss is.
    """
    return GPT(width=64, heads=4, layers=3, vocabulary=96, length=32), torch.zeros(32, 2, dtype=torch.long), 1


def residual() -> tuple[nn.Module, torch.Tensor, int]:
    return resnet.cifar_resnet18(), torch.zeros(2, 3, 32, 32), 0


NETWORKS = {"gpt": gpt, "resnet18": residual}


def traced(name: str) -> Network:
    model, inputs, batch_dim = NETWORKS[name]()
    return swatcost.trace(model, example_inputs=(inputs,), batch_dim=batch_dim, loss="none", hold_outputs=True)


@pytest.fixture
def processes() -> Iterator[Any]:
    """Starts a process group of a number of processes of which only this one exists: what it sends goes nowhere."""
    fake = importlib.import_module("torch.testing._internal.distributed.fake_pg")

    def start(world_size: int) -> Any:
        torch.distributed.init_process_group("fake", store=fake.FakeStore(), rank=0, world_size=world_size)
        return torch.distributed.init_device_mesh("cpu", (world_size,))

    yield start
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def counters(model: nn.Module) -> int:
    """Adam's 4-byte step counter per parameter, which is not counted."""
    return 4 * len(list(model.parameters()))


def steps(model: nn.Module, inputs: torch.Tensor, optimizer: torch.optim.Optimizer, tracker: Any) -> int:
    """The peak of the second of two tracked steps [bytes]."""
    with tracker:
        for _ in range(2):
            tracker.reset_mod_stats()
            result = model(inputs)
            loss = result.sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            del result, loss
    (found,) = tracker.get_tracker_snapshot("peak").values()
    return int({str(name): size for name, size in found.items()}["Total"])


@pytest.mark.parametrize(
    ("name", "sharding", "gpus", "precision"),
    [
        *product(["gpt"], ["fsdp", "fsdp-keep"], [3, 4], ["fp32"]),
        *product(["gpt"], ["fsdp", "fsdp-keep"], [4], ["mixed"]),
        *product(["resnet18"], ["fsdp", "fsdp-keep"], [4], ["fp32"]),
    ],
)
def test_fully_shard_as_torchs_tracker_counts_it(
    name: str, sharding: str, gpus: int, precision: str, processes: Any
) -> None:
    """A GPU's peak, for an even and an uneven division: to the byte for a GPT, within 0.1 % for a CNN.

    Mixed precision is a MixedPrecisionPolicy with bfloat16 parameters.
    """
    fsdp = importlib.import_module("torch.distributed.fsdp")
    tools = importlib.import_module("torch.distributed._tools.fsdp2_mem_tracker")
    (model, inputs, _), mesh = NETWORKS[name](), processes(gpus)
    policy = fsdp.MixedPrecisionPolicy(param_dtype=torch.bfloat16 if precision == "mixed" else None)
    blocks = dict.fromkeys(block_of(each) for each, _ in model.named_parameters())
    for block in sorted(blocks, reverse=True):  # the network itself is last
        reshard = False if sharding == "fsdp-keep" else True if block else None
        fsdp.fully_shard(model.get_submodule(block), mesh=mesh, reshard_after_forward=reshard, mp_policy=policy)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    tracker = tools.FSDPMemTracker(model, optimizer)
    tracker.track_inputs((inputs,))
    measured = steps(model, inputs, optimizer, tracker) - counters(model)
    predicted = training_memory(
        traced(name),
        batch_size=2,
        optimizer="adamw",
        update="loop",
        precision=precision,
        sharding=sharding,
        gpus=gpus,
    )
    assert predicted.peak.bytes == pytest.approx(measured, rel=0 if name == "gpt" else 1e-3)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_distributed_data_parallel_as_torchs_tracker_counts_it(name: str, processes: Any) -> None:
    """Its buckets are a further copy of the gradients. The tracker does not see the inputs."""
    tools = importlib.import_module("torch.distributed._tools.mem_tracker")
    model, inputs, _ = NETWORKS[name]()
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    tracker = tools.MemTracker()
    with tracker:
        parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(parallel.parameters(), foreach=False)
    tracker.track_external(parallel, optimizer)
    measured = steps(parallel, inputs, optimizer, tracker) - counters(model)
    network = traced(name)
    shared, alone = (
        training_memory(network, batch_size=2, optimizer="adamw", update="loop", gpus=each) for each in (2, 1)
    )
    assert shared.peak.bytes - shared.input == pytest.approx(measured, rel=0 if name == "gpt" else 1e-3)
    assert shared.peak.bytes - alone.peak.bytes == 4 * network.parameter_elements


def t5_3b() -> Network:
    """As many parameters as DeepSpeed's documentation counts: 2851 M, 32 M in the largest layer.

    89 linear layers of 4000 × 8000 and one of 4000 × 750: 2848 M + 3 M. Its activations are small at one sample.
    """
    network = modules(*[8000, 4000] * 45, 750)
    assert network.parameter_elements == PARAMETERS
    return network


def modules(*features: int) -> Network:
    """A chain in which each weight belongs to a module of its own."""
    network = chain(*features)
    return replace(
        network,
        layers=tuple(replace(each, parameters=(f"{each.name}.weight",), weight=f"{each.name}.weight")
                     for each in network.layers),
        parameters=tuple(replace(each, name=f"{each.name}.weight") for each in network.parameters),
    )  # fmt: skip


PARAMETERS, LARGEST = 2_851_000_000, 32_000_000


def printed(size: float) -> str:
    return f"{size / GIB:.2f}GB"


def test_deepspeeds_table_of_zero_2() -> None:
    """docs/code-docs/source/memory.rst, t5-3b on 8 GPUs: 5.31GB with the optimizer offloaded, 15.93GB without.

    Its CPU columns are memory of the host, which is not ours. The printed 15.93 is 4·P + 16·P / 8; the function itself
    has been 2·P + 18·P / 8 since whole gradients are not kept. Ours: the same parameters, master weights, state and
    gradients in both precisions; one flat copy of the 2-byte gradients lives just before the update, and the bucket and
    its copy during the backward pass.
    """
    assert printed(2 * PARAMETERS) == "5.31GB"
    assert printed(4 * PARAMETERS + 16 * PARAMETERS / 8) == "15.93GB"
    step = training_memory(
        t5_3b(), batch_size=1, optimizer="adam", update="fused", precision="mixed", sharding="zero2", gpus=8
    )
    shard = PARAMETERS // 8
    assert step.constant == {"parameters": 2 * PARAMETERS, "master weights": 4 * shard, "optimizer state": 8 * shard}
    assert step.gradients == 2 * shard
    assert step.working == (2 + 4) * shard  # flattened, in fp32
    states = sum(step.constant.values()) + step.gradients + step.working
    assert states - 2 * shard == 2 * PARAMETERS + 18 * shard
    assert printed(states - 2 * shard) == "11.28GB"
    assert step.at_update == pytest.approx(states, rel=1e-4)  # the rest are inputs, outputs


def test_deepspeeds_table_of_zero_3() -> None:
    """The same page: 6.09GB, 0.78GB with the optimizer offloaded, 0.12GB with the parameters, too.

    The printed 6.09 is 4·largest layer + 18·P / 8. Ours has in addition, with DeepSpeed's defaults: the partition of
    the 2-byte gradients, which stays allocated, and its flat copy; the bucket; and parameters that are not released,
    because they are used again within a billion elements, where the formula has the largest layer alone.
    """
    assert printed(4 * LARGEST) == "0.12GB"
    assert printed(4 * LARGEST + 2 * PARAMETERS / 8) == "0.78GB"
    assert printed(4 * LARGEST + 18 * PARAMETERS / 8) == "6.09GB"
    step = training_memory(
        t5_3b(), batch_size=1, optimizer="adam", update="fused", precision="mixed", sharding="zero3", gpus=8
    )
    shard = PARAMETERS // 8
    assert step.constant == {
        "parameters": 2 * shard, "master weights": 4 * shard, "optimizer state": 8 * shard, "gradients": 2 * shard,
        "communication buckets": 2 * BUCKET,
    }  # fmt: skip
    assert step.working == (2 + 4) * shard
    assert sum(step.constant.values()) - 2 * BUCKET + step.working - 4 * shard == 18 * shard
    gathered = step.peak.holds["gathered parameters"]
    assert step.peak.phase == "backward"
    assert 2 * 1_000_000_000 <= gathered <= 2 * (1_000_000_000 + 50_000_000 + 2 * LARGEST)
    # each layer's parameters are gathered forward, and again backward but for those that were kept
    assert 2 * PARAMETERS * 7 // 8 < step.sent["all-gather"] < 2 * 2 * PARAMETERS * 7 // 8
    assert step.sent["reduce-scatter"] == 2 * PARAMETERS * 7 // 8


def test_what_deepspeed_was_seen_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed 0.19.8 on two processes: four layers of 512 × 512, fp32, momentum, a bucket of 300,000 elements.

    The tensors that one process held between steps and before the backward pass of the second, by their bytes. Under
    ZeRO 2 it also held one of 1,048,576 bytes, a parameter as it was before it was flattened, which is not counted.
    """
    monkeypatch.setattr("swatcost.memory.zero.BUCKET", 300_000)
    network = modules(512, 512, 512, 512, 512)
    second, third = (training_memory(network, batch_size=8, gpus=2, sharding=each) for each in ("zero2", "zero3"))
    assert sorted(second.constant.values()) == [2_097_152, 2_097_152, 4_194_304]
    assert second.gradients == 2_097_152  # after the backward pass
    assert sorted(third.constant.values()) == [1_200_000, 2_097_152, 2_097_152, 2_097_152, 2_097_152]
    alone = training_memory(network, batch_size=8)
    before = third.backward - 1
    assert third.live[before] - alone.live[before] == 4 * 1_048_576  # all that was gathered


def test_small_networks_are_gathered_once() -> None:
    """Parameters that are used again within a billion elements are kept until their own backward pass.

    Two layers of 1000 × 1000, above the threshold of 100,000 elements, and one of 1000 × 10, which stays whole. The
    peak is at the very end: the first layer is still gathered, and all gradients are in the bucket and its flat copy.
    """
    step = training_memory(modules(1000, 1000, 1000, 10), batch_size=1, sharding="zero3", gpus=4)
    assert step.constant["persistent parameters"] == 4 * 10_000
    assert step.constant["parameters"] == 4 * (250_000 + 250_000 + 2500)
    assert step.peak.holds["gathered parameters"] == 4 * 1_000_000
    assert step.peak.holds["communication buckets"] == 4 * BUCKET + 4 * 2_010_000
    assert step.sent["all-gather"] == 3 * 4 * 2_010_000 // 4


def test_blocks_are_gathered_twice_unless_they_are_kept() -> None:
    """fully_shard of three layers: forward and backward, or once."""
    network = modules(64, 64, 64, 64)
    sent = {each: training_memory(network, sharding=each, gpus=4).sent["all-gather"] for each in ("fsdp", "fsdp-keep")}
    assert sent == {"fsdp": 2 * 3 * 3 * 4 * 64 * 64 // 4, "fsdp-keep": 3 * 3 * 4 * 64 * 64 // 4}


def test_rings() -> None:
    assert [sent_share(each, 4) for each in ("all-reduce", "reduce-scatter", "all-gather")] == [1.5, 0.75, 0.75]
    assert all(sent_share(each, 1) == 0 for each in ("all-reduce", "reduce-scatter", "all-gather"))


def test_what_is_sent_by_hand() -> None:
    """fork has 256 parameters of 4 bytes and 24 bytes of buffers; four GPUs."""
    sent = {each.name: training_memory(fork(), gpus=4, sharding=each.name).sent for each in SHARDINGS}
    assert sent == {
        "ddp": {"all-reduce": 2 * 3 * 1024 // 4, "broadcast": 24},
        "zero1": {"all-reduce": 2 * 3 * 1024 // 4, "all-gather": 3 * 1024 // 4},
        "zero2": {"all-reduce": 2 * 3 * 1024 // 4, "all-gather": 3 * 1024 // 4},
        "zero3": {"all-gather": 3 * 1024 // 4, "reduce-scatter": 3 * 1024 // 4},  # none larger than the threshold
        "fsdp": {"all-gather": 3 * 1024 // 4, "reduce-scatter": 3 * 1024 // 4},  # one group, the network's own
        "fsdp-keep": {"all-gather": 3 * 1024 // 4, "reduce-scatter": 3 * 1024 // 4},
    }
    frozen = training_memory(fork(frozen=True), gpus=4, sharding="zero2")  # c has 64 parameters
    assert frozen.sent == {"all-reduce": 2 * 3 * 768 // 4, "all-gather": 3 * 768 // 4}


def test_what_is_resident_by_hand() -> None:
    """fork: 256 parameters, seven GPUs with momentum: shards of ceil(256 / 7) = 37 elements, or of each parameter.

    a has 16 rows of 8, b and c 4 of 16: ceil(16 / 7) · 8 + 2 · ceil(4 / 7) · 16 = 24 + 32 = 56; by elements
    ceil(128 / 7) + 2 · ceil(64 / 7) = 19 + 20 = 39.
    """
    constant = {each.name: training_memory(fork(), gpus=7, sharding=each.name).constant for each in SHARDINGS}
    buffers = {"buffers": 24}
    partition = {"parameters": 1024, "master weights": 4 * 37, "optimizer state": 4 * 37, **buffers}
    sharded = {"parameters": 4 * 56, "optimizer state": 4 * 56, **buffers}
    assert constant == {
        "ddp": {"parameters": 1024, "optimizer state": 1024, **buffers, "gradient buckets": 1024},
        "zero1": partition,
        "zero2": partition,
        "zero3": {
            "parameters": 4 * 39, "master weights": 4 * 39, "optimizer state": 4 * 39, **buffers,
            "persistent parameters": 1024, "gradients": 4 * 39, "communication buckets": 4 * BUCKET,
        },
        "fsdp": sharded,
        "fsdp-keep": sharded,
    }  # fmt: skip


def test_master_weights_are_the_shards_of_fully_shard() -> None:
    step = training_memory(fork(), gpus=4, sharding="fsdp", precision="mixed", optimizer="adam")
    assert step.constant == {"parameters": 4 * 64, "optimizer state": 4 * 2 * 64, "buffers": 24}
    assert step.gradients == 4 * 64
    assert step.sent == {"all-gather": 2 * 192, "reduce-scatter": 2 * 192}


def test_zero_2_drops_gradients_as_they_are_made() -> None:
    """fork's backward pass: y's gradient, b's, c's, relu's, −relu, a's, −relu's, −y's; four GPUs, 32 samples.

    The bucket is there from its first event to the last. b's and c's gradients (256 B) live until relu is freed, a's
    (512 B) until relu's gradient is. What is left are shards, 64 of 256 elements.
    """
    alone, step = (training_memory(fork(), gpus=each, sharding="zero2") for each in (1, 4))
    bucket = 4 * BUCKET
    backward = [each - held for each, held in zip(step.live, alone.live, strict=True)][step.backward :]
    assert step.live[: step.backward] == alone.live[: step.backward]
    # before the last event the bucket, 1024 B full, is flattened and the shards copied out
    assert backward == [
        bucket, bucket, bucket, bucket, bucket - 512, bucket - 512,
        bucket - 1024 + 1024 + 256, -1024 + 256,
    ]  # fmt: skip
    assert step.gradients == 256


def test_zero_1_keeps_gradients_to_the_end() -> None:
    alone, step = (training_memory(fork(), gpus=each, sharding="zero1") for each in (1, 4))
    backward = [each - held for each, held in zip(step.live, alone.live, strict=True)][step.backward :]
    assert backward == [*[4 * BUCKET] * 7, -1024 + 256]


def but_execution(step: StepMemory) -> dict[str, Any]:
    return {name: value for name, value in vars(step).items() if name != "execution"}


@pytest.mark.parametrize("sharding", [each.name for each in SHARDINGS])
def test_one_gpu_is_no_other(sharding: str) -> None:
    assert but_execution(training_memory(fork(), sharding=sharding)) == but_execution(training_memory(fork()))


chains = st.lists(st.integers(1, 64), min_size=2, max_size=5).map(lambda features: modules(*features))
names = st.sampled_from([each.name for each in SHARDINGS])


@settings(max_examples=60, deadline=None)
@given(chains, names, st.integers(2, 9), st.sampled_from(["sgd", "adam"]), st.sampled_from(["fp32", "bf16", "mixed"]))
def test_laws(network: Network, sharding: str, gpus: int, optimizer: str, precision: str) -> None:
    step, more = (
        training_memory(network, gpus=each, sharding=sharding, optimizer=optimizer, precision=precision)
        for each in (gpus, 2 * gpus)
    )
    assert sum(step.peak.holds.values()) == step.peak.bytes
    assert all(size >= 0 for size in (*step.live, *step.peak.holds.values(), step.working))
    # more GPUs hold no more, and what is left after the backward pass are inputs, outputs and gradients
    assert sum(more.constant.values()) <= sum(step.constant.values())
    assert more.gradients <= step.gradients
    assert step.live[-1] >= step.gradients * ("gradients" not in step.constant)
    # a GPU sends at most twice what an all-reduce of everything takes, and more with more GPUs
    assert all(more.sent[name] >= size for name, size in step.sent.items() if not sharding.startswith("fsdp"))
    assert step.saved == more.saved


def test_blocks() -> None:
    assert [block_of(each) for each in ("layer1.0.conv1.weight", "encoder.block.3.layer.1.wi.weight", "0.weight")] == [
        "layer1.0", "encoder.block.3", "0",
    ]  # fmt: skip
    assert [block_of(each) for each in ("fc.weight", "heads4.weight", "weight", "2")] == ["", "", "", ""]
