"""The loop dimensions of each layer's passes, as accelerator simulators take them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from swatcost.methods import LayerSparsity, Operand
from swatcost.network import Network
from swatcost.network.layer import Layer
from swatcost.network.passes import Pass
from swatcost.sparsity import SparsityPlan

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One pass of one layer over a batch: B images, and in each of G groups K filters of C · FY · FX weights.

    conv: O[b][g][k][oy][ox] += W[g][k][c][fy][fx] · I[b][g][c][iy][ix], with iy = stride · oy + dilation · fy, over a
    padded input. product: a matrix (B, C) by a matrix (C, K) in each group, as a conv of 1 × 1 images.

    Densities are the fractions of values that are not zero, at random positions unless `pattern` (N, M) says that the
    second operand keeps N of every M along C. `bits` are the bits per value.
    """

    name: str
    layer: str
    in_pass: Pass
    kind: Literal["conv", "product"]
    B: int
    G: int
    K: int
    C: int
    OY: int = 1
    OX: int = 1
    FY: int = 1
    FX: int = 1
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    input_density: float = 1.0
    weight_density: float = 1.0
    output_density: float = 1.0
    pattern: Pair | None = None
    bits: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates, including those by zeros."""
        return prod((self.B, self.G, self.K, self.C, self.OY, self.OX, self.FY, self.FX))

    @property
    def padded_input(self) -> Pair:
        """(IY, IX): the rows and columns of the padded input that are read."""
        sizes = zip((self.OY, self.OX), (self.FY, self.FX), self.stride, self.dilation, strict=True)
        iy, ix = ((out - 1) * stride + (kernel - 1) * dilation + 1 for out, kernel, stride, dilation in sizes)
        return iy, ix

    def unfolded(self) -> Workload:
        """The same work as a product over unfolded windows (im2col)."""
        return replace(
            self, kind="product", B=self.B * self.OY * self.OX, C=self.C * self.FY * self.FX,
            OY=1, OX=1, FY=1, FX=1, stride=(1, 1), dilation=(1, 1),
        )  # fmt: skip


def workloads(
    network: Network, plan: SparsityPlan, batch_size: int, passes: Sequence[Pass], bits: int | None
) -> tuple[list[Workload], list[str]]:
    """The passes of every layer in execution order, over a batch; and the layers whose loops are unknown.

    The forward pass of a 1-D or 2-D convolution is a conv. Everything else is a product: linear layers and products of
    activations, gradients of convolutions (over unfolded windows), and 3-D and transposed convolutions, which a 2-D
    conv cannot express.
    """
    found: list[Workload] = []
    left_out: list[str] = []
    frozen = plan.method.weight_gradient == "none"
    for layer, sparsity in plan.by_layer(network):
        if layer.kind == "custom" or layer.real_products > 1:  # no loop nest has complex numbers
            left_out.append(layer.name)
            continue
        if layer.routed and layer.images * batch_size % (layer.groups * network.samples_of(layer, batch_size)):
            left_out.append(layer.name)  # experts with different numbers of rows
            continue
        for in_pass in passes:
            if (in_pass == "grad_input" and not layer.input_needs_grad) or (
                in_pass == "grad_weight" and (not layer.weight_trains or (frozen and layer.is_weight_layer))
            ):
                continue
            of_layer = _product if layer.is_product else _weight_layer
            plain = of_layer(layer, in_pass, batch_size, network.samples_of(layer, batch_size))
            dense = replace(plain, bits=bits or layer.element_bytes * 8)
            found.append(dense if layer.is_product else _sparse(dense, sparsity, plan))
    return _distinct(found), left_out


def _weight_layer(layer: Layer, in_pass: Pass, batch_size: int, traced_batch: int) -> Workload:
    shape = layer.symbols
    groups = layer.groups
    images = shape.N * batch_size // (traced_batch * (groups if layer.routed else 1))
    kernel = shape.R * shape.S
    positions = shape.H * shape.W
    if in_pass == "forward" and layer.kind == "conv" and len(layer.weight_shape) <= 4:
        return Workload(
            name=layer.name, layer=layer.name, in_pass=in_pass, kind="conv", bits=1,
            B=images, G=groups, K=layer.filters_of_group, C=shape.C, OY=shape.H, OX=shape.W, FY=shape.R, FX=shape.S,
            stride=_in_2d(layer.stride), dilation=_in_2d(layer.dilation),
        )  # fmt: skip
    filters, channels = layer.filters_of_group, shape.C
    # (rows, reduction, columns) of each pass's product; a transposed convolution's are those of a conv's gradients
    forward = (images * positions, channels * kernel, filters)
    backward = (images * positions, filters, channels * kernel)
    if layer.kind == "transposed_conv":
        forward, backward = (images * positions, channels, filters * kernel), (
            images * positions, filters * kernel, channels,
        )  # fmt: skip
    weight = (forward[1], forward[0], forward[2])
    B, C, K = {"forward": forward, "grad_input": backward, "grad_weight": weight}[in_pass]
    return Workload(name=layer.name, layer=layer.name, in_pass=in_pass, kind="product", G=groups, bits=1, B=B, C=C, K=K)


def _in_2d(sizes: tuple[int, ...]) -> Pair:
    return sizes[0], sizes[1] if len(sizes) == 2 else 1


def _product(layer: Layer, in_pass: Pass, batch_size: int, traced_batch: int) -> Workload:
    """A product of activations and the gradients of its left (grad_input) and right (grad_weight) operands."""
    M, K = layer.input_shape[-2:]
    N = layer.output_shape[-1]
    batch = prod(layer.output_shape[:-2])
    if batch * batch_size % traced_batch == 0:
        batch = batch * batch_size // traced_batch
    else:  # the samples are rows of the matrices
        M = M * batch_size // traced_batch
    B, C, columns = {"forward": (M, K, N), "grad_input": (M, N, K), "grad_weight": (K, M, N)}[in_pass]
    return Workload(
        name=layer.name, layer=layer.name, in_pass=in_pass, kind="product", G=batch, B=B, C=C, K=columns, bits=1
    )


_OPERANDS: dict[Pass, tuple[Operand, Operand]] = {
    "forward": ("activation", "weight"),
    "grad_input": ("output", "weight"),
    "grad_weight": ("activation", "output"),
}


def _sparse(dense: Workload, sparsity: LayerSparsity, plan: SparsityPlan) -> Workload:
    """The workload with the densities of the operands that the method makes sparse in that pass."""
    skipped = plan.method.sparse[dense.in_pass]
    read = replace(sparsity, weight=plan.method.sparsity_in(dense.in_pass, sparsity.weight))
    first, second = (1.0 - read.of(operand) if operand in skipped else 1.0 for operand in _OPERANDS[dense.in_pass])
    output = 1.0 - sparsity.output if dense.in_pass == "forward" and "output" in skipped else 1.0
    patterned = plan.pattern if dense.in_pass == "forward" and second < 1 else None
    return replace(dense, input_density=first, weight_density=second, output_density=output, pattern=patterned)


def _distinct(found: Sequence[Workload]) -> list[Workload]:
    """The workloads with unique names: by pass, and numbered if a layer runs several times."""
    seen: Counter[str] = Counter()
    named = []
    for each in found:
        name = each.layer if each.in_pass == "forward" else f"{each.layer}.{each.in_pass}"
        seen[name] += 1
        named.append(replace(each, name=name if seen[name] == 1 else f"{name}.{seen[name]}"))
    return named
