"""What a run found about its genes, in sentences, with the BMFM-RNA paper's numbers beside."""

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.analysis import Analysis
from wced.learnability.enrichment import DISSOCIATION, IDENTITY, UNASSIGNED
from wced.learnability.genes import NOT_ANNOTATED
from wced.learnability.models import Model, left_out_reason


def answers(analysis: Analysis, section: Learnability) -> list[tuple[str, list[str]]]:
    """Return the heading and the sentences of each model, and of each pair of models."""
    found = [(model.name, _of_model(analysis, model, section)) for model in analysis.models]
    pairs = analysis.tables["learnability_agreement"]
    for (a, b), rows in pairs[pairs["regime"] == "all"].groupby(["model_a", "model_b"], sort=False):
        found.append((f"{a} and {b}", _of_pair(a, b, rows.set_index("measure"))))
    return found


def differences(analysis: Analysis, section: Learnability) -> list[str]:
    """Return what one has to know before comparing this run with the paper."""
    scored = max((int(model.every["n"].max()) for model in analysis.models), default=0)
    epochs = int(analysis.tables["gene_errors"]["epoch"].max())
    sentences = [
        f"Size: errors here are of at most {scored:,} validation cells, after {epochs} epochs. The paper's corpus has "
        "6.2 million cells and its models are trained for 10 epochs. A gene needs many cells that express it before "
        "its level can be learned, so small runs say more about the method than about genes.",
        "Masked language models are scored at masked positions only. Their null is the mean of these very values, and "
        "a gene needs as many of them as for whole-cell decoding to be reliable.",
        f"Choices: the width of the windows of the local standard deviation ({section.window:g} of zero fraction here) "
        "and the bound between tiers 2 and 3 are not in the paper's text.",
        "Tiers: the paper's figure has families 20 to 45% better than the null, its text fewer than 2% of genes that "
        "beat it. Where most genes are worse than the null, most families are in tier 4.",
    ]
    if analysis.proxies:
        sentences.append(
            f"Proxy: expression programs stand on proxies of these sets of genes, because the paper's sources are not "
            f"given in the config: {analysis.proxies}. Odds ratios of programs are not those of the paper's programs."
        )
    missing = sum((model.every["family"] == NOT_ANNOTATED).sum() for model in analysis.models)
    if missing:
        sentences.append(
            f"Not annotated: {missing:,} of {sum(len(model.every) for model in analysis.models):,} genes (all models "
            "together) are not in the gene annotation; they are a group of their own."
        )
    few = [model for model in analysis.models if len(model.genes) < _FEW]
    sentences += [
        f"Few genes: {model.name} has {len(model.genes):,} reliable genes of {len(model.every):,}, too few for winners "
        "to mean much. Nothing was widened to have more."
        for model in few
    ]
    return sentences


_FEW = 1000
"""Reliable genes below which the page warns."""


def _of_model(analysis: Analysis, model: Model, section: Learnability) -> list[str]:
    rows = analysis.tables["learnability_facts"]
    rows = rows[(rows["checkpoint"] == model.checkpoint) & (rows["decoder"] == model.decoder)]
    facts = rows.set_index(["regime", "measure"])
    n, unseen = len(model.genes), _unseen(model)
    read = int((model.every["left_out"] == "").sum())
    sentences = [
        f"{n:,} of {read:,} genes {'that it reads ' if unseen else ''}are reliable: {section.min_nonzero} or more "
        f"non-zero values were scored. The other {read - n:,} are left out of all that follows.",
        *unseen,
    ]
    if n == 0:
        return sentences
    sentences += [
        f"Absolute: {_share(facts.loc[('all', 'beat_null_fraction')])} of them are quantified better than by the null.",
        f"Detection: the median AUC of families is {_value(facts.loc[('all', 'families_median_auc')])}, the lowest "
        f"{_value(facts.loc[('all', 'families_min_auc')])}.",
        f"Sparsity explains {_share(facts.loc[('all', 'variance_explained')])} of the variance of log rescaled MAE.",
        f"Relative: {_value(facts.loc[('all', 'winners')])} winners and {_value(facts.loc[('all', 'losers')])} losers "
        f"among {int(facts.loc[('all', 'judged'), 'value']):,} judged genes; "
        f"{_value(facts.loc[('sparse', 'winners')])} of the winners are in the sparse regime (zero fraction over "
        f"{section.sparse:g}).",
    ]
    programs = analysis.tables["learnability_enrichment"]
    programs = programs[
        (programs["checkpoint"] == model.checkpoint)
        & (programs["decoder"] == model.decoder)
        & (programs["regime"] == "all")
        & (programs["axis"] == "program")
    ]
    sentences += [_program(row) for row in programs.itertuples() if row.group != NOT_ANNOTATED]
    return sentences


def _unseen(model: Model) -> list[str]:
    """Return the sentence on the genes that the input leaves out; none where the model reads all."""
    groups = model.every["left_out"][model.every["left_out"] != ""]
    if groups.empty:
        return []
    sentence = (
        f"{len(groups):,} genes are {left_out_reason(model.checkpoint, groups)}. The model never reads them, so they "
        "are not judged, and no count, trend or ranking has them, whatever errors it makes."
    )
    if names := [*model.unseen("family"), *model.unseen("program")]:
        sentence += f" Families and programs of which that is half or more have no values: {', '.join(names)}."
    return [sentence]


def _program(row) -> str:
    name = f"{_NAMES.get(row.group, row.group)} genes" + (" (proxy)" if row.proxies else "")
    against = f"{_NAMES.get(row.against, row.against).lower()} genes"
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


_NAMES = {
    IDENTITY: "Identity",
    DISSOCIATION: "Dissociation",
    UNASSIGNED: "Unassigned",
    "constitutive": "Constitutive",
    "cell_cycle": "Cell-cycle",
}


def _of_pair(a: str, b: str, rows: pd.DataFrame) -> list[str]:
    both, shared = int(rows.loc["judged_by_both", "value"]), int(rows.loc["shared", "value"])
    of_a, of_b = (int(rows.loc[f"winners_{side}_judged_by_both", "value"]) for side in "ab")
    first = (
        f"{both:,} genes are judged by both. Of them {of_a:,} are winners of {a}, {of_b:,} of {b}, "
        f"and {shared:,} of both"
    )
    if rows.loc["fold", "reason"]:
        first += f". No fold over chance: {rows.loc['fold', 'reason']}."
    else:
        expected, fold = rows.loc["expected", "value"], rows.loc["fold", "value"]
        first += f": {fold:.1f} times the {expected:.2g} of chance (p = {rows.loc['shared', 'p']:.2g})."
    sentences = [first]
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


def _share(row: pd.Series) -> str:
    return _with_paper(row, "{:.1%}")


def _value(row: pd.Series) -> str:
    return _with_paper(row, "{:,.0f}" if row.name[1] in ("winners", "losers") else "{:.2f}")


def _with_paper(row: pd.Series, form: str) -> str:
    if row["reason"]:
        return f"(no value: {row['reason']})"
    notes = []
    if not np.isnan(row["ci_low"]):
        notes.append(f"{form.format(row['ci_low'])} to {form.format(row['ci_high'])}")
    if row["published"]:
        notes.append(f"paper: {row['published']}")
    return form.format(row["value"]) + (f" ({'; '.join(notes)})" if notes else "")
