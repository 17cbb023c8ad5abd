"""The time of a network's step for a setting: dense, and attainable on the device's kernels."""

from swatcost.counting import PassCosts
from swatcost.memory.optimizers import OPTIMIZERS
from swatcost.memory.precisions import FULL, PRECISIONS, Precision
from swatcost.memory.trained_parameters import Trained
from swatcost.network import Network
from swatcost.setting import Setting
from swatcost.sparsity import SparsityPlan
from swatcost.timing.attainable import AttainableStep, attainable_step
from swatcost.timing.dense_step import Numbers, StepTime, Update, dense_step


def dense_step_of(network: Network, setting: Setting, exact: PassCosts, update_share: float = 1.0) -> StepTime:
    """A dense step of the batch on the setting's machine; `exact` is what autograd executes, per sample.

    `update_share` [-] of the optimizer's update is part of it.
    """
    precision = precision_of(network, setting)
    return dense_step(
        network, setting.profile, setting.batch_size, exact.training.dense, numbers_of(precision, network),
        _update(network, setting, precision, update_share), setting.mfu,
    )  # fmt: skip


def attainable_of(network: Network, plan: SparsityPlan, setting: Setting, dense: StepTime) -> AttainableStep:
    """The attainable sparse step of the batch on the setting's machine, averaged over the run."""
    phases = plan.phases(setting.steps)
    return attainable_step(network, plan, setting.profile, dense, setting.batch_size, phases)


def timed_network(network: Network, setting: Setting) -> Network:
    """The network's step in the setting's precision. Raises SwatcostError if its trace has none under autocast."""
    return network.under(precision_of(network, setting).autocast or network.conditions.autocast)


def precision_of(network: Network, setting: Setting) -> Precision:
    """In what a step is timed: as given, or as the network was traced."""
    return PRECISIONS[setting.precision or traced_precision(network)]


def traced_precision(network: Network) -> str:
    """The precision in which the network was traced, by name; weights of 2 bytes per number are taken to be bf16."""
    return network.conditions.autocast or ("bf16" if _in_two_bytes(network) else "fp32")


def _in_two_bytes(network: Network) -> bool:
    return {each.element_bytes for each in network.weight_layers} == {2}


def numbers_of(precision: Precision, network: Network) -> Numbers:
    """What a step in this precision computes with; the trace has the bytes that autocast or 2-byte weights move."""
    return Numbers(
        convolutions=precision.convolutions,
        products=precision.products,
        product_bytes=2 if {"bf16", "fp16"} & set(precision.products) else FULL,
        movement_scale=1.0 if _in_two_bytes(network) else precision.activation / FULL,
    )


def _update(network: Network, setting: Setting, precision: Precision, share: float) -> Update:
    """The optimizer's update: parameters and gradients are read, its state and the parameters read and written."""
    size = precision.master or precision.parameter
    trained = [Trained(each.shape, size) for each in network.parameters if each.trains]
    sizes = tuple(share * each.bytes for each in trained)
    parameters, state = sum(sizes), share * OPTIMIZERS[setting.optimizer].state(trained)
    return Update(
        optimizer=setting.optimizer, parameter_bytes=parameters, moved_bytes=3.0 * parameters + 2.0 * state,
        parameters=sizes,
    )  # fmt: skip
