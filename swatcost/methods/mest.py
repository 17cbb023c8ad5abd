"""MEST with elastic mutation: prunes and regrows ever fewer weights at each update, without a dense gradient."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="mest",
    title="Memory-economic sparse training, elastic mutation (EM)",
    citation="Yuan et al., NeurIPS 2021",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    weight_gradient="active",
    departures="Its bounds of 92, 91 and 90 % for a target of 90 % are the sparsities that an update prunes to before "
    "it regrows to 90 % (read in the public code): every step trains at the target. The layers that its "
    "ImageNet runs keep dense were not found in it.",
)
