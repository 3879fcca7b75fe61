"""One decoder of one checkpoint: its genes in the last epoch, their trend, and bootstraps of the validation blocks."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.errors import WcedError
from wced.learnability.confidence import Bootstraps, bootstrap, read_sums
from wced.learnability.genes import improvement
from wced.learnability.trend import Axis, Fit, axis_of, fit
from wced.tables import read_text

REGIMES = ("all", "sparse", "dense")
"""Which genes a row of a table is about."""
UNSEEN = 0.5
"""Share of genes left out of the input from which on a family or program is not judged."""


@dataclass(frozen=True)
class Model:
    """What the analyses of one decoder of one checkpoint share."""

    checkpoint: str
    decoder: str
    """wced or mlm."""
    name: str
    """The checkpoint, with the decoder where it has several."""
    every: pd.DataFrame
    """Genes of the last epoch (tables.GENE_ERRORS) with `improvement`, `family`, `program`, `regime` and `left_out`,
    the groups for which the input leaves out the gene."""
    genes: pd.DataFrame
    """The reliable of them that the model reads, with the arrays of the fit. Detection AUCs of few zeros are NaN."""
    axis: Axis
    """Zero fractions of `genes`."""
    fitted: Fit
    """Trend and calls of `genes`."""
    bootstraps: Bootstraps
    """Samples of validation blocks."""
    intervals: str
    """Method of the intervals, or why there are none."""

    @property
    def key(self) -> dict[str, str]:
        """The columns that say in a table which model a row is of."""
        return {"checkpoint": self.checkpoint, "decoder": self.decoder}

    def rows_of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table that are of this model."""
        return table[(table["checkpoint"] == self.checkpoint) & (table["decoder"] == self.decoder)]

    def unseen(self, axis: str) -> dict[str, str]:
        """Return the reason of each family or program (`axis`) of which the input leaves out `UNSEEN` or more."""
        reasons = {}
        for group, left_out in self.every.groupby(axis)["left_out"]:
            words = left_out[left_out != ""]
            if len(words) >= UNSEEN * len(left_out):
                reason = left_out_reason(self.checkpoint, words)
                reasons[str(group)] = f"{len(words)} of {len(left_out)} genes {reason}"
        return reasons

    def regime(self, regime: str) -> np.ndarray:
        """Return which of `genes` are of a regime; bool."""
        if regime == "all":
            return np.ones(len(self.genes), bool)
        return (self.genes["regime"] == regime).to_numpy()


def left_out_reason(checkpoint: str, words: Iterable[str]) -> str:
    """Return why genes are not judged; `words` are the gene groups for which each of them is left out."""
    groups = dict.fromkeys(group for word in words for group in word.split(", "))
    return f"left out of the input of {checkpoint}: {', '.join(groups)}"


def models_of(last: pd.DataFrame, sums: dict[str, Path], section: Learnability, seed: int) -> list[Model]:
    """Return the models of errors of last epochs (with `family`, `program` and `left_out`), in their order.

    `sums` has the file of tables.GENE_ERROR_SUMS of each checkpoint; WcedError if it is not that of the errors.
    """
    decoders = last.groupby("checkpoint")["decoder"].nunique()
    models = []
    for (checkpoint, decoder), every in last.groupby(["checkpoint", "decoder"], sort=False):
        name = checkpoint if decoders[checkpoint] == 1 else f"{checkpoint} ({decoder})"
        models.append(_model(checkpoint, decoder, name, every, sums[checkpoint], section, seed))
    return models


def _model(
    checkpoint: str, decoder: str, name: str, every: pd.DataFrame, path: Path, section: Learnability, seed: int
) -> Model:
    zero_fraction = every["zero_fraction"]
    regime = np.select([zero_fraction > section.sparse, zero_fraction <= section.sparse], ["sparse", "dense"], "")
    every = every.assign(improvement=improvement(every), regime=regime).reset_index(drop=True)
    enough = (every["n_nonzero"] >= section.min_nonzero) & every["zero_fraction"].notna()
    genes = every[enough & (every["left_out"] == "")].reset_index(drop=True)
    many_zeros = genes["n"] - genes["n_nonzero"] >= section.min_zeros
    axis = axis_of(genes["zero_fraction"].to_numpy(), section.window)
    fitted = fit(axis, genes["rescaled_mae"].to_numpy(), section)
    genes = genes.assign(
        detection_auc=genes["detection_auc"].where(many_zeros),
        expected_mae=np.exp(fitted.trend_g),
        local_sd=fitted.spread_g,
        z=fitted.z_g,
        difference=fitted.difference_g,
        winner=fitted.winner_g,
        loser=fitted.loser_g,
        judged=np.isfinite(fitted.z_g),
    )
    sums = read_sums(path, decoder, int(every["epoch"].iloc[0]), pd.Index(genes["gene_id"]))
    if not np.array_equal(sums[0].sum(axis=0), genes["n_nonzero"]):
        raise WcedError(f"{path}: its numbers of non-zero values are not those of the gene errors of {name}")
    bootstraps, n_blocks = bootstrap(sums, axis, section, seed), sums.shape[1]
    intervals = f"percentiles of {section.bootstraps} bootstraps over {n_blocks} validation blocks"
    if genes.empty:
        intervals = "no reliable genes"
    elif n_blocks < section.min_blocks:
        intervals = f"{n_blocks} validation blocks, fewer than {section.min_blocks}"
    return Model(checkpoint, decoder, name, every, genes, axis, fitted, bootstraps, intervals)


def gene_table(model: Model, section: Learnability, proxies: str) -> pd.DataFrame:
    """Return the rows of tables.GENE_LEARNABILITY of a model: all its genes, each judged or with the reason why not."""
    genes = model.genes
    call = np.select([~genes["judged"], genes["winner"], genes["loser"]], ["not judged", "winner", "loser"], "neither")
    calls = genes[["gene_id", "expected_mae", "local_sd", "z", "difference"]].assign(
        call=call,
        winner_share=pd.DataFrame(model.bootstraps.winner_rg).mean(),
        loser_share=pd.DataFrame(model.bootstraps.loser_rg).mean(),
    )
    table = model.every.merge(calls, on="gene_id", how="left", validate="one_to_one")
    unseen = table["left_out"].map(lambda groups: left_out_reason(model.checkpoint, [groups]))
    few = table["n_nonzero"].astype(str) + f" non-zero values, fewer than {section.min_nonzero}"
    reasons = [
        (table["z"].notna(), ""),
        (table["left_out"] != "", unseen),
        (table["n_nonzero"] < section.min_nonzero, few),
        (~(table["rescaled_mae"] > 0), "no error above 0"),
        (table["zero_fraction"].isna(), "no zero fraction"),
        # Without a Z a gene may have a trend, but nothing that says how far from it is far.
        (section.spread == "windows", f"fewer than {section.window_genes} genes of its sparsity"),
    ]
    reason = np.select(*zip(*reasons, strict=True), "no local standard deviation")
    return table.assign(call=table["call"].fillna("not judged"), reason=reason, program_is_proxy=bool(proxies))


@cache
def _published() -> dict[tuple[str, ...], str]:
    rows = read_text(Path(__file__).with_name("published.tsv"), "the paper's numbers")
    return {tuple(row[:5]): row[5] for row in rows.itertuples(index=False)}


def published(table: str, decoder: str, regime: str, measure: str, group: str = "") -> str:
    """Return a number of the BMFM-RNA paper's text (sections 2.2 and 10), as text; empty where it has none."""
    return _published().get((table, decoder, regime, group, measure), "")
