# Everything lives in ./.venv; `make lab` and `make test` build it on first use.
PYTHON ?= python3
BIN := .venv/bin
BENCH := .venv-bench
LITE := .venv-lite
READY := .venv/.ready
SETTINGS := .venv/share/jupyter/lab/settings
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: lab test lessons book cheatsheet wheelhouse lite lint bench constraints clean

lab: $(READY)
	@$(BIN)/k8slb lab

# What CI runs. pytest comes last, so that its summary line ends the output.
test: lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

lessons: $(READY)
	$(BIN)/python notebooks/build.py

# For teachers (notebooks/TEACHING.md): HTML pages, one page to print, and all wheels for a room without a network:
# make wheelhouse ARGS="--python 3.11 3.13 --platform linux windows mac"
book cheatsheet wheelhouse: $(READY)
	$(BIN)/python notebooks/$@.py $(ARGS)

# dist/lite/: a static site in which the cores of some lessons run in the browser alone.
lite: $(LITE)/.ready
	@$(LITE)/bin/python notebooks/lite.py

$(LITE)/.ready: pyproject.toml notebooks/lite.txt
	@rm -rf $(LITE) && $(PYTHON) -m venv $(LITE)
	@$(LITE)/bin/pip --disable-pip-version-check install -q -r notebooks/lite.txt
	@$(LITE)/bin/pip --disable-pip-version-check install -q --no-deps -e .
	@touch $@

# The budgets, then the peers: make bench ARGS=--quick runs those once and small, ARGS=--write stores tests/bench/PEERS.md.
bench: $(BENCH)/.ready
	$(BENCH)/bin/python tests/bench/run.py
	$(BENCH)/bin/python tests/bench/peers.py $(ARGS)

$(BENCH)/.ready: pyproject.toml tests/bench/requirements.txt
	@rm -rf $(BENCH) && $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/pip --disable-pip-version-check install -q -r tests/bench/requirements.txt -e .
	@touch $@

# Made afresh, not updated: a half-built or differently built environment must not survive.
$(READY): pyproject.toml constraints.txt binder/overrides.json
	@echo "Setting up .venv (a minute or two, once)"
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(PIP) install -q -c constraints.txt -e '.[lab,test]'
	@mkdir -p $(SETTINGS) && cp binder/overrides.json $(SETTINGS)/
	@touch $@

# The newest versions that even the first 3.11 can install (Debian 12 has 3.11.2, and some releases want 3.11.5).
# Needs a 3.11 to run (make constraints PYTHON=python3.11): what resolves on the oldest Python suits the newer ones too.
constraints:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "make constraints needs PYTHON=python3.11")'
	@rm -rf .venv-constraints && $(PYTHON) -m venv .venv-constraints
	@.venv-constraints/bin/pip install -q --disable-pip-version-check --dry-run --ignore-installed \
	    --python-version 3.11.0 --only-binary=:all: --target .venv-constraints/none \
	    --report .venv-constraints/report.json '.[lab,test,real]'
	@$(PYTHON) tests/pin.py .venv-constraints/report.json
	@rm -rf .venv-constraints

clean:
	rm -rf .venv .venv-bench .venv-lite .venv-constraints dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
