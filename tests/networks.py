"""Networks of the kinds that are trained today, small enough to run on a CPU: each with an input for a batch of 3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from swatcost_models import ZOO
from torch import Tensor, nn

from .cases import Applied

BATCH, TOKENS, VOCABULARY = 3, 12, 97
Made = tuple[nn.Module, tuple[Tensor, ...]]


def tokens(batch: int = BATCH) -> Tensor:
    return torch.zeros(batch, TOKENS, dtype=torch.int64)


def images(side: int = 16, batch: int = BATCH) -> Tensor:
    return torch.randn(batch, 3, side, side)


class Attention(nn.Module):
    """Self-attention by heads: fused, or with its softmax written out; q, k and v at once if not grouped."""

    def __init__(
        self, width: int, heads: int, *, fused: bool = True, kv: int | None = None, causal: bool = True
    ) -> None:
        super().__init__()
        self.heads, self.kv, self.fused, self.causal, self.width = heads, kv or heads, fused, causal, width // heads
        self.o = nn.Linear(width, width, bias=False)
        sizes = [width, self.kv * self.width, self.kv * self.width]
        self.qkv = nn.ModuleList(nn.Linear(width, size, bias=False) for size in (sizes if kv else [3 * width]))

    def forward(self, x: Tensor, turned: Callable[[Tensor], Tensor] = lambda each: each) -> Tensor:
        batch, length, _ = x.shape
        parts = [each(x) for each in self.qkv] if len(self.qkv) > 1 else self.qkv[0](x).chunk(3, -1)
        q, k, v = (each.view(batch, length, -1, self.width).transpose(1, 2) for each in parts)
        q, k = turned(q), turned(k)
        if self.kv < self.heads:
            k, v = (each.repeat_interleave(self.heads // self.kv, 1) for each in (k, v))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            scores = q @ k.transpose(-2, -1) / self.width**0.5
            y = F.dropout(torch.softmax(scores, -1), 0.1) @ v
        return self.o(y.transpose(1, 2).reshape(batch, length, -1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A transformer block with layer norms before its parts, as in GPT-2 and ViT."""

    def __init__(self, width: int, heads: int, **how: Any) -> None:
        super().__init__()
        self.norm, self.other = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, **how)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm(x))
        return x + self.mlp(self.other(x))  # type: ignore[no-any-return]


class GPT(nn.Module):
    """A language model as GPT-2 is built: learned positions, tied head."""

    def __init__(
        self,
        width: int = 24,
        heads: int = 4,
        depth: int = 3,
        *,
        words: int = VOCABULARY,
        length: int = TOKENS,
        **how: Any,
    ) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, **how) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


def gpt_2() -> Made:
    """A model of GPT-2's size, on the meta device, with 11 sequences of 1,024 tokens."""
    with torch.device("meta"):
        module = GPT(768, 12, 12, words=50_257, length=1024)
        return module, (torch.zeros(11, 1024, dtype=torch.int64),)


class RMSNorm(nn.Module):
    """Root mean square normalisation in single precision, as Llama has it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        whole = x.float()
        return self.weight * (whole * torch.rsqrt(whole.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class LlamaBlock(nn.Module):
    """Grouped queries, rotary positions, a gated MLP."""

    def __init__(self, width: int, heads: int, kv: int) -> None:
        super().__init__()
        self.norm, self.other = RMSNorm(width), RMSNorm(width)
        self.attention = Attention(width, heads, kv=kv)
        self.gate, self.up = (nn.Linear(width, 3 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(3 * width, width, bias=False)

    def forward(self, x: Tensor, turned: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + self.attention(self.norm(x), turned)
        y = self.other(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))  # type: ignore[no-any-return]


class Llama(nn.Module):
    """A language model as Llama is built, with an untied head."""

    def __init__(self, width: int = 32, heads: int = 4, kv: int = 2, depth: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.layers = nn.ModuleList(LlamaBlock(width, heads, kv) for _ in range(depth))
        self.norm, self.head = RMSNorm(width), nn.Linear(width, VOCABULARY, bias=False)
        angles = torch.arange(TOKENS)[:, None] / 10_000 ** (torch.arange(0, width // heads, 2) / (width // heads))
        self.register_buffer("cos", angles.cos().repeat(1, 2))
        self.register_buffer("sin", angles.sin().repeat(1, 2))

    def _turned(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return x * self.cos.to(x.dtype) + torch.cat((-second, first), -1) * self.sin.to(x.dtype)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, self._turned)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class ViT(nn.Module):
    """A vision transformer with a class token."""

    def __init__(self, width: int = 24, heads: int = 4, depth: int = 2, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, 17, width))
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Down, up and across: an image of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.down = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.up, self.last = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.cat((x, self.up(self.down(x))), 1))  # type: ignore[no-any-return]


class Translator(nn.Module):
    """torch's own encoder and decoder, between embeddings and a head."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.transformer = nn.Transformer(width, 2, 2, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.head(self.transformer(self.embedding(source), self.embedding(target)))  # type: ignore[no-any-return]


def _convnext() -> nn.Module:
    def block(self: Any, x: Tensor) -> Tensor:
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.out(F.gelu(self.into(y)))).permute(0, 3, 1, 2)

    parts = {
        "depth": nn.Conv2d(12, 12, 7, padding=3, groups=12), "norm": nn.LayerNorm(12), "into": nn.Linear(12, 48),
        "out": nn.Linear(48, 12), "scale": nn.Parameter(torch.ones(12)),
    }  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(3, 12, 4, 4), Applied(block, parts), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10)
    )


NETWORKS: dict[str, Callable[[], Made]] = {
    "resnet": lambda: (ZOO["cifar_resnet18"].build(), (images(),)),
    "densenet": lambda: (ZOO["cifar_densenet121"].build(), (images(),)),
    "convnext": lambda: (_convnext(), (images(),)),
    "unet": lambda: (UNet(), (images(),)),
    "mlp": lambda: (
        nn.Sequential(nn.Flatten(), nn.Linear(768, 40), nn.Softplus(), nn.Dropout(), nn.Linear(40, 3000)),
        (images(),),
    ),
    "vit": lambda: (ViT(), (images(),)),
    "gpt": lambda: (GPT(), (tokens(),)),
    "gpt, softmax written out": lambda: (GPT(fused=False), (tokens(),)),
    "llama": lambda: (Llama(), (tokens(),)),
    "encoder and decoder": lambda: (Translator(), (tokens(), tokens())),
}
