"""VGG-16 with batch normalisation, for ImageNet and CIFAR.

Source
------
Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015
(arXiv 1409.1556), configuration D. Batch normalisation follows every convolution; the convolutions keep
their bias, as torchvision's do.

The CIFAR network keeps the whole head (512 → 4096 → 4096 → classes): SWAT's ERK rows for VGG-16 are reproduced only
with that head.
"""

from __future__ import annotations

from torch import Tensor, nn

# Configuration D of the paper's Table 1: channels of each 3×3 convolution, one tuple per stage.
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(nn.Module):
    """Thirteen convolutions in five stages, each followed by 2×2 max pooling, and three linear layers."""

    def __init__(self, pooled_size: int, num_classes: int) -> None:
        """`pooled_size` is the height and width, in pixels, that the classifier sees."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in _STAGES:
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(pooled_size)
        self.classifier = nn.Sequential(
            nn.Linear(channels * pooled_size**2, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def vgg16_bn(num_classes: int = 1000) -> VGG16:
    """VGG-16-D with batch normalisation for ImageNet (torchvision's vgg16_bn)."""
    return VGG16(pooled_size=7, num_classes=num_classes)


def cifar_vgg16(num_classes: int = 10) -> VGG16:
    """VGG-16-D with batch normalisation for 32×32 images."""
    return VGG16(pooled_size=1, num_classes=num_classes)
