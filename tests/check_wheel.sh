#!/bin/sh
# Builds the wheel, installs it into an environment of its own, and uses it from another folder and from the checkout.
set -eu
python=$1
checkout=$(pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

"$python" -m build --wheel --outdir "$place/dist" . >"$place/build.log" 2>&1 || { cat "$place/build.log"; exit 1; }
"$python" -m venv "$place/venv"
install() {
    "$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt "$(echo "$place"/dist/swatcost-*.whl)$1"
}

# Hard dependencies only: everything but simulating, drawing and pages.
install ''
"$place/venv/bin/python" - <<'PYTHON'
from importlib.util import find_spec

for package in ("joblib", "llvmlite", "matplotlib", "numba", "plotly", "scipy", "sklearn"):
    assert find_spec(package) is None, f"{package} was installed"
PYTHON
for folder in "$place" "$checkout"; do
    cd "$folder"
    "$place/venv/bin/swatcost" cifar_vgg16 --weights 0.9 --acts 0.9 --format json |
        "$place/venv/bin/python" -c 'import json, sys; assert json.load(sys.stdin)["totals"]["params"] == 33646666'
    "$place/venv/bin/python" -m swatcost list models | grep -q wide_resnet50_2
done
cd "$place"
"$place/venv/bin/swatcost" run cifar_resnet18 --input-shape 3,8,8 --weights 0.8 --acts 0.8 --steps 2 | grep -q '2 of 2'
"$place/venv/bin/swatcost" list devices | grep -q h200
"$place/venv/bin/swatcost" plan resnet50 --weights 0.8 --acts 0.8 --format json | grep -q '"iterations": 450450'
"$place/venv/bin/swatcost" list architectures | grep -q bit-tactical
"$place/venv/bin/swatcost" sweep resnet50 --weights 0.5:0.9:0.1 --format csv --output sweep.csv
test "$(wc -l <sweep.csv)" -eq 6
"$place/venv/bin/swatcost" memory resnet50 --weights 0.8 --acts 0.8 --format json | grep -q '"schema"'
"$place/venv/bin/swatcost" tables >tables.txt
grep -q ', 20 not computed\.$' tables.txt
code=0
"$place/venv/bin/swatcost" simulate cifar_resnet18 --weights 0.8 >said.txt 2>&1 || code=$?
test "$code" -eq 2
test "$(cat said.txt)" = "swatcost: simulating needs numba: pip install 'swatcost[simulate]'"

cd "$checkout"
install '[report,simulate]'
cd "$place"
"$place/venv/bin/swatcost" simulate cifar_resnet18 --weights 0.8 --format json | grep -q '"schema"'
"$place/venv/bin/swatcost" report resnet50 --weights 0.8 --output report.html
grep -q 'resnet50: what it costs to train' report.html
"$place/venv/bin/python" - <<'PYTHON'
import importlib.util, pathlib, swatcost, swatcost_models

for package in (swatcost, swatcost_models):
    assert "site-packages" in package.__file__, package.__file__
assert importlib.util.find_spec("models") is None, "a top-level package called models was installed"
assert (pathlib.Path(swatcost.__file__).parent / "py.typed").exists()
PYTHON
echo "the wheel works"
