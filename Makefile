# Start with `make run` and `make test`: both install everything they need.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: run test check bench lock
.DEFAULT_GOAL := run

run: $(INSTALLED)
	@exec $(BIN)/tessera serve --migrate

test: $(INSTALLED)
	$(BIN)/pytest $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/schema
	$(BIN)/python .ci/dependencies.py

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks $(ARGS)

# Run after changing the dependencies in pyproject.toml.
lock: $(INSTALLED)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --all-extras pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --extra redis pyproject.toml -o requirements-production.lock

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tessera needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
