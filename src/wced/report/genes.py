"""The page on genes: which ones the models of a run learned, for a reader who builds no models."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.analysis import MADE, Analysis
from wced.learnability.enrichment import PROGRAMS
from wced.learnability.figures import figure_names
from wced.learnability.genes import NOT_ANNOTATED
from wced.learnability.models import Model, left_out_reason
from wced.report import pages

CALLS = ("winner", "loser", "neither", "not judged")
_FEW = 1000
"""Reliable genes below which the page warns."""
_TITLES = {program: program.replace("_", "-").capitalize() for program in PROGRAMS}


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
    analysis, section
        The analysis and its settings.
    figures
        Folder of the figures.
    run
        Name of the run; empty if there is none.
    figures_link, tables_link
        Paths from the page to the folders of figures and tables.
    deep
        Checkpoints whose decoder was told the depth of the whole cell.
    """
    frames, names = analysis.tables, figure_names(analysis.models)
    return pages.render(
        "genes.html",
        run=run,
        deep=deep,
        models=[model.name for model in analysis.models],
        section=section,
        proxies=analysis.proxies,
        answers=answers(analysis, section),
        differences=differences(analysis, section),
        data=_search_data(analysis),
        figures=[pages.read_figure(figures / name, f"{figures_link}/{name}") for name in names],
        programs=_programs(frames["learnability_enrichment"]),
        families=_families(frames["learnability_families"], frames["learnability_enrichment"]),
        tables=frames,
        table_names=[table.name for table in MADE],
        tables_link=tables_link,
    )


def _programs(enrichment: pd.DataFrame) -> pd.DataFrame:
    rows = enrichment[(enrichment["axis"] == "program") & (enrichment["regime"] == "all")]
    rows = rows.assign(
        ci=_intervals(rows["ci_low"], rows["ci_high"]),
        blocks=_intervals(rows["blocks_low"], rows["blocks_high"]),
        permuted=_intervals(rows["permuted_low"], rows["permuted_high"]),
    )
    columns = ["checkpoint", "decoder", "group", "against", "genes", "winners", "winner_rate", "odds_ratio", "ci"]
    columns += ["blocks", "permuted", "fisher_p", "fisher_q", "median_z", "median_z_against", "mann_whitney_q"]
    columns += ["published_odds_ratio", "published_winner_rate", "reason"]
    return rows[columns].rename(columns={"group": "program"})


def _families(families: pd.DataFrame, enrichment: pd.DataFrame) -> pd.DataFrame:
    families = families[families["reason"] == ""]
    families = families.assign(ci=_intervals(families["ci_low"], families["ci_high"]))
    families = families.drop(columns=["ci_method", "median_rescaled_mae", "reason", "ci_low", "ci_high"])
    rows = enrichment[(enrichment["axis"] == "family") & (enrichment["regime"] == "sparse")]
    keys = ["checkpoint", "decoder", "family"]
    columns = [*keys, "winners", "winner_rate", "odds_ratio", "fisher_q", "published_winner_rate"]
    return families.merge(rows.rename(columns={"group": "family"})[columns], on=keys, how="left")


def _intervals(low: pd.Series, high: pd.Series) -> list[str]:
    pairs = zip(low, high, strict=True)
    return ["" if np.isnan(a) else f"{pages.number(float(a))} to {pages.number(float(b))}" for a, b in pairs]


def _of(frame: pd.DataFrame, model: Model) -> pd.DataFrame:
    return frame[(frame["checkpoint"] == model.checkpoint) & (frame["decoder"] == model.decoder)]


def _search_data(analysis: Analysis) -> str:
    """Return the data of the search as JSON that can be part of a page."""
    genes = analysis.tables["gene_learnability"]
    families, programs = (pd.Categorical(genes[column]) for column in ("family", "program"))
    genes = genes.assign(family_code=families.codes, program_code=programs.codes)
    every = genes.drop_duplicates("gene_id").sort_values(["gene_symbol", "gene_id"], kind="stable")
    by_model = [_numbers(_of(genes, model)) for model in analysis.models]
    facts = zip(every["gene_id"], every["gene_symbol"], every["family_code"], every["program_code"], strict=True)
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
        "genes": [
            [gene, symbol, int(family), int(program), [numbers.get(gene) for numbers in by_model]]
            for gene, symbol, family, program in facts
        ],
    }
    # No tag in a symbol may end the script that holds the data.
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _numbers(genes: pd.DataFrame) -> dict[str, list]:
    """Return, for each gene of one model, its numbers in the order of the columns, the call's code, and the reason."""
    shares = {"winner": genes["winner_share"], "loser": genes["loser_share"]}
    shares["neither"] = 1 - shares["winner"] - shares["loser"]
    sure = np.select([genes["call"] == call for call in shares], list(shares.values()), np.nan)
    calls = pd.Categorical(genes["call"], categories=CALLS).codes
    columns = ["zero_fraction", "rescaled_mae", "rescaled_null_mae", "improvement", "detection_auc", "expected_mae"]
    numbers = genes[[*columns, "z"]].assign(sure=sure).round(3)
    # Missing numbers become null; an object array holds Python's own numbers, which JSON can write.
    values = numbers.astype(object).where(numbers.notna(), None).to_numpy()
    rows = zip(genes["gene_id"], genes["n_nonzero"], values, calls, genes["reason"], strict=True)
    return {gene: [int(n), *value[:7], int(call), value[7], reason] for gene, n, value, call, reason in rows}


def answers(analysis: Analysis, section: Learnability) -> list[tuple[str, list[str]]]:
    """Return the heading and the sentences of each model, and of each pair of models, beside the paper's numbers."""
    sentences = [(model.name, _of_model(analysis, model, section)) for model in analysis.models]
    pairs = analysis.tables["learnability_agreement"]
    for (a, b), rows in pairs[pairs["regime"] == "all"].groupby(["model_a", "model_b"], sort=False):
        sentences.append((f"{a} and {b}", _of_pair(a, b, rows.set_index("measure"))))
    return sentences


def differences(analysis: Analysis, section: Learnability) -> list[str]:
    """Return what a reader must know before comparing this run with the paper."""
    scored = max((int(model.every["n"].max()) for model in analysis.models), default=0)
    epochs = int(analysis.tables["gene_errors"]["epoch"].max())
    sentences = [
        f"Size: errors here are of at most {scored:,} validation cells, after {epochs} epochs. The paper's corpus has "
        "6.2 million cells and its models are trained for 10 epochs. A gene needs many cells that express it before "
        "its level can be learned, so small runs say more about the method than about genes.",
        "Masked language models are scored at masked positions only. Their null is the mean of these values, and a "
        "gene needs as many of them to be reliable as for whole-cell decoding.",
        f"Choices: the width of the windows of the local standard deviation ({section.window:g} of zero fraction here) "
        "and the bound between tiers 2 and 3 are not in the paper's text.",
        "Tiers: the paper's figure has families 20 to 45% better than the null, its text fewer than 2% of genes that "
        "beat it. Where most genes are worse than the null, most families are in tier 4.",
    ]
    if analysis.proxies:
        sentences.append(
            "Proxy: the config does not name the paper's sources of these sets of genes, so proxies stand in for them: "
            f"{analysis.proxies}. Odds ratios of expression programs are not those of the paper's programs."
        )
    missing = sum((model.every["family"] == NOT_ANNOTATED).sum() for model in analysis.models)
    if missing:
        sentences.append(
            f"Not annotated: {missing:,} of {sum(len(model.every) for model in analysis.models):,} genes (all models "
            "together) are not in the gene annotation; they form a group of their own."
        )
    return sentences + [
        f"Few genes: {model.name} has {len(model.genes):,} reliable genes of {len(model.every):,}, too few for winners "
        "to mean much. No limit was relaxed to get more."
        for model in analysis.models
        if len(model.genes) < _FEW
    ]


def _of_model(analysis: Analysis, model: Model, section: Learnability) -> list[str]:
    facts = _of(analysis.tables["learnability_facts"], model).set_index(["regime", "measure"])
    n, unseen = len(model.genes), _unseen(model)
    read = int((model.every["left_out"] == "").sum())
    sentences = [
        f"{n:,} of {read:,} genes {'that it reads ' if unseen else ''}are reliable: {section.min_nonzero} or more "
        f"non-zero values were scored. The other {read - n:,} are left out of all that follows.",
        *unseen,
    ]
    if n == 0:
        return sentences

    def fact(measure: str, form: str, regime: str = "all") -> str:
        return _with_paper(facts.loc[(regime, measure)], form)

    sentences += [
        f"Absolute: {fact('beat_null_fraction', '{:.1%}')} of them are quantified better than by the null.",
        f"Detection: the median AUC of families is {fact('families_median_auc', '{:.2f}')}, the lowest "
        f"{fact('families_min_auc', '{:.2f}')}.",
        f"Sparsity explains {fact('variance_explained', '{:.1%}')} of the variance of log rescaled MAE.",
        f"Relative: {fact('winners', '{:,.0f}')} winners and {fact('losers', '{:,.0f}')} losers "
        f"among {int(facts.loc[('all', 'judged'), 'value']):,} judged genes; "
        f"{fact('winners', '{:,.0f}', 'sparse')} of the winners are in the sparse regime (zero fraction over "
        f"{section.sparse:g}).",
    ]
    rows = _of(analysis.tables["learnability_enrichment"], model)
    programs = rows[(rows["regime"] == "all") & (rows["axis"] == "program") & (rows["group"] != NOT_ANNOTATED)]
    return sentences + [_program(row) for row in programs.itertuples()]


def _with_paper(row: pd.Series, form: str) -> str:
    """Return a value with its interval and the paper's value, if there are any."""
    if row["reason"]:
        return f"(no value: {row['reason']})"
    notes = []
    if not np.isnan(row["ci_low"]):
        notes.append(f"{form.format(row['ci_low'])} to {form.format(row['ci_high'])}")
    if row["published"]:
        notes.append(f"paper: {row['published']}")
    return form.format(row["value"]) + (f" ({'; '.join(notes)})" if notes else "")


def _unseen(model: Model) -> list[str]:
    """Return the sentence on the genes that the input leaves out; none if the model reads all."""
    groups = model.every["left_out"][model.every["left_out"] != ""]
    if groups.empty:
        return []
    sentence = (
        f"{len(groups):,} genes are {left_out_reason(model.checkpoint, groups)}. The model never reads them, so they "
        "are not judged, and no count, trend or ranking includes them, whatever errors it makes."
    )
    if names := [*model.unseen("family"), *model.unseen("program")]:
        sentence += f" Families and programs of which that is half or more have no values: {', '.join(names)}."
    return [sentence]


def _program(row) -> str:
    name = f"{_TITLES.get(row.group, row.group)} genes" + (" (proxy)" if row.proxies else "")
    against = f"{_TITLES.get(row.against, row.against).lower()} genes"
    if row.reason:
        return f"{name} have no odds ratio against {against}: {row.reason}."
    verdict = "no more or less often winners than"
    if row.fisher_q < 0.05:
        verdict = "more often winners than" if row.odds_ratio > 1 else "less often winners than"
    paper = f" The paper: {row.published_odds_ratio}." if row.published_odds_ratio else ""
    blocks = ""
    if not np.isnan(row.blocks_low):
        blocks = f", {row.blocks_low:.2f} to {row.blocks_high:.2f} over validation blocks"
    return (
        f"{name} are {verdict} {against}: {row.winners} of {row.genes:,} against {row.winners_against} of "
        f"{row.genes_against:,}; odds ratio {row.odds_ratio:.2f} ({row.ci_low:.2f} to {row.ci_high:.2f}{blocks}), "
        f"q = {row.fisher_q:.2g}.{paper} Their median Z is {row.median_z:.2f} against {row.median_z_against:.2f} "
        f"(q = {row.mann_whitney_q:.2g})."
    )


def _of_pair(a: str, b: str, rows: pd.DataFrame) -> list[str]:
    value, reason = rows["value"], rows["reason"]
    sentence = (
        f"{value['judged_by_both']:,.0f} genes are judged by both. Of them {value['winners_a_judged_by_both']:,.0f} "
        f"are winners of {a}, {value['winners_b_judged_by_both']:,.0f} of {b}, and {value['shared']:,.0f} of both"
    )
    if reason["fold"]:
        sentence += f". No fold over chance: {reason['fold']}."
    else:
        p = rows.loc["shared", "p"]
        sentence += f": {value['fold']:.1f} times the {value['expected']:.2g} of chance (p = {p:.2g})."
    sentences = [sentence]
    for measure, what in (
        ("spearman_z", "Z of all genes that both judge"),
        ("spearman_z_shared", "Z of the shared winners"),
        ("spearman_family_improvement", "the median improvement of families"),
    ):
        row = rows.loc[measure]
        if row["reason"]:
            sentences.append(f"No rank correlation of {what}: {row['reason']}.")
        else:
            sentences.append(f"Rank correlation of {what}: {row['value']:.2f} (n = {row['n']:,}, p = {row['p']:.2g}).")
    return sentences
