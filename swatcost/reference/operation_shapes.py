"""The shapes that `swatcost calibrate` measures: layers of common networks, in the sizes of small machines' batches."""

from swatcost.reference.measured_operations import Convolution, Linear, Product, Shape

_POINTWISE = (
    # ResNet-50's bottlenecks, 4 images
    Convolution(4, 64, 64, 56, 1), Convolution(4, 64, 256, 56, 1), Convolution(4, 256, 64, 56, 1),
    Convolution(4, 512, 128, 28, 1), Convolution(4, 128, 512, 28, 1), Convolution(4, 1024, 256, 14, 1),
    Convolution(4, 256, 1024, 14, 1), Convolution(4, 2048, 512, 7, 1), Convolution(4, 512, 2048, 7, 1),
    # its shortcuts
    Convolution(4, 256, 512, 28, 1, 2), Convolution(4, 512, 1024, 14, 1, 2), Convolution(4, 1024, 2048, 7, 1, 2),
    # MobileNetV2's expansions, DenseNet's bottlenecks
    Convolution(4, 16, 96, 56, 1), Convolution(4, 96, 24, 56, 1), Convolution(4, 192, 32, 28, 1),
    Convolution(4, 160, 960, 7, 1), Convolution(4, 512, 128, 14, 1), Convolution(4, 896, 128, 7, 1),
    # 32 images
    Convolution(32, 64, 256, 56, 1), Convolution(32, 512, 128, 28, 1), Convolution(32, 256, 1024, 14, 1),
    Convolution(32, 2048, 512, 7, 1), Convolution(32, 256, 256, 8, 1), Convolution(32, 128, 256, 14, 1, 2),
)  # fmt: skip

_THREE_BY_THREE = (
    # ResNets, 4 images
    Convolution(4, 64, 64, 56, 3), Convolution(4, 128, 128, 28, 3), Convolution(4, 256, 256, 14, 3),
    Convolution(4, 512, 512, 7, 3), Convolution(4, 64, 128, 28, 3, 2), Convolution(4, 128, 128, 28, 3, 2),
    Convolution(4, 256, 256, 14, 3, 2), Convolution(4, 512, 512, 7, 3, 2),
    # narrow ones: MobileNetV2's stem, DenseNet's growth, CIFAR's first stages
    Convolution(4, 3, 32, 112, 3, 2), Convolution(4, 16, 16, 56, 3), Convolution(4, 32, 32, 56, 3),
    Convolution(4, 128, 32, 28, 3), Convolution(4, 128, 32, 14, 3), Convolution(4, 128, 32, 7, 3),
    Convolution(4, 3, 64, 32, 3), Convolution(4, 64, 64, 32, 3), Convolution(4, 512, 512, 4, 3),
    # 32 images
    Convolution(32, 16, 16, 32, 3), Convolution(32, 64, 64, 32, 3), Convolution(32, 128, 128, 16, 3),
    Convolution(32, 256, 256, 8, 3), Convolution(32, 512, 512, 4, 3), Convolution(32, 64, 128, 16, 3, 2),
    Convolution(32, 64, 64, 56, 3), Convolution(32, 256, 256, 14, 3), Convolution(32, 512, 512, 7, 3),
)  # fmt: skip

_LARGE = (
    # results of more than 32 MiB, in some or all passes
    Convolution(32, 64, 64, 112, 3), Convolution(32, 3, 32, 112, 3, 2), Convolution(32, 32, 32, 112, 3),
    Convolution(32, 64, 128, 56, 1), Convolution(32, 32, 64, 112, 1), Convolution(32, 256, 64, 56, 1),
    Convolution(32, 256, 128, 56, 1), Convolution(16, 3, 64, 112, 7, 2), Convolution(32, 64, 128, 56, 3, 2),
    Convolution(32, 32, 32, 112, 3, 1, 32), Convolution(32, 64, 64, 56, 3, 2, 64),
    Convolution(32, 128, 128, 56, 3, 1, 128), Convolution(16, 128, 128, 56, 7, 1, 128),
    Linear(4096, 256, 8192), Linear(4096, 768, 3072), Linear(6304, 1536, 384), Linear(1024, 4096, 9216),
    Product(192, 256, 64, 256), Product(192, 256, 256, 64),
)  # fmt: skip

_FEW_IMAGES = (
    Convolution(1, 64, 64, 56, 3), Convolution(1, 128, 128, 28, 3), Convolution(1, 256, 256, 14, 3),
    Convolution(1, 512, 512, 7, 3), Convolution(2, 512, 512, 4, 3), Convolution(2, 128, 32, 8, 3),
    Convolution(2, 128, 32, 4, 3), Convolution(2, 256, 512, 4, 3, 2), Convolution(1, 256, 1024, 14, 1),
    Convolution(1, 1024, 256, 14, 1), Convolution(1, 512, 2048, 7, 1), Convolution(1, 64, 256, 56, 1),
    Convolution(1, 512, 1024, 14, 1, 2), Convolution(2, 256, 128, 8, 1), Convolution(2, 512, 128, 4, 1),
    Convolution(1, 384, 384, 14, 7, 1, 384), Convolution(2, 192, 192, 28, 7, 1, 192),
    Convolution(4, 768, 768, 7, 7, 1, 768), Linear(16, 784, 2048), Linear(16, 2048, 2048), Linear(49, 1024, 4096),
)  # fmt: skip

_SEVEN_BY_SEVEN = (
    Convolution(4, 3, 64, 112, 7, 2), Convolution(32, 3, 64, 56, 7, 2), Convolution(4, 16, 32, 28, 7),
    Convolution(4, 64, 64, 14, 7),
)  # fmt: skip

_GROUPED = (
    # ResNeXt-50's, 32 groups; few groups; ShuffleNet's 1 × 1
    Convolution(4, 128, 128, 56, 3, 1, 32), Convolution(4, 256, 256, 28, 3, 1, 32),
    Convolution(4, 512, 512, 14, 3, 1, 32),
    Convolution(4, 1024, 1024, 7, 3, 1, 32), Convolution(4, 512, 512, 14, 3, 2, 32),
    Convolution(32, 256, 256, 14, 3, 1, 32),
    Convolution(4, 128, 128, 28, 3, 1, 4), Convolution(4, 240, 240, 28, 1, 1, 3),
)  # fmt: skip

_DEPTHWISE = (
    # MobileNetV2's, and ConvNeXt's 7 × 7
    Convolution(4, 32, 32, 112, 3, 1, 32), Convolution(4, 144, 144, 56, 3, 1, 144),
    Convolution(4, 192, 192, 28, 3, 1, 192),
    Convolution(4, 384, 384, 14, 3, 1, 384), Convolution(4, 960, 960, 7, 3, 1, 960),
    Convolution(4, 144, 144, 28, 3, 2, 144),
    Convolution(4, 576, 576, 7, 3, 2, 576), Convolution(32, 192, 192, 28, 3, 1, 192),
    Convolution(4, 96, 96, 56, 7, 1, 96),
    Convolution(4, 384, 384, 14, 7, 1, 384),
)  # fmt: skip

_LINEAR = (
    # classifiers
    Linear(8, 512, 10), Linear(32, 512, 10), Linear(8, 2048, 1000), Linear(32, 2048, 1000), Linear(128, 512, 1000),
    Linear(8, 4096, 4096), Linear(32, 4096, 4096), Linear(128, 4096, 4096),
    # features of transformers and perceptrons, by rows
    Linear(8, 64, 64), Linear(128, 64, 64), Linear(2048, 64, 64), Linear(16384, 64, 64), Linear(32, 256, 256),
    Linear(512, 256, 256), Linear(4096, 256, 1024), Linear(4096, 1024, 256), Linear(16384, 128, 512),
    Linear(128, 512, 512), Linear(1024, 512, 512), Linear(4096, 512, 512), Linear(64, 768, 768), Linear(788, 768, 768),
    Linear(788, 768, 3072), Linear(788, 3072, 768), Linear(2048, 768, 2304), Linear(256, 1024, 1024),
    Linear(1024, 1024, 1024), Linear(1024, 1024, 4096), Linear(512, 4096, 1024), Linear(8192, 768, 768),
)  # fmt: skip

_PRODUCTS = (
    # scores and mixtures of ViT-B's 12 heads at 197 tokens, of language models' at 128 to 1024, and small ones
    Product(48, 197, 64, 197), Product(48, 197, 197, 64), Product(12, 197, 64, 197), Product(12, 197, 197, 64),
    Product(48, 128, 64, 128), Product(48, 128, 128, 64), Product(12, 512, 64, 512), Product(12, 512, 512, 64),
    Product(12, 1024, 64, 1024), Product(12, 1024, 1024, 64), Product(96, 64, 32, 64), Product(96, 64, 64, 32),
)  # fmt: skip

SHAPES: tuple[Shape, ...] = (
    *_POINTWISE, *_THREE_BY_THREE, *_SEVEN_BY_SEVEN, *_GROUPED, *_DEPTHWISE, *_LINEAR, *_PRODUCTS, *_LARGE,
    *_FEW_IMAGES,
)  # fmt: skip
