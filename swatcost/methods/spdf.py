"""SPDF: static sparse pre-training of a language model, whose fine-tuning is dense."""

from swatcost.common.bound import bound
from swatcost.methods.method import OUTPUT_LAYER, Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.phase import Phase


def schedule(steps: int, *, dense_share: float) -> tuple[Phase, ...]:
    """Sparse from the start, dense for the last share of pre-training."""
    return (Phase(1 - dense_share), Phase(dense_share, scale=0.0)) if dense_share else (Phase(1.0),)


def spdf(*, dense_share: float) -> Method:
    """SPDF whose pre-training is dense for its last `dense_share`."""
    return Method(
        name="spdf",
        title="Sparse pre-training and dense fine-tuning",
        citation="Thangarasa et al., 2023",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        keeps_dense=(OUTPUT_LAYER,),
        kept_by="SPDF's authors",
        schedule=bound(schedule, dense_share=dense_share),
        ends_dense=True,
        departures="The run is pre-training; dense fine-tuning on a task is a run of its own, and leaves the model "
        "dense. The output layer is that of a language model; in a network without an embedding the first layer is "
        "dense instead.",
    )


METHOD = with_parameters(
    spdf,
    Parameter(name="dense_share", default=0.0, least=0, most=1, meaning="share of pre-training that is dense, at its "
              "end; variable sparse pre-training of GPT-3 6.7B at 90 %: 9,379 of 71,902 steps, 0.1304", source="SPDF's "
              "own pre-training is sparse throughout"),
)  # fmt: skip
