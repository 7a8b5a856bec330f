# make demo   environment, stimuli, two trained networks, five analyses, report.html
# make test   environment, the whole test suite
# make check  formatting, lint, types, import contract

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# PyPI's default Linux build of torch brings several GB of CUDA libraries. Where there is no NVIDIA driver, the CPU
# build is preferred when an index offers one; everything else comes from the package index that pip is set up with.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)

.PHONY: demo test check environment clean

demo: environment
	@$(RUN) -m meta_baseline demo

test: environment
	@$(RUN) -m pytest -n auto --dist loadfile

check: environment
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(VENV)/bin/lint-imports --no-cache
	@$(RUN) -m pyright --pythonpath $(RUN)

environment: $(VENV)/.complete

$(VENV)/.complete: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, found %d.%d. Call make with PYTHON=/path/to/python3.11." % sys.version_info[:2])'
	@echo "Making the environment in $(VENV) (one to three minutes, once)."
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -c 'import torch' 2>/dev/null || { \
	  if command -v nvidia-smi >/dev/null 2>&1; then $(RUN) -m pip install --quiet --constraint constraints.txt torch; \
	  else tools/install_cpu_torch "$(RUN)" "$(TORCH)" "$(TORCH_CPU_INDEX)"; fi; }
	@$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) demo_results
