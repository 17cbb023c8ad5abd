# Needs Python 3.11 or newer, and make. Everything else goes into .venv.

PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check format simulators traces bench kernels browser mutants cases fuzz notebooks notebooks-output docs shown \
	wheel clean

run: .venv/.installed
	$(BIN)/swatcost resnet50 --weights 0.8 --acts 0.8 --period 1000

# One process per core; idle processes take over tests from the others.
test: .venv/.installed-dev
	$(BIN)/pytest --numprocesses auto --dist worksteal

check: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Runs exported networks in their simulators, each installed into its own environment.
simulators: .venv/.installed-dev
	$(BIN)/pytest -m slow -rs tests/test_simulators.py

# Opens the HTML pages that the program writes in Chromium, installing it if necessary and possible. Screenshots go to
# build/screenshots/.
browser: .venv/.installed-dev
	sh tests/install_browser.sh
	$(BIN)/pytest -m browser -rs tests/test_browser.py

# Regenerates the traces of the zoo that ship with the package.
traces: .venv/.installed-dev
	$(BIN)/python -m swatcost.loading.traces

# Compares speed with other counters and writes benchmarks/RESULTS.md. Takes some minutes.
bench: .venv/.installed-bench
	$(BIN)/python -W ignore -m benchmarks.bench

# Times sparse kernels and training steps with them; writes benchmarks/SPARSE_KERNELS.md. Takes about 15 minutes of a
# machine that does nothing else. ARGS="--measured FILE" keeps what is measured, to go on later.
kernels: .venv/.installed-kernels
	$(BIN)/python -W ignore -m benchmarks.sparse_kernels --write $(ARGS)

# Puts 500 small mistakes into the formulas, one at a time, and reports which the tests catch. Takes about 15 minutes on
# two cores. ARGS="--seed 1 swatcost/timing/topk.py", ARGS=--all; ARGS=--write writes benchmarks/MUTANTS.md.
mutants: .venv/.installed-mutants
	$(BIN)/python -m benchmarks.mutants $(ARGS)

# Compares counts by hand and by other counters on small networks; writes the tables of docs/cases.md and README.md.
cases: .venv/.installed-bench
	$(BIN)/python -W ignore -m benchmarks.cases

# Random networks against torch's own counter, random command lines and damaged files, 30 seconds in all.
# ARGS="--seconds 3600 --seed 1"; a failure prints how to repeat it.
fuzz: .venv/.installed-dev
	$(BIN)/python -W ignore -m benchmarks.fuzz $(ARGS)

# Runs every notebook in a fresh kernel and compares its text output with the committed one.
notebooks: .venv/.installed-dev
	$(BIN)/python notebooks/run.py --check

# Runs the notebooks and writes their output.
notebooks-output: .venv/.installed-dev
	$(BIN)/python notebooks/run.py

# Builds the documentation into build/docs; warnings are errors.
docs: .venv/.installed-docs
	$(BIN)/python -m docs.build build/docs

# Updates the output shown in README.md and docs/. Review the diff before committing it.
shown: .venv/.installed-dev
	$(BIN)/python -m tests.documents

# Installs the built wheel into its own environment and uses it from other folders and from the checkout.
wheel: .venv/.installed-dev
	sh tests/check_wheel.sh $(BIN)/python

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("swatcost needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) --editable '.[dev]'
	touch $@

# Without dev: building the documentation runs none of its examples.
.venv/.installed-docs: .venv/.installed
	$(PIP) --editable '.[docs]'
	touch $@

.venv/.installed-mutants: .venv/.installed-dev
	$(PIP) --editable '.[mutants]'
	touch $@

# SparseProp is compiled here, for processors with AVX2; its kernels alone are used, which need no scipy.
.venv/.installed-kernels: .venv/.installed-dev
	$(PIP) pybind11 && CPATH=$$($(BIN)/python -c 'import pybind11; print(pybind11.get_include())') \
		PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) --no-deps sparseprop || true
	touch $@

# A counter that cannot be installed is left out; the results name it.
.venv/.installed-bench: .venv/.installed-dev
	for peer in fvcore torchinfo ptflops thop torchprofile "calflops accelerate transformers"; do $(PIP) $$peer || true; done
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
