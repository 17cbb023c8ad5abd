"""The least sparse setting that reaches a goal, other settings that do, or why it is out of reach."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.common.units import checked_count
from swatcost.estimate import Estimate, estimate_setting
from swatcost.loading import counted_network
from swatcost.memory.execution import EXECUTING, Executing
from swatcost.methods import checked_sparsity
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.network.passes import PASSES, Pass
from swatcost.planning.capacity import capacity_of
from swatcost.planning.goals import Answer, Goals
from swatcost.planning.training import OF_EXECUTION, timed_as, trained
from swatcost.setting import Scope, Setting, Settings

if TYPE_CHECKING:
    import pandas

SHARES = (0.001, 0.01, 0.1)
"""Top-K overheads, relative to the sparse steps of a period [-], for which a solution gives the period."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Solution(Result, Answer):
    """The settings that reach the goals. Its repr is the report.

    `least` is the least sparse one, in steps of `STEP`. If there is none, it is None, `limit` is the best that this
    method can do and `unreached` names the goals beyond it. It is also None if the overhead is the only goal and no
    sparsity is given; the periods are then in `freedom`. `exact` is the sparsity that the goals need under the
    convention `exact`, if memory is not a goal. `freedom` are other settings that reach the goals: weights against
    activations. `fixed` were given, `free` were solved for, `setting` has the rest.
    """

    report = "solution"

    network: Network
    setting: Setting
    goals: Goals
    fixed: dict[str, float]
    free: tuple[str, ...]

    @property
    def reached(self) -> bool:
        """Whether the goals can be reached."""
        return not self.unreached

    @property
    def refusal(self) -> str:
        """Which goal is out of reach, the limit, and the pass that sets it."""
        return str(self._reported("refusal"))

    @cached_property
    def estimate(self) -> Estimate:
        """The estimate at the least sparse setting; if there is none, at the limit or the last of `freedom`."""
        at = self.least or self.limit or self.freedom[-1]
        asked: dict[str, Any] = {**at.targets, "period": at.period}
        return estimate_setting(self.network, self.setting.but(**asked))

    @property
    def remaining(self) -> dict[Pass, float]:
        """Each pass's share of the remaining FLOPs [-]."""
        costs = self.estimate.costs
        return {each: costs.by_pass()[each].sparse / costs.training.sparse for each in PASSES}

    def periods(self) -> dict[float, int]:
        """The shortest period [iterations] at the least sparse setting for each overhead of SHARES."""
        if self.least is None or not self.setting.method.selects:
            return {}
        from swatcost.planning.vectorised import Vectorised, single

        at = {name: single(value) for name, value in self.least.targets.items()}
        times = Vectorised(network=self.network, setting=self.setting).times(at)
        return {share: int(times.period_of_overhead(share)[0]) for share in SHARES}

    def to_frame(self) -> pandas.DataFrame:
        """A pandas DataFrame: the least sparse setting, then the others that reach the goals."""
        import pandas

        rows = ([("least", self.least)] if self.least else []) + [("freedom", each) for each in self.freedom]
        return pandas.DataFrame([{"what": what, **vars(each)} for what, each in rows])


SOLVING = Scope(own=OF_EXECUTION, default_is={"period": "1000, or solved for"})
"""The settings of a search: a period that is not given may be solved for."""


_GOALS = ("speedup", "training_flops", "memory", "topk_overhead")
_ALL = (*_GOALS, "ideal", *EXECUTING)


class Asked(Settings, Executing, total=False):
    """The keywords of `solution` and `solve`: goals, and the settings of `estimate`."""

    speedup: float | None
    ideal: bool
    training_flops: float | None
    memory: str | int | None
    topk_overhead: float | None


def solution(network: Network | str | Path, **asked: Unpack[Asked]) -> Solution:
    """Finds the least sparse setting that reaches every goal.

    speedup is that of a training step, Top-K included [-]: the attainable one if the device's profile has sparse
    kernels, otherwise, or with ideal, the ideal one; training_flops the share of dense training
    FLOPs [-]; memory the peak of a step [bytes, a string such as "11GB", or a device], each tensor in its smallest
    storage format, with optimizer and precision as in `planning.memory_of`; topk_overhead the time that a Top-K adds to
    the sparse steps of its period [-]: with it the period is solved for. Of weights, acts and grads, those that are
    given are fixed and the others vary together; if none is left to vary, the period is solved for. It is 1000
    otherwise. settings are those of `estimate`: method, distribution, convention, device, batch_size and so on.

    Raises SwatcostError for invalid arguments; a goal out of reach is not an error.

    >>> round(solution("resnet50", training_flops=0.239).least.weights, 2)  # Table 3: 76.1 % fewer at 80 %
    0.8
    """
    from swatcost.planning.search import Search
    from swatcost.planning.vectorised import Vectorised

    wanted: dict[str, Any] = {name: asked.get(name) for name in _GOALS}
    given = SOLVING.given({name: value for name, value in asked.items() if name not in _ALL})
    traced, execution, _ = trained(counted_network(network), asked)
    setting, period = SOLVING.setting(given), given.get("period")
    setting = timed_as(execution, traced, setting)
    fixed = {name: checked_sparsity(given[name], name) for name in OPERANDS if name in given}
    vectorised = Vectorised(network=traced, setting=setting)
    memory = wanted.pop("memory")
    attainable = wanted["speedup"] is not None and bool(setting.profile.kernels) and not asked.get("ideal", False)
    goals = Goals(
        **wanted, memory_bytes=None if memory is None else capacity_of(str(memory)), attainable=attainable
    )  # fmt: skip
    topk_overhead = goals.topk_overhead
    if period is not None and topk_overhead is not None:
        raise SwatcostError("period: a Top-K overhead determines it, leave one of the two out")
    used = [name for name, operand in OPERANDS.items() if setting.method.uses(operand)]
    if not used:
        raise SwatcostError(f"method {setting.method.name!r} makes nothing sparse: there is nothing to solve for")
    if topk_overhead is not None and not setting.method.selects:
        raise SwatcostError(f"Top-K overhead: method {setting.method.name!r} selects nothing by Top-K, leave it out")
    free = tuple(name for name in used if name not in fixed)
    search = Search(
        vectorised=vectorised,
        goals=goals,
        fixed=fixed,
        free=free,
        period=None if period is None else checked_count(period, "period"),
        execution=execution,
    )
    return Solution(network=traced, setting=setting, goals=goals, fixed=fixed, free=free, **vars(search.answer()))


def solve(network: Network | str | Path, **asked: Unpack[Asked]) -> pandas.DataFrame:
    """`planning.solution` as a pandas DataFrame: the least sparse setting, then others that reach the goals.

    A goal out of reach raises SwatcostError, which states the limit.
    """
    found = solution(network, **asked)
    if not found.reached:
        raise SwatcostError(found.refusal)
    return found.to_frame()
