"""Layers that compute Algorithm 1: torch's own with another class, so that parameters, hooks and names stay."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from swatcost.methods import Operand
from swatcost.network.passes import PASSES, Pass
from swatcost.reference.counts import Counter
from swatcost.reference.layer_kernels import ConvForm, Form, LinearForm
from swatcost.reference.products import Kept, Kernels, Operands, SparseProduct
from swatcost.reference.sparsifier import Clock, Sparsifier, in_backward


@dataclass
class Layer:
    """One weight and how it is multiplied: which operands the method sparsifies in which pass.

    `name` is the weight's name in the trace, `sparse` the operands that are sparse in each pass. If `counters` is a
    list, each call in an iteration appends one, which counts what it multiplies. `kernels` run
    the products of calls that are not counted; those that are mask dense operands, which can be counted.
    """

    name: str
    sparse: Mapping[Pass, frozenset[Operand]]
    clock: Clock
    weight: Sparsifier
    activation: Sparsifier
    output: Sparsifier
    counters: list[Counter] | None = None
    kernels: Kernels | None = None
    calls: int = 0
    called_in: int = -1
    calls_again: int = 0

    @property
    def operands(self) -> dict[Operand, Sparsifier]:
        """The sparsifier of each operand."""
        return {"weight": self.weight, "activation": self.activation, "output": self.output}

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None, form: Form, training: bool) -> Tensor:
        """The layer's output; its backward pass is Eqs. 2 and 3 on the sparsified operands."""
        x, weight, bias = _as_autocast(x, weight, bias)
        learning = training and torch.is_grad_enabled()
        call = self._call() if learning else 0
        counter = self._counter(call)
        thinned = (
            (lambda grad: self.output(grad, call, training=learning)) if "output" in self.sparse["grad_input"] else None
        )
        with torch.autocast(x.device.type, enabled=False):
            if self.kernels is not None and counter is None and self.kernels.suit(x, weight, form):
                return self._on_kernels(x, weight, bias, form, learning, call, thinned)
            with torch.no_grad():
                active = self.weight(weight, training=learning) if self._masks_weight(learning) else weight
                kept = self.activation(x, call) if self._masks_input(learning, weight) else x
            operands = Operands(
                forward_weight=active if "weight" in self.sparse["forward"] else weight,
                backward_weight=active if "weight" in self.sparse["grad_input"] else weight,
                backward_input=kept,
                thinned=thinned,
            )
            return SparseProduct.apply(x, weight, bias, form, operands, counter)  # type: ignore[no-any-return, no-untyped-call]

    def _on_kernels(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, form: Form, learning: bool, call: int, thinned: Any
    ) -> Tensor:
        """The same on sparse kernels, in the passes that have one: nothing is masked beforehand where one reads."""
        assert self.kernels is not None
        with torch.no_grad():
            masks = self._masks_weight(learning)
            active = self.weight.cut(weight, training=learning) if masks else Kept(weight)
            kept = self.activation.cut(x, call) if self._masks_input(learning, weight) else Kept(x)
        sparse = {"weight": active.threshold is not None, "activation": kept.threshold is not None}
        masked = {each for each in PASSES if any(sparse.get(of, False) for of in self.sparse[each])}
        return self.kernels.product(x, weight, bias, form, active, kept, masked, thinned)

    def _masks_input(self, learning: bool, weight: Tensor) -> bool:
        """Whether to mask the input, which only the gradient of the weight reads sparse."""
        return learning and "activation" in self.sparse["grad_weight"] and weight.requires_grad

    def _masks_weight(self, learning: bool) -> bool:
        """Whether to mask the weight; a method with a dense forward pass leaves it dense outside of training."""
        return "weight" in self.sparse["forward"] or (learning and "weight" in self.sparse["grad_input"])

    def _counter(self, call: int) -> Counter | None:
        """The counter of this call; when checkpointing recomputes the call, the same counter."""
        if self.counters is None:
            return None
        if not in_backward():
            self.counters.append(Counter())
            return self.counters[-1]
        return self.counters[call] if call < len(self.counters) else None

    def _call(self) -> int:
        """How often the layer ran before in this iteration; when checkpointing recomputes a call, its own number."""
        if self.called_in != self.clock.iteration:
            self.called_in, self.calls, self.calls_again = self.clock.iteration, 0, 0
        if in_backward():
            self.calls_again += 1
            return (self.calls_again - 1) % max(1, self.calls)
        self.calls += 1
        return self.calls - 1


def _as_autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The operands of a convolution or linear layer in autocast's dtype."""
    if not torch.is_autocast_enabled(x.device.type) or x.dtype == torch.float64:
        return x, weight, bias
    dtype = torch.get_autocast_dtype(x.device.type)
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


class SparseLinear(nn.Linear):
    """nn.Linear by Algorithm 1."""

    swat: Layer

    def forward(self, input: Tensor) -> Tensor:
        return self.swat.product(input, self.weight, self.bias, LinearForm(), self.training)


def _conv(module: Any, x: Tensor, form: ConvForm) -> Tensor:
    """A convolution of a batch, or of one image without a batch dimension."""
    alone = x.dim() == len(form.stride) + 1
    output = module.swat.product(x.unsqueeze(0) if alone else x, module.weight, module.bias, form, module.training)
    return output.squeeze(0) if alone else output  # type: ignore[no-any-return]


class _Convolution(nn.Module):
    """The forward pass of torch's convolutions by Algorithm 1, with their padding modes."""

    swat: Layer

    def forward(self: Any, input: Tensor) -> Tensor:
        padding = self.padding
        if padding == "valid":
            padding = (0,) * len(self.stride)
        elif padding == "same" and self.padding_mode == "zeros":
            both = self._reversed_padding_repeated_twice  # the last dimension first, before and behind
            before, behind = both[0::2], both[1::2]
            if before != behind:  # as torch does: what is uneven is padded beforehand
                uneven = (more - less for less, more in zip(before, behind, strict=True))
                input = functional.pad(input, [each for spare in uneven for each in (0, spare)])
            padding = tuple(reversed(before))
        elif self.padding_mode != "zeros":
            input = functional.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * len(self.stride)
        return _conv(self, input, ConvForm(self.stride, padding, self.dilation, self.groups))


class SparseConv1d(_Convolution, nn.Conv1d):
    """nn.Conv1d by Algorithm 1."""


class SparseConv2d(_Convolution, nn.Conv2d):
    """nn.Conv2d by Algorithm 1."""


class SparseConv3d(_Convolution, nn.Conv3d):
    """nn.Conv3d by Algorithm 1."""


class _TransposedConvolution(nn.Module):
    """The forward pass of torch's transposed convolutions by Algorithm 1."""

    swat: Layer

    def forward(self: Any, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        dimensions = len(self.stride)
        spare = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, dimensions, self.dilation
        )
        form = ConvForm(self.stride, self.padding, self.dilation, self.groups, True, tuple(spare))
        return _conv(self, input, form)


class SparseConvTranspose1d(_TransposedConvolution, nn.ConvTranspose1d):
    """nn.ConvTranspose1d by Algorithm 1."""


class SparseConvTranspose2d(_TransposedConvolution, nn.ConvTranspose2d):
    """nn.ConvTranspose2d by Algorithm 1."""


class SparseConvTranspose3d(_TransposedConvolution, nn.ConvTranspose3d):
    """nn.ConvTranspose3d by Algorithm 1."""


class SparseAttention(nn.MultiheadAttention):
    """nn.MultiheadAttention with projections by Algorithm 1; the products of activations stay dense.

    `swat` holds a layer for each separately multiplied part of in_proj_weight, by its first row, and one for out_proj.
    """

    swat: dict[int | str, Layer]

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        alone, same = query.dim() == 2, query is key and key is value
        keys_are_values = key is value
        batch = 0 if alone else (0 if self.batch_first else 1)
        if alone:
            query, key, value = (each.unsqueeze(0) for each in (query, key, value))
        elif not self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        if same:
            q, k, v = self._projected(query, 0, 3).chunk(3, -1)
        elif keys_are_values:
            q, (k, v) = self._projected(query, 0, 1), self._projected(key, 1, 3).chunk(2, -1)
        else:
            q, k, v = (self._projected(each, part, part + 1) for part, each in enumerate((query, key, value)))
        N, L, E = q.shape
        q, k, v = (each.reshape(N, -1, self.num_heads, E // self.num_heads).transpose(1, 2) for each in (q, k, v))
        mask = self._mask(q, k, key_padding_mask if not alone else _batch_of_one(key_padding_mask), attn_mask)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1])
            weights = functional.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
            mixed = weights @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        mixed = mixed.transpose(1, 2).reshape(N, L, E)
        out = self.out_proj
        output = self.swat["out_proj"].product(mixed, out.weight, out.bias, LinearForm(), self.training)
        output = output.squeeze(0) if alone else (output if batch == 0 else output.transpose(0, 1))
        if weights is not None:
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights.squeeze(0) if alone else weights
        return output, weights

    def _projected(self, x: Tensor, start: int, end: int) -> Tensor:
        """x times a part of in_proj_weight, whose rows are those of queries, keys and values, in this order."""
        rows = slice(start * self.embed_dim, end * self.embed_dim)
        whole = end - start == 3
        weight = self.in_proj_weight if whole else self.in_proj_weight[rows]
        bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
        layer = self.swat["in_proj" if whole else rows.start]
        return layer.product(x, weight, bias, LinearForm(), self.training)

    def _mask(self, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """The sum of both masks, to be added to the scores (N, heads, L, S); boolean ones are True where masked."""
        N, heads, L, S = *q.shape[:3], k.shape[2]
        given = []
        if mask is not None:
            given.append(mask.reshape(N, heads, L, S) if mask.dim() == 3 else mask)
        if padding is not None:
            given.append(padding.reshape(N, 1, 1, S))
        added = None
        for each in given:
            numbers = each.to(q.dtype)
            if each.dtype == torch.bool:
                numbers = torch.zeros_like(each, dtype=q.dtype).masked_fill(each, -math.inf)
            added = numbers if added is None else added + numbers
        return added


def _batch_of_one(padding: Tensor | None) -> Tensor | None:
    return None if padding is None else padding.unsqueeze(0)


SPARSE: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: SparseLinear,
    nn.Conv1d: SparseConv1d,
    nn.Conv2d: SparseConv2d,
    nn.Conv3d: SparseConv3d,
    nn.ConvTranspose1d: SparseConvTranspose1d,
    nn.ConvTranspose2d: SparseConvTranspose2d,
    nn.ConvTranspose3d: SparseConvTranspose3d,
    nn.MultiheadAttention: SparseAttention,
}
"""The replacement of each of torch's classes. Subclasses are left alone: they may compute something else."""
