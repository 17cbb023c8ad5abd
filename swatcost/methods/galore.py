"""GaLore: dense training whose optimizer sees each gradient projected to a low rank, by singular vectors."""

from swatcost.common.bound import bound
from swatcost.methods.added_work import OffStep
from swatcost.methods.method import Method, Shape, sparse_in, with_parameters
from swatcost.methods.named_modules import MODULES, is_named
from swatcost.methods.parameter import Parameter
from swatcost.network.layer import Layer

_CODE = "its public code"


def projected(layer: Layer, *, rank: int, modules: str) -> tuple[Shape, Shape] | None:
    """The gradient as r × max(m, n), and the projection of r × min(m, n), of a linear layer with both sides above r."""
    if not is_named(layer, modules=modules, kinds=("linear",)) or min(layer.weight_shape) <= rank:
        return None
    return (rank, max(layer.weight_shape)), (rank, min(layer.weight_shape))


def decomposition_flops(layer: Layer, *, rank: int, modules: str) -> float:
    """FLOPs of the singular value decomposition of an m × n gradient, m ≥ n, with n vectors on each side.

    14 · m · n² + 8 · n³

    Source: Golub and Van Loan, "Matrix Computations", Section 8.6, by the Golub–Reinsch algorithm.
    """
    if projected(layer, rank=rank, modules=modules) is None:
        return 0.0
    m, n = max(layer.weight_shape), min(layer.weight_shape)
    return 14 * m * n**2 + 8 * n**3


def projection_flops(layer: Layer, *, rank: int, modules: str) -> float:
    """FLOPs of projecting a gradient and of turning the update back: 2 · 2 · r · m · n."""
    return 0.0 if projected(layer, rank=rank, modules=modules) is None else 4 * rank * layer.weight_elements


def galore(*, rank: int, every: int, modules: str) -> Method:
    """GaLore to this rank, with new projections every `every` steps."""
    chosen = {"rank": rank, "modules": modules}
    return Method(
        name="galore",
        title="Gradient low-rank projection",
        citation="Zhao et al., ICML 2024",
        sparse=sparse_in(),
        unstructured=False,
        projected=bound(projected, **chosen),
        adds_to=bound(is_projected, **chosen),
        added_layers=f"linear layers with both sides above rank {rank}",
        off_step=(
            OffStep(
                name="singular value decompositions",
                period=every,
                flops=bound(decomposition_flops, **chosen),
                source="Golub and Van Loan, Section 8.6: 14 m n² + 8 n³",
            ),
            OffStep(
                name="projections of gradients and back",
                period=1,
                flops=bound(projection_flops, **chosen),
                source="two products of r × m × n",
            ),
        ),
        departures="The passes are dense; projections, once per step whatever the batch, are reported beside the "
        "totals. The count of the decomposition is quoted from memory of the book. Its authors project attention and "
        "feed-forward layers: name them, as by default the logits are projected too. The optimizer's temporaries are "
        "scaled as its state is, projections included.",
    )


def is_projected(layer: Layer, *, rank: int, modules: str) -> bool:
    """Whether the gradient of its weight is projected."""
    return projected(layer, rank=rank, modules=modules) is not None


METHOD = with_parameters(
    galore,
    Parameter(name="rank", default=128, least=1, meaning="rank of the projection", source=_CODE),
    Parameter(name="every", default=200, least=1, meaning="steps from one decomposition to the next", source=_CODE),
    MODULES,
)  # fmt: skip
