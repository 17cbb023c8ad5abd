#!/bin/sh
# Builds the wheel, installs it into an environment of its own, and uses it from another folder and from the checkout.
set -eu
python=$1
checkout=$(pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
export SWATCOST_CONFIG= SWATCOST_CACHE_DIR="$place/cache"

# What a command printed is shown if it fails, its standard error last.
quietly() {
    "$@" >"$place/stdout" 2>"$place/stderr" || {
        code=$?
        cat "$place/stdout" "$place/stderr"
        echo "failed with $code: $*"
        exit 1
    }
}
says() {
    pattern=$1
    shift
    quietly "$@"
    grep -q -e "$pattern" "$place/stdout" || { cat "$place/stdout"; echo "no '$pattern' in the output of: $*"; exit 1; }
}
install() {
    quietly "$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --constraint "$checkout/constraints.txt" "$(echo "$place"/dist/swatcost-*.whl)$1"
}
swatcost=$place/venv/bin/swatcost

# From a copy of what is committed or about to be: building leaves files behind, and reads those that it left.
mkdir "$place/source"
git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents --target-directory "$place/source"
quietly "$python" -m build --wheel --outdir "$place/dist" "$place/source"
quietly "$python" -m venv "$place/venv"

# Hard dependencies only: everything but simulating, drawing and pages.
install ''
quietly "$place/venv/bin/python" - <<'PYTHON'
from importlib.util import find_spec

for package in ("joblib", "llvmlite", "matplotlib", "numba", "plotly", "scipy", "sklearn"):
    assert find_spec(package) is None, f"{package} was installed"
PYTHON
for folder in "$place" "$checkout"; do
    cd "$folder"
    says '"params": 33646666' "$swatcost" cifar_vgg16 --weights 0.9 --acts 0.9 --format json
    says wide_resnet50_2 "$place/venv/bin/python" -m swatcost list models
done
cd "$place"
says '^llama3_8b (8192): slope' "$swatcost" llama3_8b --seq-len 8192 --method slope
says '2 of 2' "$swatcost" run cifar_resnet18 --input-shape 3,8,8 --weights 0.8 --acts 0.8 --steps 2
says h200 "$swatcost" list devices
says '"iterations": 450450' "$swatcost" plan resnet50 --weights 0.8 --acts 0.8 --format json
says bit-tactical "$swatcost" list architectures
quietly "$swatcost" sweep resnet50 --weights 0.5:0.9:0.1 --format csv --output sweep.csv
says '^6 ' wc -l sweep.csv
says '"schema"' "$swatcost" memory resnet50 --weights 0.8 --acts 0.8 --format json
says ', 22 not computed\.$' "$swatcost" tables
code=0
"$swatcost" simulate cifar_resnet18 --weights 0.8 >said.txt 2>&1 || code=$?
says "^swatcost: simulating needs numba: pip install 'swatcost\[simulate\]'$" cat said.txt
test "$code" -eq 2

install '[report,simulate]'
says '"schema"' "$swatcost" simulate cifar_resnet18 --weights 0.8 --format json
quietly "$swatcost" report resnet50 --weights 0.8 --output report.html
says 'resnet50: what it costs to train' cat report.html
quietly "$place/venv/bin/python" - <<'PYTHON'
import importlib.util, pathlib, swatcost, swatcost_models

for package in (swatcost, swatcost_models):
    assert "site-packages" in package.__file__, package.__file__
assert importlib.util.find_spec("models") is None, "a top-level package called models was installed"
assert (pathlib.Path(swatcost.__file__).parent / "py.typed").exists()
PYTHON
echo "the wheel works"
