import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wced import tables
from wced.benchmarks.published import LOST, read, scores
from wced.errors import WcedError

FOLDER = Path(__file__).parents[2] / "config/published"


@pytest.fixture(scope="module")
def published():
    return read(FOLDER)


def value(published, table, dataset, model, metric):
    keys = {"table": table, "dataset": dataset, "model": model, "metric": metric}
    rows = published[(published[list(keys)] == pd.Series(keys)).all(axis=1)]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize(
    ("table", "dataset", "model", "metric", "expected"),
    [
        ("Table 2", "TF: Zinc-Coordinating", "annotation", "genes", 673),
        ("Table 2", "RNA Binding", "annotation", "genes", 1103),
        ("Table 3", "HSP90AA1", "both", "zero_fraction_high", 0.22),
        ("Table 3", "PRMT2", "MLM", "zero_fraction", 0.60),
        ("Table 4", "lung_atlas", "WCED - MLM", "f1", 0.341),
        ("Table 4", "pbmc_10k", "WCED - MLM", "avg_bio", 0.276),
        ("Table 5", "pancrm", "scGPT", "overall", 0.564),
        ("Table 5", "average", "WCED MULTITASK", "overall", 0.748),
        ("Table 6", "immune_atlas", "MLM MULTITASK", "avg_bio", 0.659),
        ("Table 7", "cell_lines", "BMFM CONCAT", "avg_batch", 0.938),
        ("Table 8", "mhsp", "WCED MULTITASK", "overall", 0.660),
        ("Table 9", "average", "TF-Exemplar", "macro_f1", 0.828),
        ("Table 9", "tsv2_thymus", "BMFM-RNA-CONCATENATION", "macro_f1", 0.871),
        ("Table 10", "tsv2_mammary", "AIDO.Cell: 3M", "accuracy", 0.990),
        ("Table 11", "tsv2_blood", "UCE: 4L", "ari", 0.416),
        ("Table 12", "tsv2_lung", "BMFM-RNA-WCED-MULTITASK", "nmi", 0.842),
        ("Table 13", "tsv2_mammary", "BMFM-RNA-MLM-MULTITASK", "silhouette", 0.696),
        ("Section 2.6", "average", "WCED MULTITASK", "f1_gain", 0.039),
        ("Section 2.7", "sciplex3_a549", "Geneformer 316M", "auc", 0.881),
        ("Section 10", "identity_associated", "WCED", "odds_ratio", 2.36),
    ],
)
def test_numbers_that_were_looked_up_by_hand(published, table, dataset, model, metric, expected):
    assert value(published, table, dataset, model, metric)["value"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("table", "dataset", "model", "metric"),
    [
        ("Table 3", "DDX5", "MLM", "z"),
        ("Table 4", "average", "WCED - MLM", "avg_batch"),
        ("Table 4", "zheng68k", "WCED - MLM", "avg_batch"),
        ("Section 2.1", "validation", "WCED", "rescaled_mae"),
    ],
)
def test_numbers_that_the_text_has_lost_are_empty(published, table, dataset, model, metric):
    row = value(published, table, dataset, model, metric)
    assert np.isnan(row["value"]) and row["note"].startswith(LOST)


def test_values_are_in_range(published):
    per_unit = published["metric"].isin(
        ["overall", "avg_bio", "avg_batch", "macro_f1", "accuracy", "ari", "nmi", "silhouette", "auc", "f1"]
    )
    values = published.loc[per_unit, "value"].dropna()
    assert len(values) > 500 and values.between(0, 1).all()
    percent = published.loc[published["metric"].str.contains("percent"), "value"].dropna()
    assert len(percent) > 10 and percent.between(0, 100).all()
    whole = published.loc[published["metric"].isin(["genes", "winners", "losers", "width"]), "value"].dropna()
    assert (whole % 1 == 0).all() and (whole > 0).all()


def test_tables_agree_with_one_another(published):
    """What the paper computes from its own numbers comes out as it says, to its three digits."""
    wide = published[published["table"].isin([f"Table {i}" for i in (5, 6, 7, 8)])].pivot_table(
        "value", ["dataset", "model"], "metric", dropna=False
    )
    there = wide.dropna()
    assert len(there) == 44
    assert (0.6 * there["avg_bio"] + 0.4 * there["avg_batch"] - there["overall"]).abs().max() < 0.00151
    combined = published[published["table"] == "Table 5"].pivot_table("value", "dataset", "model")
    # the paper's averages are of its own unrounded numbers
    assert (combined.drop("average").mean() - combined.loc["average"]).abs().max() < 0.0011
    for table in ("Table 9", "Table 10"):
        rows = published[published["table"] == table]
        tissues = rows.pivot_table("value", "model", "dataset")
        assert tissues.shape == (13, 6)
        assert (tissues.drop(columns="average").mean(axis=1) - tissues["average"]).abs().max() < 0.00151
    families = published[(published["table"] == "Table 2") & (published["dataset"] != "all")]
    assert len(families) == 37 and families["value"].sum() == 19027


def test_scores_are_marked_as_published(published):
    frame = scores(published[published["task"] == "czi"])
    assert (frame["source"] == "published").all() and len(frame) == 346
    assert frame["protocol"].iloc[0].startswith("Table 9 of the paper: cz-benchmarks")
    lost = scores(published[published["table"] == "Table 4"])
    assert (lost["reason"].str.startswith(LOST) == lost["value"].isna()).all() and lost["value"].isna().any()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\t0.583\t", "\t\t", "either a value or a note that begins with 'not in the text'"),
        ("\t0.583\t", "\tabout 0.6\t", "could not convert|column value is not float"),
        ("mca\tWCED", "mca\tMLM", "two rows for"),
        ("table\ttask", "table\tjob", "column task is missing"),
    ],
    ids=["lost without a word", "no number", "twice", "column"],
)
def test_what_is_refused(tmp_path, old, new, message):
    text = (FOLDER / "table_08_mouse.tsv").read_text()
    (tmp_path / "t.tsv").write_text(text.replace(old, new))
    with pytest.raises((WcedError, ValueError), match=message):
        read(tmp_path)


def test_files_are_as_the_table_is_written(tmp_path, published):
    """So that an edit shows as one line, and nothing of a number is lost in reading."""
    for path in sorted(FOLDER.glob("*.tsv")):
        shutil.copy(path, tmp_path)
        frame = tables.read(tables.PUBLISHED, path)
        numbers = [line.split("\t")[5] for line in path.read_text().splitlines()[1:]]
        assert [f"{float(number):.6g}" if number else "" for number in numbers] == [
            "" if np.isnan(number) else f"{number:.6g}" for number in frame["value"]
        ]
    assert len(read(tmp_path)) == len(published)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(WcedError, match="there is no table"):
        read(tmp_path)
