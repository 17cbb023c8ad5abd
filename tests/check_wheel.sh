#!/bin/sh
# Builds the wheel, installs it into an environment of its own, and uses it from another folder and from the checkout.
set -eu
python=$1
checkout=$(pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

"$python" -m build --wheel --outdir "$place/dist" . >"$place/build.log" 2>&1 || { cat "$place/build.log"; exit 1; }
"$python" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt "$(echo "$place"/dist/swatcost-*.whl)[report]"

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
