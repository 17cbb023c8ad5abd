"""Work that a method does between steps, such as a search for masks: counted on its own, in no total."""

from dataclasses import dataclass

from swatcost.network import Network
from swatcost.sparsity import SparsityPlan


@dataclass(frozen=True, kw_only=True)
class OffStepWork:
    """Work every `period` steps: `flops` each time, for the layers of a network that the method changes."""

    name: str
    period: int
    flops: float
    source: str

    @property
    def flops_per_step(self) -> float:
        """FLOPs per step, on average."""
        return self.flops / self.period


def off_step_work(network: Network, plan: SparsityPlan) -> tuple[OffStepWork, ...]:
    """All such work of the plan's method; that of a weight which several layers share counts once."""
    changed = [layer for layer, sparsity in plan.by_weight(network) if plan.changes(sparsity)]
    return tuple(
        OffStepWork(name=each.name, period=each.period, flops=sum(map(each.flops, changed)), source=each.source)
        for each in plan.method.off_step
    )
