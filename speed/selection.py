"""Time and memory of selecting cells from a generated obs table as large as the Census's.

Selecting needs only obs, so the collection has no counts. `python -m speed.selection COLLECTION FOLDER` is the measured
process.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import tiledbsoma as soma

import wced
from wced import tables
from wced.config.corpus import Cells, Census
from wced.corpus.cells import select_cells
from wced.corpus.census import BUFFERS, open_census
from wced.errors import WcedError
from wced.resources import peak_resident

DATASETS, CELL_TYPES, TISSUES, ASSAYS, DONORS, DISEASES, SEXES = 500, 700, 60, 12, 60, 120, 3
"""Sizes like those of the paper's corpus (478 datasets) and the Census (about 700 cell types)."""
CENSUS_CELLS = 62_600_000
"""Primary human cells of the Census of 2025-01-30."""
CHUNK = 1_000_000
"""Cells generated and written at once."""
ORGANISM = "homo_sapiens"
TISSUE_COLUMNS = ("tissue", "tissue_general", "tissue_ontology_term_id", "tissue_general_ontology_term_id")
SEED = 0
SECTION = Cells.model_validate(
    {
        "filter": {
            **{"min_counts": 500, "min_genes": 200, "max_mt_fraction": 0.25, "min_measured_genes": 5000},
            "mads": {"counts": 5, "genes": 5, "mt_fraction": 5},
        },
        "sampling": [
            {"kind": "cap", "cells": 100_000, "by": ["dataset_id", "cell_type"]},
            {"kind": "fraction", "fraction": 0.1},
        ],
        "split": {"strategy": "dataset", "validation_fraction": 0.2},
    }
)
"""What is measured: every rule of QC, a cap that sorts all cells, the paper's tenth and its split by dataset."""


class _Cells:
    """Cells that are generated chunk by chunk.

    Datasets are contiguous and differ in size (log-normal), and cell types in frequency (Zipf). A dataset has some of
    the types, donors and tissues. A fifth of the cells are not primary data.
    """

    def __init__(self, rows: int, seed: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        sizes = rng.lognormal(0, 1.5, DATASETS)
        self.ends_d = np.round(np.cumsum(sizes) / sizes.sum() * rows)
        popularity = 1 / np.arange(1, CELL_TYPES + 1) ** 1.1
        present_dc = rng.random((DATASETS, CELL_TYPES)) < 40 * popularity / popularity.sum()
        present_dc[rng.integers(0, DATASETS, CELL_TYPES), np.arange(CELL_TYPES)] = True  # each type is in some dataset
        present_dc[:, 0] = True  # every dataset has a type
        share_dc = rng.gamma(0.5, 1, present_dc.shape) * present_dc
        # Cumulative frequencies of the types of dataset d rise from d to d + 1, so that one search serves all cells.
        share_dc = np.cumsum(share_dc / share_dc.sum(axis=1, keepdims=True), axis=1)
        self.cumulative = (share_dc + np.arange(DATASETS)[:, None]).ravel()
        self.donors_d, self.tissue_d, self.assay_d = (rng.integers(1, n, DATASETS) for n in (DONORS, TISSUES, ASSAYS))
        self.depth_d, self.mt_d = rng.normal(8.3, 0.5, DATASETS), rng.beta(2, 40, DATASETS)
        self.measured_d = rng.integers(15_000, 60_000, DATASETS)

    def table(self, start: int, stop: int) -> pa.Table:
        """Return the next cells as obs of the Census has them."""
        rng, n = self.rng, stop - start
        d = np.searchsorted(self.ends_d, np.arange(start, stop), side="right").clip(max=DATASETS - 1)
        cell_type = (np.searchsorted(self.cumulative, d + rng.random(n)) - d * CELL_TYPES).clip(0, CELL_TYPES - 1)
        tissue = (self.tissue_d[d] + rng.integers(0, 3, n)) % TISSUES
        counts = np.round(np.exp(rng.normal(self.depth_d[d], 0.5)))
        codes = {
            **dict.fromkeys(("cell_type", "cell_type_ontology_term_id"), cell_type),
            **dict.fromkeys(TISSUE_COLUMNS, tissue),
            "assay_ontology_term_id": self.assay_d[d],
            "disease_ontology_term_id": d % DISEASES,
            "sex_ontology_term_id": cell_type % SEXES,
            "donor_id": (rng.random(n) * self.donors_d[d]).astype(np.int64),
            "dataset_id": d,
        }
        columns = {
            name: pa.DictionaryArray.from_arrays(pa.array(code, pa.int32()), _NAMES[name])
            for name, code in codes.items()
        }
        numbers = {
            "is_primary_data": rng.random(n) < 0.8,
            "raw_sum": counts,
            "nnz": np.clip(counts * rng.uniform(0.3, 0.6, n), 1, 12_000).astype(np.int64),
            "n_measured_vars": self.measured_d[d],
            "mt_fraction": np.clip(self.mt_d[d] * rng.lognormal(0, 0.6, n), 0, 1),
        }
        return pa.table({"soma_joinid": np.arange(start, stop)} | columns | numbers)


def _numbered(form: str, n: int) -> pa.Array:
    return pa.array([form.format(i) for i in range(n)], pa.large_string())


_NAMES = {
    "cell_type": _numbered("type {}", CELL_TYPES),
    "cell_type_ontology_term_id": _numbered("CL:{:07d}", CELL_TYPES),
    **dict.fromkeys(TISSUE_COLUMNS[:2], _numbered("tissue {}", TISSUES)),
    **dict.fromkeys(TISSUE_COLUMNS[2:], _numbered("UBERON:{:07d}", TISSUES)),
    "assay_ontology_term_id": _numbered("EFO:{:07d}", ASSAYS),
    "disease_ontology_term_id": _numbered("MONDO:{:07d}", DISEASES),
    "sex_ontology_term_id": _numbered("PATO:{:07d}", SEXES),
    "donor_id": _numbered("donor {}", DONORS),
    "dataset_id": _numbered("dataset-{:03d}", DATASETS),
}


def generate(folder: Path, rows: int, seed: int = SEED) -> None:
    """Write a collection of `rows` cells whose obs has the columns that a selection can need."""
    cells = _Cells(rows, seed)
    ids = _NAMES["dataset_id"]
    infos = pa.table({"soma_joinid": np.arange(DATASETS), "dataset_id": ids, "dataset_title": ids})
    context = soma.SOMATileDBContext(tiledb_config=BUFFERS)
    with soma.Collection.create(str(folder), context=context) as census:
        info = census.add_new_collection("census_info")
        organism = census.add_new_collection("census_data").add_new_collection(ORGANISM, soma.Experiment)
        for parent, name, schema, n in (
            (info, "datasets", infos.schema, DATASETS),
            (organism, "obs", cells.table(0, 1).schema, rows),
        ):
            parent.add_new_dataframe(name, schema=schema, index_column_names=["soma_joinid"], domain=[(0, n - 1)])
    # Reopened for writing: what is created in an open collection loses its dictionaries (see wced.corpus.build).
    with soma.open(str(folder / "census_info" / "datasets"), "w") as frame:
        frame.write(infos)
    for start in range(0, rows, CHUNK):
        with soma.open(str(folder / "census_data" / ORGANISM / "obs"), "w") as frame:
            frame.write(cells.table(start, min(start + CHUNK, rows)))


def measure(rows: Sequence[int], extrapolate_to: int = CENSUS_CELLS) -> pd.DataFrame:
    """Select from generated tables of some sizes, each in its own process; return tables.SELECTION_BENCHMARK.

    A straight line through the two largest tables gives further rows for `extrapolate_to` cells, unless there is only
    one table, or one as large.
    """
    parts = []
    for n in sorted(set(rows)):
        with tempfile.TemporaryDirectory() as folder:
            generate(Path(folder) / "census", n)
            command = [sys.executable, "-m", "speed.selection", f"{folder}/census", folder]
            packages = [str(Path(package).parents[1]) for package in (__file__, wced.__file__)]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(packages)}
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
            if done.returncode:
                raise WcedError(f"selecting from {n} generated cells ended with status {done.returncode}")
            parts.append(pd.DataFrame(json.loads(done.stdout)).assign(rows=n, extrapolated=False))
    if len(parts) > 1 and extrapolate_to > max(rows):
        parts.append(extrapolated(*parts[-2:], extrapolate_to))
    return tables.checked(pd.concat(parts, ignore_index=True), tables.SELECTION_BENCHMARK)


def extrapolated(small: pd.DataFrame, large: pd.DataFrame, rows: int) -> pd.DataFrame:
    """Return what a straight line through two measured tables gives for a larger one, marked so."""
    line = large.assign(rows=rows, extrapolated=True)
    for column in ("seconds", "cpu_seconds", "peak_mb"):
        slope = (large[column] - small[column]) / (large["rows"] - small["rows"])
        line[column] = large[column] + slope * (rows - large["rows"])
    return line


def _select(collection: str, folder: Path) -> None:
    """Select from a collection and print seconds and memory of each step as JSON."""
    section = Census(uri=collection)
    rows: list[dict[str, object]] = []
    start = last = np.array([time.perf_counter(), time.process_time()])

    def note(step: str, since: np.ndarray) -> np.ndarray:
        now = np.array([time.perf_counter(), time.process_time()])
        seconds, cpu_seconds = (now - since).tolist()
        rows.append({"step": step, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_resident()})
        return now

    def done(step: str) -> None:
        nonlocal last
        last = note(step, last)

    with open_census(section) as census:
        select_cells(census, section, SECTION, SEED, folder / "cells.parquet", folder / "corpus.tsv", done)
    note("whole", start)
    print(json.dumps(rows))


if __name__ == "__main__":
    _select(sys.argv[1], Path(sys.argv[2]))
