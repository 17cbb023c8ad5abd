r"""The paper's FLOP equations (A.3), one function per equation, in multiply-accumulates.

Symbols, as in the paper: an input tensor of N samples with C channels of X × Y, a weight tensor of F
filters with C channels of R × S, an output tensor of N samples with F channels of H × W. If a convolution
has groups, C is the number of channels that one filter reads.

The paper's s1 (weights) and s2 (activations) multiply the work, so they are densities: 1 − sparsity. With the
default of 1 every count is an exact integer. 1 MAC = 2 FLOPs (one multiplication and one addition, A.3.1).

A linear layer from X to Y features (A.3.2) is the case F = Y, C = X, with all other dimensions but N equal to 1: each
of its passes costs s × N × X × Y.

Not counted: bias, batch normalisation, activation functions, pooling, the optimizer, and Top-K (see topk.py).

Source: Raihan and Aamodt, "Sparse Weight Activation Training", NeurIPS 2020, supplementary material A.3.
"""


def conv_forward(*, N: int, F: int, C: int, R: int, S: int, H: int, W: int, s1: float = 1) -> float:
    """MACs of a convolution's forward pass.

    Forward Pass FLOP = s1 × F × (C × R × S) × N × H × W        (Eq. 4)

    s1 is the fraction of weights that are not zero [-].

    >>> conv_forward(N=1, F=64, C=3, R=7, S=7, H=112, W=112)  # 64 · (3·7·7) · 1 · 112·112
    118013952
    >>> conv_forward(N=1, F=1000, C=2048, R=1, S=1, H=1, W=1)  # a linear layer: 2048 · 1000
    2048000
    """
    return s1 * (F * (C * R * S) * N * H * W)


def conv_input_gradient(*, N: int, F: int, C: int, R: int, S: int, X: int, Y: int, s1: float = 1) -> float:
    """MACs of the gradient with respect to a convolution's input.

    Input Gradient FLOP = s1 × C × (F × R × S) × N × X × Y      (Eq. 5)

    s1 is the fraction of weights that are not zero [-]. The equation multiplies every filter element by every input
    position; in a strided layer, hardware that skips the inserted zeros executes H × W / (X × Y) of that.

    >>> conv_input_gradient(N=1, F=64, C=3, R=7, S=7, X=224, Y=224)  # 3 · (64·7·7) · 1 · 224·224
    472055808
    """
    return s1 * (C * (F * R * S) * N * X * Y)


def conv_weight_gradient(*, N: int, F: int, C: int, R: int, S: int, X: int, Y: int, s2: float = 1) -> float:
    """MACs of the gradient with respect to a convolution's weight.

    Weight Gradient FLOP = s2 × (N × X × Y) × F × C × R × S     (Eq. 6)

    s2 is the fraction of input activations that are kept [-].

    >>> conv_weight_gradient(N=1, F=64, C=3, R=7, S=7, X=224, Y=224)  # (1·224·224) · 64 · 3 · 7·7
    472055808
    """
    return s2 * ((N * X * Y) * F * C * R * S)
