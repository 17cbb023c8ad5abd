"""The zoo: one file per network family, one row per network. Importing this package does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_HE = "He et al. 2016"
_ZAGORUYKO = "Zagoruyko et al. 2016"
_SIMONYAN = "Simonyan et al. 2015"
_HUANG = "Huang et al. 2017"
_DOSOVITSKIY = "Dosovitskiy et al. 2021"
_LIU = "Liu et al. 2022"
_RADFORD = "Radford et al. 2019"
_TOUVRON = "Touvron et al. 2023"
_STEINER = "Steiner et al. 2022"
_GRATTAFIORI = "Grattafiori et al. 2024"
_JIANG = "Jiang et al. 2024"
_DEVLIN = "Devlin et al. 2019"


@dataclass(frozen=True)
class ZooNetwork:
    """A network of the zoo: the module of its factory, the shape of one input sample, its classes and source.

    The classes of a language model are its vocabulary. `input_dtype` is the dtype of the input where it is not that of
    the parameters: int64 for tokens. `context` is the largest number of tokens, where it is bounded: by the positions
    that it has learned.
    """

    name: str
    title: str
    module: str
    input_shape: tuple[int, ...]
    classes: int
    citation: str
    input_dtype: str | None = None
    context: int | None = None

    def build(self, classes: int | None = None) -> nn.Module:
        """Builds the module on torch's default device."""
        factory: Callable[[int], nn.Module] = getattr(import_module(f"{__name__}.{self.module}"), self.name)
        return factory(classes or self.classes)


GPT2_CONTEXT = 1024
"""Positions that GPT-2 learns [tokens]: Radford et al. 2019, Section 2.3."""
BERT_CONTEXT = 512
"""Positions that BERT learns [tokens]: Devlin et al. 2019, Appendix A.2."""

_IMAGENET = ((3, 224, 224), 1000)
_CIFAR = ((3, 32, 32), 10)

ZOO = {
    network.name: network
    for network in (
        ZooNetwork("resnet18", "ResNet-18", "resnet", *_IMAGENET, _HE),
        ZooNetwork("resnet50", "ResNet-50", "resnet", *_IMAGENET, _HE),
        ZooNetwork("resnet101", "ResNet-101", "resnet", *_IMAGENET, _HE),
        ZooNetwork("wide_resnet50_2", "WRN-50-2", "resnet", *_IMAGENET, _ZAGORUYKO),
        ZooNetwork("vgg16_bn", "VGG-16 with BN", "vgg", *_IMAGENET, _SIMONYAN),
        ZooNetwork("densenet121", "DenseNet-121", "densenet", *_IMAGENET, _HUANG),
        ZooNetwork("vit_b_16", "ViT-B/16", "vit", *_IMAGENET, _DOSOVITSKIY),
        ZooNetwork("vit_s_16", "ViT-S/16", "vit", *_IMAGENET, _STEINER),
        ZooNetwork("convnext_base", "ConvNeXt-B", "convnext", *_IMAGENET, _LIU),
        ZooNetwork("gpt2", "GPT-2 124M", "gpt2", (GPT2_CONTEXT,), 50_257, _RADFORD, "int64", context=GPT2_CONTEXT),
        ZooNetwork("gpt2_xl", "GPT-2 1.5B", "gpt2", (GPT2_CONTEXT,), 50_257, _RADFORD, "int64", context=GPT2_CONTEXT),
        ZooNetwork("llama2_7b", "Llama 2 7B", "llama", (4096,), 32_000, _TOUVRON, "int64"),
        ZooNetwork("llama3_8b", "Llama 3 8B", "llama", (8192,), 128_256, _GRATTAFIORI, "int64"),
        ZooNetwork("mixtral_8x7b", "Mixtral 8x7B", "mixtral", (32_768,), 32_000, _JIANG, "int64"),
        ZooNetwork("bert_base", "BERT-base", "bert", (BERT_CONTEXT,), 30_522, _DEVLIN, "int64", context=BERT_CONTEXT),
        ZooNetwork("cifar_resnet18", "ResNet-18", "resnet", *_CIFAR, _HE),
        ZooNetwork("cifar_resnet50", "ResNet-50", "resnet", *_CIFAR, _HE),
        ZooNetwork("cifar_resnet101", "ResNet-101", "resnet", *_CIFAR, _HE),
        ZooNetwork("cifar_vgg16", "VGG-16 with BN", "vgg", *_CIFAR, _SIMONYAN),
        ZooNetwork("cifar_densenet121", "DenseNet-121", "densenet", *_CIFAR, _HUANG),
        ZooNetwork("cifar_wrn_16_8", "WRN-16-8", "wide_resnet", *_CIFAR, _ZAGORUYKO),
        ZooNetwork("cifar_wrn_28_10", "WRN-28-10", "wide_resnet", *_CIFAR, _ZAGORUYKO),
    )
}
