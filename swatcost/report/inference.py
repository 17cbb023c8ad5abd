"""Inference with a language model as a table, Markdown, LaTeX, CSV or JSON."""

from typing import Any

from swatcost.common.printing import listed
from swatcost.counting.costs import FLOPS_PER_MAC, Cost
from swatcost.planning.inference import Inference
from swatcost.planning.inference_work import Phase
from swatcost.report.estimate import question
from swatcost.report.numbers import byte_count, flop_count, scaled, seconds, three_digits
from swatcost.report.sheet import Caveat, Figure, Sheet, Table

SCHEMA = "swatcost.inference/1"


def sheet(found: Inference, layers: bool = False) -> Sheet:
    batch = found.estimate.batch_size
    sequences = f"{batch:,} sequence{'s' * (batch != 1)}"
    return Sheet(
        opening=[
            question(found.estimate),
            f"{sequences} of {found.prompt:,} + {found.generate:,} tokens, {found.dtype}, {found.estimate.device.name}",
        ],
        summary=summary(found),
        tables=[_phases(found)],
        notes=notes(found),
    )


def summary(found: Inference) -> list[Figure]:
    """Times, memory and what a token takes."""
    figures = []
    if found.prefill.seconds is not None and found.decode.seconds is not None:
        per_token = found.decode.seconds / found.decode.steps
        time = _about if found.experts else _at_least
        figures += [
            Figure("time to first token", _both(found, found.prefill.seconds, time)),
            Figure("time per output token", _both(found, per_token, time), _bound(found.decode)),
        ]
    flops = FLOPS_PER_MAC * found.macs_per_token
    held = found.weight_bytes + Cost(found.cache_bytes, found.cache_bytes)
    return [
        *figures,
        Figure("memory at the end", _both(found, held, byte_count), _memory(found)),
        Figure("weights", _both(found, found.weight_bytes, byte_count)),
        Figure("cache per token", byte_count(found.cache_bytes_per_token), _cache(found)),
        Figure("FLOPs per token", _both(found, flops, flop_count), "without attention"),
    ]


def _is_sparse(found: Inference) -> bool:
    return found.estimate.plan.asks_for_sparsity


def _both(found: Inference, cost: Cost, written: Any) -> str:
    dense: str = written(cost.dense)
    return f"{dense} dense, {written(cost.sparse)} sparse" if _is_sparse(found) else dense


def _at_least(value: float) -> str:
    return f"≥ {seconds(value)}"


def _about(value: float) -> str:
    return f"≈ {seconds(value)}"


def _bound(phase: Phase) -> str:
    share = phase.memory_bound or 0.0
    bound = "memory-bound" if share > 0.5 else "compute-bound"
    return bound if share in (0.0, 1.0) else f"{bound} in most steps"


def _memory(found: Inference) -> str:
    has = found.estimate.device.memory_bytes
    return f"cache {byte_count(found.cache_bytes)}" + (
        f"; {found.estimate.device.name} has {byte_count(has)}" if has else ""
    )


def _cache(found: Inference) -> str:
    latent = sum(bool(each.latent) for each in found.caches)
    kind = "latent, " if latent == len(found.caches) else ""
    return f"{kind}{len(found.caches):,} attention layer{'s' * (len(found.caches) != 1)}"


def _phases(found: Inference) -> Table:
    sparse = _is_sparse(found)

    def of(cost: Cost) -> list[float]:
        return [cost.dense, cost.sparse] if sparse else [cost.dense]

    def row(phase: Phase) -> list[str]:
        cells = [
            phase.name, f"{phase.tokens:,}", *map(flop_count, of(FLOPS_PER_MAC * phase.macs)),
            *map(byte_count, of(phase.weight_bytes)), byte_count(phase.cache_bytes),
        ]  # fmt: skip
        if phase.seconds is None:
            return cells
        tokens = found.estimate.batch_size * phase.tokens
        return [*cells, *map(seconds, of(phase.seconds)), *(three_digits(tokens / each) for each in of(phase.seconds))]

    rate = "tokens/s" if found.experts else "tokens/s,\nat most"
    flops, weights, times, rates = ["FLOPs"], ["weights\nmoved"], ["time"], [rate]
    if sparse:
        flops, weights, times, rates = (
            [f"{kind}\n{name}" for kind in ("dense", "sparse")] for name in ("FLOPs", "weights", "time", rate)
        )
    header = ["phase", "tokens", *flops, *weights, "cache\nmoved"]
    header += [*times, *rates] if found.prefill.seconds is not None else []
    return Table(header, [row(found.prefill), row(found.decode)], divisible=True)


def notes(found: Inference) -> list[str]:
    """What was assumed, and what is not counted."""
    sentences: list[str] = []
    if found.prefill.seconds is None:
        sentences.append(
            Caveat(
                f"No times: the profile of {found.estimate.device.name} has no rate of {found.dtype} products, or no "
                "memory bandwidth. Give another device, such as h100."
            )
        )
    else:
        bounds = "are lower bounds" if not found.experts else "would be lower bounds without experts"
        sentences.append(
            f"Times {bounds}: in each step the longer of arithmetic at the device's highest rate and of weights "
            "and cache at its memory bandwidth. Activations, kernel launches and sampling take more."
        )
    if _is_sparse(found):
        sentences.append(
            "Sparse times assume kernels that skip every zero and read weights in their smallest format; attention and "
            "cache stay dense."
        )
    sentences.append(
        "A step reads each weight once, and of embeddings the rows that are looked up. Of a prompt only the last token "
        "is scored against the vocabulary. Each token attends to "
        "itself and the tokens before it."
    )
    if windows := sorted({each.window for each in found.caches if each.window is not None}):
        sentences.append(
            f"Sliding windows of {listed([f'{each:,}' for each in windows])} tokens are as traced: their caches hold "
            "no more."
        )
    if any(each.latent for each in found.caches):
        whole = found.estimate.batch_size * sum(each.keys + each.values for each in found.caches)
        sentences.append(
            "Latent attention caches its latent and rotary features, as DeepSeek-V2 describes it. A prompt's attention "
            "runs on whole keys and values, later tokens' on the latent itself: more MACs per key, fewer bytes. An "
            f"implementation that caches keys and values keeps {scaled(whole)} elements per token instead."
        )
    if found.experts:
        timed = ", so times are not lower bounds here" if found.prefill.seconds is not None else ""
        sentences.append(
            Caveat(
                f"With experts, the bytes are the expectation if every one of the {found.experts:,} experts is equally "
                f"likely. A router that prefers some reads fewer{timed}."
            )
        )
    if untold := [each.name for each in found.caches if not each.is_told]:
        sentences.append(
            Caveat(
                f"The trace does not show whether {listed(untold, 3)} is causal or has a window: full causal attention "
                "is assumed."
            )
        )
    held = found.weight_bytes.sparse + found.cache_bytes
    if (has := found.estimate.device.memory_bytes) is not None and held > has:
        sentences.append(
            Caveat(
                f"Weights and cache need {byte_count(held)}, more than the {byte_count(has)} of "
                f"{found.estimate.device.name}."
            )
        )
    return sentences


def rows(found: Inference) -> list[dict[str, Any]]:
    """One row per phase."""
    return [_plain(each) for each in (found.prefill, found.decode)]


def _plain(phase: Phase) -> dict[str, Any]:
    return {
        "phase": phase.name,
        "tokens": phase.tokens,
        "steps": phase.steps,
        "dense_macs": phase.macs.dense,
        "sparse_macs": phase.macs.sparse,
        "dense_weight_bytes": phase.weight_bytes.dense,
        "sparse_weight_bytes": phase.weight_bytes.sparse,
        "cache_bytes": phase.cache_bytes,
        "dense_seconds": None if phase.seconds is None else phase.seconds.dense,
        "sparse_seconds": None if phase.seconds is None else phase.seconds.sparse,
        "memory_bound": phase.memory_bound,
    }


def to_dict(found: Inference) -> dict[str, Any]:
    """Plain data, unrounded."""
    return {
        "schema": SCHEMA,
        "model": found.estimate.network.name,
        "prompt": found.prompt,
        "generate": found.generate,
        "batch_size": found.estimate.batch_size,
        "dtype": found.dtype,
        "device": found.estimate.device.name,
        "setting": found.estimate.setting.record(),
        "weight_bytes": {"dense": found.weight_bytes.dense, "sparse": found.weight_bytes.sparse},
        "cache_bytes_per_token": found.cache_bytes_per_token,
        "cache_bytes": found.cache_bytes,
        "macs_per_token": {"dense": found.macs_per_token.dense, "sparse": found.macs_per_token.sparse},
        "caches": [
            {
                "attention": each.name, "keys": each.keys, "values": each.values, "latent": each.latent,
                "window": each.window,
            }
            for each in found.caches
        ],
        "phases": rows(found),
        "notes": [*map(str, notes(found))],
    }  # fmt: skip
