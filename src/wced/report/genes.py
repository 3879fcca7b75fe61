"""The page: which genes the models of a run learned, for a reader who is no modeller."""

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.analysis import MADE, Analysis
from wced.learnability.figures import figure_names
from wced.report import pages
from wced.report.gene_answers import answers, differences

CALLS = ("winner", "loser", "neither", "not judged")


CONTENTS = {
    "question": "Question",
    "answer": "Answer",
    "differs": "What differs from the paper",
    "search": "Search for a gene",
    "figures": "Figures",
    "programs": "Programs",
    "families": "Families",
    "agreement": "Agreement",
    "trust": "How sure",
    "tables": "Tables",
}
"""Place and name of each section."""


def render(
    analysis: Analysis,
    section: Learnability,
    figures: Path,
    run: str,
    *,
    figures_link: str,
    tables_link: str,
    deep: Sequence[str] = (),
) -> str:
    """Return the page as HTML that loads nothing.

    Parameters
    ----------
    analysis
        What was found.
    section
        The choices of the analysis.
    figures
        Folder of the figures.
    run
        Name of the run; empty where there is none.
    figures_link, tables_link
        Folders of the figures and tables as seen from the page.
    deep
        Checkpoints whose decoder was told the depth of the whole cell.
    """
    made = analysis.tables
    return pages.render(
        "wced.report",
        "genes.html",
        run=run,
        deep=deep,
        contents=[(place, name, []) for place, name in CONTENTS.items()],
        search=(resources.files("wced.report") / "genes.js").read_text(),
        models=[model.name for model in analysis.models],
        section=section,
        proxies=analysis.proxies,
        answers=answers(analysis, section),
        differences=differences(analysis, section),
        data=_search_data(analysis),
        drawings=[
            pages.read_drawing(figures / name, f"{figures_link}/{name}") for name in figure_names(analysis.models)
        ],
        programs=_programs(analysis),
        families=_families(analysis),
        agreement=made["learnability_agreement"].query("regime == 'all'").drop(columns="regime"),
        exclusive=made["learnability_exclusive"],
        simulation=made["learnability_simulation"],
        sensitivity=made["learnability_sensitivity"],
        facts=made["learnability_facts"].drop(columns="ci_method"),
        table_names=[table.name for table in MADE],
        tables_link=tables_link,
    )


def _programs(analysis: Analysis) -> pd.DataFrame:
    rows = analysis.tables["learnability_enrichment"]
    rows = rows[(rows["axis"] == "program") & (rows["regime"] == "all")]
    shown = rows[["checkpoint", "decoder", "group", "against", "genes", "winners", "winner_rate"]].assign(
        odds_ratio=rows["odds_ratio"],
        ci=_intervals(rows["ci_low"], rows["ci_high"]),
        blocks=_intervals(rows["blocks_low"], rows["blocks_high"]),
        permuted=_intervals(rows["permuted_low"], rows["permuted_high"]),
    )
    more = ["fisher_p", "fisher_q", "median_z", "median_z_against", "mann_whitney_q"]
    more += ["published_odds_ratio", "published_winner_rate", "reason"]
    return shown.assign(**rows[more]).rename(columns={"group": "program"})


def _families(analysis: Analysis) -> pd.DataFrame:
    families = analysis.tables["learnability_families"]
    families = families[families["reason"] == ""].drop(columns=["ci_method", "median_rescaled_mae", "reason"])
    rows = analysis.tables["learnability_enrichment"]
    rows = rows[(rows["axis"] == "family") & (rows["regime"] == "sparse")].rename(columns={"group": "family"})
    wanted = ["winners", "winner_rate", "odds_ratio", "fisher_q", "published_winner_rate"]
    keys = ["checkpoint", "decoder", "family"]
    families = families.assign(ci=_intervals(families["ci_low"], families["ci_high"])).drop(
        columns=["ci_low", "ci_high"]
    )
    return families.merge(rows[[*keys, *wanted]], on=keys, how="left")


def _intervals(low: pd.Series, high: pd.Series) -> list[str]:
    pairs = zip(low, high, strict=True)
    return ["" if np.isnan(a) else f"{pages.number(float(a))} to {pages.number(float(b))}" for a, b in pairs]


def _search_data(analysis: Analysis) -> str:
    """Return what the search box knows, as JSON that can stand in a page."""
    genes = analysis.tables["gene_learnability"]
    families, programs = (pd.Categorical(genes[column]) for column in ("family", "program"))
    genes = genes.assign(family_code=families.codes, program_code=programs.codes)
    every = genes.drop_duplicates("gene_id").sort_values(["gene_symbol", "gene_id"], kind="stable")
    per_model = [_of_model(genes, model.checkpoint, model.decoder) for model in analysis.models]
    about = zip(every["gene_id"], every["gene_symbol"], every["family_code"], every["program_code"], strict=True)
    rows = [
        [gene, symbol, int(family), int(program), [known.get(gene) for known in per_model]]
        for gene, symbol, family, program in about
    ]
    data = {
        "models": [model.name for model in analysis.models],
        "families": list(families.categories),
        "programs": list(programs.categories),
        "proxy": " (proxy)" if analysis.proxies else "",
        "calls": list(CALLS),
        "columns": [
            *("model", "non-zero values", "cells without it", "error", "null's error", "better than the null"),
            *("detection AUC", "expected error", "Z", "call", "sure"),
        ],
        "genes": rows,
    }
    # No tag can end the script that holds it.
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _of_model(genes: pd.DataFrame, checkpoint: str, decoder: str) -> dict[str, list]:
    mine = genes[(genes["checkpoint"] == checkpoint) & (genes["decoder"] == decoder)]
    neither = 1 - mine["winner_share"] - mine["loser_share"]
    sure = np.select(
        [mine["call"] == "winner", mine["call"] == "loser", mine["call"] == "neither"],
        [mine["winner_share"], mine["loser_share"], neither],
        np.nan,
    )
    call = pd.Categorical(mine["call"], categories=CALLS).codes
    numbers = mine[["zero_fraction", "rescaled_mae", "rescaled_null_mae", "improvement", "detection_auc"]]
    numbers = numbers.assign(expected_mae=mine["expected_mae"], z=mine["z"], sure=sure).round(3)
    # Missing numbers become null; object arrays hold Python's own numbers, which JSON knows.
    values = numbers.astype(object).where(numbers.notna(), None).to_numpy()
    rows = zip(mine["gene_id"], mine["n_nonzero"], values, call, mine["reason"], strict=True)
    return {gene: [int(n), *value[:7], int(code), value[7], reason] for gene, n, value, code, reason in rows}
