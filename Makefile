# What people do each day. `make demo` and `make test` set everything up by themselves.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
BIN := $(VENV)/bin

.PHONY: demo test test-fast lint format install docs image clean

$(BIN)/.installed: pyproject.toml constraints-cpu.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints-cpu.txt --editable '.[test]'
	touch $@

install: $(BIN)/.installed

demo: install  ## simulate a dataset, analyse two participants, test across them
	test -e $(DEMO)/bids || $(BIN)/cinebold-simulate $(DEMO)/bids
	$(BIN)/cinebold $(DEMO)/bids $(DEMO)/out participant --work-dir $(DEMO)/work -v
	$(BIN)/cinebold $(DEMO)/bids $(DEMO)/out group --work-dir $(DEMO)/work -v
	@echo
	@echo "Open these in a browser:"
	@ls $(CURDIR)/$(DEMO)/out/*.html

test: install lint  ## everything, a file a process; under 20 minutes on 2 cores
	$(BIN)/python -m pytest -n auto --dist loadfile

test-fast: install  ## leaves out what is marked slow
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	$(BIN)/python -m pip install --quiet --constraint constraints-cpu.txt --editable '.[docs]'
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

image:  ## the container image, with Docker
	docker build -t cinebold .

clean:
	rm -rf $(DEMO) build dist *.egg-info .pytest_cache .ruff_cache
