"""How the errors of gene families fall during training, and from which epoch on they stay."""

import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.genes import improvement
from wced.learnability.models import Model


def dynamics(errors: pd.DataFrame, model: Model, section: Learnability) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_DYNAMICS of a model.

    Parameters
    ----------
    errors
        Rows of tables.GENE_ERRORS of all epochs.
    model
        The model. Its reliable genes are followed through all epochs, so that a median never changes by its genes.
    section
        Reliable genes that a family needs; what convergence is.
    """
    mine = errors[(errors["checkpoint"] == model.checkpoint) & (errors["decoder"] == model.decoder)]
    family = model.genes.set_index("gene_id")["family"]
    size = family.value_counts()
    family = family[(family.map(size) >= section.min_group) & ~family.isin(list(model.unseen("family")))]
    mine = mine[mine["gene_id"].isin(family.index) & mine["rescaled_mae"].notna()]
    auc = mine["detection_auc"].where(mine["n"] - mine["n_nonzero"] >= section.min_zeros)
    mine = mine.assign(family=mine["gene_id"].map(family), improvement=improvement(mine), detection_auc=auc)
    table = mine.groupby(["family", "epoch"], as_index=False).agg(
        genes=("gene_id", "size"),
        median_rescaled_mae=("rescaled_mae", "median"),
        median_improvement=("improvement", "median"),
        median_auc=("detection_auc", "median"),
    )
    last = table.groupby("family")["median_rescaled_mae"].transform("last")
    near = (table["median_rescaled_mae"] - last).abs() <= section.convergence * last
    # Converged from here on: near the last epoch's median in this epoch and all after it.
    stays = near[::-1].astype(int).groupby(table["family"][::-1]).cummin()[::-1].astype(bool)
    return table.assign(**model.key, converged=stays)


def converged_epoch(rows: pd.DataFrame) -> dict[str, int]:
    """Return the first epoch from which each family of a model stays near its last median; rows as `dynamics` gives."""
    rows = rows[rows["converged"]]
    return {str(family): int(epoch) for family, epoch in rows.groupby("family")["epoch"].min().items()}
