# The commands of the README. Everything runs from `.venv`, which the first command makes from the pinned lock.
PYTHON ?= python3
PEERS_PYTHON ?= python3.12
BIN := .venv/bin
CORES ?= all

STUDY := registry ablation recipe

.PHONY: demo study test test-hard test-release test-faults test-scale test-slurm lint format lock docs site throughput speed clean

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

# Every benchmark on every dataset there is, the ablation, and the speedrun's recipe on held-out data: hours.
study: .venv/ready
	set -e; export PATH="$(CURDIR)/$(BIN):$$PATH"; \
	for run in $(STUDY); do snakemake --profile profiles/local --cores $(CORES) --configfile config/$$run.yaml; done; \
	snakemake --profile profiles/local --cores $(CORES) --configfile config/demo.yaml config/speedrun.yaml -- speedrun_held_out

# Two workers. A file of tests stays with one of them: its fixtures are made once. A worker that crashes ends the run: with
# another in its place pytest-xdist would wait for ever.
TWO := -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0
test: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" pytest $(TWO) -m "not hard and not release"

# One of each kind: a fault, a store that fails, ranks and workers, damaged shards, the report in a browser, the site.
test-hard: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" pytest $(TWO) -m hard

# All the others of those kinds, in parts of an hour at most; Slurm's is left out where there is no root.
test-release: test-faults test-scale
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/slurm/run || [ $$? = 77 ]

# Every fault in every stage, twenty kills, the first half of a run from an object store, a training in two processes.
test-faults: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" pytest -m "release(part='faults')"

# Big tables and vocabularies: time and memory, so nothing runs beside.
test-scale: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" pytest -m "release(part='scale')"

# On a real Slurm, which is installed from Debian and started here; without root it says so, with status 77.
test-slurm: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/slurm/run

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

# Other loaders beside ours. Their environment is best effort: what it lacks gets a row with the reason.
.venv-peers/ready: envs/peers.lock
	rm -rf .venv-peers
	-$(PEERS_PYTHON) -m venv .venv-peers && \
	  .venv-peers/bin/pip install --quiet --disable-pip-version-check -r envs/peers.lock && touch $@

throughput: .venv/ready .venv-peers/ready
	$(BIN)/python -m speed throughput --output results/throughput/tables/throughput.tsv
	$(BIN)/python -m speed.page results/throughput/tables/throughput.tsv docs/throughput.md

# Training steps and inference at the paper's size beside the best matrix products of the device; DEVICE=cuda for a GPU.
DEVICE ?= cpu
speed: .venv/ready
	$(BIN)/python -m speed steps --device $(DEVICE) --output results/speed/tables/step_benchmark.tsv
	$(BIN)/python -m speed.page results/speed/tables/step_benchmark.tsv docs/speed.md

# Files that are generated from others: the config's schema and README, the conda environment.
docs: .venv/ready
	$(BIN)/python -m tools.documents

# The pages of docs/ and the API reference as a site in site/, without any network.
site: .venv/ready
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . site

# Resolve the locks anew. CUDA packages are left out: pip takes those that the build of torch asks for.
RESOLVE = $(BIN)/uv pip compile --universal --no-annotate --no-header --quiet \
  $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))
WITHOUT_CUDA = sed -E 's|^(torch==[0-9.]+).*|\1|' | grep -vE '^(nvidia-|cuda-|triton)' | awk '!seen[$$0]++'
lock:
	$(BIN)/pip install --quiet uv
	$(RESOLVE) --python-version 3.11 envs/requirements.in | $(WITHOUT_CUDA) > envs/requirements.new
	$(RESOLVE) --python-version 3.12 envs/peers.in | $(WITHOUT_CUDA) > envs/peers.new
	mv envs/requirements.new envs/requirements.lock
	mv envs/peers.new envs/peers.lock

clean:
	rm -rf .venv .snakemake
