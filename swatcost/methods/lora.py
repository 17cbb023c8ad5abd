"""LoRA: the network's weights are frozen, and thin branches of low rank beside its layers train."""

from swatcost.common.bound import bound
from swatcost.methods.added_work import low_rank
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.named_modules import MODULES, is_named, layers_named
from swatcost.methods.parameter import Parameter


def lora(*, rank: int, modules: str) -> Method:
    """LoRA of this rank beside the layers that the patterns name."""
    return Method(
        name="lora",
        title="Low-rank adaptation",
        citation="Hu et al., ICLR 2022",
        sparse=sparse_in(),
        weight_gradient="none",
        unstructured=False,
        added=bound(low_rank, rank=rank),
        adds_to=bound(is_named, modules=modules, kinds=("linear", "conv")),
        added_layers=layers_named(modules),
        merges=True,
        departures="It fine-tunes a trained network. The paper adapts the query and value projections of attention: "
        "name them. Conv and linear weights are frozen; embeddings, normalisations and biases, which it freezes too, "
        "count as trained in memory. Every layer whose input needs a gradient in the trace gets one, those before the "
        "first branch too. Inputs kept for the frozen weights' gradients, which are not needed, stay in memory.",
    )


METHOD = with_parameters(
    lora,
    Parameter(name="rank", default=8, least=0, meaning="rank of the branches", source="our choice"),
    MODULES,
)  # fmt: skip
