# Two commands for a newcomer: `make demo` and `make test`. Both set everything up by themselves.
.DEFAULT_GOAL := help
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Python's own error would be about one of our lines; this one names the mend.
define ENVIRONMENT
@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "Tawny needs Python 3.11 or newer, $(PYTHON) is `$(PYTHON) -V 2>&1` (name another: PYTHON=python3.12)" >&2; exit 1; }
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
endef

.PHONY: help demo test test-long check format bench panel wheel clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# The demo needs the package alone; the tests need everything beside it.
$(VENV)/.package: pyproject.toml
ifdef UV
	@uv sync --quiet --no-default-groups --inexact
else
	$(ENVIRONMENT)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
endif
	@touch $@

$(STAMP): pyproject.toml
ifdef UV
	@uv sync --quiet --all-extras
else
	$(ENVIRONMENT)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]' --group dev --group browser
endif
	@touch $(VENV)/.package $@

demo: $(VENV)/.package ## the main job on bundled data; ONCE=1 ends by itself
	@$(BIN)/tawny demo $(if $(ONCE),--once,)

test: $(STAMP) ## the test suite
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup

test-long: $(STAMP) ## the test suite with many more examples
	@TAWNY_TEST_PROFILE=long $(BIN)/python -m pytest -q -n 2 --dist loadgroup --timeout 1800

check: $(STAMP) ## format, lint, types, import contracts, dead code, dependencies, docs
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/vulture
	@$(BIN)/deptry src
	@$(BIN)/python tools/docs.py --check

format: $(STAMP) ## format and mend what can be mended
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

bench: $(STAMP) ## measure this machine; results in bench/results/
ifdef UV
	@uv sync --quiet --all-extras --group bench
else
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
endif
	@for script in $(filter-out bench/databases.py bench/policy.py bench/report.py,$(wildcard bench/*.py)) bench/report.py; do \
		echo "== $$script"; $(BIN)/python $$script --save || exit 1; done

panel: ## rebuild the web panel (needs Node)
	@cd web && npm install --silent --no-audit --no-fund --no-save && npm run --silent build

wheel: ## build the wheel into dist/
ifdef UV
	@uv build --quiet --wheel
else
	@$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .
endif

clean:
	@rm -rf $(VENV) dist build .hypothesis .ruff_cache .import_linter_cache
