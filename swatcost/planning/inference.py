"""What inference with a language model costs: reading a prompt, then generating token by token from a cache.

Both phases count what is executed (convention `exact`), with weights as the method leaves them after training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.common.result import Result
from swatcost.common.units import checked_count
from swatcost.counting.costs import Cost
from swatcost.estimate import Estimate, estimate_setting
from swatcost.loading import counted_network, with_input
from swatcost.network import Network
from swatcost.planning.inference_work import DTYPES, InferenceWork, Phase
from swatcost.planning.kv_cache import KeyValueCache, caches_of
from swatcost.setting import Scope, Settings

if TYPE_CHECKING:
    from torch import nn

_TRAINS = "inference trains nothing, leave it out"
INFERRING = Scope(
    without={
        **dict.fromkeys(("optimizer", "mfu", "period", "selection", "one_sample", "hidden"), _TRAINS),
        "precision": "inference has a dtype instead: give --dtype (dtype=)",
        "convention": "inference counts what is executed, leave it out",
        "default_act_sparsity": _TRAINS,
        "steps": "inference runs the weights that a run ends with, leave it out",
    },
    defaults={"batch_size": 1, "convention": "exact", "device": "h100"},
    help={"batch_size": "Sequences that are generated together."},
)
"""The settings of inference; the method is the one that the weights were trained with."""

_MOST_TOKENS = 2**22  # each token that is generated is a step of its own: this many take minutes


@dataclass(frozen=True, kw_only=True, repr=False)
class Inference(Result):
    """Inference with a language model. Its repr is the report.

    `caches` are those of its attentions, `cache_bytes_per_token` [B] what all of them keep of one token of a sequence,
    and `cache_bytes` [B] what they hold of the whole batch at the end. `weight_bytes` [B] are all parameters, sparse
    ones in their smallest format. `macs_per_token` are the products with weights that one more token takes, without
    attention.
    """

    report = "inference"

    estimate: Estimate
    prompt: int
    generate: int
    dtype: str
    caches: tuple[KeyValueCache, ...]
    cache_bytes_per_token: int
    cache_bytes: int
    weight_bytes: Cost
    macs_per_token: Cost
    prefill: Phase
    decode: Phase

    @property
    def learned_positions(self) -> int:
        """Rows of the table of positions that the network looks up, 0 if it has none."""
        network = self.estimate.network
        tables, positions = network.looked_up(reads_input=False), network.tokens_per_sample
        assert positions is not None  # caches_of refuses networks of other inputs
        rows = [each.shape[0] for each in network.parameters if each.name in tables and each.shape[0] >= positions]
        return min(rows, default=0)

    @property
    def experts(self) -> int:
        """Experts of a layer whose rows are routed, 0 if there is none: times are then not lower bounds."""
        return next((each.groups for each in self.estimate.network.weight_layers if each.routed), 0)


def inference(
    network: Network | str | Path | nn.Module,
    *,
    prompt: int = 2048,
    generate: int = 256,
    dtype: str = "bf16",
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    batch_dim: int | None = None,
    **settings: Unpack[Settings],
) -> Inference:
    """What it costs to read a prompt and to generate tokens from a cache of keys and values.

    prompt and generate are tokens of each sequence; batch_size sequences run together. dtype is that of weights and
    cache, one of DTYPES. network, input_shape, example_inputs and batch_dim are as `estimate` takes them; settings say
    how the weights were made sparse, and on which device they run.

    Raises SwatcostError for anything that cannot be used, and for networks that generate no tokens.

    >>> found = inference("llama2_7b", prompt=1024, generate=128, dtype="fp16")
    >>> found.cache_bytes_per_token  # 32 blocks · (K and V) · 32 heads · 128 features · 2 bytes
    524288
    """
    sizes = {"prompt": prompt, "generate": generate}
    for name, tokens in sizes.items():
        if checked_count(tokens, name) > _MOST_TOKENS:
            raise SwatcostError(f"{name} {tokens:,}: give at most {_MOST_TOKENS:,} tokens")
    if dtype not in DTYPES:
        raise SwatcostError(f"unknown dtype {dtype!r:.40}: {nearest(str(dtype), list(DTYPES))}")
    traced = counted_network(
        with_input(network, input_shape=input_shape, example_inputs=example_inputs, batch_dim=batch_dim)
    )
    caches = tuple(caches_of(traced))
    found = estimate_setting(traced, INFERRING.setting(settings))
    work = InferenceWork(found, caches, dtype)
    answer = Inference(
        estimate=found,
        prompt=prompt,
        generate=generate,
        dtype=dtype,
        caches=caches,
        cache_bytes_per_token=work.cache_bytes(1),
        cache_bytes=found.batch_size * work.cache_bytes(prompt + generate),
        weight_bytes=work.resident_bytes,
        macs_per_token=work.per_token + work.logits,
        prefill=work.prefill(prompt),
        decode=work.decode(prompt, generate),
    )
    if 0 < (positions := answer.learned_positions) < prompt + generate:
        raise SwatcostError(
            f"prompt {prompt:,} and generate {generate:,}: {traced.name} has learned {positions:,} positions, give no "
            "more tokens together"
        )
    return answer
