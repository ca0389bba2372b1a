# People and CI use the same targets; `make help` lists them.
# Needed: GNU make and Python 3.11 or later. Everything else goes into .venv.

PYTHON ?= python3
ARGS ?=
# Number of test processes; each uses one compute thread.
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# Present while an installation runs and renamed to READY at its end: an interrupted one starts anew.
UNFINISHED := $(VENV)/.unfinished
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick lint format bench clean

help: ## List the targets
	@echo 'Usage: make TARGET [ARGS="..."] [PYTHON=python3.12]'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS='|' read -r target text; do printf '  %-8s %s\n' "$$target" "$$text"; done

setup: $(READY) ## Install agentrec and its tools into .venv, unless that is done

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo 'agentrec needs Python 3.11 or later, and "$(PYTHON)" is not one.' >&2; \
		echo 'Name another: make setup PYTHON=/path/to/python3.11' >&2; exit 1; }
	@if [ -e $(UNFINISHED) ]; then \
		echo 'The last set-up was interrupted; starting afresh.'; rm -rf $(VENV); fi
	@mkdir -p $(VENV) && touch $(UNFINISHED)
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV) (about 1.5 GB, a few minutes the first time) ...'
	@trap 'exit 130' INT; \
		$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input \
			-c constraints.txt -e '.[openai,dev]' \
		|| { rm -f $(UNFINISHED); exit 1; }
	@mv $(UNFINISHED) $(READY)

demo: $(READY) ## Run the demonstration; ARGS go to `agentrec demo`
	@$(BIN)/agentrec demo $(ARGS)

test: lint ## Check style and types, then run the tests; ARGS go to pytest
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not bench' $(ARGS)

quick: $(READY) ## Run the tests that neither train nor start a process: the inner loop
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not bench and not slow' $(ARGS)

lint: $(READY) ## Check style, formatting, layers and types, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

format: $(READY) ## Format the code and mend what can be mended safely
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Run the long measurements; ARGS go to pytest
	$(BIN)/pytest -m bench -s tests/benchmarks $(ARGS)

clean: ## Remove caches and build leftovers; keeps .venv and run folders
	rm -rf build dist agentrec.egg-info .benchmarks .coverage .import_linter_cache \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +
