"""The whole analysis: from gene errors, their sums by block and an annotation of genes to all tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wced import tables
from wced.config.learnability import Learnability
from wced.learnability import genes
from wced.learnability.absolute import converged_epoch, dynamics, facts, families
from wced.learnability.agreement import agreement, exclusive
from wced.learnability.enrichment import enrichment
from wced.learnability.models import Model, gene_table, models_of
from wced.learnability.robustness import sensitivity, simulation

MADE = (
    tables.GENE_ERRORS,
    tables.LEARNABILITY,
    tables.LEARNABILITY_SUMMARY,
    tables.GENE_LEARNABILITY,
    tables.LEARNABILITY_FACTS,
    tables.LEARNABILITY_FAMILIES,
    tables.LEARNABILITY_DYNAMICS,
    tables.LEARNABILITY_ENRICHMENT,
    tables.LEARNABILITY_AGREEMENT,
    tables.LEARNABILITY_EXCLUSIVE,
    tables.LEARNABILITY_SENSITIVITY,
    tables.LEARNABILITY_SIMULATION,
)
"""Tables of the analysis; of the errors, the last epochs."""


@dataclass(frozen=True)
class Analysis:
    """What the analysis found."""

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
        File of tables.GENE_ERROR_SUMS of each checkpoint.
    annotation
        Rows of tables.GENE_ANNOTATION; None leaves every gene in one group, `not annotated`.
    section
        The choices of the analysis.
    seed
        Seed of all draws.
    left_out
        Genes that the input of each checkpoint leaves out (`wced.learnability.checkpoint.left_out`); None: none.

    Raises
    ------
    WcedError
        If the sums of a checkpoint are not there or lack its last epoch.
    """
    last = genes.last_epoch(errors)
    every = genes.with_left_out(last, left_out or {})
    seen = every[every["left_out"] == ""]
    proxies = genes.proxies(annotation)
    models = models_of(genes.annotated(every, annotation), sums, section, seed)
    parts: dict[str, list[pd.DataFrame]] = {table.name: [] for table in MADE}
    for model in models:
        followed = dynamics(errors, model, section)
        family_rows = families(model, section, converged_epoch(followed))
        found = {
            tables.GENE_LEARNABILITY: gene_table(model, section, proxies),
            tables.LEARNABILITY_FACTS: facts(model, family_rows),
            tables.LEARNABILITY_FAMILIES: family_rows,
            tables.LEARNABILITY_DYNAMICS: followed,
            tables.LEARNABILITY_ENRICHMENT: enrichment(model, section, proxies, seed),
            tables.LEARNABILITY_SENSITIVITY: sensitivity(model, section),
            tables.LEARNABILITY_SIMULATION: simulation(model, section, seed),
        }
        for table, rows in found.items():
            parts[table.name].append(rows[table.names])
    made = {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items() if frames}
    made |= {
        tables.GENE_ERRORS.name: last,
        tables.LEARNABILITY.name: genes.ranked(seen, min_nonzero=section.min_nonzero, top=section.top),
        tables.LEARNABILITY_SUMMARY.name: genes.summary(seen, min_nonzero=section.min_nonzero),
        tables.LEARNABILITY_AGREEMENT.name: agreement(models, made[tables.LEARNABILITY_FAMILIES.name], section),
        tables.LEARNABILITY_EXCLUSIVE.name: exclusive(models),
    }
    return Analysis(models, {table.name: tables.checked(made[table.name], table) for table in MADE}, proxies)
