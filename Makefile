# Each target works as the first command on a fresh clone: it sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
# Tests start many processes, each of which would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

# Each makes libraries choose the kernels, or the number of threads, of another machine; commas join variables of one run.
OTHERS := ONEDNN_MAX_CPU_ISA=AVX2 \
          ONEDNN_MAX_CPU_ISA=SSE41,MKL_ENABLE_INSTRUCTIONS=SSE4_2,OPENBLAS_CORETYPE=Nehalem \
          ATEN_CPU_CAPABILITY=default \
          OMP_NUM_THREADS=2

.PHONY: help setup quickstart format lint type test test-all test-portable check docs perf clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/installed  ## create .venv and install everything into it

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 15) else "automl_kd needs Python 3.11 to 3.14; run make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt --editable '.[dev]'
	touch $@

quickstart: setup  ## a whole search on handwritten digits, in under five minutes
	$(BIN)/automl-kd search

format: setup  ## rewrite the code in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup  ## style and import order
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

type: setup  ## mypy strict
	$(BIN)/mypy

test: setup  ## the quick tests: no Ray, no downloads
	$(BIN)/pytest -n 2 -m "not ray and not slow and not long"

test-all: test  ## every test: those with Ray, the slow and the long ones after the quick ones
	$(BIN)/pytest -m "ray or slow or long"

test-portable: setup  ## the quick tests as other processors would run them
	@failed=; for other in $(OTHERS); do \
	  echo "== $$other"; env $$(echo $$other | tr , ' ') $(BIN)/pytest -q -n 2 -m "not ray and not slow and not long" || failed="$$failed $$other"; \
	done; test -z "$$failed" || { echo "failed under$$failed"; exit 1; }

check: lint type test  ## what continuous integration runs: all but the long tests
	$(BIN)/pytest -n 2 --dist loadgroup -m "slow and not ray and not long"
	$(BIN)/pytest -m "ray and not long"

docs: setup  ## the API reference, as pages in build/docs
	rm -rf build/docs
	$(BIN)/python docs/reference.py build/docs

perf: setup  ## measured ratios; see benchmarks/perf/README.md
	$(BIN)/python -m benchmarks.perf

clean:  ## remove what make setup and the tools created
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
