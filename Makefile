# Each target does its own set-up, from a machine with Python >= 3.11 and pip; the second call is quick.
#   make demo     every skill of the shipped model on fresh pictures, as one HTML page
#   make test     all tests
#   make lint     ruff and mypy
#   make bench    every script in benchmarks/, tables on the terminal, JSON under out/bench/
# On Linux the torch of PyPI is the CUDA build, some gigabytes. For the small CPU build:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= $(shell command -v python3 || command -v python)
VENV ?= .venv
TORCH_INDEX ?=
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet

.PHONY: demo test lint bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.base
	$(PY) recipes/demo.py

test: $(VENV)/.dev
	$(PY) -m pytest

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(VENV)/.dev
	mkdir -p out/bench
	set -e; for script in benchmarks/[!_]*.py; do $(PY) $$script --json out/bench/$$(basename $$script .py).json; done

clean:
	rm -rf $(VENV) out

# Where the system's Python cannot put pip into a new environment (Debian without python3-venv), its own pip does it.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "imglish needs Python 3.11 or newer; $(PYTHON) is older. Choose another: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --without-pip --clear $(VENV) && \
		$(PYTHON) -m pip --python $(PY) install --quiet pip; }

$(VENV)/.base: pyproject.toml constraints.txt | $(PY)
	$(PIP) -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch==2.13.0
	$(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) -c constraints.txt -e '.[dev,evaluate,train]'
	@touch $@
