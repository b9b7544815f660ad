# make demo and make test run on a fresh clone: they make .venv and install what they need.
# make PYTHON=/path/to/python3.12 chooses the interpreter; make VENV=/elsewhere the environment.

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= demo-report
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs pins clean system

help:  ## list what can be made
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

demo: $(STAMP)  ## run the main job on the built-in synthetic patient; the report goes to demo-report/
	$(BIN)/precimed demo --out $(OUT)

# Without the account's own display the window's tests open theirs on a virtual one.
test: $(STAMP)  ## run every test, with coverage of both packages
	env -u DISPLAY -u WAYLAND_DISPLAY $(BIN)/python -m pytest --cov --cov-report=term:skip-covered

lint: $(STAMP)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## measure the figures of the README; see benchmarks/
	@set -e; for script in benchmarks/*.py; do \
		[ -e "$$script" ] || { echo "benchmarks/ holds no script"; exit 1; }; \
		echo "== $$script"; $(BIN)/python "$$script"; \
	done

docs: $(STAMP)  ## take the screenshots of docs/ from the real window
	@set -e; for script in docs/*.py; do \
		[ -e "$$script" ] || { echo "docs/ holds no script"; exit 1; }; \
		echo "== $$script"; $(BIN)/python "$$script"; \
	done

pins: $(STAMP)  ## write constraints.txt anew from what .venv holds
	$(BIN)/python scripts/pin_dependencies.py

clean:  ## remove the environment and every cache
	rm -rf $(VENV) build dist demo-report .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache *.egg-info

system:
	@scripts/system_packages.sh

# The stamp is written last: an install that failed half-way is done again.
$(STAMP): setup.cfg pyproject.toml constraints.txt | system
	@python=$$(scripts/find_python.sh) && echo "Making $(VENV) with $$python" && "$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[all,test]"
	@touch $@
