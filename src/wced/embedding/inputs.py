"""What a model reads of an AnnData: raw counts of its genes, and the labels and gene states that it takes in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from wced.checkpoint import Checkpoint
from wced.config.pretraining import Input
from wced.contracts import COUNTS_MADE_OF
from wced.corpus.published import Published
from wced.corpus.reading import of_anndata
from wced.errors import WcedError
from wced.genes.names import GeneNames, what_names_are, without_version
from wced.shards.cells import RaggedCells, from_csr
from wced.shards.input_genes import GeneChoice, gene_choice
from wced.shards.vocabulary import Perturbations, Vocabulary, gene_ids_of

COLUMNS = (
    "gene_ids", "gene_id", "ensembl_id", "ensembl", "feature_id",
    "feature_name", "gene_symbols", "gene_symbol", "gene_name", "symbol",
)  # fmt: skip
"""Columns of var that may name the genes, after var_names: those of 10x, CELLxGENE and scanpy's readers."""

LOW_COUNT_SHARE = 0.8
"""Below this share of the counts comes a warning; of whole cells and nuclei the vocabulary has 0.87 to 0.97."""

PERTURBED = "perturbed_gene"
"""Column of obs that names the perturbed genes of a cell, for models that know the gene state `perturbed`."""

NOTES = {
    "by_symbol": "{} of them by symbol",
    "left_out": "left out features that are no genes: {}",
    COUNTS_MADE_OF: "counts made of {}",
    "duplicates": "{} duplicates added up",
    "empty_cells": "{} cells without any of these genes",
    "not_known": "warning: many counts are of genes that the model does not know: {}",
}
"""How facts about the input are told, if there is something to tell."""


@dataclass(frozen=True)
class ModelInput:
    """Cells as a model reads them, in the order of the AnnData."""

    cells: RaggedCells
    """Raw counts of the vocabulary's genes; perturbed genes only for a model that knows this state."""
    measured_v: np.ndarray
    """bool, (vocabulary,): genes that the AnnData has."""
    metadata_nm: np.ndarray | None
    """int64, cells × metadata columns of the model: class codes, -1 for unknown. None for a model without."""
    facts: dict[str, Any]
    """How well the input fitted the model: shares, numbers and names, for people and for uns."""
    choice: GeneChoice | None = None
    """Genes that the model leaves out, and how much each tells; None for an encoding without `Encoding.chooses`."""

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def summary(self) -> str:
        """One line that says how well the input fitted."""
        facts = self.facts
        parts = [
            f"{len(self)} cells; {facts['genes']} of {facts['vocabulary']} genes of the vocabulary "
            f"({facts['gene_share']:.1%}) with {facts['count_share']:.1%} of the counts, by {facts['gene_names']}"
        ]
        parts += [text.format(facts[key]) for key, text in NOTES.items() if facts.get(key)]
        parts += [f"{column} unknown for {n} cells" for column, n in facts.get("unknown", {}).items()]
        if "perturbed_cells" in facts:
            parts.append(f"{facts['perturbed_cells']} cells with a perturbed gene")
        return "; ".join(parts)


def read_cells(
    adata: AnnData,
    checkpoint: Checkpoint,
    *,
    layer: str | None = None,
    use_raw: bool = False,
    gene_column: str | None = None,
    min_gene_share: float = 0.1,
) -> ModelInput:
    """Return what a model reads of an AnnData, which stays as it is and may be backed by its file.

    Counts are those of X, of a layer, or, with the genes, of `adata.raw`; `match_genes` finds the genes. From obs come
    the columns of `model.config.metadata`, with values as in the checkpoint's labels, and `perturbed_gene` if the model
    knows that state (Ensembl ids or symbols, several with `;` between). WcedError is raised if there are no raw counts,
    or less than `min_gene_share` of the vocabulary's genes.
    """
    published, vocabulary, config = of_anndata(adata, layer, use_raw), checkpoint.vocabulary, checkpoint.model.config
    match = match_genes(published.var, vocabulary, gene_column)
    share = match.genes / len(vocabulary)
    if share < min_gene_share:
        raise WcedError(
            f"{match.source}: {match.genes} of the model's {len(vocabulary)} genes are there ({share:.1%}), fewer "
            f"than the {min_gene_share:.1%} asked for"
        )
    cells, total_g = _counts(published, match.id_g, len(vocabulary))
    known_g = match.id_g >= 0
    facts = {
        "counts": published.where,
        "gene_names": match.source,
        "vocabulary": len(vocabulary),
        "genes": match.genes,
        "gene_share": share,
        "by_symbol": match.by_symbol,
        "duplicates": int(known_g.sum()) - match.genes,
        "count_share": float(total_g[known_g].sum() / max(total_g.sum(), 1)),
        "empty_cells": int((np.diff(cells.offsets) == 0).sum()),
    }
    if total_g.any() and facts["count_share"] < LOW_COUNT_SHARE:
        share_g = np.where(known_g, 0, total_g) / total_g.sum()
        most = np.argsort(-share_g, kind="stable")[:5]
        facts["not_known"] = ", ".join(f"{match.name_g[g]} ({share_g[g]:.1%})" for g in most if share_g[g])
    if published.left_out:
        facts["left_out"] = published.left_out
    if COUNTS_MADE_OF in adata.uns:
        facts[COUNTS_MADE_OF] = str(adata.uns[COUNTS_MADE_OF])
    measured_v = np.zeros(len(vocabulary), bool)
    measured_v[match.id_g[known_g]] = True
    metadata_nm = None
    if columns := [entry["column"] for entry in config.metadata]:
        metadata_nm = np.full((len(cells), len(columns)), -1, np.int64)
        for m, column in enumerate(columns):
            if column in adata.obs:
                metadata_nm[:, m] = checkpoint.labels.codes(column, adata.obs[column])
        facts["unknown"] = dict(zip(columns, (metadata_nm < 0).sum(axis=0).tolist(), strict=True))
    if "perturbed" in config.gene_states:
        cells = replace(cells, perturbed=_perturbed(adata.obs, vocabulary))
        facts["perturbed_cells"] = int((cells.perturbed >= 0).any(axis=1).sum())
    choice = gene_choice(checkpoint.input_genes, measured_v[None], Input(**config.input))
    return ModelInput(cells, measured_v, metadata_nm, facts, choice)


def _counts(published: Published, id_g: np.ndarray, vocabulary_size: int) -> tuple[RaggedCells, np.ndarray]:
    """Return the counts of the vocabulary's genes, and the sum of every gene of the AnnData."""
    total_g = np.zeros(len(id_g))
    parts = [from_csr(sparse.csr_matrix((0, len(id_g))), id_g, vocabulary_size)]
    for counts_ng in published.counts():
        total_g += np.asarray(counts_ng.sum(axis=0, dtype=np.float64)).ravel()
        parts.append(from_csr(counts_ng, id_g, vocabulary_size))
    n = sum(map(len, parts))
    cells = RaggedCells(
        offsets=np.concatenate([[0], *(np.diff(part.offsets) for part in parts)]).cumsum().astype(np.int64),
        gene=np.concatenate([part.gene for part in parts]),
        count=np.concatenate([part.count for part in parts]),
        soma_joinid=np.arange(n, dtype=np.int64),
        dataset=np.zeros(n, np.int32),
        labels=np.full((n, 0), -1, np.int32),
    )
    return cells, total_g


def _perturbed(obs: pd.DataFrame, vocabulary: Vocabulary) -> np.ndarray:
    """Return the vocabulary ids of each cell's perturbed genes, cells × most of one, int32; -1 for none."""
    values = obs[PERTURBED].astype(str) if PERTURBED in obs else pd.Series("", index=obs.index)
    unique = pd.unique(values)
    genes_of = {
        value: tuple(sorted({g for g in ids.values() if g >= 0}))
        for value, ids in zip(unique, gene_ids_of(unique, vocabulary, symbols_of(vocabulary)), strict=True)
    }
    perturbations = Perturbations(PERTURBED, {value: genes for value, genes in genes_of.items() if genes}, {})
    return perturbations.gene_pm[perturbations.codes(values)]


class GeneMatch(NamedTuple):
    """Which genes of a vocabulary the genes of an AnnData are."""

    source: str
    """Where their names are: `var_names`, or `var['…']`."""
    name_g: np.ndarray
    """str, (genes of the AnnData,): their names."""
    id_g: np.ndarray
    """int32: vocabulary ids, -1 for other genes."""
    by_symbol: int
    """Genes that were matched by a symbol; the others by their Ensembl id."""
    genes: int
    """Number of different genes of the vocabulary."""


def match_genes(var: pd.DataFrame, vocabulary: Vocabulary, gene_column: str | None = None) -> GeneMatch:
    """Match the genes of `var` by Ensembl id (without its version), or else by a symbol of the vocabulary.

    Their names are in `gene_column`; None takes var_names or one of `COLUMNS`: where most Ensembl ids match or, if none
    does, most symbols; the first of equals. WcedError is raised if there is no such column, or no gene matches.
    """
    if gene_column is not None and gene_column not in var:
        raise WcedError(f"var: there is no column {gene_column}; there are {', '.join(map(str, var)) or 'none'}")
    columns = [column for column in COLUMNS if column in var] if gene_column is None else [gene_column]
    candidates = {f"var[{column!r}]": var[column] for column in columns}
    if gene_column is None:
        candidates = {"var_names": var.index, **candidates}
    symbols = symbols_of(vocabulary)
    matches = [_match(source, names, vocabulary, symbols) for source, names in candidates.items()]
    best = max(matches, key=lambda match: ((match.id_g >= 0).sum() - match.by_symbol, match.genes))
    if not best.genes:
        raise WcedError(
            f"{', '.join(candidates)}: none is an Ensembl id or a symbol of the model's vocabulary"
            f"{what_names_are(next(iter(candidates.values())))}"
        )
    return best


def _match(source: str, names: Sequence[str], vocabulary: Vocabulary, symbols: GeneNames) -> GeneMatch:
    names = np.asarray(names, dtype=object).astype(str)
    id_g = vocabulary.ids_of(names)
    versioned = (id_g < 0) & np.char.startswith(names, "ENSG")
    id_g[versioned] = vocabulary.ids_of(without_version(names[versioned]))
    unknown = id_g < 0
    id_g[unknown] = vocabulary.ids_of(symbols.ids_of(names[unknown]))
    return GeneMatch(source, names, id_g, int((id_g[unknown] >= 0).sum()), len(np.unique(id_g[id_g >= 0])))


def symbols_of(vocabulary: Vocabulary) -> GeneNames:
    """Return the genes by symbol, previous symbol and alias; a name of several genes is of none.

    A vocabulary without such names (of an older checkpoint) has symbols only.
    """
    names = vocabulary.symbols if vocabulary.names is None else vocabulary.names
    pairs = pd.Series([name.split("|") for name in names], index=vocabulary.gene_ids, dtype=object).explode()
    names = pd.Series(pairs.index, index=pd.Index(pairs, dtype=object))
    shared = names.index.duplicated(keep=False)
    return GeneNames(names[~shared & (names.index != "")], frozenset(names.index[shared]))
