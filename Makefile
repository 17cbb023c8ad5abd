# Needs Python 3.11 or newer, and make. Everything else goes into .venv.

PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check format simulators traces bench browser mutants cases notebooks notebooks-output docs shown \
	wheel clean

run: .venv/.installed
	$(BIN)/swatcost resnet50 --weights 0.8 --acts 0.8 --period 1000

# One process per processor; a process that runs out of tests takes over some of another's.
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

# Runs exported networks in the simulators they are exported for, each installed into an environment of its own.
simulators: .venv/.installed-dev
	$(BIN)/pytest -m slow -rs tests/test_simulators.py

# Opens what the program draws for browsers in Chromium, which is installed where it is missing and can be; leaves
# screenshots in build/screenshots/.
browser: .venv/.installed-dev
	sh tests/install_browser.sh
	$(BIN)/pytest -m browser -rs tests/test_browser.py

# Writes the traces of the zoo that ship with the package anew.
traces: .venv/.installed-dev
	$(BIN)/python -m swatcost.loading.traces

# Measures speed side by side with other counters and writes benchmarks/RESULTS.md. Takes some minutes.
bench: .venv/.installed-bench
	$(BIN)/python -W ignore -m benchmarks.bench

# Puts 500 mistakes into the formulas, one at a time, and sees whether the tests notice. Takes about 15 minutes on two
# cores. ARGS="--seed 1 swatcost/timing/topk.py", ARGS=--all; ARGS=--write writes benchmarks/MUTANTS.md.
mutants: .venv/.installed-mutants
	$(BIN)/python -m benchmarks.mutants $(ARGS)

# Counts small networks by hand and with other counters and writes the tables of docs/cases.md and the README.
cases: .venv/.installed-bench
	$(BIN)/python -W ignore -m benchmarks.cases

# Runs every notebook from a clean kernel and compares its text with what is committed.
notebooks: .venv/.installed-dev
	$(BIN)/python notebooks/run.py --check

# Writes the notebooks' output anew.
notebooks-output: .venv/.installed-dev
	$(BIN)/python notebooks/run.py

# Builds the documentation into build/docs; a warning is a failure.
docs: .venv/.installed-docs
	$(BIN)/python -m docs.build build/docs

# Writes the output that README and docs/ show anew. Look at the difference before it is committed.
shown: .venv/.installed-dev
	$(BIN)/python -m tests.documents

# Installs the built wheel into an environment of its own and uses it from other folders and from the checkout.
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

# Without dev: building does not run what is shown.
.venv/.installed-docs: .venv/.installed
	$(PIP) --editable '.[docs]'
	touch $@

.venv/.installed-mutants: .venv/.installed-dev
	$(PIP) --editable '.[mutants]'
	touch $@

# A counter that cannot be installed is left out, and named in the results.
.venv/.installed-bench: .venv/.installed-dev
	for peer in fvcore torchinfo ptflops thop torchprofile "calflops accelerate transformers"; do $(PIP) $$peer || true; done
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
