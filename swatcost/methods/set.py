"""Sparse evolutionary training: prunes the smallest weights and regrows random ones."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="set",
    title="Sparse evolutionary training",
    citation="Mocanu et al., Nature Communications 2018",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    weight_gradient="active",
    keeps_dense=("*downsample*", "*shortcut*"),
    sparse_elsewhere="RigL's paper (Evci et al., ICML 2020) counts it with those layers sparse.",
)
