# `make` lists the targets; each of the others makes .venv from requirements.lock first.
PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true

.PHONY: help repro quick test test-fast lint format

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

repro: .venv/installed  ## build what is out of date, two stages at a time (make repro JOBS=4); the first time everything
	retune repro --jobs $(JOBS)

quick: .venv/installed  ## a first look: one small task, three models and the report; params.yaml says so then
	xargs retune repro --jobs $(JOBS) < profiles/one-task
	@echo 'Now open reports/index.html. `git restore . && make repro` builds all five tasks.'

test: .venv/installed  ## all tests
	pytest -n 2 --dist worksteal

test-fast: .venv/installed  ## the tests that answer within a minute or two
	pytest -n 2 --dist worksteal -m "not slow"

lint: .venv/installed  ## format, style, types, and which package imports which
	ruff format --check .
	ruff check .
	mypy
	python -m tests.support.layers

format: .venv/installed  ## mend format and style, where that is safe
	ruff format .
	ruff check --fix .

# pip compiles one module after the other: here all processors do, and it does not matter if a template is no Python.
# The mark is written last, so an interrupted installation is taken up again, and a finished one is not repeated.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Retune needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -r requirements.lock
	@$(BIN)/python -m compileall -q -j 0 .venv/lib > .venv/compileall.log 2>&1 || true
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
