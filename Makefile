# make lab    set up .venv and open JupyterLab on the quickstart    (ARGS="--no-browser --port 8899" reach JupyterLab)
# make test   set up .venv and run everything that CI runs          (PYTHON=python3.12 picks another interpreter)

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
# Jupyter refuses to run as root, as in most containers, unless it is told to.
ROOT_FLAG := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: lab test lint format types types-check bench soak screenshots setup clean

lab:
	@$(PYTHON) scripts/setup.py lab
	@mkdir -p notebooks && { [ -e notebooks/quickstart.ipynb ] || cp examples/quickstart.ipynb notebooks/; }
	@exec jupyter lab $(ROOT_FLAG) notebooks/quickstart.ipynb $(ARGS)

test: setup
	@python scripts/checks.py system lint vitest browser pytest

lint: setup
	@python scripts/checks.py lint

format: setup
	@ruff check --fix-only --quiet . && ruff format --quiet .
	@jlpm format

# Without the set-up, which builds the front end and stops at types that are out of date.
types:
	@python scripts/wire_types.py

types-check: setup
	@python scripts/wire_types.py --check

bench:
	@$(PYTHON) scripts/setup.py bench
	@python -m benchmarks $(ARGS)

soak: setup
	@AIOS_SOAK=1 python -m pytest -m soak --timeout 7200 $(ARGS)

screenshots: setup
	@PYTHONPATH=tests:ui-tests python ui-tests/screenshots.py

setup:
	@$(PYTHON) scripts/setup.py test

# The built front end goes too; notebooks, runs and models of users lie elsewhere and stay.
clean:
	rm -rf .venv node_modules .yarn lib tsconfig.tsbuildinfo build dist .aios ui-tests/artifacts benchmarks/results
	find labextension -mindepth 1 ! -name README.md -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
