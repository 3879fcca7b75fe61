"""The whole analysis: from gene errors, their sums by block and an annotation of genes to all tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from wced import tables
from wced.config.learnability import Learnability
from wced.learnability import genes
from wced.learnability.absolute import dynamics, facts, families
from wced.learnability.agreement import agreement, exclusive
from wced.learnability.enrichment import enrichment
from wced.learnability.models import Model, gene_table, models_of
from wced.learnability.trend import axis_of, fit
from wced.progress import progress

MADE = (tables.GENE_ERRORS, *(table for name, table in tables.TABLES.items() if "learnability" in name))
"""Tables of the analysis, in the order of their schemas; of the errors, the last epochs."""
SETTINGS = {
    "window": (0.025, 0.05, 0.1, 0.2, 0.4),
    "z": (1.5, 2.0, 2.5, 3.0),
    "practical": (0.0, 0.05, 0.1, 0.2),
    "practical_scale": ("relative", "absolute"),
    "trend": ("isotonic", "lowess"),
    "spread": ("windows", "lowess"),
}
"""Values tried for each key, one key at a time."""


@dataclass(frozen=True)
class Analysis:
    """Models and tables of an analysis."""

    models: list[Model]
    """Every decoder of every checkpoint."""
    tables: dict[str, pd.DataFrame]
    """Each table of `MADE` by its name."""
    proxies: str
    """Sets of genes behind the programs that are proxies, with semicolons between; empty for none."""


def analyse(
    errors: pd.DataFrame,
    sums: dict[str, Path],
    annotation: pd.DataFrame | None,
    section: Learnability,
    seed: int,
    left_out: Mapping[str, pd.DataFrame] | None = None,
) -> Analysis:
    """Analyse the gene errors of checkpoints.

    Parameters
    ----------
    errors
        Rows of tables.GENE_ERRORS, all epochs of all checkpoints.
    sums
        File of tables.GENE_ERROR_SUMS of each checkpoint; WcedError if it is missing or lacks the last epoch.
    annotation
        Rows of tables.GENE_ANNOTATION; None leaves every gene in one group, `not annotated`.
    section, seed
        The choices of the analysis; seed of bootstraps, shuffles and simulations.
    left_out
        Genes that the input of each checkpoint leaves out (`wced.learnability.genes.left_out`); None: none.

    Examples
    --------
    ::

        folder = Path("results/demo/pretraining/wced_multitask")
        errors = tables.read(tables.GENE_ERRORS, folder / "gene_errors.parquet")
        sums = {folder.name: folder / "gene_error_sums.parquet"}
        analyse(errors, sums, None, Learnability(), seed=0).tables["learnability_facts"]
    """
    last = genes.last_epoch(errors)
    every = genes.with_left_out(last, left_out or {})
    read = every[every["left_out"] == ""]
    proxies = genes.proxies(annotation)
    models = models_of(genes.annotated(every, annotation), sums, section, seed)
    parts: dict[tables.Table, list[pd.DataFrame]] = {}
    for model in models:
        followed = dynamics(errors, model, section)
        family_rows = families(model, section, followed)
        of_model = {
            tables.GENE_LEARNABILITY: gene_table(model, section, proxies),
            tables.LEARNABILITY_FACTS: facts(model, family_rows),
            tables.LEARNABILITY_FAMILIES: family_rows,
            tables.LEARNABILITY_DYNAMICS: followed,
            tables.LEARNABILITY_ENRICHMENT: enrichment(model, section, proxies, seed),
            tables.LEARNABILITY_SENSITIVITY: sensitivity(model, section),
            tables.LEARNABILITY_SIMULATION: simulation(model, section, seed),
        }
        for table, rows in of_model.items():
            parts.setdefault(table, []).append(rows[table.names])
    made = {table: pd.concat(frames, ignore_index=True) for table, frames in parts.items()}
    made |= {
        tables.GENE_ERRORS: last,
        tables.LEARNABILITY: genes.ranked(read, min_nonzero=section.min_nonzero, top=section.top),
        tables.LEARNABILITY_SUMMARY: genes.summary(read, min_nonzero=section.min_nonzero),
        tables.LEARNABILITY_AGREEMENT: agreement(models, made[tables.LEARNABILITY_FAMILIES], section),
        tables.LEARNABILITY_EXCLUSIVE: exclusive(models),
    }
    return Analysis(models, {table.name: tables.checked(made[table], table) for table in MADE}, proxies)


def sensitivity(model: Model, section: Learnability) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_SENSITIVITY of a model: the config first, then each other setting."""
    sparse_g, error_g = model.regime("sparse"), model.genes["rescaled_mae"].to_numpy()
    changes = [(key, value) for key, values in SETTINGS.items() for value in values if value != getattr(section, key)]
    rows = []
    for key, value in [("none", ""), *changes]:
        changed = section if key == "none" else section.model_copy(update={key: value})
        axis = axis_of(model.axis.zero_fraction_g, changed.window) if key == "window" else model.axis
        fitted = fit(axis, error_g, changed)
        rows.append(
            {
                **model.key,
                "key": key,
                "setting": str(value),
                "judged": np.isfinite(fitted.z_g).sum(),
                "winners": fitted.winner_g.sum(),
                "winners_sparse": (fitted.winner_g & sparse_g).sum(),
                "losers": fitted.loser_g.sum(),
                "same_winners": (fitted.winner_g & model.fitted.winner_g).sum(),
                "variance_explained": fitted.explained,
            }
        )
    return pd.DataFrame(rows)


def simulation(model: Model, section: Learnability, seed: int) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_SIMULATION of a model: whether planted winners are called winners.

    Errors of its judged genes are simulated around its own trend, with its own local standard deviations and zero
    fractions: log e = f(s) + σ(s) ε with normal ε, which for planted winners is minus their Z.
    """
    rng, settings = np.random.default_rng(seed), section.simulation
    judged_g = model.genes["judged"].to_numpy()
    axis = axis_of(model.axis.zero_fraction_g[judged_g], section.window)
    trend_g, spread_g = model.fitted.trend_g[judged_g], model.fitted.spread_g[judged_g]
    n, rows = len(trend_g), []
    for planted_z in (0.0, *settings.z):
        planted = round(settings.share * n) if planted_z else 0
        row = {**model.key, "planted_z": planted_z, "repeats": settings.repeats, "genes": n, "planted": planted}
        if planted_z and planted == 0:
            row["reason"] = f"{settings.share:.0%} of {n} judged genes are none"
        elif n == 0:
            row["reason"] = "no judged genes"
        else:
            row["reason"] = "" if planted else "nothing is planted: only false positives are counted"
            hits = wrong = losers = 0
            for _ in progress(range(settings.repeats), f"simulation, Z = {planted_z:g}", unit="repeats"):
                noise_g = rng.standard_normal(n)
                chosen = rng.choice(n, planted, replace=False)
                noise_g[chosen] = -planted_z
                fitted = fit(axis, np.exp(trend_g + spread_g * noise_g), section)
                called = int(fitted.winner_g[chosen].sum())
                hits += called
                wrong += int(fitted.winner_g.sum()) - called
                losers += int(np.delete(fitted.loser_g, chosen).sum())
            others = settings.repeats * (n - planted)
            row |= {"false_positive_rate": wrong / others, "losers_rate": losers / others}
            row["recall"] = hits / (settings.repeats * planted) if planted else np.nan
            row["precision"] = hits / (hits + wrong) if hits + wrong else np.nan
        rows.append(row)
    return pd.DataFrame(rows, columns=tables.LEARNABILITY_SIMULATION.names)
