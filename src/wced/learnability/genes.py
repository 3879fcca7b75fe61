"""Tables of gene errors: the last epoch, annotated, the most and the least learnable genes, and a summary."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from wced.shards.input_genes import InputGenes
from wced.shards.vocabulary import Vocabulary
from wced.tables import LEARNABILITY, LEARNABILITY_SUMMARY

MODEL_FILES = ("config.json", "vocabulary.tsv", "input_genes.tsv")
"""Files of a checkpoint's model that are read here."""
NOT_ANNOTATED = "not annotated"
"""Family and program of a gene that the annotation lacks."""
ALL_READ = pd.DataFrame(columns=["gene_id", "gene_symbol", "left_out"], dtype=object)
"""What `left_out` returns for an input that leaves out no gene."""


def _config(folder: Path) -> dict:
    path = folder / "model" / "config.json"
    # Errors may be kept without their model, of which nothing is known then.
    return json.loads(path.read_text()) if path.exists() else {}


def told_depth(folder: Path) -> bool:
    """Return whether the decoder of a checkpoint's folder was told the depth of the whole cell."""
    return _config(folder).get("decoder_depth") is not None


def left_out(folder: Path) -> pd.DataFrame:
    """Return the genes that the input of a checkpoint's folder leaves out, so that its model has never read them.

    Columns are `gene_id`, `gene_symbol`, and `left_out`: the gene groups for which the gene is left out, with commas
    between. There are no rows where errors are kept without their model. WcedError if the genes of the input are
    missing, or lack a group that the config leaves out.
    """
    groups = _config(folder).get("input", {}).get("leave_out", [])
    if not groups:
        return ALL_READ
    vocabulary = Vocabulary.read(folder / "model" / "vocabulary.tsv")
    genes = InputGenes.read(folder / "model" / "input_genes.tsv", vocabulary)
    table = pd.DataFrame({"gene_id": vocabulary.gene_ids, "gene_symbol": vocabulary.symbols})
    parts = pd.concat([table[genes.members([group])].assign(left_out=group) for group in groups])
    return parts.groupby(["gene_id", "gene_symbol"], as_index=False)["left_out"].agg(", ".join)


def last_epoch(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each checkpoint's last epoch, from rows of tables.GENE_ERRORS of all epochs."""
    last = errors.groupby("checkpoint")["epoch"].transform("max")
    return errors[errors["epoch"] == last].reset_index(drop=True)


def with_left_out(errors: pd.DataFrame, unread: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return errors of last epochs with the column `left_out`; `unread` has what `left_out` returns, by checkpoint.

    Left-out genes that were never scored get a row without errors: masked language models mask what they read.
    """
    parts = []
    for (checkpoint, decoder), rows in errors.groupby(["checkpoint", "decoder"], sort=False):
        genes = unread.get(checkpoint, ALL_READ)
        parts.append(rows.assign(left_out=rows["gene_id"].map(genes.set_index("gene_id")["left_out"]).fillna("")))
        unscored = genes[~genes["gene_id"].isin(rows["gene_id"])]
        if len(unscored):
            key = {"checkpoint": checkpoint, "decoder": decoder, "epoch": rows["epoch"].iloc[0]}
            parts.append(unscored.assign(**key, n=0, n_nonzero=0))
    return pd.concat(parts, ignore_index=True) if parts else errors.assign(left_out="")


def annotated(errors: pd.DataFrame, annotation: pd.DataFrame | None) -> pd.DataFrame:
    """Return errors with the columns `family` and `program` of each gene, from rows of tables.GENE_ANNOTATION."""
    for column in ("family", "program"):
        known = {} if annotation is None else annotation.set_index("gene_id")[column]
        errors = errors.assign(**{column: errors["gene_id"].map(known).fillna(NOT_ANNOTATED)})
    return errors


def proxies(annotation: pd.DataFrame | None) -> str:
    """Return which sets of genes behind the programs are proxies, with semicolons between; empty for none."""
    return "" if annotation is None or annotation.empty else str(annotation["proxies"].iloc[0])


def improvement(errors: pd.DataFrame) -> pd.Series:
    """Return 1 - rescaled MAE / that of the null, the mean of a gene's non-zero values (BMFM-RNA paper, section 10).

    NaN where the null makes no error.
    """
    null = errors["rescaled_null_mae"].where(errors["rescaled_null_mae"] > 0)
    return 1 - errors["rescaled_mae"] / null


def reliable(errors: pd.DataFrame, min_nonzero: int) -> pd.DataFrame:
    """Return the genes that enough validation cells express, with their `improvement`, the best first."""
    errors = errors.assign(improvement=improvement(errors))
    errors = errors[(errors["n_nonzero"] >= min_nonzero) & np.isfinite(errors["improvement"])]
    return errors.sort_values(["improvement", "gene_id"], ascending=[False, True], ignore_index=True)


def ranked(errors: pd.DataFrame, *, min_nonzero: int, top: int) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY: for each decoder of a checkpoint the `top` genes at either end.

    The ends do not overlap, and genes that fewer than `min_nonzero` validation cells express are left out.
    """
    ends = []
    for _, genes in errors.groupby(["checkpoint", "decoder"], sort=False):
        genes = reliable(genes, min_nonzero)
        n = min(top, len(genes) // 2)
        for end, best in (("most", genes.head(n)), ("least", genes.iloc[::-1].head(n))):
            ends.append(best.assign(end=end, rank=np.arange(1, n + 1)))
    return pd.concat(ends, ignore_index=True)[LEARNABILITY.names]


def summary(errors: pd.DataFrame, *, min_nonzero: int) -> pd.DataFrame:
    """Return a row of tables.LEARNABILITY_SUMMARY for each decoder of a checkpoint, from errors of last epochs."""
    rows = []
    for key, every in errors.groupby(["checkpoint", "decoder"], sort=False):
        genes = reliable(every, min_nonzero)
        beat = int((genes["improvement"] > 0).sum())
        medians = genes[["detection_auc", "rescaled_mae", "rescaled_null_mae"]].median()
        correlation = genes["zero_fraction"].corr(genes["rescaled_mae"], method="spearman")
        share = beat / len(genes) if len(genes) else np.nan
        rows.append([*key, every["epoch"].iloc[0], len(every), len(genes), beat, share, *medians, correlation])
    return pd.DataFrame(rows, columns=LEARNABILITY_SUMMARY.names)
