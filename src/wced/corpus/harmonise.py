"""From published files to one AnnData in the CELLxGENE schema: raw counts, Ensembl ids, ontology terms."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from wced.corpus.annotation import annotate
from wced.corpus.conditions import kept_rows
from wced.corpus.datasets import HUMAN, OBS_COLUMNS, Dataset
from wced.corpus.mapping import file_genes, map_genes
from wced.corpus.published import Published
from wced.corpus.reading import open_counts, read_labels
from wced.corpus.terms import UNKNOWN
from wced.errors import WcedError
from wced.files import whole_file
from wced.genes.orthologs import Orthologs
from wced.progress import advancing

# gzip, because lzf's bytes depend on what its memory held before; chunks of 256 kB hold 65,536 values.
STORAGE = {"compression": "gzip", "compression_opts": 1}
CHUNK = 2**16


def harmonise(
    dataset: Dataset,
    files: Mapping[str, str | Path],
    table: pd.DataFrame,
    output: str | Path,
    *,
    labels: str | Path | None = None,
    cell_type_names: Mapping[str, str] | None = None,
    orthologs: Orthologs | None = None,
    min_mapped_genes: float = 0.0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a dataset's files and write them, in the CELLxGENE schema, as one h5ad file.

    Files are read twice, a block of cells at a time: first all counts are checked and added up, then they are written.
    Memory holds obs of all cells and one block, however many cells there are (exceptions: matrices stored by genes,
    and the text format of 10x, are in memory as a whole, one file at a time).

    Parameters
    ----------
    dataset
        Row of the table of datasets.
    files
        Name and path of each file of counts.
    table
        Gene table (`wced.genes`).
    output
        File to write. X: CSR float32, whole numbers, cells × genes; obs: `OBS_COLUMNS` and the row's `extra_obs`; var:
        feature_name, feature_length and feature_type, indexed by Ensembl id, sorted; uns: title, citation, and
        `counts_made_of` where X is made of other values than counts.
    labels
        File of labels, where the row names one.
    cell_type_names
        Cell Ontology id of each free name of a cell type.
    orthologs
        Human orthologs of the species' genes, where the row names another species: genes without exactly one are
        dropped, and counted as unmapped.
    min_mapped_genes
        Smallest share of the files' genes that must be known, in the gene table or as genes of the other species.

    Returns
    -------
    qc
        One row of `wced.tables.SOURCES_QC`.
    terms
        Rows of `wced.tables.SOURCES_TERMS`.

    Raises
    ------
    WcedError
        If a file is not what the row says, if counts are no counts, or if too few genes are known. Nothing is written.
    """
    if (orthologs is None) != (dataset.species == HUMAN):
        raise WcedError(f"dataset {dataset.dataset}: orthologs are for species other than {HUMAN}, and needed for them")
    published = [open_counts(path, dataset.format, dataset.counts, dataset.values) for path in files.values()]
    rows = [kept_rows(file.obs, dataset.keep, f"dataset {dataset.dataset}, {file.where}") for file in published]
    obs, notes, terms = annotate(
        {name: file.obs.iloc[kept] for name, file, kept in zip(files, published, rows, strict=True)},
        None if labels is None else read_labels(labels),
        dataset,
        cell_type_names or {},
    )
    for file in published:
        if file.left_out:
            print(f"{file.where}: left out features that are no genes: {file.left_out}")
    found = file_genes([file.var for file in published], dataset, table, orthologs)
    total_g = np.zeros(len(found.ids))
    for i, block in _blocks(published, rows, f"{dataset.dataset}: summing genes"):
        total_g[found.places[i]] += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
    mapping = map_genes(found, total_g, dataset, table, min_mapped_genes, orthologs)
    genes = table.set_index("gene_id").loc[mapping.gene_ids]
    var = pd.DataFrame({"feature_name": genes["symbol"], "feature_length": genes["length"]})
    var["feature_type"] = genes["biotype"].astype("category")
    mitochondrial_g = genes["mitochondrial"].to_numpy()

    with whole_file(output) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        empty = sparse.csr_matrix((0, len(var)), dtype=np.float32)
        # Row pointers of 64 bits: there may be more values than 32 can count.
        options = {**STORAGE, "chunks": (CHUNK,), "indptr_dtype": np.int64}
        write_elem(file, "X", empty, dataset_kwargs=options)
        x_ng, statistics, empty_n, poor_n = sparse_dataset(file["X"]), [], [], []
        for i, block in _blocks(published, rows, f"{dataset.dataset}: writing"):
            counts_ng = mapping.apply(i, block)
            block.eliminate_zeros()
            empty_n.append(np.diff(counts_ng.indptr) == 0)
            poor_n.append(~empty_n[-1] & (np.diff(block.indptr) < dataset.min_genes))
            counts_ng = counts_ng[~(empty_n[-1] | poor_n[-1])]
            statistics.append(count_statistics(counts_ng, mitochondrial_g))
            x_ng.append(counts_ng)
        empty_n, poor_n = (np.concatenate([*parts, []]).astype(bool) for parts in (empty_n, poor_n))
        obs = obs[~(empty_n | poor_n)]
        if obs.empty:
            raise WcedError(f"dataset {dataset.dataset}: no cell is left of {sum(len(file.obs) for file in published)}")
        obs = pd.concat([obs, pd.concat(statistics).set_axis(obs.index)], axis=1)[[*OBS_COLUMNS, *dataset.extra]]
        # All text but the cells' own ids repeats itself. The categories are sorted.
        text = obs.select_dtypes("object").columns.drop("observation_joinid")
        obs = obs.astype(dict.fromkeys(text, "category"))
        uns = {"title": dataset.title, "citation": dataset.citation}
        uns |= {} if dataset.values == "counts" else {"counts_made_of": dataset.values}
        _write_rest(file, ad.AnnData(obs=obs, var=var, uns=uns))
    qc = {
        "dataset": dataset.dataset,
        "files": len(published),
        "cells_in_file": sum(len(file.obs) for file in published),
        "cells_dropped_filter": sum(len(file.obs) for file in published) - len(empty_n),
        "cells_dropped_empty": int(empty_n.sum()),
        "cells_dropped_min_genes": int(poor_n.sum()),
        "cells": len(obs),
        **mapping.qc,
        "cells_unlabelled": int((obs["cell_type_ontology_term_id"] == UNKNOWN).sum()),
        **notes,
    }
    return pd.DataFrame([qc]), terms


def _blocks(published: list[Published], rows: list[np.ndarray], name: str) -> Iterator[tuple[int, sparse.csr_matrix]]:
    """Give the wanted cells of all files, block after block, with the number of the file."""
    with advancing(name, total=sum(map(len, rows)), unit="cells") as advance:
        for i, (file, wanted) in enumerate(zip(published, rows, strict=True)):
            for block in file.counts(wanted):
                cells = block.shape[0]
                yield i, block
                advance(cells)


def _write_rest(file: h5py.File, shell: ad.AnnData) -> None:
    """Write what an h5ad file has beside X."""
    shell.obs_names.name = shell.var_names.name = None
    shell.strings_to_categoricals()
    for key in ("obs", "var"):
        write_elem(file, key, getattr(shell, key), dataset_kwargs=STORAGE)
    write_elem(file, "uns", dict(shell.uns))
    for key in ("layers", "obsm", "obsp", "varm", "varp"):
        write_elem(file, key, {})


def count_statistics(counts_ng: sparse.csr_matrix, mitochondrial_g: np.ndarray) -> pd.DataFrame:
    """Return the Census's statistics of each cell's counts, and the share of mitochondrially encoded ones.

    Parameters
    ----------
    counts_ng
        Raw counts, cells × genes, without stored zeros and without empty cells.
    mitochondrial_g
        Which genes are encoded by mitochondrial DNA.

    Returns
    -------
    pandas.DataFrame
        raw_sum, nnz, raw_mean_nnz and raw_variance_nnz (of the counts that are not zero; the variance with n - 1, and 0
        for a single count, as the Census has it), n_measured_vars, mt_fraction (NaN where no such gene was measured).
    """
    counts_ng = counts_ng.astype(np.float64)
    nnz = np.diff(counts_ng.indptr)
    raw_sum = np.asarray(counts_ng.sum(axis=1)).ravel()
    mean = raw_sum / nnz
    deviations = counts_ng.copy()
    deviations.data = (deviations.data - np.repeat(mean, nnz)) ** 2
    mitochondrial = np.asarray(counts_ng[:, mitochondrial_g].sum(axis=1)).ravel()
    return pd.DataFrame(
        {
            "raw_sum": raw_sum,
            "nnz": nnz.astype(np.int64),
            "raw_mean_nnz": mean,
            "raw_variance_nnz": np.asarray(deviations.sum(axis=1)).ravel() / np.maximum(nnz - 1, 1),
            "n_measured_vars": np.int64(counts_ng.shape[1]),
            "mt_fraction": mitochondrial / raw_sum if mitochondrial_g.any() else np.nan,
        }
    )
