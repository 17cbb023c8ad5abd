"""What works without the packages of extras, and the one line that says what to install."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

WITHOUT = """
import sys
sys.modules |= dict.fromkeys(sys.argv[1].split(","))  # importing a module that is None is an ImportError
from swatcost.cli import main
sys.exit(main(sys.argv[2:]))
"""


def run_without(packages: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process that cannot import these packages."""
    return subprocess.run([sys.executable, "-c", WITHOUT, packages, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("simulate cifar_resnet18 --weights 0.8", "simulating needs numba: pip install 'swatcost[simulate]'"),
        (
            "cifar_resnet18 --weights 0.8 --device bit-tactical",
            "simulating needs numba: pip install 'swatcost[simulate]'",
        ),
        ("hf:gpt2", "Hugging Face configs need transformers: pip install 'swatcost[hf]'"),
        ("study cifar_resnet18 --weights 0.8 --record", "a study needs joblib: pip install 'swatcost[simulate]'"),
    ],
)
def test_one_line_says_what_to_install(arguments, line, tmp_path):
    record = [str(tmp_path / "study.jsonl")] if "--record" in arguments else []
    done = run_without("numba,joblib,transformers", *arguments.split(), *record)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"swatcost: {line}\n")
    assert not list(tmp_path.iterdir())


def test_cells_that_need_the_simulator_say_so():
    done = run_without("numba", "tables", "11", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # Tables 6 and 11 print 2 passes × 2 sparsities; each stands beside 5 shapes and the ideal, and dense beside T⟨2,5⟩
    assert len(found["cells"]) == 2 * 2 * (5 + 1) + 2
    simulated = [cell for cell in found["cells"] if "_cycles" in cell["quantity"]]
    assert found["counts"]["not computed"] == 2 * 2 * 5
    assert sum(cell["reason"] == "simulating needs numba: pip install 'swatcost[simulate]'" for cell in simulated) == 20
    assert all(cell["computed"] is None for cell in simulated if cell["verdict"] == "not computed")
    table = run_without("numba", "tables", "11").stdout
    counts = "0 of 4 costs reproduced (0 equal to the printed digits, 0 within tolerance); 4 not reproducible"
    last = " ".join(table.rpartition("\n\n")[2].split())
    assert last == f"26 cells: {counts}; 2 by construction, 20 not computed."


def test_an_estimate_imports_no_heavy_package():
    heavy = "numpy,pandas,torch,numba,joblib,matplotlib,jinja2,plotly,dash,yaml,safetensors,tomli_w,tabulate"
    done = run_without(heavy, "resnet50", "--weights", "0.8", "--acts", "0.8", "--layers")
    assert done.returncode == 0, done.stderr


IN_THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor

sys.modules["numba"] = None
import swatcost
from swatcost.accelerator import simulate

def said(_):
    try:
        return simulate("cifar_resnet18", weights=0.5)
    except swatcost.SwatcostError as error:
        return str(error)

said(0)  # alone: msgspec does not like to see a class for the first time in two threads
sys.setswitchinterval(1e-6)
with ThreadPoolExecutor(8) as pool:
    print(set(pool.map(said, range(16))))
"""


def test_threads_that_all_lack_a_package_all_say_so():
    done = subprocess.run([sys.executable, "-c", IN_THREADS], capture_output=True, text=True)
    assert done.stdout == """{"simulating needs numba: pip install 'swatcost[simulate]'"}\n""", done.stderr
