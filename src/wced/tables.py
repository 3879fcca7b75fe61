"""Schemas of all tables, checked when a table is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

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
        Column("n_params", "int", "trained parameters of the model that embeds; 0 for baselines"),
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
        Column("genes", "int", "genes with errors"),
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
        Column("rule", "str", "rule and its wildcards"),
        Column("seconds", "float", "wall-clock time"),
        Column("max_rss_mb", "float", "largest resident memory, MB"),
        Column("cpu_seconds", "float", "processor time"),
    ),
    ("rule",),
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
        Column("model", "str", "recipe, untrained (the same encoder before its first step), pca or hvg"),
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
        GENE_FILTER,
        GENE_ERRORS,
        GENE_ERROR_SUMS,
        LEARNABILITY,
        LEARNABILITY_SUMMARY,
        ATTRIBUTIONS,
        METRICS,
        UMAP,
        TIMINGS,
        THROUGHPUT,
        STEP_BENCHMARK,
        SPEEDRUN,
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
    path = existing(path, f"a table of {table.name}")
    if path.suffix == ".parquet":
        return checked(pd.read_parquet(path), table)
    text = [column.name for column in table.columns if column.kind == "str"]
    numbers = [column.name for column in table.columns if column.kind != "str"]
    frame = pd.read_csv(
        path, sep="\t", dtype=dict.fromkeys(text, "str"), keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )  # fmt: skip
    return checked(frame, table)
