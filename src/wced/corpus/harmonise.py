"""From published files to one AnnData in the CELLxGENE schema: raw counts, Ensembl ids, ontology terms."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from wced import genes
from wced.contracts import CELL_TYPE, COUNTS_MADE_OF, UNKNOWN
from wced.corpus.annotation import annotate
from wced.corpus.conditions import kept_rows
from wced.corpus.datasets import HUMAN, OBS_COLUMNS, Dataset
from wced.corpus.published import LARGEST_COUNT, Published
from wced.corpus.reading import open_counts, read_labels
from wced.errors import WcedError
from wced.files import whole_file
from wced.genes.orthologs import Orthologs
from wced.progress import progress

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
    """Write a dataset's files, in the CELLxGENE schema, as one h5ad file; return the dataset's tables.

    Files are read twice, a block of cells at a time: first all counts are checked and added up, then they are written.
    Memory holds obs of all cells and one block (but matrices stored by genes, and the text format of 10x, are in memory
    as a whole, one file at a time). Nothing is written where it raises WcedError: if a file is not what the row says,
    if counts are no counts, or if too few genes are known.

    Parameters
    ----------
    dataset, files, table
        Row of the table of datasets; name and path of each file of counts; gene table (`wced.genes`).
    output
        File to write. X: CSR float32, whole numbers, cells × genes; obs: `OBS_COLUMNS` and the row's `extra_obs`; var:
        feature_name, feature_length and feature_type, indexed by Ensembl id, sorted; uns: title, citation, and
        `counts_made_of` where X is made of other values than counts.
    labels, cell_type_names
        File of labels, and Cell Ontology ids of free names of cell types, where the row needs them.
    orthologs
        Human orthologs of the genes of another species: genes without exactly one are dropped, and counted as unmapped.
    min_mapped_genes
        Smallest share of the files' genes that must be known, in the gene table or as genes of the other species.

    Returns
    -------
    qc, terms
        One row of `wced.tables.SOURCES_QC`, and rows of `wced.tables.SOURCES_TERMS`.
    """
    if (orthologs is None) != (dataset.species == HUMAN):
        raise WcedError(f"dataset {dataset.dataset}: orthologs are for species other than {HUMAN}, and needed for them")
    published = [open_counts(path, dataset.format, dataset.counts, dataset.values) for path in files.values()]
    rows = [kept_rows(file.obs, dataset.keep, f"dataset {dataset.dataset}, {file.where}") for file in published]
    obs, unmapped_names, terms = annotate(
        {name: file.obs.iloc[kept] for name, file, kept in zip(files, published, rows, strict=True)},
        None if labels is None else read_labels(labels),
        dataset,
        cell_type_names or {},
    )
    for file in published:
        if file.left_out:
            print(f"{file.where}: left out features that are no genes: {file.left_out}")
    of_files = _Genes([file.var for file in published], dataset, table, orthologs)
    total_g = np.zeros(len(of_files.ids))
    for i, block in _blocks(published, rows, f"{dataset.dataset}: summing genes"):
        total_g[of_files.index[i]] += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
    gene_qc = of_files.choose(total_g, min_mapped_genes)
    selected = table.set_index("gene_id").loc[of_files.gene_ids]
    var = pd.DataFrame({"feature_name": selected["symbol"], "feature_length": selected["length"]})
    var["feature_type"] = selected["biotype"].astype("category")
    mitochondrial_g = selected["mitochondrial"].to_numpy()

    n_cells = sum(len(file.obs) for file in published)
    with whole_file(output) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        empty = sparse.csr_matrix((0, len(var)), dtype=np.float32)
        # Row pointers of 64 bits: there may be more values than 32 can count.
        options = {**STORAGE, "chunks": (CHUNK,), "indptr_dtype": np.int64}
        write_elem(file, "X", empty, dataset_kwargs=options)
        x_ng, statistics, empty_n, poor_n = sparse_dataset(file["X"]), [], [], []
        for i, block in _blocks(published, rows, f"{dataset.dataset}: writing"):
            counts_ng = of_files.counts(i, block)
            block.eliminate_zeros()
            empty_n.append(np.diff(counts_ng.indptr) == 0)
            poor_n.append(~empty_n[-1] & (np.diff(block.indptr) < dataset.min_genes))
            counts_ng = counts_ng[~(empty_n[-1] | poor_n[-1])]
            statistics.append(_statistics(counts_ng, mitochondrial_g))
            x_ng.append(counts_ng)
        empty_n, poor_n = (np.concatenate([*parts, []]).astype(bool) for parts in (empty_n, poor_n))
        obs = obs[~(empty_n | poor_n)]
        if obs.empty:
            raise WcedError(f"dataset {dataset.dataset}: no cell is left of {n_cells}")
        obs = pd.concat([obs, pd.concat(statistics).set_axis(obs.index)], axis=1)[[*OBS_COLUMNS, *dataset.extra]]
        # All text but the cells' own ids repeats itself. The categories are sorted.
        text = obs.select_dtypes("object").columns.drop("observation_joinid")
        shell = ad.AnnData(obs=obs.astype(dict.fromkeys(text, "category")), var=var)
        shell.obs_names.name = shell.var_names.name = None
        shell.strings_to_categoricals()
        uns = {"title": dataset.title, "citation": dataset.citation}
        uns |= {} if dataset.values == "counts" else {COUNTS_MADE_OF: dataset.values}
        for key in ("obs", "var"):
            write_elem(file, key, getattr(shell, key), dataset_kwargs=STORAGE)
        for key in ("uns", "layers", "obsm", "obsp", "varm", "varp"):
            write_elem(file, key, uns if key == "uns" else {})
    qc = {
        "dataset": dataset.dataset,
        "files": len(published),
        "cells_in_file": n_cells,
        "cells_dropped_filter": n_cells - len(empty_n),
        "cells_dropped_empty": int(empty_n.sum()),
        "cells_dropped_min_genes": int(poor_n.sum()),
        "cells": len(obs),
        **gene_qc,
        "cells_unlabelled": int((obs[CELL_TYPE] == UNKNOWN).sum()),
        "cell_type_names_unmapped": unmapped_names,
    }
    return pd.DataFrame([qc]), terms


def _blocks(published: list[Published], rows: list[np.ndarray], name: str) -> Iterator[tuple[int, sparse.csr_matrix]]:
    """Yield the kept cells of all files, block after block, with the number of the file."""
    files = enumerate(zip(published, rows, strict=True))
    blocks = ((i, block) for i, (file, kept) in files for block in file.counts(kept))
    return progress(blocks, name, total=sum(map(len, rows)), unit="cells", size=lambda item: item[1].shape[0])


class _Genes:
    """The genes of all files of a dataset, and what becomes of them."""

    def __init__(
        self, vars: Sequence[pd.DataFrame], dataset: Dataset, table: pd.DataFrame, orthologs: Orthologs | None
    ) -> None:
        """List the genes of files, which `vars` describe; one that a file names twice is listed twice."""
        self.dataset, self.table, self.orthologs = dataset, table, orthologs
        keys = []
        for var in vars:
            if dataset.gene_ids != "index" and dataset.gene_ids not in var.columns:
                columns = ", ".join(map(str, var.columns)) or "none"
                raise WcedError(
                    f"dataset {dataset.dataset}, gene_ids: var has no column {dataset.gene_ids}; its columns are "
                    f"{columns}"
                )
            names = var.index.to_series() if dataset.gene_ids == "index" else var[dataset.gene_ids]
            names = names.astype(str).reset_index(drop=True)
            keys.append(pd.MultiIndex.from_arrays([names, names.groupby(names).cumcount()]))
        union = keys[0]
        for key in keys[1:]:
            union = union.append(key[~key.isin(union)])
        self.names = union.get_level_values(0).to_series(index=range(len(union)))
        self.ids, self.known = self._look_up(dataset.gene_id_kind)
        self.index = [union.get_indexer(key) for key in keys]  # of each file's columns

    def _look_up(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the human Ensembl id of each gene (empty for none), and whether the species has it at all."""
        if self.orthologs is not None:
            ids, known = self.orthologs.ids_of(self.names, kind)
            return np.where(np.isin(ids, self.table["gene_id"].to_numpy(object)), ids, "").astype(str), known
        if kind == "symbol":
            ids = genes.gene_names(self.table).ids_of(self.names).astype(str)
        else:
            bare = pd.Series(genes.without_version(self.names))
            ids = bare.where(bare.isin(self.table["gene_id"]), "").to_numpy(dtype=str)
        return ids, ids != ""

    def choose(self, total_g: np.ndarray, min_mapped_genes: float) -> dict[str, float]:
        """Choose the genes of the dataset (`gene_ids`, sorted) by their counts; return columns of QC.

        `column_g` is the index among them of every gene of the files, -1 for genes that are dropped.
        """
        measured = total_g > 0 if self.dataset.drop_zero_genes else np.ones(len(self.ids), bool)
        mapped = measured & (self.ids != "")
        share = (measured & self.known).sum() / max(measured.sum(), 1)
        name, kind = f"dataset {self.dataset.dataset}", self.dataset.gene_id_kind
        if share < min_mapped_genes or not mapped.any():
            unknown = self.names[measured & ~self.known]
            other = {"ensembl": "symbol", "symbol": "ensembl"}[kind]
            other_share = self._look_up(other)[1].mean()
            advice = f"; as {other} names {other_share:.1%} would be: set gene_id_kind"
            raise WcedError(
                f"{name}: only {share:.1%} of its {measured.sum()} genes are in the "
                f"{'gene table' if self.orthologs is None else 'table of orthologs'} as {kind} names (at least "
                f"{min_mapped_genes:.0%} are asked for); not in it are {', '.join(unknown.head(5))}"
                f"{advice if other_share > share else genes.what_names_are(unknown)}"
            )
        everywhere = set.intersection(*(set(self.ids[index]) for index in self.index))
        used = mapped & np.isin(self.ids, sorted(everywhere))
        if not used.any():
            raise WcedError(f"{name}: no gene is in all of its {len(self.index)} files")
        self.gene_ids, index = np.unique(self.ids[used], return_inverse=True)
        self.column_g = np.full(len(self.ids), -1, np.int32)
        self.column_g[used] = index
        return {
            "genes_in_file": len(self.ids),
            "genes_dropped_zero": int((~measured).sum()),
            "genes_unmapped": int((measured & ~mapped).sum()),
            "genes_unmapped_fraction": float(1 - mapped.sum() / max(measured.sum(), 1)),
            "genes_not_in_all_files": int((mapped & ~used).sum()),
            "genes_merged": int(used.sum() - len(self.gene_ids)),
            "genes": len(self.gene_ids),
            "counts_unmapped_fraction": float(total_g[~used].sum() / max(total_g.sum(), 1)),
        }

    def counts(self, file: int, block: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return a block of a file as float32, cells × `gene_ids`; columns of one gene are added up."""
        column = self.column_g[self.index[file]][block.indices]
        kept = column >= 0
        indptr = np.concatenate([[0], np.cumsum(kept)])[block.indptr]
        values = block.data[kept].astype(np.float64)
        counts_ng = sparse.csr_matrix((values, column[kept], indptr), (block.shape[0], len(self.gene_ids)))
        counts_ng.sum_duplicates()
        counts_ng.eliminate_zeros()
        if counts_ng.nnz and counts_ng.data.max() > LARGEST_COUNT:
            gene = self.gene_ids[counts_ng.indices[np.argmax(counts_ng.data)]]
            raise WcedError(
                f"dataset {self.dataset.dataset}: counts of gene {gene}, added up over its columns, are larger than "
                f"{LARGEST_COUNT}"
            )
        return counts_ng.astype(np.float32)


def _statistics(counts_ng: sparse.csr_matrix, mitochondrial_g: np.ndarray) -> pd.DataFrame:
    """Return the Census's statistics of each cell's counts, and the share of mitochondrially encoded ones.

    The variance is that of the counts that are not zero, with n - 1, and 0 for a single count, as the Census has it.
    `mt_fraction` is NaN where no such gene was measured. There are no stored zeros and no empty cells.
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
