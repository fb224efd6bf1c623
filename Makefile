# Every target makes what it needs first: a virtual environment in .venv, once, and again when its inputs change.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2
# Everything that a test or a benchmark imports, so that none is skipped for want of a package.
EXTRAS := test,bench,text,images,exact,tables,onnx,convex,graphs
TORCH ?= $(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: help setup lock demo test test-slow lint types format bench bench-smoke docs mutants wheel clean
.DEFAULT_GOAL := help

help: ## say what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## make the virtual environment only

# torch comes first and alone, so that the constraint picks the CPU build wherever the package index offers one.
$(READY): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

# TORCH=VERSION moves torch; without it torch stays and everything else becomes the newest that goes with it.
lock: ## write constraints.txt again: one version of every package that is installed here and in CI
	"$(PYTHON)" -m venv --clear $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet torch==$(TORCH)
	$(VENV)-lock/bin/python -m pip install --quiet torch==$(TORCH) -e '.[$(EXTRAS)]'
	$(VENV)-lock/bin/python .ci/check_environment.py
	{ echo '# Written by `make lock`: every version that development and CI install.'; \
	  echo '# torch is the CPU build where the package index has one, and is installed first and alone for that.'; \
	  $(VENV)-lock/bin/python -m pip freeze --exclude-editable | sed 's/^\(torch==[^+]*\)+cpu$$/\1/'; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf $(VENV)-lock

demo: $(READY) ## train on 20 digits, delete them, reconstruct them from the weights
	$(BIN)/vestige demo

# One thread a process: results are bit-equal at a fixed number only, and two workers share two cores.
test test-slow docs mutants: export OMP_NUM_THREADS ?= 1

test: $(READY) ## the fast tests and the examples in docstrings
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS)
	$(BIN)/python -m pytest --doctest-modules -q src

test-slow: $(READY) ## the tests that take minutes
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --durations=10

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## basedpyright
	$(BIN)/basedpyright --pythonpath $(BIN)/python

format: $(READY) ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## our reconstruction and the published one on the same models, small sizes
	$(BIN)/python benchmarks/reconstruct.py --quick

bench-smoke: $(READY) ## every benchmark at its smallest size: does it still run?
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/bench_smoke

mutants: $(READY) ## plant one-line faults and see the tests catch them: half an hour
	$(BIN)/python tests/mutants/plant.py

docs: $(READY) ## run the examples, follow the links and parse the command lines of README and docs
	$(BIN)/python -m pytest tests/test_documents.py

wheel: $(READY) ## build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove what make made
	rm -rf $(VENV) dist
