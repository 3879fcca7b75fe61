"""What a model reads of an AnnData: raw counts of its genes, and the labels and gene states that it takes in."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from wced.checkpoint import Checkpoint
from wced.config.pretraining import Input
from wced.corpus.published import Published
from wced.corpus.reading import of_anndata
from wced.embedding.matching import GeneMatch, match_genes, symbols_of
from wced.errors import WcedError
from wced.shards.cells import RaggedCells, from_csr
from wced.shards.input_genes import GeneChoice, gene_choice
from wced.shards.vocabulary import Perturbations, Vocabulary, gene_ids_of

MIN_GENE_SHARE = 0.1
"""Cells that measured a smaller share of the vocabulary are refused, unless it is asked for otherwise."""

LOW_COUNT_SHARE = 0.8
"""Genes of the vocabulary have 0.87 to 0.97 of the counts of whole cells and nuclei; less is warned of."""

EXAMPLES = 5
"""Genes that such a warning names: those with most counts."""

PERTURBED = "perturbed_gene"
"""Column of obs that names the perturbed genes of a cell, for models that know the gene state `perturbed`."""

MADE_OF = "counts_made_of"
"""Key of uns of a harmonised dataset whose publisher has no counts; it says of what they were given back."""


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
    """How the input fitted the model: shares, numbers and names, for people and for uns."""
    choice: GeneChoice | None = None
    """Which genes the model leaves out of its input, and how much each tells; `read_cells` always says it. None will
    do for an encoding that does not choose genes (`Encoding.chooses`)."""

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def summary(self) -> str:
        """One line that says how well the input fitted."""
        said = self.facts
        parts = [
            f"{len(self)} cells; {said['genes']} of {said['vocabulary']} genes of the vocabulary "
            f"({said['gene_share']:.1%}) with {said['count_share']:.1%} of the counts, by {said['gene_names']}"
        ]
        if said["by_symbol"]:
            parts.append(f"{said['by_symbol']} of them by symbol")
        if "left_out" in said:
            parts.append(f"left out features that are no genes: {said['left_out']}")
        if MADE_OF in said:
            parts.append(f"counts made of {said[MADE_OF]}")
        if said["duplicates"]:
            parts.append(f"{said['duplicates']} duplicates added up")
        if said["empty_cells"]:
            parts.append(f"{said['empty_cells']} cells without any of these genes")
        if "not_known" in said:
            parts.append(f"warning: many counts are of genes that the model does not know: {said['not_known']}")
        parts += [f"{column} unknown for {n} cells" for column, n in said.get("unknown", {}).items()]
        if "perturbed_cells" in said:
            parts.append(f"{said['perturbed_cells']} cells with a perturbed gene")
        return "; ".join(parts)


def read_cells(
    adata: AnnData,
    checkpoint: Checkpoint,
    *,
    layer: str | None = None,
    use_raw: bool = False,
    gene_column: str | None = None,
    min_gene_share: float = MIN_GENE_SHARE,
) -> ModelInput:
    """Read what a model needs; `adata` stays as it is, and may be backed by its file.

    Parameters
    ----------
    adata
        Cells × genes. Of obs, the columns of `model.config.metadata` are read where there are some, with values as in
        the checkpoint's labels, and `perturbed_gene` if the model knows that state (Ensembl ids or symbols, several
        with `;` between).
    checkpoint
        The model.
    layer
        Layer that holds the raw counts; None for X.
    use_raw
        Whether counts and genes are those of `adata.raw`.
    gene_column
        Column of var that names the genes, see `match_genes`; None looks for it.
    min_gene_share
        Smallest share of the vocabulary's genes that must be there, between 0 and 1.

    Raises
    ------
    WcedError
        If there are no raw counts where they should be, or too few genes of the vocabulary.
    """
    published, vocabulary = of_anndata(adata, layer, use_raw), checkpoint.vocabulary
    match = match_genes(published.var, vocabulary, gene_column)
    share = match.found / len(vocabulary)
    if share < min_gene_share:
        raise WcedError(
            f"{match.source}: {match.found} of the model's {len(vocabulary)} genes are there ({share:.1%}), fewer "
            f"than the {min_gene_share:.1%} asked for"
        )
    cells, total_g = _counts(published, match, len(vocabulary))
    known_g = match.id_g >= 0
    facts = {
        "counts": published.where,
        "gene_names": match.source,
        "vocabulary": len(vocabulary),
        "genes": match.found,
        "gene_share": share,
        "by_symbol": match.by_symbol,
        "duplicates": int(known_g.sum()) - match.found,
        "count_share": float(total_g[known_g].sum() / max(total_g.sum(), 1)),
        "empty_cells": int((np.diff(cells.offsets) == 0).sum()),
    }
    if total_g.any() and facts["count_share"] < LOW_COUNT_SHARE:
        share_g = np.where(known_g, 0, total_g) / total_g.sum()
        most = np.argsort(-share_g, kind="stable")[:EXAMPLES]
        facts["not_known"] = ", ".join(f"{match.name_g[g]} ({share_g[g]:.1%})" for g in most if share_g[g])
    if published.left_out:
        facts["left_out"] = published.left_out
    if MADE_OF in adata.uns:
        facts[MADE_OF] = str(adata.uns[MADE_OF])
    measured_v = np.zeros(len(vocabulary), bool)
    measured_v[match.id_g[known_g]] = True
    metadata_nm = None
    if columns := [entry["column"] for entry in checkpoint.model.config.metadata]:
        metadata_nm = _codes(adata.obs, columns, checkpoint)
        facts["unknown"] = dict(zip(columns, (metadata_nm < 0).sum(axis=0).tolist(), strict=True))
    if "perturbed" in checkpoint.model.config.gene_states:
        cells = replace(cells, perturbed=_perturbed(adata.obs, vocabulary))
        facts["perturbed_cells"] = int((cells.perturbed >= 0).any(axis=1).sum())
    choice = gene_choice(checkpoint.input_genes, measured_v[None], Input(**checkpoint.model.config.input))
    return ModelInput(cells, measured_v, metadata_nm, facts, choice)


def _counts(published: Published, match: GeneMatch, vocabulary_size: int) -> tuple[RaggedCells, np.ndarray]:
    """Return the counts of the vocabulary's genes, and the sum of every gene of the AnnData."""
    total_g = np.zeros(len(match.id_g))
    parts = [from_csr(sparse.csr_matrix((0, len(total_g))), match.id_g, vocabulary_size)]
    for counts_ng in published.counts():
        total_g += np.asarray(counts_ng.sum(axis=0, dtype=np.float64)).ravel()
        parts.append(from_csr(counts_ng, match.id_g, vocabulary_size))
    return _joined(parts), total_g


def _joined(parts: list[RaggedCells]) -> RaggedCells:
    n = sum(map(len, parts))
    return RaggedCells(
        offsets=np.concatenate([[0], *(np.diff(part.offsets) for part in parts)]).cumsum().astype(np.int64),
        gene=np.concatenate([part.gene for part in parts]),
        count=np.concatenate([part.count for part in parts]),
        soma_joinid=np.arange(n, dtype=np.int64),
        dataset=np.zeros(n, np.int32),
        labels=np.full((n, 0), -1, np.int32),
    )


def _codes(obs: pd.DataFrame, columns: list[str], checkpoint: Checkpoint) -> np.ndarray:
    """Return class codes, cells × columns, int64; -1 where obs has no such column or a value that is no class."""
    code_nm = np.full((len(obs), len(columns)), -1, np.int64)
    for m, column in enumerate(columns):
        if column in obs:
            code_nm[:, m] = checkpoint.labels.codes(column, obs[column])
    return code_nm


def _perturbed(obs: pd.DataFrame, vocabulary: Vocabulary) -> np.ndarray:
    """Return the vocabulary ids of each cell's perturbed genes, cells × most of one, int32; -1 for none."""
    values = obs[PERTURBED].astype(str) if PERTURBED in obs else pd.Series("", index=obs.index)
    unique = pd.unique(values)
    named = gene_ids_of(unique, vocabulary, symbols_of(vocabulary))
    ids = {
        value: tuple(sorted({g for g in genes.values() if g >= 0})) for value, genes in zip(unique, named, strict=True)
    }
    perturbations = Perturbations(PERTURBED, {value: genes for value, genes in ids.items() if genes}, {})
    return perturbations.gene_pm[perturbations.codes(values)]
