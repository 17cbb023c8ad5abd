"""Calls with a misspelt keyword, which type checkers have to refuse: strict mypy reports an ignored error that is none.

Nothing here is run.
"""

from __future__ import annotations

import swatcost
from swatcost.exporting import export
from swatcost.planning import compare, compare_networks, compare_runs, memory_of, plan_run, solution
from swatcost.reference import validate
from swatcost.setting import Setting
from swatcost.simulation.simulation import simulate
from swatcost.simulation.study import study


def misspelt() -> None:
    swatcost.estimate("resnet50", weigths=0.8)  # type: ignore[call-arg]
    swatcost.audit("resnet50", "76.1%", weigths=0.8)  # type: ignore[call-arg]
    swatcost.explain("resnet50", weigths=0.8)  # type: ignore[call-arg]
    swatcost.summary("resnet50", weigths=0.8)  # type: ignore[call-arg]
    swatcost.sweep("resnet50", weigths=[0.8, 0.9])  # type: ignore[call-arg]
    swatcost.solve("resnet50", weigths=0.8)  # type: ignore[call-arg]
    solution("resnet50", speed_up=2.0)  # type: ignore[call-arg]
    compare("resnet50", weigths=0.8)  # type: ignore[call-arg]
    compare_networks(["resnet50"], weigths=0.8)  # type: ignore[call-arg]
    memory_of("resnet50", batchsize=32)  # type: ignore[call-arg]
    plan_run("resnet50", weigths=0.8)  # type: ignore[call-arg]
    compare_runs("resnet50", methods=["set"], weigths=0.8)  # type: ignore[call-arg]
    simulate("resnet50", weigths=0.8)  # type: ignore[call-arg]
    study(["resnet50"], weigths=[0.8])  # type: ignore[call-arg]
    export("resnet50", "csv", weigths=0.8)  # type: ignore[call-arg]
    validate("resnet50", weigths=0.8)  # type: ignore[call-arg]
    Setting.of(weigths=0.8)  # type: ignore[call-arg]
