"""Networks whose training was timed by others: two with ViT-L as torch modules, decoders as plain data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from swatcost.network import Layer, Network

from .machines import network_of


class WindowAttention(nn.Module):
    """Attention in SAM's image encoder, with relative positions by row and by column; the input is (b, h, w, c)."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rows, self.columns = (nn.Parameter(torch.zeros(2 * side - 1, width // heads)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        qkv = self.qkv(x).reshape(b, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, b * self.heads, h * w, -1).unbind(0)
        distance = torch.arange(h)[:, None] - torch.arange(h) + h - 1
        grid = q.reshape(b * self.heads, h, w, -1)
        rows = torch.einsum("bhwc,hkc->bhwk", grid, self.rows[distance])
        columns = torch.einsum("bhwc,wkc->bhwk", grid, self.columns[distance])
        bias = (rows[..., :, None] + columns[..., None, :]).reshape(b * self.heads, h * w, h * w)
        mixed = torch.softmax(q * (c // self.heads) ** -0.5 @ k.transpose(-2, -1) + bias, -1) @ v
        result: Tensor = self.proj(mixed.reshape(b, self.heads, h, w, -1).permute(0, 2, 3, 1, 4).reshape(b, h, w, c))
        return result


class WindowBlock(nn.Module):
    """A block of SAM's image encoder: attention in windows of 14 × 14, for which the image is padded, or global."""

    def __init__(self, width: int, heads: int, window: int, side: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.window = nn.LayerNorm(width), nn.LayerNorm(width), window
        self.attention = WindowAttention(width, heads, window or side)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if side := self.window:
            b, h, w, c = y.shape
            y = nn.functional.pad(y, (0, 0, 0, -w % side, 0, -h % side))
            n = y.shape[1] // side
            y = y.reshape(b, n, side, n, side, c).transpose(2, 3).reshape(-1, side, side, c)
            y = self.attention(y).reshape(b, n, n, side, side, c).transpose(2, 3)
            y = y.reshape(b, n * side, n * side, c)[:, :h, :w]
        else:
            y = self.attention(y)
        x = x + y
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class ImageEncoder(nn.Module):
    """SAM's, ViT-L: 24 blocks of width 1024 and 16 heads, of which 4 are global, over 64 × 64 patches.

    Source: facebookresearch/segment-anything, build_sam.py and modeling/image_encoder.py.
    """

    def __init__(self) -> None:
        super().__init__()
        width, side = 1024, 64
        self.patch = nn.Conv2d(3, width, 16, 16)
        self.positions = nn.Parameter(torch.zeros(1, side, side, width))
        windows = (0 if place in (5, 11, 17, 23) else 14 for place in range(24))
        self.blocks = nn.Sequential(*(WindowBlock(width, 16, window, side) for window in windows))
        self.neck = nn.Sequential(
            nn.Conv2d(width, 256, 1, bias=False), nn.GroupNorm(1, 256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False), nn.GroupNorm(1, 256),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(self.patch(images).permute(0, 2, 3, 1) + self.positions)
        result: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return result


class CropBlock(nn.Module):
    """A block of DINOv2's ViT: linear layers read the tokens of all crops at once, attention stays within a crop."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scale1, self.scale2 = (nn.Parameter(torch.zeros(width)) for _ in range(2))

    def forward(self, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """Tokens (b, sum of the crops' lengths, c)."""
        qkv = self.attention["qkv"](self.norm1(x)).unflatten(-1, (3, self.heads, -1))
        mixed = []
        for crop in qkv.split(lengths, 1):
            q, k, v = crop.permute(2, 0, 3, 1, 4).unbind(0)
            mixed.append(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + self.scale1 * self.attention["proj"](torch.cat(mixed, 1))
        result: Tensor = x + self.scale2 * self.mlp(self.norm2(x))
        return result


class Backbone(nn.Module):
    """ViT-L/16: 24 blocks of width 1024 and 16 heads, on crops of several sizes, each with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 1024, 16, 16), nn.Parameter(torch.zeros(1, 1, 1024))
        self.blocks = nn.ModuleList(CropBlock(1024, 16) for _ in range(24))
        self.norm = nn.LayerNorm(1024)

    def forward(self, *crops: Tensor) -> Tensor:
        tokens, lengths = [], []
        for each in crops:  # (b, crops, 3, side, side)
            b, n = each.shape[:2]
            patches = self.patch(each.flatten(0, 1)).flatten(2).transpose(1, 2)
            whole = torch.cat([self.token.expand(b * n, -1, -1), patches], 1)
            lengths += [whole.shape[1]] * n
            tokens.append(whole.reshape(b, -1, 1024))
        x = torch.cat(tokens, 1)
        for block in self.blocks:
            x = block(x, tuple(lengths))
        result: Tensor = self.norm(x)
        return result


class DINOv2(nn.Module):
    """A student that reads 2 crops of 224 × 224 and 8 of 96 × 96, and a teacher that reads the large ones.

    Heads and losses, which read class tokens and a part of the patches, are left out: 1 % of the MACs.

    Source: facebookresearch/dinov2, configs/ssl_default_config.yaml: 64 images per GPU, patches of 16 × 16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = Backbone(), Backbone()

    def forward(self, large: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            target = self.teacher(large)
        return self.student(large, small), target


def _linear(name: str, rows: int, inner: int, outer: int) -> Layer:
    return _layer("linear", name, (rows, inner), (outer, inner), (rows, outer))


def _layer(kind: Any, name: str, reads: tuple[int, ...], weight: tuple[int, ...], gives: tuple[int, ...]) -> Layer:
    return Layer(
        name=name, kind=kind, input_shape=reads, weight_shape=weight, output_shape=gives, weight=f"({name})",
        element_bytes=4, input_needs_grad=True, weight_trains=True, input_storage=0,
    )  # fmt: skip


def decoder(layers: int, width: int, heads: int, vocabulary: int, sequence: int) -> Network:
    """The products of a decoder with an MLP of four times its width, for one sequence."""
    of_all: list[Layer] = []
    for place in range(layers):
        matrices, head = (heads, sequence), width // heads
        of_all += [
            _linear(f"{place}.qkv", sequence, width, 3 * width),
            _layer("product", f"{place}.scores", (*matrices, head), (heads, head, sequence), (*matrices, sequence)),
            _layer("product", f"{place}.values", (*matrices, sequence), (heads, sequence, head), (*matrices, head)),
            _linear(f"{place}.proj", sequence, width, width),
            _linear(f"{place}.mlp.up", sequence, width, 4 * width),
            _linear(f"{place}.mlp.down", sequence, 4 * width, width),
        ]
    return network_of(*of_all, _linear("head", sequence, width, vocabulary), batch_size=1)
