"""Tables of gene errors: the last epoch, annotated, the most and the least learnable genes, and a summary."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from wced.tables import GENE_ERRORS, LEARNABILITY, LEARNABILITY_SUMMARY, checked


def last_epoch(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each checkpoint's last epoch.

    Parameters
    ----------
    errors
        Rows of tables.GENE_ERRORS, all epochs of any number of checkpoints.
    """
    last = errors.groupby("checkpoint")["epoch"].transform("max")
    return checked(errors[errors["epoch"] == last].reset_index(drop=True), GENE_ERRORS)


def with_left_out(errors: pd.DataFrame, left_out: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return errors with the column `left_out`: the gene groups for which a checkpoint's input leaves out the gene.

    Left-out genes that were never scored get a row without errors: masked language models mask what they read.

    Parameters
    ----------
    errors
        Rows of tables.GENE_ERRORS, one epoch of each checkpoint.
    left_out
        What `wced.learnability.checkpoint.left_out` returns, by checkpoint; one that is missing reads all genes.
    """
    parts = []
    for (checkpoint, decoder), rows in errors.groupby(["checkpoint", "decoder"], sort=False):
        genes = left_out.get(checkpoint, pd.DataFrame(columns=["gene_id", "gene_symbol", "left_out"]))
        parts.append(rows.assign(left_out=rows["gene_id"].map(genes.set_index("gene_id")["left_out"]).fillna("")))
        unscored = genes[~genes["gene_id"].isin(rows["gene_id"])]
        if len(unscored):
            key = {"checkpoint": checkpoint, "decoder": decoder, "epoch": rows["epoch"].iloc[0]}
            parts.append(unscored.assign(**key, n=0, n_nonzero=0))
    return pd.concat(parts, ignore_index=True) if parts else errors.assign(left_out="")


NOT_ANNOTATED = "not annotated"
"""Family and program of a gene that the annotation lacks."""


def annotated(errors: pd.DataFrame, annotation: pd.DataFrame | None) -> pd.DataFrame:
    """Return errors with the columns `family` and `program` of each gene.

    Parameters
    ----------
    errors
        Rows of tables.GENE_ERRORS.
    annotation
        Rows of tables.GENE_ANNOTATION; None where there is none, which leaves every gene not annotated.
    """
    for column in ("family", "program"):
        known = {} if annotation is None else annotation.set_index("gene_id")[column]
        errors = errors.assign(**{column: errors["gene_id"].map(known).fillna(NOT_ANNOTATED)})
    return errors


def proxies(annotation: pd.DataFrame | None) -> str:
    """Return which sets of genes behind the programs are proxies, with semicolons between; empty for none."""
    return "" if annotation is None or annotation.empty else str(annotation["proxies"].iloc[0])


def improvement(errors: pd.DataFrame) -> pd.Series:
    """Return 1 - rescaled MAE / rescaled null MAE for each gene; above 0 the gene is better predicted than its mean.

    The null predicts the mean of the gene's non-zero validation values (BMFM-RNA paper, section 10). It is NaN for a
    gene that the null predicts without any error.
    """
    null = errors["rescaled_null_mae"].where(errors["rescaled_null_mae"] > 0)
    return 1 - errors["rescaled_mae"] / null


def reliable(errors: pd.DataFrame, min_nonzero: int) -> pd.DataFrame:
    """Return the genes that enough validation cells express, with their `improvement`, the best first."""
    errors = errors.assign(improvement=improvement(errors))
    errors = errors[(errors["n_nonzero"] >= min_nonzero) & np.isfinite(errors["improvement"])]
    return errors.sort_values(["improvement", "gene_id"], ascending=[False, True], ignore_index=True)


def ranked(errors: pd.DataFrame, *, min_nonzero: int, top: int) -> pd.DataFrame:
    """Return the genes at either end of learnability, of each decoder of each checkpoint.

    Parameters
    ----------
    errors
        Rows of tables.GENE_ERRORS, one epoch of each checkpoint.
    min_nonzero
        Validation cells that must express a gene.
    top
        Genes at either end; fewer where the ends would meet.

    Returns
    -------
    pd.DataFrame
        Rows of tables.LEARNABILITY.
    """
    ends = []
    for _, genes in errors.groupby(["checkpoint", "decoder"], sort=False):
        genes = reliable(genes, min_nonzero)
        n = min(top, len(genes) // 2)
        for end, chosen in (("most", genes.head(n)), ("least", genes.iloc[::-1].head(n))):
            ends.append(chosen.assign(end=end, rank=np.arange(1, n + 1)))
    return checked(pd.concat(ends, ignore_index=True)[LEARNABILITY.names], LEARNABILITY)


def summary(errors: pd.DataFrame, *, min_nonzero: int) -> pd.DataFrame:
    """Return one row of tables.LEARNABILITY_SUMMARY for each decoder of each checkpoint.

    Parameters
    ----------
    errors
        Rows of tables.GENE_ERRORS, one epoch of each checkpoint.
    min_nonzero
        Validation cells that must express a gene.
    """
    rows = []
    for (checkpoint, decoder), every in errors.groupby(["checkpoint", "decoder"], sort=False):
        genes = reliable(every, min_nonzero)
        beat = int((genes["improvement"] > 0).sum())
        rows.append(
            {
                "checkpoint": checkpoint,
                "decoder": decoder,
                "epoch": every["epoch"].iloc[0],
                "genes": len(every),
                "reliable": len(genes),
                "beat_null": beat,
                "beat_null_fraction": beat / len(genes) if len(genes) else np.nan,
                "median_detection_auc": genes["detection_auc"].median(),
                "median_rescaled_mae": genes["rescaled_mae"].median(),
                "median_rescaled_null_mae": genes["rescaled_null_mae"].median(),
                "spearman_sparsity": genes["zero_fraction"].corr(genes["rescaled_mae"], method="spearman"),
            }
        )
    return checked(pd.DataFrame(rows), LEARNABILITY_SUMMARY)
