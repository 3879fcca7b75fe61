"""Whether cells that are scored were part of the corpus: by their id in CELLxGENE, and by their counts.

Dataset ids miss studies that were packaged again. Two cells are the same by their counts if they agree in the count of
every gene of the vocabulary that both of their datasets measured. Sets of (gene, count) pairs are compared by a 64-bit
hash: the sum, modulo 2^64, of a mixed hash of each pair, which does not depend on the order of genes. Of n scored and m
other cells, about n m / 2^64 pairs agree by chance: 2e-7 for 500,000 scored cells and a corpus of 6 million.
"""

from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pandas as pd

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


@dataclass(frozen=True)
class Scored:
    """What of a scored dataset is compared with the corpus."""

    dataset: str
    """Its name."""
    joinid_n: pd.Index
    """`observation_joinid` of its cells."""
    measured_v: np.ndarray
    """bool, (vocabulary,): genes that it has."""
    hash_mn: np.ndarray
    """uint64, masks × cells: hashes of the cells' counts over the genes of each mask; 0 for cells of too few genes."""


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


def _hashes(cells: RaggedCells, compared_v: np.ndarray, min_genes: int) -> np.ndarray:
    return count_hashes(cells.offsets, cells.gene, cells.count, compared_v, min_genes)


def read_scored(
    path: str | Path, dataset: str, vocabulary: Vocabulary, measured_mv: np.ndarray, min_genes: int = MIN_GENES
) -> Scored:
    """Read a harmonised dataset, a block of cells at a time.

    Parameters
    ----------
    path
        h5ad with raw counts as X, indexed by Ensembl id, and `observation_joinid` in obs.
    dataset
        Its name.
    vocabulary
        Genes that are compared.
    measured_mv
        bool, masks × vocabulary: genes that the datasets of the corpus measured.
    min_genes
        See `MIN_GENES`.
    """
    adata = h5ad.read(path, "a harmonised dataset", backed="r")
    if "observation_joinid" not in adata.obs:
        raise WcedError(f"{path}: obs has no column observation_joinid")
    published = of_anndata(adata)
    id_g = vocabulary.ids_of(published.var.index)
    measured_v = np.zeros(len(vocabulary), bool)
    measured_v[id_g[id_g >= 0]] = True
    hash_mn = np.zeros((len(measured_mv), adata.n_obs), np.uint64)
    start = 0
    for counts_ng in published.counts():
        cells = from_csr(counts_ng, id_g, len(vocabulary))
        for m, other_v in enumerate(measured_mv):
            hash_mn[m, start : start + len(cells)] = _hashes(cells, measured_v & other_v, min_genes)
        start += len(cells)
    return Scored(dataset, pd.Index(adata.obs["observation_joinid"].astype(str)), measured_v, hash_mn)


def find(
    path: str | Path,
    dataset: str,
    shards: ShardSet,
    joinids: str | Path,
    *,
    role: Role = "held_out",
    min_genes: int = MIN_GENES,
) -> pd.DataFrame:
    """Look for the cells of a dataset among the training and validation cells of a corpus.

    Parameters
    ----------
    path
        The harmonised dataset (h5ad).
    dataset
        Its name.
    shards
        The corpus.
    joinids
        `observation_joinid` of its cells, as `wced joinids` writes them.
    role
        Of the scored dataset, in the table of datasets.
    min_genes
        See `MIN_GENES`.

    Returns
    -------
    pandas.DataFrame
        Rows of tables.LEAKAGE: one for each dataset of the corpus that any cell was found in, and one for all.
    """
    mask_mv, mask_d = np.unique(shards.measured_dv, axis=0, return_inverse=True)
    scored = read_scored(path, dataset, shards.vocabulary, mask_mv, min_genes)
    places = np.concatenate([shards.places("train"), shards.places("validation")])
    hash_c = np.zeros(len(places), np.uint64)
    for start in progress(range(0, len(places), ROWS), "corpus", unit=f"blocks of {ROWS:,} cells"):
        cells = shards.take(places[start : start + ROWS])
        hash_c[start : start + ROWS] = _hashes(cells, scored.measured_v, min_genes)
    dataset_c, soma_joinid_c = shards.column("dataset", places), shards.column("soma_joinid", places)
    joinid_c = read_joinids(joinids, soma_joinid_c)
    order = np.argsort(dataset_c, kind="stable")
    bounds = np.searchsorted(dataset_c[order], np.arange(len(shards.dataset_ids) + 1))
    rows, by_joinid, by_hash = [], np.zeros(len(scored.joinid_n), bool), np.zeros(len(scored.joinid_n), bool)
    for d, name in enumerate(shards.dataset_ids):
        members = order[bounds[d] : bounds[d + 1]]
        same_id = scored.joinid_n.isin(joinid_c[members])
        hash_n = scored.hash_mn[mask_d[d]]
        same_counts = (hash_n != 0) & np.isin(hash_n, hash_c[members])
        by_joinid, by_hash = by_joinid | same_id, by_hash | same_counts
        rows.append(_row(dataset, name, same_id, same_counts, hash_n != 0))
    rows = [row for row in rows if row["found"]]
    rows.append(_row(dataset, ALL, by_joinid, by_hash, (scored.hash_mn != 0).any(axis=0)))
    return tables.checked(pd.DataFrame(rows).assign(role=role), tables.LEAKAGE)


def _row(dataset: str, corpus: str, by_joinid: np.ndarray, by_hash: np.ndarray, compared: np.ndarray) -> dict:
    return {
        "dataset": dataset,
        "corpus_dataset": corpus,
        "cells": len(by_joinid),
        "compared": int(compared.sum()),
        "by_joinid": int(by_joinid.sum()),
        "by_hash": int(by_hash.sum()),
        "found": int((by_joinid | by_hash).sum()),
    }


def in_words(found: pd.DataFrame) -> str:
    """Return what stands beside every score of a model of this corpus, from the rows of one dataset."""
    development = "development data: its scores chose recipes; " if (found["role"] == "development").any() else ""
    return development + _overlap(found)


def _overlap(found: pd.DataFrame) -> str:
    """Return how many cells of the dataset are in the corpus."""
    whole = found[found["corpus_dataset"] == ALL].iloc[0]
    cells, compared = int(whole["cells"]), int(whole["compared"])
    limits = {0: "; counts were not compared", cells: ""}.get(compared, f"; counts of {compared:,} were compared")
    if whole["found"] == 0:
        return f"none (0 of {cells:,} cells found in the corpus{limits})"
    parts = ", ".join(found.loc[found["corpus_dataset"] != ALL, "corpus_dataset"])
    return f"{whole['found']:,} of {cells:,} cells found in the corpus ({parts}{limits})"
