# `make study` measures and answers, `make test` checks it, `make test-all` with every test. Each makes .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: help study test test-all explore coverage check format reference docs install clean
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | awk -F'\t' '{printf "make %-9s %s\n", $$1, $$2}'

study: $(VENV)/.installed  ## run studies/quickstart.yaml and print its answer (about 6 minutes on 2 CPU cores)
	$(BIN)/prune-or-search run studies/quickstart.yaml

test: check  ## lint, types, import contracts, and all tests but the slow ones (about 12 minutes on 2 CPU cores)
	$(PYTEST) -m "not slow"

test-all: test  ## the same, then the slow tests: whole studies, many on a Ray cluster, and long lists (about 25 minutes)
	$(PYTEST) -m slow

explore: $(VENV)/.installed-test  ## property tests on examples that no one has tried yet
	$(PYTEST) -m hypothesis --hypothesis-profile explore

coverage: $(VENV)/.installed-test  ## all tests, and the share of lines that they run, which must be 90 % (slow on Python 3.11)
	$(PYTEST) --cov --cov-report=term:skip-covered --cov-fail-under=90

check: $(VENV)/.installed-test  ## lint, format, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-test  ## apply the formatter and the safe lint fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(VENV)/.installed  ## write docs/config.md and docs/study.schema.json again, after a change of the config
	$(BIN)/prune-or-search list config --markdown > docs/config.md.new
	$(BIN)/prune-or-search list config --json-schema > docs/study.schema.json.new
	mv docs/config.md.new docs/config.md
	mv docs/study.schema.json.new docs/study.schema.json

docs: $(VENV)/.installed-docs  ## build the API reference from the docstrings into build/api
	$(BIN)/pdoc --docformat google --output-directory build/api accounting nas_baseline pruning reports harness

install: $(VENV)/.installed  ## make .venv with what a study needs

clean:  ## remove .venv and what was built
	rm -rf $(VENV) build *.egg-info

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@
