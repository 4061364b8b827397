# Both commands work on a fresh machine with Python 3.10, 3.11 or 3.12: they build .venv first.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install docs demo benchmark test test-slow test-wheel
install: $(INSTALLED)

$(INSTALLED): requirements.txt setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 12) else \
	  f"Python {v[0]}.{v[1]} is not supported by the default stack; run make with PYTHON=python3.11.")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -r requirements.txt
	$(BIN)/pip install -e '.[test]'
	@touch $@

# Train four methods on the demo scenes side by side, sweep alpha, diagnose the plain model: five minutes.
demo: install
	$(BIN)/python tools/demo.py

# Every row of the README's table, three seeds: 63 trainings of three and a half minutes, two at a time.
benchmark: install
	$(BIN)/python tools/benchmarks/digit_scenes.py --reuse --out-dir work_dirs/benchmark \
	  --json tools/benchmarks/results/digit_scenes.json

# The documentation site in site/, with warnings as errors; nothing is loaded from the network.
docs: install
	$(BIN)/pip install -q -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check lt_mm tests tools
	$(BIN)/python -m pytest -m 'not slow'

test-slow: install
	$(BIN)/python -m pytest -m slow

# Build the wheel and use it in an empty environment and an empty folder; part of test-slow.
test-wheel: install
	$(BIN)/python -m pytest -n 0 tests/test_packaging_wheel.py
