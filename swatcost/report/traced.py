"""What a trace cannot say for every run of its network, in sentences."""

from swatcost.common.printing import listed
from swatcost.network import Network
from swatcost.network.batches import per_sample
from swatcost.report.numbers import scaled
from swatcost.report.sheet import Caveat


def assumed(network: Network) -> list[str]:
    """What was assumed where the source of a network leaves something open."""
    return [Caveat(each) for each in network.assumed]


def variation(network: Network) -> list[str]:
    """Whether runs of a network that draws random numbers or reads values have the same counts."""
    found = network.variation
    if found is None:
        return []
    does = " and ".join(["draws random numbers"] * found.draws + ["reads values of tensors"] * found.reads)
    if not found.differs:
        runs = f"{found.runs} runs with others gave the same MACs" if found.runs > 1 else "it did not run with others"
        return [f"The forward pass {does}, which may decide what it computes; {runs}."]
    ranges = [
        f"{_per_sample(network, macs)} {name}"
        for name, macs in (("forward", found.forward_macs), ("in training", found.training_macs))
    ]
    shown = "seed 0" + (" and the traced input" if found.reads else "")
    return [
        Caveat(
            f"The work differs from run to run: the forward pass {does}, and {found.runs} runs gave "
            f"{' and '.join(ranges)} per sample, as executed. All figures are of the run with {shown}."
        )
    ]


def _per_sample(network: Network, macs: tuple[int, int]) -> str:
    fewest, most = (per_sample(each, network.batch_size) for each in macs)
    return f"{scaled(fewest, 'MAC')} to {scaled(most, 'MAC')}"


def unlisted_saves(network: Network) -> list[str]:
    """That tensors which autograd saves are missing, if function transforms ran."""
    if not network.unlisted_saves:
        return []
    return [
        Caveat(
            "Saved tensors are TOO LOW: torch.func.grad or another function transform ran in "
            f"{listed(list(network.unlisted_saves), 3)}, and what autograd saves meanwhile is not listed. The peak of "
            "the dense step includes it."
        )
    ]
