import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from wced import tables
from wced.cli import app
from wced.embedding import inference
from wced.embedding.files import read_embedding
from wced.embedding.inputs import read_cells
from wced.embedding.pooling import Pooling
from wced.errors import WcedError
from wced.pretraining import folder


@pytest.fixture
def given(checkpoint, adata, tmp_path):
    """Return options for a checkpoint and cells whose counts are in a layer."""
    (tmp_path / "model").mkdir()
    folder.save(checkpoint, tmp_path / "model")
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return ["--input", str(tmp_path / "cells.h5ad"), "--checkpoint", str(tmp_path / "model"), "--layer", "counts"]


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)


def test_embed(given, checkpoint, adata, tmp_path):
    output = tmp_path / "e.h5ad"
    said = run("embed", *given, "--output", output, "--pooling", "mean", "--pooling", "cls:1", "--model", "m").output
    assert "7 cells; 17 of 20 genes" in said and "m: 7 cells × 16; " in said
    read = read_embedding(output)
    pooling = Pooling(["mean", "cls:1"], checkpoint.model)
    cells = read_cells(adata, checkpoint, layer="counts")
    np.testing.assert_allclose(read.X, inference.embed(cells, checkpoint, pooling=pooling, batch_size=4), atol=1e-5)
    assert read.uns["wced"]["pooling"] == "mean+cls:1" and read.uns["wced"]["width"] == 16
    assert read.uns["wced"]["input"]["genes"] == 17 and read.obs_names.tolist() == adata.obs_names.tolist()
    record = json.loads((tmp_path / "e.h5ad.provenance.json").read_text())
    assert record["section"]["layer"] == "counts" and 0 <= record["padded_share"] < 1
    assert record["inputs"]["weights"]["sha256"] and record["input"]["gene_share"] == 0.85


def test_annotate(given, tmp_path):
    output = tmp_path / "a.parquet"
    run("annotate", *given, "--output", output, "--method", "greedy")
    frame = pd.read_parquet(output)
    assert frame.columns[:3].tolist() == ["cell", "predicted_term", "probability"] and len(frame) == 7
    run("annotate", *given, "--output", output, "--column", "age")
    assert pd.read_parquet(output).columns.tolist() == ["cell", "predicted_value"]


def test_attribute(given, tmp_path):
    output = tmp_path / "a.tsv"
    target = "cell_type_ontology_term_id=CL:2"
    said = run("attribute", *given, "--output", output, "--target", target, "--steps", 8).output
    frame = tables.read(tables.ATTRIBUTIONS, output)
    assert (frame["target"] == target).all() and len(frame) <= 17
    record = json.loads((tmp_path / "a.tsv.provenance.json").read_text())
    assert record["steps"] == 8 and record["completeness_error_max"] >= record["completeness_error_mean"] > 0
    assert f"completeness error {record['completeness_error_mean']:.2g} in the mean" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["embed", "--layer", "none"], r"cells.h5ad: layers: there is no none"),
        (["embed", "--raw"], r"cells.h5ad: layer counts and use_raw"),
        (["annotate", "--gene-column", "none"], r"cells.h5ad: var: there is no column none"),
        (["annotate", "--min-gene-share", "0.9"], r"cells.h5ad: var_names: 17 of the model's 20 genes"),
        (["embed", "--pooling", "max"], "^pooling: max is none of"),
        (["attribute", "--target", "x=y"], "^x: the checkpoint has no such label head"),
        (["embed", "--checkpoint", "nowhere"], r"nowhere/config.json: no such file"),
    ],
    ids=["layer", "raw", "gene_column", "min_gene_share", "pooling", "target", "checkpoint"],
)
def test_refusals_say_why_and_leave_nothing(given, tmp_path, words, message):
    with pytest.raises(WcedError, match=message):
        run(words[0], *given, *words[1:], "--output", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
