# `make run` and `make test` set everything up by themselves, in .venv.

PYTHON ?= python3
VENV := .venv
MIN := .venv-min
BIN := $(VENV)/bin
SOURCES := setup.cfg pyproject.toml

.PHONY: run test test-random test-min lint format docs figures site dist clean

run: $(VENV)/installed
	$(BIN)/tfstiff run

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist worksteal -p no:randomly

test-random: $(VENV)/installed-test  # in another order each time
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-min: $(MIN)/installed  # with the lowest version of each dependency that setup.cfg allows
	$(MIN)/bin/python -m pytest -n 2 --dist worksteal -p no:randomly

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-test
	$(BIN)/python docs/make_reference.py

figures: $(VENV)/installed-test  # of docs/figures.md; what was trained for them stays in build/figures
	$(BIN)/python docs/make_figures.py

site: $(VENV)/installed-test  # in build/site; a link or an anchor that leads nowhere fails (--quiet would let it pass)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

dist: $(VENV)/installed-test  # source distribution, and the wheel made of it: the same to the last bit for the same commit
	rm -rf build/source && mkdir -p build/source
	umask 022 && git -c tar.umask=0022 archive HEAD | tar -x -C build/source && cd build/source && \
	    SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
	    $(CURDIR)/$(BIN)/python -m build --no-isolation --outdir $(CURDIR)/dist .

clean:
	rm -rf $(VENV) $(MIN) build dist *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/installed-test: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,hub,docs]"
	touch $@ $(VENV)/installed

$(MIN)/installed: $(SOURCES)
	$(PYTHON) -m venv --clear $(MIN)
	$(MIN)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(MIN)/bin/python -m uv pip install --quiet --python $(MIN)/bin/python --resolution lowest-direct --editable ".[test]"
	touch $@
