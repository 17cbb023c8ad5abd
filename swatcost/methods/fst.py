"""FST, fully sparse training: 2:4 in all three products of feed-forward layers, and a dense end of the run."""

from swatcost.common.bound import bound
from swatcost.methods.added_work import OffStep
from swatcost.methods.feed_forward import FEED_FORWARD, in_blocks_of_4
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.phase import Phase
from swatcost.network.layer import Layer

_PATTERNS = 90  # 4 × 4 masks with two ones in each row and column


def schedule(steps: int, *, dense_end: float) -> tuple[Phase, ...]:
    """Sparse, then dense for the share `dense_end` of the run."""
    return (Phase(1 - dense_end), Phase(dense_end, scale=0.0))


def search_flops(layer: Layer) -> float:
    """FLOPs of scoring every mask of each block of 4 × 4 weights: 90 · 16 MACs per block."""
    return 2 * _PATTERNS * layer.weight_elements


def fst(*, dense_end: float, every: int) -> Method:
    """FST that searches masks every `every` steps, with a dense end."""
    return Method(
        name="fst",
        title="Fully sparse training, 2:4",
        citation="Hu et al., ICML 2024",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",), grad_weight=("output",)),
        targets={"weights": 0.5, "grads": 0.5},
        group=4,
        sparse_only=in_blocks_of_4,
        sparse_layers=FEED_FORWARD,
        schedule=bound(schedule, dense_end=dense_end),
        ends_dense=dense_end > 0,
        off_step=(
            OffStep(
                name="search for transposable masks",
                period=every,
                flops=search_flops,
                source="all 90 masks of each 4 × 4 block, as in its public toolkit",
            ),
        ),
        stores={"copies": 1, "transposes": 1, "mask_bits": 8},
        departures="Pruning the output's gradient to 2:4 without bias, the decay of pruned weights and its fused "
        "activation functions are not counted. Storage is that of SLoPe's account of it. Feed-forward layers are "
        "found by the names of their modules.",
    )


METHOD = with_parameters(
    fst,
    Parameter(name="dense_end", default=1 / 6, least=0, most=1, meaning="share of the run at its end that is dense",
              source="step 250,000 in its public toolkit's example, of 300,000 as we take it"),
    Parameter(name="every", default=40, least=1, meaning="steps from one search for masks to the next",
              source="Hu et al., ICML 2024, not checked"),
)  # fmt: skip
