import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from wced import tables
from wced.cli import shards as commands
from wced.config.corpus import GeneFilter
from wced.errors import WcedError
from wced.shards.gene_filter import RUN_CELLS, reaches_thresholds, sampled_cells
from wced.shards.vocabulary import Vocabulary


@pytest.fixture
def run(made, tmp_path):
    """Run the command with a filter; return the vocabulary, the table if there is one, and the provenance."""

    def run(**rules):
        output = tmp_path / "vocabulary.tsv"
        commands.vocabulary(
            made.genes, made.cells, made.run.census.model_dump_json(), output, collection=made.census,
            section=json.dumps({"genes": rules}), seed=1,
        )  # fmt: skip
        path = tmp_path / "gene_filter.tsv"
        table = tables.read(tables.GENE_FILTER, path) if path.exists() else None
        return Vocabulary.read(output), table, json.loads((tmp_path / "vocabulary.tsv.provenance.json").read_text())

    return run


@pytest.fixture
def expected(made, run):
    """Statistics of every gene computed from the harmonised files with plain numpy."""
    vocabulary = Vocabulary.read(made.shards / "vocabulary.tsv")
    cells = pd.read_parquet(made.cells)
    harmonised = [ad.read_h5ad(path) for path in made.sources]
    joined = ad.concat(harmonised, join="outer", fill_value=0)
    train = cells["soma_joinid"][cells["split"] == "train"].to_numpy()
    x_nv = joined[train, list(vocabulary.gene_ids)].X.toarray().astype(np.float64)
    measured = np.stack([np.isin(vocabulary.gene_ids, adata.var_names) for adata in harmonised])
    measured_nv = np.repeat(measured, [adata.n_obs for adata in harmonised], axis=0)[train]
    scaled_nv = np.where(measured_nv, 1e4 * x_nv / x_nv.sum(axis=1, keepdims=True), np.nan)
    return pd.DataFrame(
        {
            "gene_id": vocabulary.gene_ids,
            "cells": measured_nv.sum(axis=0),
            "frequency": (x_nv > 0).sum(axis=0) / measured_nv.sum(axis=0),
            "mean_cp10k": np.nanmean(scaled_nv, axis=0),
            "dispersion": np.nanvar(scaled_nv, axis=0, ddof=1) / np.nanmean(scaled_nv, axis=0),
        }
    )


def test_off_by_default_and_leaves_no_table(run):
    vocabulary, table, _ = run(min_fraction=0.5)
    assert table is not None
    assert len(run()[0]) > len(vocabulary) and run()[1] is None


def test_statistics_are_over_the_cells_that_measured_a_gene(run, expected):
    _, table, _ = run(min_fraction=0.01)
    assert table["cells"].min() < table["cells"].max()
    pd.testing.assert_frame_equal(table[expected.columns], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("rules", "keeps"),
    [
        ({"min_fraction": 0.3}, lambda row: row["frequency"] >= 0.3),
        ({"min_dispersion": 40.0}, lambda row: row["dispersion"] >= 40),
        (
            {"min_fraction": 0.2, "min_dispersion": 40.0},
            lambda row: (row["frequency"] >= 0.2) & (row["dispersion"] >= 40),
        ),
    ],
    ids=["fraction", "dispersion", "both"],
)
def test_genes_below_a_threshold_are_removed_and_counted(run, expected, rules, keeps):
    vocabulary, table, provenance = run(**rules)
    kept = keeps(expected)
    assert 0 < kept.sum() < len(expected)
    assert list(vocabulary.gene_ids) == expected["gene_id"][kept].tolist()
    assert table["kept"].tolist() == kept.tolist()
    assert provenance["genes_removed"] == (~kept).sum()


def test_a_filter_that_leaves_nothing_is_refused(run):
    with pytest.raises(WcedError, match=r"^shards\.genes: the filter leaves none of 305 genes"):
        run(min_dispersion=1e9)


def test_genes_without_evidence_reach_no_threshold():
    statistics = pd.DataFrame({"frequency": [0.5, 0.0, np.nan], "dispersion": [2, np.nan, np.nan]})
    for rules, kept in (
        ({}, [True, True, True]),
        ({"min_fraction": 0.1}, [True, False, False]),
        ({"min_dispersion": 0.0}, [True, False, False]),
    ):
        assert reaches_thresholds(statistics, GeneFilter(**rules)).tolist() == kept


def test_the_sample_is_runs_of_training_cells():
    rng = np.random.default_rng(0)
    cells = pd.DataFrame({"soma_joinid": np.arange(10_000), "split": rng.choice(["train", "validation"], 10_000)})
    train = cells[cells["split"] == "train"]
    sample = sampled_cells(cells, 1000, seed=1)
    assert (sample["split"] == "train").all() and sample["soma_joinid"].is_monotonic_increasing
    assert 1000 <= len(sample) < 1000 + RUN_CELLS
    places = train["soma_joinid"].searchsorted(sample["soma_joinid"])
    assert len(np.unique(places // RUN_CELLS)) == -(-len(sample) // RUN_CELLS)
    pd.testing.assert_frame_equal(sample, sampled_cells(cells, 1000, seed=1))
    assert not sample.equals(sampled_cells(cells, 1000, seed=2))
    pd.testing.assert_frame_equal(sampled_cells(cells, 10**6, seed=1), train)
