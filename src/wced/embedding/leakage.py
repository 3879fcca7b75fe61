"""Whether cells that are scored were part of the corpus: by their id in CELLxGENE, and by their counts.

Dataset ids miss studies that were packaged again. Two cells are the same by their counts if they agree in the count of
every gene of the vocabulary that both of their datasets measured. Sets of (gene, count) pairs are compared by a 64-bit
hash: the sum, modulo 2^64, of a mixed hash of each pair, which does not depend on the order of genes. Of n scored and m
other cells, about n m / 2^64 pairs agree by chance: 2e-7 for 500,000 scored cells and a corpus of 6 million.
"""

from pathlib import Path

import numba
import numpy as np
import pandas as pd
from anndata import AnnData

from wced import h5ad, tables
from wced.corpus.datasets import Role
from wced.corpus.obs import read_joinids
from wced.corpus.reading import of_anndata
from wced.errors import WcedError
from wced.progress import progress
from wced.shards.cells import RaggedCells, from_csr
from wced.shards.counter_random import mixed
from wced.shards.reader import ShardSet
from wced.shards.vocabulary import Vocabulary

MIN_GENES = 50
"""A cell that expresses fewer genes of those compared is not compared: a few small counts may well agree by chance."""

ROWS = 16_384
"""Cells of the corpus whose counts are in memory at once."""

ALL = "all"
"""Name of the row about the whole corpus."""


@numba.njit(nogil=True, cache=True)
def count_hashes(offsets, gene, count, compared_v, min_genes):
    """Return a hash of each cell's counts of the genes in `compared_v` (bool); 0 for cells of fewer than `min_genes`.

    A gene counts when its count is not zero; the order of genes does not matter.
    """
    hash_n = np.zeros(len(offsets) - 1, np.uint64)
    for i in range(len(hash_n)):
        total, genes = np.uint64(0), 0
        for j in range(offsets[i], offsets[i + 1]):
            if compared_v[gene[j]]:
                total += mixed((np.uint64(gene[j]) + np.uint64(1)) << np.uint64(32) | np.uint64(count[j]))
                genes += 1
        if genes >= min_genes:
            hash_n[i] = total if total != 0 else np.uint64(1)
    return hash_n


def _hashes(cells: RaggedCells, compared_v: np.ndarray) -> np.ndarray:
    return count_hashes(cells.offsets, cells.gene, cells.count, compared_v, MIN_GENES)


def find(
    path: str | Path, dataset: str, shards: ShardSet, joinids: str | Path, *, role: Role = "held_out"
) -> pd.DataFrame:
    """Look for the cells of a dataset among the training and validation cells of a corpus.

    `path` is the harmonised dataset (h5ad): raw counts as X, indexed by Ensembl id, and `observation_joinid` in obs;
    `joinids` has those of the corpus, as `wced joinids` writes them; `role` is that of the dataset in its table.
    Returned are rows of tables.LEAKAGE: one for each dataset of the corpus that any cell was found in, and one for all.
    """
    adata = h5ad.read(path, "a harmonised dataset", backed="r")
    if "observation_joinid" not in adata.obs:
        raise WcedError(f"{path}: obs has no column observation_joinid")
    joinid_n = pd.Index(adata.obs["observation_joinid"].astype(str))
    # Datasets of the corpus that measured the same genes share a mask, and so a hash of each cell.
    mask_mv, mask_d = np.unique(shards.measured_dv, axis=0, return_inverse=True)
    measured_v, hash_mn = _hashes_by_mask(adata, shards.vocabulary, mask_mv)
    rows_c = np.concatenate([shards.places("train"), shards.places("validation")])
    hash_c = np.zeros(len(rows_c), np.uint64)
    for start in progress(range(0, len(rows_c), ROWS), "corpus", unit=f"blocks of {ROWS:,} cells"):
        hash_c[start : start + ROWS] = _hashes(shards.take(rows_c[start : start + ROWS]), measured_v)
    joinid_c = read_joinids(joinids, shards.column("soma_joinid", rows_c))
    dataset_c = shards.column("dataset", rows_c)
    order = np.argsort(dataset_c, kind="stable")
    bounds = np.searchsorted(dataset_c[order], np.arange(len(shards.dataset_ids) + 1))
    rows, by_joinid_n, by_hash_n = [], np.zeros(adata.n_obs, bool), np.zeros(adata.n_obs, bool)

    for d, name in enumerate(shards.dataset_ids):
        members = order[bounds[d] : bounds[d + 1]]
        same_id_n = joinid_n.isin(joinid_c[members])
        hash_n = hash_mn[mask_d[d]]
        same_counts_n = (hash_n != 0) & np.isin(hash_n, hash_c[members])
        by_joinid_n, by_hash_n = by_joinid_n | same_id_n, by_hash_n | same_counts_n
        if (same_id_n | same_counts_n).any():
            rows.append(_row(name, hash_n != 0, same_id_n, same_counts_n))
    rows.append(_row(ALL, (hash_mn != 0).any(axis=0), by_joinid_n, by_hash_n))
    table = pd.DataFrame(rows).assign(dataset=dataset, role=role, cells=adata.n_obs)
    return tables.checked(table, tables.LEAKAGE)


def _row(corpus_dataset: str, compared_n: np.ndarray, by_joinid_n: np.ndarray, by_hash_n: np.ndarray) -> dict:
    counts = {"compared": compared_n, "by_joinid": by_joinid_n, "by_hash": by_hash_n, "found": by_joinid_n | by_hash_n}
    return {"corpus_dataset": corpus_dataset, **{name: int(cells_n.sum()) for name, cells_n in counts.items()}}


def _hashes_by_mask(adata: AnnData, vocabulary: Vocabulary, mask_mv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which genes of the vocabulary were measured, and the hash of each cell over the genes of each mask."""
    published = of_anndata(adata)
    id_g = vocabulary.ids_of(published.var.index)
    measured_v = np.zeros(len(vocabulary), bool)
    measured_v[id_g[id_g >= 0]] = True
    hash_mn, start = np.zeros((len(mask_mv), adata.n_obs), np.uint64), 0
    for counts_ng in published.counts():
        cells = from_csr(counts_ng, id_g, len(vocabulary))
        for m, mask_v in enumerate(mask_mv):
            hash_mn[m, start : start + len(cells)] = _hashes(cells, measured_v & mask_v)
        start += len(cells)
    return measured_v, hash_mn


def in_words(table: pd.DataFrame) -> str:
    """Return the text of the column `leakage` for models of this corpus, from the rows of one dataset."""
    whole = table[table["corpus_dataset"] == ALL].iloc[0]
    cells, compared = int(whole["cells"]), int(whole["compared"])
    limits = {0: "; counts were not compared", cells: ""}.get(compared, f"; counts of {compared:,} were compared")
    parts = ", ".join(table.loc[table["corpus_dataset"] != ALL, "corpus_dataset"])
    if whole["found"] == 0:
        overlap = f"none (0 of {cells:,} cells found in the corpus{limits})"
    else:
        overlap = f"{whole['found']:,} of {cells:,} cells found in the corpus ({parts}{limits})"
    development = (table["role"] == "development").any()
    return f"development data: its scores chose recipes; {overlap}" if development else overlap
