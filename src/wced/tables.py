"""Schemas of all tables, checked when a table is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from wced import parquet
from wced.errors import WcedError
from wced.files import existing, whole_file


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    kind: str
    """`str`, `int`, `float` or `bool`; a float may be empty, the others only when `optional`."""
    description: str
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """A table's columns, in order, and the columns that identify a row."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    value: str | None = None
    """A column of finite numbers that is empty exactly when the column `reason` is filled."""


SCORES = Table(
    "scores",
    (
        Column("run", "str", "name of the run"),
        Column("task", "str", "benchmark"),
        Column("dataset", "str", "dataset of datasets.tsv"),
        Column("protocol", "str", "how the score was computed: library, version and settings"),
        Column("split", "str", "cells that were scored: all, or which folds"),
        Column("label", "str", "obs column that was the truth"),
        Column("model", "str", "checkpoint or baseline"),
        Column("metric", "str", "name of the score"),
        Column("value", "float", "the score; empty exactly when `reason` is filled"),
        Column("ci_low", "float", "lower end of the 95% interval"),
        Column("ci_high", "float", "upper end of the 95% interval"),
        Column("ci_method", "str", "how the interval was made", optional=True),
        Column("n", "int", "cells scored"),
        Column("n_params", "int", "weights of what embeds, or loadings fitted on the corpus; 0 without"),
        Column("width", "int", "dimensions of the embedding"),
        Column("seed", "int", "seed of everything random in the score"),
        Column("source", "str", "here, published or external"),
        Column("leakage", "str", "what the model may have seen of these cells: none, or what was found"),
        Column("reason", "str", "why there is no value", optional=True),
    ),
    ("run", "task", "dataset", "protocol", "split", "label", "model", "metric", "source"),
    value="value",
)

CORPUS = Table(
    "corpus",
    (
        Column("level", "str", "dataset, tissue or cell_type"),
        Column("dataset", "str", "dataset, or `all`"),
        Column("term", "str", "ontology id, or the dataset"),
        Column("name", "str", "readable name"),
        Column("cells_in", "int", "cells in the collection"),
        Column("not_primary", "int", "removed: not primary data"),
        Column("low_counts", "int", "removed: too few counts"),
        Column("high_counts", "int", "removed: too many counts"),
        Column("low_genes", "int", "removed: too few genes"),
        Column("high_mt", "int", "removed: too high a mitochondrial fraction"),
        Column("few_measured", "int", "removed: the dataset measured too few genes"),
        Column("outlier_counts", "int", "removed: counts too many MADs from the dataset's median"),
        Column("outlier_genes", "int", "removed: genes too many MADs from the dataset's median"),
        Column("outlier_mt", "int", "removed: mitochondrial fraction too many MADs above the dataset's median"),
        Column("not_sampled", "int", "good cells that sampling left out"),
        Column("train", "int", "cells to train on"),
        Column("validation", "int", "cells to validate on"),
        Column(
            "split_by",
            "str",
            "unit of the split: dataset, donor, cell, `mixed` where datasets differ, `none` without cells",
        ),
        Column("unknown_in_validation", "int", "validation cells whose cell type train lacks, or that have none"),
    ),
    ("level", "dataset", "term"),
)

QC = Table(
    "qc",
    (
        Column("dataset", "str", "dataset"),
        Column("rule", "str", "rule that is switched on, as a column of the corpus table"),
        Column("low", "float", "smallest good value: counts, genes or fraction; empty for no limit"),
        Column("high", "float", "largest good value"),
        Column("cells", "int", "cells in the collection"),
        Column("failing", "int", "cells that fail the rule, whatever the others say"),
        Column("removed", "int", "of these, cells that fail no rule before it"),
    ),
    ("dataset", "rule"),
)

QC_HISTOGRAMS = Table(
    "qc_histograms",
    (
        Column("dataset", "str", "dataset"),
        Column("metric", "str", "counts, genes or mt_fraction"),
        Column("low", "float", "left edge of the bin, inside"),
        Column("high", "float", "right edge of the bin, outside"),
        Column("cells", "int", "cells in the bin; bins without any have no row"),
        Column("kept", "int", "of these, cells that no rule removes"),
    ),
    ("dataset", "metric", "low"),
)

SAMPLING = Table(
    "sampling",
    (
        Column("step", "int", "step of sampling, from 1"),
        Column("kind", "str", "fraction, cap, total or stratified"),
        Column("by", "str", "columns whose combinations are the strata", optional=True),
        Column("stratum", "str", "values of these columns, or `all`"),
        Column("cells_there", "int", "cells of the stratum that the step before left"),
        Column("cells_taken", "int", "of these, cells that the step took"),
    ),
    ("step", "stratum"),
)

SPLIT = Table(
    "split",
    (
        Column("dataset", "str", "dataset, or `all` where whole datasets are the units"),
        Column("split_by", "str", "unit of the split: dataset, donor or cell"),
        Column("units", "int", "units there are, those of unknown donor left out"),
        Column("units_in_validation", "int", "of these, units that are validated on"),
        Column("cells", "int", "cells"),
        Column("validation", "int", "of these, cells to validate on"),
        Column("share", "float", "validation / cells"),
        Column("share_wanted", "float", "share aimed at"),
        Column("new_types", "int", "cell types that come to validation here and not from a dataset above"),
        Column("new_types_at_most", "int", "upper bound of these while train keeps every type and the share is met"),
        Column(
            "method", "str", "how units were chosen: optimal, or how far from the optimum, or why there was no choice"
        ),
    ),
    ("dataset",),
)

SPLIT_EXCEPTIONS = Table(
    "split_exceptions",
    (
        Column("term", "str", "cell type"),
        Column("name", "str", "readable name"),
        Column("exception", "str", "not_in_train (a broken promise) or not_in_validation"),
        Column("train", "int", "cells to train on"),
        Column("validation", "int", "cells to validate on"),
        Column("datasets", "int", "datasets that have the type"),
        Column("units", "int", "units of the split that have it: of one unit, train keeps the type"),
    ),
    ("term",),
)

SELECTION_BENCHMARK = Table(
    "selection_benchmark",
    (
        Column("rows", "int", "cells of the obs table"),
        Column("step", "str", "read, quality, sampling, split, write, or whole for the command from start to end"),
        Column("seconds", "float", "wall-clock time"),
        Column("cpu_seconds", "float", "processor time of all threads"),
        Column("peak_mb", "float", "largest resident memory of the process up to the end of the step, MB"),
        Column(
            "extrapolated", "bool", "whether the row is not measured but a straight line through the two largest runs"
        ),
    ),
    ("rows", "step"),
)

SOURCES_QC = Table(
    "sources_qc",
    (
        Column("dataset", "str", "dataset"),
        Column("files", "int", "files of counts"),
        Column("cells_in_file", "int", "cells in the files as published"),
        Column("cells_dropped_filter", "int", "cells dropped by the row's filter `keep`"),
        Column("cells_dropped_empty", "int", "cells dropped because they have no counts"),
        Column("cells_dropped_min_genes", "int", "cells dropped because they express fewer genes than `min_genes`"),
        Column("cells", "int", "cells kept"),
        Column("genes_in_file", "int", "genes in the files as published"),
        Column("genes_dropped_zero", "int", "genes without any count that the file's makers filled in, dropped"),
        Column("genes_unmapped", "int", "genes without an Ensembl id in the gene table, dropped"),
        Column("genes_unmapped_fraction", "float", "share of the genes in the files, without those of no counts"),
        Column("genes_not_in_all_files", "int", "genes that only some of the files measured, dropped"),
        Column("genes_merged", "int", "genes added to another with the same Ensembl id"),
        Column("genes", "int", "genes kept"),
        Column("counts_unmapped_fraction", "float", "share of all counts that the dropped genes held"),
        Column("cells_unlabelled", "int", "cells kept whose cell type is unknown"),
        Column("cell_type_names_unmapped", "int", "names of cell types that the table of cell type names lacks"),
    ),
    ("dataset",),
)

SOURCES_TERMS = Table(
    "sources_terms",
    (
        Column("dataset", "str", "dataset"),
        Column("column", "str", "field of obs"),
        Column("value", "str", "what the dataset says; empty where it says nothing", optional=True),
        Column("cells", "int", "cells with it, of those that `keep` keeps"),
        Column("term", "str", "ontology id that it became, or unknown"),
        Column("label", "str", "name of that term"),
        Column("note", "str", "why it is not what the dataset says"),
    ),
    ("dataset", "column", "value"),
)

GENE_FILTER = Table(
    "gene_filter",
    (
        Column("gene_id", "str", "Ensembl id"),
        Column("symbol", "str", "symbol", optional=True),
        Column("cells", "int", "sampled training cells whose dataset measured the gene"),
        Column("frequency", "float", "share of them that express it; empty without cells"),
        Column("mean_cp10k", "float", "their mean counts per 10,000"),
        Column("dispersion", "float", "variance / mean of the counts per 10,000; empty without counts"),
        Column("kept", "bool", "whether the gene is in the vocabulary"),
    ),
    ("gene_id",),
)

GENE_ERRORS = Table(
    "gene_errors",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("epoch", "int", "epoch after which the errors were measured, from 1"),
        Column("gene_id", "str", "Ensembl id"),
        Column("gene_symbol", "str", "symbol"),
        Column(
            "n", "int", "predictions scored: cells whose dataset measured the gene; MLM: of these, masked positions"
        ),
        Column("n_nonzero", "int", "of these, where the gene is expressed"),
        Column("zero_fraction", "float", "share of validation cells that do not express it, where it was measured"),
        Column("mean_nonzero", "float", "mean log1p(CP10k) of the validation cells that express it"),
        Column("detection_auc", "float", "area under the ROC curve of expressed or not"),
        Column("nonzero_mae", "float", "mean absolute error where expressed; prediction is 0 where called zero"),
        Column("nonzero_mae_ungated", "float", "the same without setting predictions to 0"),
        Column("null_mae", "float", "mean absolute error of predicting the validation non-zero mean"),
        Column("rescaled_mae", "float", "nonzero_mae / mean_nonzero"),
        Column("rescaled_null_mae", "float", "null_mae / mean_nonzero"),
    ),
    ("checkpoint", "decoder", "epoch", "gene_id"),
)

GENE_ERROR_SUMS = Table(
    "gene_error_sums",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("epoch", "int", "epoch after which the errors were measured, from 1"),
        Column("dataset", "str", "dataset of the block; where several share one, their ids joined by semicolons"),
        Column("part", "int", "which of the dataset's blocks: a hash of soma_joinid mod 16"),
        Column("gene_id", "str", "Ensembl id"),
        Column("n", "int", "predictions scored, as in gene_errors"),
        Column("n_nonzero", "int", "of these, where the gene is expressed"),
        Column("sum_abs_error", "float", "absolute errors where expressed, summed; prediction is 0 where called zero"),
        Column("sum_abs_error_ungated", "float", "the same without setting predictions to 0"),
        Column("sum_abs_error_null", "float", "the same of predicting the gene's mean_nonzero"),
        Column("sum_prediction", "float", "expected values (probability of expression × predicted value) of all n"),
        Column("sum_value", "float", "log1p(CP10k), summed: of all n, as zeros add nothing"),
        Column("sum_squared_value", "float", "their squares"),
    ),
    ("checkpoint", "decoder", "epoch", "dataset", "part", "gene_id"),
)

LEARNABILITY = Table(
    "learnability",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("end", "str", "most or least learnable"),
        Column("rank", "int", "from 1, by improvement over the null"),
        Column("gene_id", "str", "Ensembl id"),
        Column("gene_symbol", "str", "symbol"),
        Column("zero_fraction", "float", "share of validation cells that do not express it"),
        Column("n_nonzero", "int", "validation cells that express it"),
        Column("detection_auc", "float", "area under the ROC curve of expressed or not"),
        Column("rescaled_mae", "float", "error where expressed, in units of the mean non-zero value"),
        Column("rescaled_null_mae", "float", "the null's error in the same units"),
        Column("improvement", "float", "1 - rescaled_mae / rescaled_null_mae"),
    ),
    ("checkpoint", "decoder", "end", "rank"),
)

LEARNABILITY_SUMMARY = Table(
    "learnability_summary",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("epoch", "int", "epoch of the errors: the checkpoint's last"),
        Column("genes", "int", "genes with errors that the input does not leave out; all below is of these"),
        Column("reliable", "int", "of these, genes that enough validation cells express"),
        Column("beat_null", "int", "reliable genes whose non-zero MAE is below the null's"),
        Column("beat_null_fraction", "float", "beat_null / reliable"),
        Column("median_detection_auc", "float", "median over reliable genes"),
        Column("median_rescaled_mae", "float", "median over reliable genes"),
        Column("median_rescaled_null_mae", "float", "median over reliable genes"),
        Column("spearman_sparsity", "float", "rank correlation of zero fraction and rescaled MAE over reliable genes"),
    ),
    ("checkpoint", "decoder"),
)

LEAKAGE = Table(
    "leakage",
    (
        Column("dataset", "str", "dataset that is scored"),
        Column("role", "str", "development (its scores chose recipes) or held_out"),
        Column("corpus_dataset", "str", "dataset of the corpus that cells were found in, or `all`"),
        Column("cells", "int", "cells that are scored"),
        Column("compared", "int", "of these, cells whose counts were compared: they express enough shared genes"),
        Column("by_joinid", "int", "cells found by observation_joinid"),
        Column("by_hash", "int", "cells found by their counts of all genes that both datasets measured"),
        Column("found", "int", "cells found either way"),
    ),
    ("dataset", "corpus_dataset"),
)

SKIPPED = Table(
    "skipped",
    (
        Column("dataset", "str", "dataset of the config that this run leaves out"),
        Column("title", "str", "what it is"),
        Column("missing", "str", "files that are not there"),
        Column("accession", "str", "where they come from", optional=True),
    ),
    ("dataset",),
)

PUBLISHED = Table(
    "published",
    (
        Column("table", "str", "table or section of the paper"),
        Column("task", "str", "task of wced, or what the numbers are about"),
        Column("dataset", "str", "dataset, gene or group of genes, as the paper calls it"),
        Column("model", "str", "model, as the paper calls it"),
        Column("metric", "str", "name of the score"),
        Column("value", "float", "the number; empty where the text has lost it"),
        Column("protocol", "str", "how it was computed, as far as the text says"),
        Column("note", "str", "begins with `not in the text` exactly when there is no value", optional=True),
    ),
    ("table", "task", "dataset", "model", "metric"),
)

GENE_LEARNABILITY = Table(
    "gene_learnability",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("gene_id", "str", "Ensembl id"),
        Column("gene_symbol", "str", "symbol"),
        Column("family", "str", "functional family; `not annotated` where the annotation lacks the gene"),
        Column("program", "str", "expression program; likewise"),
        Column("program_is_proxy", "bool", "whether a set of genes behind the programs is a proxy"),
        Column("n_nonzero", "int", "values scored where the gene is expressed"),
        Column("zero_fraction", "float", "share of validation cells that do not express it, where it was measured"),
        Column("regime", "str", "sparse or dense, by zero fraction; empty where that is not known", optional=True),
        Column("detection_auc", "float", "area under the ROC curve of expressed or not"),
        Column("rescaled_mae", "float", "error where expressed, in units of the mean non-zero value"),
        Column("rescaled_null_mae", "float", "the null's error in the same units"),
        Column("improvement", "float", "1 - rescaled_mae / rescaled_null_mae"),
        Column("expected_mae", "float", "rescaled MAE that the trend expects at this zero fraction"),
        Column("local_sd", "float", "standard deviation of log rescaled MAE around the trend, near this zero fraction"),
        Column("z", "float", "(log rescaled_mae - log expected_mae) / local_sd; empty exactly when `reason` is filled"),
        Column("difference", "float", "how far the error is from the trend, in the unit of `practical_scale`"),
        Column("call", "str", "winner, loser, neither, or not judged"),
        Column("winner_share", "float", "share of the draws of validation blocks in which it is a winner"),
        Column("loser_share", "float", "the same, a loser"),
        Column("reason", "str", "why the gene is not judged", optional=True),
    ),
    ("checkpoint", "decoder", "gene_id"),
    value="z",
)

LEARNABILITY_FACTS = Table(
    "learnability_facts",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("regime", "str", "all genes, or the sparse or dense ones"),
        Column("measure", "str", "what was counted or estimated"),
        Column("value", "float", "empty exactly when `reason` is filled"),
        Column("ci_low", "float", "lower end of the 95% interval"),
        Column("ci_high", "float", "upper end of the 95% interval"),
        Column("ci_method", "str", "how the interval was made, or why there is none", optional=True),
        Column("n", "int", "genes, or families where the measure is over families"),
        Column("published", "str", "the paper's number for this decoder, where its text has one", optional=True),
        Column("reason", "str", "why there is no value", optional=True),
    ),
    ("checkpoint", "decoder", "regime", "measure"),
    value="value",
)

LEARNABILITY_FAMILIES = Table(
    "learnability_families",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("family", "str", "functional family, the most learnable first"),
        Column("genes", "int", "genes with errors, or left out of the input"),
        Column("left_out", "int", "of these, genes that the checkpoint's input leaves out"),
        Column("reliable", "int", "of the others, genes that enough validation values express; all below is of these"),
        Column("median_improvement", "float", "1 - MAE / the null's; empty exactly when `reason` is filled"),
        Column("ci_low", "float", "lower end of the 95% interval of median_improvement"),
        Column("ci_high", "float", "upper end"),
        Column("ci_method", "str", "how the interval was made, or why there is none", optional=True),
        Column("tier", "str", "1 (most learnable) to 4, by median_improvement", optional=True),
        Column("beat_null_fraction", "float", "share of genes that beat the null"),
        Column("median_rescaled_mae", "float", "median rescaled MAE"),
        Column("median_zero_fraction", "float", "median zero fraction"),
        Column("auc_genes", "int", "reliable genes with enough zeros scored for a detection AUC"),
        Column("median_auc", "float", "median detection AUC over them"),
        Column("min_auc", "float", "smallest detection AUC of them"),
        Column("median_z", "float", "median Z of the genes that are judged"),
        Column("converged_epoch", "float", "epoch from which the median rescaled MAE stays near the last epoch's"),
        Column("reason", "str", "why there is no value", optional=True),
    ),
    ("checkpoint", "decoder", "family"),
    value="median_improvement",
)

LEARNABILITY_DYNAMICS = Table(
    "learnability_dynamics",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("family", "str", "functional family with enough reliable genes"),
        Column("epoch", "int", "epoch, from 1"),
        Column("genes", "int", "genes that are reliable in the last epoch and have an error in this one"),
        Column("median_rescaled_mae", "float", "median over them"),
        Column("median_improvement", "float", "median over them"),
        Column("median_auc", "float", "median detection AUC over those with enough zeros scored"),
        Column("converged", "bool", "whether the median rescaled MAE stays near the last epoch's from here on"),
    ),
    ("checkpoint", "decoder", "family", "epoch"),
)

LEARNABILITY_ENRICHMENT = Table(
    "learnability_enrichment",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("regime", "str", "all genes, or the sparse or dense ones"),
        Column("axis", "str", "program or family"),
        Column("group", "str", "program or family"),
        Column("against", "str", "group that it is compared with"),
        Column("genes", "int", "judged genes of the group"),
        Column("winners", "int", "of these, winners"),
        Column("losers", "int", "of these, losers"),
        Column("winner_rate", "float", "winners / genes"),
        Column("rate_low", "float", "lower end of its 95% interval (Wilson)"),
        Column("rate_high", "float", "upper end"),
        Column("genes_against", "int", "judged genes compared with"),
        Column("winners_against", "int", "of these, winners"),
        Column("odds_ratio", "float", "odds of being a winner / those of the genes compared with"),
        Column("ci_low", "float", "lower end of its 95% interval: exact, given the margins, genes independent"),
        Column("ci_high", "float", "upper end"),
        Column("fisher_p", "float", "Fisher's exact test, two-sided"),
        Column("fisher_q", "float", "the same, Benjamini-Hochberg over the axis in this regime"),
        Column("blocks_low", "float", "2.5% percentile of the odds ratio over draws of validation blocks"),
        Column("blocks_high", "float", "97.5% percentile"),
        Column("permuted", "float", "median odds ratio after shuffling the labels of the axis"),
        Column("permuted_low", "float", "2.5% percentile of these"),
        Column("permuted_high", "float", "97.5% percentile of these"),
        Column("permuted_p", "float", "share of shuffles with as extreme a number of winners, two-sided"),
        Column("median_z", "float", "median Z of the group"),
        Column("median_z_against", "float", "median Z of the genes compared with"),
        Column("mann_whitney_p", "float", "Mann-Whitney test of Z, two-sided"),
        Column("mann_whitney_q", "float", "the same, Benjamini-Hochberg over the axis in this regime"),
        Column("proxies", "str", "sets of genes behind the programs that are proxies", optional=True),
        Column("published_odds_ratio", "str", "the BMFM-RNA paper's, where its text has one", optional=True),
        Column("published_winner_rate", "str", "the same of winner_rate", optional=True),
        Column("reason", "str", "why there is no odds ratio", optional=True),
    ),
    ("checkpoint", "decoder", "regime", "axis", "group", "against"),
    value="odds_ratio",
)

LEARNABILITY_AGREEMENT = Table(
    "learnability_agreement",
    (
        Column("model_a", "str", "checkpoint and decoder"),
        Column("model_b", "str", "checkpoint and decoder"),
        Column("regime", "str", "all genes, or the sparse or dense ones"),
        Column("measure", "str", "what was counted or estimated"),
        Column("value", "float", "empty exactly when `reason` is filled"),
        Column("p", "float", "p-value of the measure, where it has one"),
        Column("n", "int", "genes or families that the measure is over"),
        Column("published", "str", "the paper's number for WCED and MLM, where its text has one", optional=True),
        Column("reason", "str", "why there is no value", optional=True),
    ),
    ("model_a", "model_b", "regime", "measure"),
    value="value",
)

LEARNABILITY_EXCLUSIVE = Table(
    "learnability_exclusive",
    (
        Column("model_a", "str", "checkpoint and decoder"),
        Column("model_b", "str", "checkpoint and decoder"),
        Column("family", "str", "functional family"),
        Column("genes", "int", "genes that both models judge"),
        Column("shared", "int", "winners of both"),
        Column("only_a", "int", "winners of model_a only"),
        Column("only_b", "int", "winners of model_b only"),
        Column("only_a_unjudged", "int", "winners of model_a that model_b does not judge"),
        Column("only_b_unjudged", "int", "winners of model_b that model_a does not judge"),
    ),
    ("model_a", "model_b", "family"),
)

LEARNABILITY_SENSITIVITY = Table(
    "learnability_sensitivity",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("key", "str", "key of the config that is changed; `none` for the config itself"),
        Column("setting", "str", "its value"),
        Column("judged", "int", "genes with a Z"),
        Column("winners", "int", "winners"),
        Column("winners_sparse", "int", "of these, in the sparse regime"),
        Column("losers", "int", "losers"),
        Column("same_winners", "int", "winners that are winners under the config too"),
        Column("variance_explained", "float", "share of the variance of log rescaled MAE that the trend explains"),
    ),
    ("checkpoint", "decoder", "key", "setting"),
)

LEARNABILITY_SIMULATION = Table(
    "learnability_simulation",
    (
        Column("checkpoint", "str", "checkpoint whose sparsity, trend and local standard deviations were simulated"),
        Column("decoder", "str", "what predicted: wced or mlm"),
        Column("planted_z", "float", "Z of the planted winners is minus this; 0: nothing is planted"),
        Column("repeats", "int", "simulated data sets"),
        Column("genes", "int", "genes of each"),
        Column("planted", "int", "of these, planted winners"),
        Column("recall", "float", "share of planted winners that are found; empty exactly when `reason` is filled"),
        Column("false_positive_rate", "float", "share of the other genes that are called winners"),
        Column("precision", "float", "share of planted genes among those called winners"),
        Column("losers_rate", "float", "share of the other genes that are called losers"),
        Column("reason", "str", "why there is no value", optional=True),
    ),
    ("checkpoint", "decoder", "planted_z"),
    value="recall",
)

GENE_ANNOTATION = Table(
    "gene_annotation",
    (
        Column("gene_id", "str", "Ensembl id of a protein-coding gene"),
        Column("gene_symbol", "str", "symbol"),
        Column("family_row", "str", "row of the family rules that took the gene"),
        Column("family", "str", "functional family"),
        Column("program", "str", "expression program: dissociation, cell_cycle, constitutive, identity or unassigned"),
        Column("program_is_proxy", "bool", "whether a proxy stands for any of the sets that the programs rest on"),
        Column("proxies", "str", "which of these sets are proxies, with `; ` between", optional=True),
        Column("tf_superclass", "str", "TFClass superclass (number) of a transcription factor", optional=True),
        Column("dissociation", "bool", "responds to dissociation"),
        Column("cell_cycle", "bool", "of the cell cycle"),
        Column("housekeeping", "bool", "constitutive in all tissues"),
        Column("identity", "bool", "cell type enriched or group enriched"),
        Column("tissue_specificity_tau", "float", "tau over tissues: 0 even, 1 in one tissue only"),
        Column("n_tissues", "float", "tissues in which it has at least 1 nTPM; empty where unknown"),
        Column("cell_type_specificity_tau", "float", "tau over cell types"),
        Column("n_cell_types", "float", "cell types in which it has at least 1 nTPM; empty where unknown"),
        Column("cell_type_specificity", "str", "category of cell type specificity", optional=True),
    ),
    ("gene_id",),
)

GENE_ANNOTATION_SOURCES = Table(
    "gene_annotation_sources",
    (
        Column("column", "str", "column of gene_annotation"),
        Column("source", "str", "what says it"),
        Column("version", "str", "archive or file, and release", optional=True),
        Column("sha256", "str", "SHA-256 of the archive, or of the file", optional=True),
        Column("proxy", "bool", "whether it stands for a source that was not given"),
        Column("names", "int", "names or ids of genes in the source"),
        Column("names_unmapped", "int", "of these, names without an Ensembl id in the gene table"),
        Column("genes", "int", "protein-coding genes that it says something of"),
        Column("note", "str", "the rule, and what is to be known"),
    ),
    ("column", "source"),
)

GENE_GROUPS = Table(
    "gene_groups",
    (
        Column("axis", "str", "family or program"),
        Column("row", "str", "place in the order of the rules"),
        Column("group", "str", "family or program"),
        Column("genes", "int", "protein-coding genes in it"),
        Column("published_genes", "float", "genes that the BMFM-RNA paper has in it, of 19,027; empty for own rules"),
        Column("rule", "str", "what makes a gene belong, when no row before has taken it"),
        Column("reading", "str", "how an ambiguous rule was read, or what is a proxy", optional=True),
    ),
    ("axis", "group"),
)

ATTRIBUTIONS = Table(
    "attributions",
    (
        Column("target", "str", "output of the model that is explained"),
        Column("gene_id", "str", "Ensembl id"),
        Column("gene_symbol", "str", "symbol", optional=True),
        Column("attribution", "float", "mean over all cells of what the gene's expression adds to the output"),
        Column("abs_attribution", "float", "mean over all cells of the absolute value of that"),
        Column("cells_expressing", "int", "cells that express the gene and whose sequence has room for it"),
        Column("cells", "int", "cells that the means are over; a gene adds nothing to the others"),
    ),
    ("target", "gene_id"),
)

METRICS = Table(
    "metrics",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("split", "str", "train or validation"),
        Column("epoch", "int", "epoch, from 1"),
        Column("step", "int", "optimiser steps made"),
        Column("metric", "str", "loss or score"),
        Column("value", "float", "mean over the epoch (validation) or since the last row (train)"),
    ),
    ("checkpoint", "split", "epoch", "step", "metric"),
)

UMAP = Table(
    "umap",
    (
        Column("dataset", "str", "dataset"),
        Column("model", "str", "checkpoint or baseline"),
        Column("cell", "str", "obs name of the cell"),
        Column("cell_type", "str", "cell type of the cell"),
        Column("batch", "str", "batch of the cell"),
        Column("umap_1", "float", "first coordinate"),
        Column("umap_2", "float", "second coordinate"),
    ),
    ("dataset", "model", "cell"),
)

TIMINGS = Table(
    "timings",
    (
        Column("job", "str", "command and what it made, below the folder of the run"),
        Column("seconds", "float", "wall-clock time of the work; the start of the process is no part"),
        Column(
            "max_rss_mb", "float", "largest resident memory of the process, MB; what it shares with others included"
        ),
        Column("cpu_seconds", "float", "processor time of the work, in the process and those that it started"),
    ),
    ("job",),
)

THROUGHPUT = Table(
    "throughput",
    (
        Column(
            "work", "str", "what was done: write_shards, raw_batches, wced_batches, mlm_batches, wced_batches_dense"
        ),
        Column("system", "str", "what did it: ours, another loader, or the copying of as many bytes"),
        Column("version", "str", "version of the system's package", optional=True),
        Column("length", "int", "largest number of genes in a sequence; 0 where the work has no sequences"),
        Column("device", "str", "where the dense form of the target is made"),
        Column("batch_size", "int", "cells of a batch"),
        Column("workers", "int", "worker processes; without any, the process is pinned to one core"),
        Column("cells", "int", "cells delivered in the timed part of all repeats"),
        Column("repeats", "int", "timed repeats, each at least as long as asked for, in turn with those of the others"),
        Column("cells_per_second", "float", "median over the repeats; empty exactly when `reason` is filled"),
        Column("min", "float", "slowest repeat, cells/s"),
        Column("max", "float", "fastest repeat, cells/s"),
        Column("tokens_per_second", "float", "positions of sequences (padding left out); else expressed genes"),
        Column("peak_mb", "float", "largest resident memory of the process and its workers, MB, mapped files included"),
        Column("grown_mb", "float", "largest anonymous memory beyond that before the data were opened, MB"),
        Column("batch_entropy", "float", "mean Shannon entropy of the datasets of a batch's cells, bits"),
        Column("full_shuffle_entropy", "float", "what a full random shuffle is expected to have, bits"),
        Column("entropy_ratio", "float", "batch_entropy / full_shuffle_entropy"),
        Column("ratio_of_ours", "float", "cells/s of ours / cells/s of this system"),
        Column("protocol", "str", "settings of the system"),
        Column("reason", "str", "why there is no value", optional=True),
    ),
    ("work", "system", "length", "device"),
    value="cells_per_second",
)

SPEEDRUN = Table(
    "speedrun",
    (
        Column("recipe", "str", "name of the recipe"),
        Column("model", "str", "recipe, untrained (the same encoder before its first step), pca, hvg or corpus_pca"),
        Column("seed", "int", "seed of the training; all scores are drawn with the first seed of the run"),
        Column("minutes", "float", "minutes of training asked for: batches and steps, without scoring and reading"),
        Column("steps", "int", "optimiser steps made by then"),
        Column("cells_seen", "int", "cells trained on by then, those seen again counted again"),
        Column("cells_per_second", "float", "cells_seen by the training clock; empty without training"),
        Column("loss", "float", "mean training loss since the row before; empty without training"),
        Column("role", "str", "development (scores may choose recipes) or held_out"),
        Column("dataset", "str", "dataset, or validation_<dataset> for validation cells of the corpus"),
        Column("task", "str", "benchmark"),
        Column("metric", "str", "name of the score"),
        Column("value", "float", "the score; empty exactly when `reason` is filled"),
        Column("n", "int", "cells scored"),
        Column("width", "int", "dimensions of the embedding"),
        Column("protocol", "str", "how the score was computed"),
        Column("leakage", "str", "what the model may have seen of these cells"),
        Column("reason", "str", "why there is no value", optional=True),
    ),
    ("recipe", "model", "seed", "minutes", "dataset", "task", "metric"),
    value="value",
)

STEP_BENCHMARK = Table(
    "step_benchmark",
    (
        Column("work", "str", "mlm_step, wced_step (with a hierarchical and three focal heads) or embedding"),
        Column("device", "str", "cpu or cuda"),
        Column("precision", "str", "fp32, or bf16 with weights in fp32"),
        Column("intermediate_size", "int", "width of the feed-forward layers, of 12 layers of 384"),
        Column("length", "int", "largest number of genes in a sequence, CLS not counted"),
        Column("batch_size", "int", "cells of a step, or of one embedding"),
        Column("threads", "int", "threads of torch on the CPU"),
        Column("repeats", "int", "steps timed"),
        Column("seconds", "float", "median over the repeats of a step's seconds"),
        Column("min", "float", "fastest step, seconds"),
        Column("max", "float", "slowest step, seconds"),
        Column("cells_per_second", "float", "batch_size / seconds"),
        Column("tokens_per_second", "float", "genes and CLS positions that are there / seconds"),
        Column("flops", "float", "floating-point operations that a step needs"),
        Column("flops_per_second", "float", "flops / seconds"),
        Column("matmul_flops_per_second", "float", "best matrix product by torch.matmul in turn with the steps"),
        Column("peak_flops_per_second", "float", "the same, or by the model's linear layer where that is better"),
        Column("share_of_matmul", "float", "flops_per_second / matmul_flops_per_second"),
        Column("share_of_peak", "float", "flops_per_second / peak_flops_per_second"),
        Column("peak_mb", "float", "largest resident memory of the process, or memory of tensors on a GPU, MB"),
        Column("padding", "float", "share of the step's positions that are padding"),
        Column("padding_unsorted", "float", "the same of sixteen batches as they come"),
        Column("padding_bucketed", "float", "the same with order.bucket_steps 16"),
    ),
    ("work", "device", "precision", "intermediate_size", "length", "batch_size"),
)

COMPARISONS = Table(
    "comparisons",
    (
        Column("run", "str", "name of the run"),
        Column("task", "str", "benchmark"),
        Column("protocol", "str", "how the scores were computed"),
        Column("label", "str", "obs column that was the truth"),
        Column("metric", "str", "name of the score"),
        Column("higher_is_better", "bool", "which end of the metric is the best"),
        Column("model_a", "str", "one model"),
        Column("model_b", "str", "the other"),
        Column("datasets", "int", "datasets on which both have a score"),
        Column("difference", "float", "mean over these of a's score minus b's"),
        Column("ci_low", "float", "lower end of the 95% interval"),
        Column("ci_high", "float", "upper end of the 95% interval"),
        Column("ci_method", "str", "how the interval was made", optional=True),
        Column("wins_a", "int", "datasets on which a is better"),
        Column("wins_b", "int", "datasets on which b is better; the others are ties"),
        Column("p", "float", "two-sided p-value of no difference"),
        Column("p_adjusted", "float", "the same, corrected for all pairs of models at this metric"),
        Column("test", "str", "test and correction", optional=True),
        Column("p_reason", "str", "why there is no p-value", optional=True),
        Column("reason", "str", "why there is no difference", optional=True),
    ),
    ("run", "task", "protocol", "label", "metric", "model_a", "model_b"),
    value="difference",
)

RANKING = Table(
    "ranking",
    (
        Column("run", "str", "name of the run"),
        Column("task", "str", "benchmark"),
        Column("protocol", "str", "how the scores were computed"),
        Column("label", "str", "obs column that was the truth"),
        Column("metric", "str", "name of the score"),
        Column("dataset", "str", "dataset, or `all` for the means over datasets"),
        Column("model", "str", "checkpoint or baseline"),
        Column("n_params", "int", "trained parameters of the model that embeds; 0 for baselines"),
        Column("width", "int", "dimensions of the embedding"),
        Column("datasets", "int", "datasets behind the row"),
        Column("value", "float", "the score; of `all`, the mean over datasets"),
        Column("rank", "float", "1 for the best of the models with a score, ties share the mean of their ranks"),
        Column("rank_sd", "float", "standard deviation of the rank over datasets; of `all` only"),
        Column("z", "float", "standard deviations better than the mean of the models; empty where all are alike"),
        Column("z_sd", "float", "standard deviation of z over datasets; of `all` only"),
        Column("reason", "str", "why there is no value", optional=True),
    ),
    ("run", "task", "protocol", "label", "metric", "dataset", "model"),
    value="value",
)

ABLATION = Table(
    "ablation",
    (
        Column("checkpoint", "str", "checkpoint"),
        Column("levels", "str", "its level of each factor"),
        Column("task", "str", "benchmark; `ablation` for the reconstruction of validation cells"),
        Column("metric", "str", "name of the score"),
        Column("dataset", "str", "dataset, or `mean` over all of them"),
        Column("protocol", "str", "how the score was computed"),
        Column("label", "str", "what was the truth"),
        Column("value", "float", "the score; empty exactly when `reason` is filled"),
        Column("ci_low", "float", "lower end of the 95% interval"),
        Column("ci_high", "float", "upper end of the 95% interval"),
        Column("ci_method", "str", "how the interval was made", optional=True),
        Column("n", "int", "cells or genes scored; of a mean, datasets"),
        Column("reason", "str", "why there is no value", optional=True),
    ),
    ("checkpoint", "task", "metric", "dataset", "protocol", "label"),
    value="value",
)

ABLATION_EFFECTS = Table(
    "ablation_effects",
    (
        Column("factor", "str", "what differs"),
        Column("level_a", "str", "one level of the factor"),
        Column("level_b", "str", "the other"),
        Column("others", "str", "levels of the other factors; `mean` of scores averaged over them", optional=True),
        *(column for column in COMPARISONS.columns if column.name not in ("run", "model_a", "model_b")),
    ),
    ("factor", "level_a", "level_b", "others", "task", "protocol", "label", "metric"),
    value="difference",
)

TABLES = {
    table.name: table
    for table in (
        SCORES,
        CORPUS,
        QC,
        QC_HISTOGRAMS,
        SAMPLING,
        SPLIT,
        SPLIT_EXCEPTIONS,
        SELECTION_BENCHMARK,
        SOURCES_QC,
        SOURCES_TERMS,
        GENE_FILTER,
        GENE_ERRORS,
        GENE_ERROR_SUMS,
        LEARNABILITY,
        LEARNABILITY_SUMMARY,
        GENE_LEARNABILITY,
        LEARNABILITY_FACTS,
        LEARNABILITY_FAMILIES,
        LEARNABILITY_DYNAMICS,
        LEARNABILITY_ENRICHMENT,
        LEARNABILITY_AGREEMENT,
        LEARNABILITY_EXCLUSIVE,
        LEARNABILITY_SENSITIVITY,
        LEARNABILITY_SIMULATION,
        LEAKAGE,
        SKIPPED,
        PUBLISHED,
        GENE_ANNOTATION,
        GENE_ANNOTATION_SOURCES,
        GENE_GROUPS,
        ATTRIBUTIONS,
        METRICS,
        UMAP,
        TIMINGS,
        THROUGHPUT,
        STEP_BENCHMARK,
        SPEEDRUN,
        COMPARISONS,
        ABLATION,
        ABLATION_EFFECTS,
        RANKING,
    )
}

_DTYPES = {"str": "str", "int": "int64", "float": "float64", "bool": "bool"}


def checked(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return `frame` with the table's columns and types; raise WcedError naming what does not fit."""
    names = [column.name for column in table.columns]
    for missing in (name for name in names if name not in frame.columns):
        raise WcedError(f"table {table.name}: column {missing} is missing")
    for extra in (name for name in frame.columns if name not in names):
        raise WcedError(f"table {table.name}: column {extra} is not in its schema")
    frame = frame[names].copy()
    for column in table.columns:
        values = frame[column.name]
        if column.kind != "float" and values.isna().any():
            if not column.optional:
                raise WcedError(f"table {table.name}: column {column.name} has an empty value")
            values = values.fillna("")
        try:
            if column.kind == "bool" and not values.isin([True, False]).all():
                raise ValueError("only True and False are")
            if column.kind == "int" and (values.astype("float64") % 1 != 0).any():
                raise ValueError("it holds fractions")
            frame[column.name] = values.astype(_DTYPES[column.kind])
        except (TypeError, ValueError) as failure:
            raise WcedError(f"table {table.name}: column {column.name} is not {column.kind}: {failure}") from None
    repeated = frame.duplicated(list(table.key))
    if repeated.any():
        raise WcedError(f"table {table.name}: two rows for {frame.loc[repeated, list(table.key)].iloc[0].to_dict()}")
    if table.value is not None:
        wrong = (frame[table.value].isna() != (frame["reason"] != "")) | np.isinf(frame[table.value])
        if wrong.any():
            raise WcedError(
                f"table {table.name}: a value is finite, and empty exactly when a reason is given, which fails for "
                f"{frame.loc[wrong, list(table.key)].iloc[0].to_dict()}"
            )
    return frame


def write(frame: pd.DataFrame, table: Table, path: str | Path) -> None:
    """Check a table and write it whole: TSV, or Parquet when `path` ends in .parquet."""
    frame = checked(frame, table)
    with whole_file(path) as temporary:
        if temporary.suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, sep="\t", index=False, float_format="%.6g")


def read(table: Table, paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Read one or several files of one table, checked, as one frame."""
    paths = [paths] if isinstance(paths, str | Path) else paths
    return checked(pd.concat([_read(table, path) for path in paths], ignore_index=True), table)


def _read(table: Table, path: str | Path) -> pd.DataFrame:
    what = f"a table of {table.name}"
    path = existing(path, what)
    frame = parquet.read(path, what) if path.suffix == ".parquet" else _read_tsv(table, path)
    try:
        return checked(frame, table)
    except WcedError as failure:
        raise WcedError(f"{path}: {failure}") from None


def _read_tsv(table: Table, path: Path) -> pd.DataFrame:
    text = [column.name for column in table.columns if column.kind == "str"]
    numbers = [column.name for column in table.columns if column.kind != "str"]
    try:
        return pd.read_csv(
            path, sep="\t", dtype=dict.fromkeys(text, "str"), keep_default_na=False,
            na_values={name: [""] for name in numbers},
        )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as failure:
        raise WcedError(f"{path}: cannot be read as a table of {table.name}: {failure}") from None
