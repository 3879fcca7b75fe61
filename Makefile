# The commands of the README. Everything runs from `.venv`, which the first command makes from the pinned lock.
PYTHON ?= python3
BIN := .venv/bin
CORES ?= all

.PHONY: demo test lint format lock docs clean

# The environment is rebuilt when the lock changes; a half-made one is never used, because the stamp comes last.
.venv/ready: envs/requirements.lock pyproject.toml
	rm -rf .venv
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wced needs Python 3.11 or newer; set PYTHON")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r envs/requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --profile profiles/local --cores $(CORES)

test: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" pytest -m "not hard"

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

# Files that are generated from others: the config's schema and README, the conda environment.
docs: .venv/ready
	$(BIN)/python -m wced.config.documents

# Resolve envs/requirements.in anew. CUDA packages are left out: pip takes those that torch asks for.
lock:
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile envs/requirements.in --universal --python-version 3.11 --no-annotate --no-header --quiet \
	  $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) --output-file envs/requirements.full
	sed -E 's/^(torch==[0-9.]+)\+[^ ]*/\1/' envs/requirements.full | grep -vE '^(nvidia-|cuda-|triton)' > envs/requirements.lock
	rm envs/requirements.full

clean:
	rm -rf .venv .snakemake
