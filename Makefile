# make repro: the whole default build, $(JOBS) stages at a time. make test: all tests. Each makes .venv from requirements.lock first.
PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true

.PHONY: repro test lint format

repro: .venv/installed
	retune repro --jobs $(JOBS)

test: .venv/installed
	pytest -n 2 --dist worksteal

lint: .venv/installed
	ruff format --check .
	ruff check .
	mypy

format: .venv/installed
	ruff format .
	ruff check --fix .

# The mark is written last, so an interrupted installation is taken up again, and a finished one is not repeated.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Retune needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
