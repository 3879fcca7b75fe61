import faulthandler
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

from generated import write_generated_run

# Models of the tests are so small that threads would slow them down. Set before torch is imported and for the whole
# session, because sums with another number of threads differ in their last bits. scanpy's search for neighbours gives
# torch the number of Numba.
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items):
    """Start with the slowest files, so that the other worker runs the rest at the same time."""
    items.sort(key=lambda item: item.path.name not in ("test_dag.py", "test_faults.py"))


@pytest.fixture
def wced(monkeypatch, capfd):
    """Run a command line in this process; return its exit status and what it wrote to stdout and stderr."""
    from wced.cli import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["wced", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capfd.readouterr()

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A generated run up to its shards: config, and paths of the outputs of corpus and shards.

    Shards have record batches of 64 cells, so that reading crosses both record batches and files.
    """
    from wced.cli import corpus, shards
    from wced.config import read
    from wced.corpus.datasets import read_datasets

    folder = tmp_path_factory.mktemp("made")
    run = read(write_generated_run(folder, shards={"count": 3, "batch_cells": 64}))
    paths = SimpleNamespace(
        run=run,
        genes=folder / "genes.parquet",
        sources=[folder / f"sources/{name}.h5ad" for name in run.census.datasets],
        held_out=folder / "sources/held_blood.h5ad",
        census=folder / "census",
        cells=folder / "cells.parquet",
        shards=folder / "shards",
    )
    corpus.gene_table(run.genes.model_dump_json(), Path(run.genes.gencode.path), Path(run.genes.hgnc.path), paths.genes)
    rows = read_datasets(run.sources.table)
    for path in [*paths.sources, paths.held_out]:
        row = rows[path.stem]
        names = None if row.labels is None else run.sources.cell_type_names
        corpus.source(paths.genes, path, path.with_suffix(".qc.tsv"), row.model_dump_json(), names=names)
    corpus.census(paths.sources, run.census.organism, paths.census)
    census = run.census.model_dump_json()
    corpus.cells(
        run.cells.model_dump_json(), census, run.seed, paths.cells, folder / "corpus.tsv", collection=paths.census
    )
    vocabulary = paths.shards / "vocabulary.tsv"
    shards.vocabulary(paths.genes, paths.cells, census, vocabulary, collection=paths.census)
    files = [paths.shards / f"shard-{i:05d}.arrow" for i in range(run.shards.count)]
    for i, file in enumerate(files):
        shards.shard(paths.cells, vocabulary, census, run.shards.model_dump_json(), i, file, collection=paths.census)
    shards.shard_index(files, paths.cells, vocabulary, paths.shards / "index.json")
    return paths


@pytest.fixture(autouse=True)
def crashes_leave_a_trace(request):
    """Lightning restores the signal handlers that Python knows, which removes faulthandler's."""
    yield
    faulthandler.disable()
    faulthandler.enable(request.config.stash[fault_handler_stderr_fd_key])
