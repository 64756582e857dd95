.PHONY: demo test test-lowest faults install format clean
VENV ?= .venv
LOWEST ?= .venv-lowest
PYTHON ?= python3
FAULT_INPUTS ?= 5000
FAULT_CRASHES ?= 250
BIN = $(VENV)/bin

demo: $(VENV)/.installed
	$(BIN)/i2ikd demo

test: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses auto -m "not numeric"
	$(BIN)/python -m pytest --numprocesses auto -m numeric
	ATEN_CPU_CAPABILITY=default $(BIN)/python -m pytest --numprocesses auto -m numeric

# The long profile of tests/faults; inputs that Hypothesis found to fail stay in .hypothesis/ and are tried first.
faults: $(VENV)/.installed-dev
	I2IKD_FAULT_INPUTS=$(FAULT_INPUTS) I2IKD_FAULT_CRASHES=$(FAULT_CRASHES) $(BIN)/python -m pytest tests/faults

# The tests in an environment of the lowest versions that pyproject.toml declares.
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable ".[dev]"
	$(LOWEST)/bin/python -m pytest --numprocesses auto -m "not numeric"

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

install: $(VENV)/.installed-dev

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(LOWEST) .mypy_cache .ruff_cache .pytest_cache build dist site
