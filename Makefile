# Two commands on a fresh machine: `make forecast` and `make test`. Everything they need goes into .venv; a second call installs nothing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/pip install --quiet -c constraints.txt
SOURCES := tsfm datasets_registry evaluation notebooks tests
WORKERS ?= 2

# Two OpenMP threads on a busy two-core machine can be many times slower than one.
export OMP_NUM_THREADS ?= 1
ifneq ($(wildcard ../shared/data),)
export TSFM_DATA ?= $(abspath ../shared/data)
endif

.PHONY: help forecast test quick check format layers bench notebooks pandas3 clean

help:
	@echo "make forecast   set up and forecast the bundled data: a table here, the picture in forecast.png"
	@echo "make test       set up, check (format, lint, types, layers) and run every test and notebook"
	@echo "make quick      the tests a person waits for, under 3 minutes"
	@echo "make check      format, lint, types and layers, in seconds"
	@echo "make bench      measure again what evaluation/results holds"
	@echo "make notebooks  execute notebooks/*.py, write the paired .ipynb and the picture of the README"

forecast: $(VENV)/.plot
	$(BIN)/tsfm forecast --demo --plot forecast.png

test: check
	$(BIN)/python -m pytest -n $(WORKERS) --durations=15

quick: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

check: $(VENV)/.dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

format: $(VENV)/.dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/.dev
	for suite in zero_shot classic synthetic_probe; do \
		$(BIN)/tsfm evaluate --suite $$suite --model moe-decoder-tiny --model seasonal-naive --model naive --model drift \
			--out evaluation/results || exit 1; done
	$(BIN)/tsfm evaluate --suite zero_shot --split validation --out evaluation/results
	OMP_NUM_THREADS=$(WORKERS) $(BIN)/tsfm evaluate --suite long_horizon --out evaluation/results
	$(BIN)/python evaluation/leaderboard.py
	OMP_NUM_THREADS=$(WORKERS) $(BIN)/python evaluation/speed.py
	$(BIN)/python evaluation/speed_synthetic.py
	$(BIN)/python evaluation/speed_layers.py
	$(BIN)/python evaluation/speed_scan.py

notebooks: $(VENV)/.dev
	$(BIN)/python notebooks/regenerate.py
	$(BIN)/tsfm forecast --demo --plot notebooks/airports.png

# pandas 3 in an environment of its own: gluonts and statsforecast still need pandas 2.
pandas3:
	test -x .venv-pandas3/bin/pytest || $(PYTHON) -m venv .venv-pandas3
	.venv-pandas3/bin/pip install --quiet -c constraints-pandas3.txt -e ".[data,plot]" pytest pytest-xdist hypothesis
	.venv-pandas3/bin/python -m pytest -n $(WORKERS) -m "not slow" --ignore=tests/test_notebooks.py

clean:
	rm -rf $(VENV) .venv-pandas3 dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tsfm needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

# A stamp a set of extras, renewed when the requirements change.
$(VENV)/.plot: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing tsfm and what it needs into $(VENV) (a few minutes the first time)"
	$(PIP_INSTALL) -e ".[plot]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing tsfm and its development tools into $(VENV) (a few minutes the first time)"
	$(PIP_INSTALL) -e ".[dev]"
	@touch $@ $(VENV)/.plot
