"""From the genes of a dataset's files to the genes of the gene table, each once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from wced import genes
from wced.corpus.datasets import Dataset
from wced.corpus.published import LARGEST_COUNT
from wced.errors import WcedError
from wced.genes.orthologs import Orthologs

EXAMPLES = 5
"""Unknown names that a sentence quotes."""


@dataclass(frozen=True)
class FileGenes:
    """The genes of all files of a dataset, before they are mapped."""

    names: pd.Series
    """Their names; a name that a file has twice stands here twice."""
    ids: np.ndarray
    """Human Ensembl id of each in the gene table, empty where it has none."""
    known: np.ndarray
    """bool: whether the dataset's species has such a gene; of another species, some have no human ortholog."""
    places: tuple[np.ndarray, ...]
    """For each file the places of its columns in `names`."""

    @property
    def everywhere(self) -> np.ndarray:
        """Which genes have an id that every file has."""
        shared = [set(self.ids[places]) for places in self.places]
        return np.isin(self.ids, sorted(set.intersection(*shared) - {""}))


@dataclass(frozen=True)
class Mapping:
    """How columns of a dataset's files become genes."""

    dataset: str
    """Name of the dataset, for sentences about it."""
    gene_ids: np.ndarray
    """Ensembl ids of the dataset's genes, sorted."""
    columns: tuple[np.ndarray, ...]
    """For each file and each of its columns the place in `gene_ids`, -1 for columns that are dropped."""
    qc: dict[str, float]
    """Columns of `wced.tables.SOURCES_QC` about genes."""

    def apply(self, file: int, block: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return a block of a file's counts as float32, cells × `gene_ids`; columns of one gene are added up."""
        places = self.columns[file][block.indices]
        kept = places >= 0
        indptr = np.concatenate([[0], np.cumsum(kept)])[block.indptr]
        counts_ng = sparse.csr_matrix(
            (block.data[kept].astype(np.float64), places[kept], indptr), (block.shape[0], len(self.gene_ids))
        )
        counts_ng.sum_duplicates()
        counts_ng.eliminate_zeros()
        if counts_ng.nnz and counts_ng.data.max() > LARGEST_COUNT:
            gene = self.gene_ids[counts_ng.indices[np.argmax(counts_ng.data)]]
            raise WcedError(
                f"dataset {self.dataset}: counts of gene {gene}, added up over its columns, are larger than "
                f"{LARGEST_COUNT}"
            )
        return counts_ng.astype(np.float32)


def file_genes(
    vars: Sequence[pd.DataFrame], dataset: Dataset, table: pd.DataFrame, orthologs: Orthologs | None = None
) -> FileGenes:
    """Look up the genes of a dataset's files.

    Parameters
    ----------
    vars
        var of each file.
    dataset
        The row, which says where genes are named and by what.
    table
        Gene table (`wced.genes`).
    orthologs
        Human orthologs of the genes of another species; None for human cells.

    Raises
    ------
    WcedError
        If a file names no genes where the row says.
    """
    keys = []
    for var in vars:
        if dataset.gene_ids != "index" and dataset.gene_ids not in var.columns:
            known = ", ".join(map(str, var.columns)) or "none"
            raise WcedError(
                f"dataset {dataset.dataset}, gene_ids: var has no column {dataset.gene_ids}; its columns are {known}"
            )
        names = var.index.to_series() if dataset.gene_ids == "index" else var[dataset.gene_ids]
        names = names.astype(str).reset_index(drop=True)
        keys.append(pd.MultiIndex.from_arrays([names, names.groupby(names).cumcount()]))
    union = keys[0]
    for key in keys[1:]:
        union = union.append(key[~key.isin(union)])
    names = union.get_level_values(0).to_series(index=range(len(union)))
    ids, known = _ids(names, dataset.gene_id_kind, table, orthologs)
    return FileGenes(names, ids, known, tuple(union.get_indexer(key) for key in keys))


def _ids(
    names: pd.Series, kind: str, table: pd.DataFrame, orthologs: Orthologs | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the human Ensembl id of each name, and whether it is known at all."""
    if orthologs is not None:
        ids, known = orthologs.ids_of(names, kind)
        return np.where(np.isin(ids, table["gene_id"].to_numpy(object)), ids, "").astype(str), known
    if kind == "symbol":
        ids = genes.gene_names(table).ids_of(names).astype(str)
    else:
        bare = pd.Series(genes.without_version(names))
        ids = bare.where(bare.isin(table["gene_id"]), "").to_numpy(dtype=str)
    return ids, ids != ""


def map_genes(
    found: FileGenes,
    total_g: np.ndarray,
    dataset: Dataset,
    table: pd.DataFrame,
    min_mapped_genes: float,
    orthologs: Orthologs | None = None,
) -> Mapping:
    """Decide what becomes of every gene of the files.

    Parameters
    ----------
    found
        The genes of the files.
    total_g
        Their counts over all wanted cells.
    dataset, table, orthologs
        As for `file_genes`.
    min_mapped_genes
        Smallest share of the measured genes that must be known: human genes in the gene table, those of another species
        in the table of orthologs, whether or not they have one.

    Raises
    ------
    WcedError
        If fewer are; the sentence quotes some, and says if the other kind of names fits better.
    """
    measured = total_g > 0 if dataset.drop_zero_genes else np.ones(len(found.ids), bool)
    mapped = measured & (found.ids != "")
    share = (measured & found.known).sum() / max(measured.sum(), 1)
    if share < min_mapped_genes or not mapped.any():
        missing = ", ".join(found.names[measured & ~found.known].head(EXAMPLES))
        other = {"ensembl": "symbol", "symbol": "ensembl"}[dataset.gene_id_kind]
        other_share = _ids(found.names, other, table, orthologs)[1].mean()
        where = "gene table" if orthologs is None else "table of orthologs"
        advice = genes.what_names_are(found.names[measured & ~found.known])
        if other_share > share:
            advice = f"; as {other} names {other_share:.1%} would be: set gene_id_kind"
        raise WcedError(
            f"dataset {dataset.dataset}: only {share:.1%} of its {measured.sum()} genes are in the {where} as "
            f"{dataset.gene_id_kind} names (at least {min_mapped_genes:.0%} are asked for); not in it are {missing}"
            f"{advice}"
        )
    used = mapped & found.everywhere
    if not used.any():
        raise WcedError(f"dataset {dataset.dataset}: no gene is in all of its {len(found.places)} files")
    gene_ids, places = np.unique(found.ids[used], return_inverse=True)
    column_g = np.full(len(found.ids), -1, np.int32)
    column_g[used] = places
    qc = {
        "genes_in_file": len(found.ids),
        "genes_dropped_zero": int((~measured).sum()),
        "genes_unmapped": int((measured & ~mapped).sum()),
        "genes_unmapped_fraction": float(1 - mapped.sum() / max(measured.sum(), 1)),
        "genes_not_in_all_files": int((mapped & ~used).sum()),
        "genes_merged": int(used.sum() - len(gene_ids)),
        "genes": len(gene_ids),
        "counts_unmapped_fraction": float(total_g[~used].sum() / max(total_g.sum(), 1)),
    }
    return Mapping(dataset.dataset, gene_ids, tuple(column_g[place] for place in found.places), qc)
