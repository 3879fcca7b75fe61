"""From a published file to one AnnData in the CELLxGENE schema: raw counts, Ensembl ids, ontology terms."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from wced import genes
from wced.corpus.annotation import annotate
from wced.corpus.datasets import Dataset
from wced.corpus.reading import RawCells, read_h5ad, read_obs
from wced.corpus.terms import UNKNOWN
from wced.errors import WcedError
from wced.files import whole_file

OBS_COLUMNS = (
    "dataset_id",
    *("assay", "assay_ontology_term_id", "cell_type", "cell_type_ontology_term_id"),
    *("development_stage", "development_stage_ontology_term_id", "disease", "disease_ontology_term_id"),
    *("donor_id", "is_primary_data", "observation_joinid"),
    *("self_reported_ethnicity", "self_reported_ethnicity_ontology_term_id", "sex", "sex_ontology_term_id"),
    *("suspension_type", "tissue", "tissue_ontology_term_id", "tissue_general", "tissue_general_ontology_term_id"),
    *("tissue_type", "batch", "raw_sum", "nnz", "raw_mean_nnz", "raw_variance_nnz", "n_measured_vars", "mt_fraction"),
)
"""Columns of a harmonised dataset's obs: the Census's, and `batch` and `mt_fraction`."""


def harmonise(
    dataset: Dataset,
    file: str | Path,
    table: pd.DataFrame,
    *,
    labels: str | Path | None = None,
    cell_type_names: dict[str, str] | None = None,
    min_mapped_genes: float = 0.0,
) -> tuple[ad.AnnData, pd.DataFrame]:
    """Read a dataset's file and bring it into the CELLxGENE schema.

    Parameters
    ----------
    dataset
        Row of the table of datasets.
    file, labels
        The h5ad file of counts, and that of labels where the row names one.
    table
        Gene table (`wced.genes`).
    cell_type_names
        Cell Ontology id of each free name of a cell type.
    min_mapped_genes
        Smallest share of the file's genes that must be in the gene table.

    Returns
    -------
    AnnData
        X: CSR float32, whole numbers, cells × genes; obs: `OBS_COLUMNS`; var: feature_name, feature_length and
        feature_type, indexed by Ensembl id, sorted; uns: title, citation.
    pandas.DataFrame
        One row of `wced.tables.SOURCES_QC`.

    Raises
    ------
    WcedError
        If the file is not what the row says, if counts are no counts, or if too few genes are known.
    """
    raw = read_h5ad(file, dataset.counts, dataset.keep)
    label_obs = None if labels is None else read_obs(labels)
    obs = annotate(raw.obs, label_obs, dataset, cell_type_names or {})
    counts_ng, gene_ids, gene_qc = _mapped(raw, dataset, table, min_mapped_genes)
    filled = np.diff(counts_ng.indptr) > 0
    counts_ng, obs = counts_ng[filled], obs[filled]
    if counts_ng.shape[0] == 0:
        raise WcedError(f"dataset {dataset.dataset}: no cell is left of {raw.n_in_file}")
    var = table.set_index("gene_id").loc[gene_ids]
    statistics = count_statistics(counts_ng, var["mitochondrial"].to_numpy()).set_index(obs.index)
    obs = pd.concat([obs, statistics], axis=1)[list(OBS_COLUMNS)]
    qc = {
        "dataset": dataset.dataset,
        "cells_in_file": raw.n_in_file,
        "cells_dropped_filter": raw.n_in_file - len(raw.obs),
        "cells_dropped_empty": int((~filled).sum()),
        "cells": len(obs),
        **gene_qc,
        "cells_unlabelled": int((obs["cell_type_ontology_term_id"] == UNKNOWN).sum()),
    }
    features = {"feature_name": var["symbol"], "feature_length": var["length"]}
    adata = ad.AnnData(
        counts_ng,
        # All text but the cells' own ids repeats itself. The categories are sorted.
        obs=obs.astype(dict.fromkeys(obs.select_dtypes("object").columns.drop("observation_joinid"), "category")),
        var=pd.DataFrame({**features, "feature_type": var["biotype"].astype("category")}),
        uns={"title": dataset.title, "citation": dataset.citation},
    )
    adata.obs_names.name = adata.var_names.name = None
    return adata, pd.DataFrame([qc])


def _mapped(
    raw: RawCells, dataset: Dataset, table: pd.DataFrame, min_mapped_genes: float
) -> tuple[sparse.csr_matrix, np.ndarray, dict[str, float]]:
    """Return counts of known genes, their sorted Ensembl ids, and what became of the file's genes."""
    if dataset.gene_ids != "index" and dataset.gene_ids not in raw.var.columns:
        raise WcedError(f"dataset {dataset.dataset}, gene_ids: var has no column {dataset.gene_ids}")
    names = raw.var.index if dataset.gene_ids == "index" else raw.var[dataset.gene_ids].astype(str)
    if dataset.gene_id_kind == "ensembl":
        ids = pd.Series(genes.without_version(names))
        ids = ids.where(ids.isin(table["gene_id"]), "").to_numpy()
    else:
        ids = genes.gene_names(table).ids_of(names)
    total_g = np.asarray(raw.counts_ng.sum(axis=0, dtype=np.float64)).ravel()
    measured = total_g > 0 if dataset.drop_zero_genes else np.ones(len(ids), bool)
    used = measured & (ids != "")
    share = used.sum() / max(measured.sum(), 1)
    if share < min_mapped_genes or not used.any():
        raise WcedError(
            f"dataset {dataset.dataset}: only {share:.1%} of its genes are in the gene table (at least "
            f"{min_mapped_genes:.0%} are asked for); are they {dataset.gene_id_kind} names?"
        )
    gene_ids, columns = np.unique(ids[used].astype(str), return_inverse=True)
    merge = sparse.csr_matrix((np.ones(used.sum()), (np.flatnonzero(used), columns)), (len(ids), len(gene_ids)))
    counts_ng = sparse.csr_matrix(raw.counts_ng @ merge).astype(np.float32)
    counts_ng.eliminate_zeros()
    counts_ng.sort_indices()
    qc = {
        "genes_in_file": len(ids),
        "genes_dropped_zero": int((~measured).sum()),
        "genes_unmapped": int((measured & ~used).sum()),
        "genes_merged": int(used.sum() - len(gene_ids)),
        "genes": len(gene_ids),
        "counts_unmapped_fraction": float(total_g[~used].sum() / max(total_g.sum(), 1)),
    }
    return counts_ng, gene_ids, qc


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


def write(adata: ad.AnnData, path: str | Path) -> None:
    """Write a harmonised dataset."""
    with whole_file(path) as temporary:
        # gzip, because lzf's bytes depend on what its memory held before.
        adata.write_h5ad(temporary, compression="gzip", compression_opts=1)
