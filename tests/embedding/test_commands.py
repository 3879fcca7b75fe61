import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from typer.testing import CliRunner

from wced import tables
from wced.checkpoint import save
from wced.cli.commands import app
from wced.embedding import inference
from wced.embedding.files import read_embedding
from wced.embedding.inputs import read_cells
from wced.embedding.pooling import Pooling
from wced.errors import WcedError


@pytest.fixture
def options(checkpoint, adata, tmp_path):
    """Return options for a checkpoint and cells whose counts are in a layer."""
    (tmp_path / "model").mkdir()
    save(checkpoint, tmp_path / "model")
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return ["--input", str(tmp_path / "cells.h5ad"), "--checkpoint", str(tmp_path / "model"), "--layer", "counts"]


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)


def test_embed(options, checkpoint, adata, tmp_path):
    output = tmp_path / "e.h5ad"
    printed = run("embed", *options, "--output", output, "--pooling=mean", "--pooling=cls:1", "--model", "m").output
    assert "7 cells; 17 of 20 genes" in printed and "m: 7 cells × 16; " in printed
    read = read_embedding(output)
    pooling = Pooling(["mean", "cls:1"], checkpoint.model)
    cells = read_cells(adata, checkpoint, layer="counts")
    np.testing.assert_allclose(read.X, inference.embed(cells, checkpoint, pooling=pooling, batch_size=4), atol=1e-5)
    assert read.uns["wced"]["pooling"] == "mean+cls:1" and read.uns["wced"]["width"] == 16
    assert read.uns["wced"]["input"]["genes"] == 17 and read.obs_names.tolist() == adata.obs_names.tolist()
    record = json.loads((tmp_path / "e.h5ad.provenance.json").read_text())
    assert record["section"]["layer"] == "counts" and 0 <= record["padded_share"] < 1
    assert record["inputs"]["weights"]["sha256"] and record["input"]["gene_share"] == 0.85


def test_embed_without_pooling_reads_where_the_checkpoint_says(checkpoint, options, adata, tmp_path):
    output, config = tmp_path / "e.h5ad", tmp_path / "model/config.json"
    changed = {"readout": ["mean"], "losses": {"mlm": "mean"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | changed))
    assert "read from mean, " in run("embed", *options, "--output", output).output
    read = read_embedding(output)
    cells = read_cells(adata, checkpoint, layer="counts")
    expected = inference.embed(cells, checkpoint, pooling=Pooling("mean", checkpoint.model), batch_size=4)
    np.testing.assert_allclose(read.X, expected, atol=1e-5)
    assert read.uns["wced"]["pooling"] == "mean" and read.uns["wced"]["leakage"] == "not checked"
    assert json.loads((tmp_path / "e.h5ad.provenance.json").read_text())["pooling"] == "mean"
    run("embed", *options, "--output", output, "--pooling", "cls")
    facts = read_embedding(output).uns["wced"]
    assert facts["pooling"] == "cls (untrained)"
    assert facts["leakage"] == "cls: untrained, no loss reads it; not checked"


def test_annotate(options, tmp_path):
    output = tmp_path / "a.parquet"
    run("annotate", *options, "--output", output, "--method", "greedy")
    frame = pd.read_parquet(output)
    assert frame.columns[:3].tolist() == ["cell", "predicted_term", "probability"] and len(frame) == 7
    run("annotate", *options, "--output", output, "--column", "age")
    assert pd.read_parquet(output).columns.tolist() == ["cell", "predicted_value"]


def test_attribute(options, tmp_path):
    output = tmp_path / "a.tsv"
    target = "cell_type_ontology_term_id=CL:2"
    printed = run("attribute", *options, "--output", output, "--target", target, "--steps", 8).output
    frame = tables.read(tables.ATTRIBUTIONS, output)
    assert (frame["target"] == target).all() and len(frame) <= 17
    record = json.loads((tmp_path / "a.tsv.provenance.json").read_text())
    assert record["steps"] == 8 and record["completeness_error_max"] >= record["completeness_error_mean"] > 0
    assert f"completeness error {record['completeness_error_mean']:.2g} in the mean" in printed


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
def test_refusals_say_why_and_leave_nothing(options, tmp_path, words, message):
    with pytest.raises(WcedError, match=message):
        run(words[0], *options, *words[1:], "--output", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.fixture(scope="module")
def searched(made, tmp_path_factory):
    """Return the folder in which a held-out dataset was looked for in the corpus."""
    path = tmp_path_factory.mktemp("searched")
    census, collection = made.run.census.model_dump_json(), made.census
    ids, cells = path / "joinids.parquet", ["--dataset", "held_blood", "--input", made.held_out]
    run("joinids", "--cells", made.cells, "--census", census, "--collection", collection, "--output", ids)
    printed = run("leakage", *cells, "--shards", made.shards, "--joinids", ids, "--output", path / "leakage.tsv").output
    assert "held_blood: none (0 of 180 cells found in the corpus)" in printed
    return path


def test_embeddings_quote_the_leakage_table(options, searched, tmp_path):
    table = tables.read(tables.LEAKAGE, searched / "leakage.tsv")
    assert table["corpus_dataset"].tolist() == ["all"] and table["found"].tolist() == [0]
    run("embed", *options, "--leakage-table", searched / "leakage.tsv", "--output", tmp_path / "e.h5ad")
    assert read_embedding(tmp_path / "e.h5ad").uns["wced"]["leakage"] == "none (0 of 180 cells found in the corpus)"


def test_baselines_add_up_entries_of_one_gene(made, tmp_path):
    held = ad.read_h5ad(made.held_out)
    x_ng = held.X
    value = np.column_stack([np.ones_like(x_ng.data), x_ng.data - 1]).ravel()
    held.X = sparse.csr_matrix((value, np.repeat(x_ng.indices, 2), 2 * x_ng.indptr), x_ng.shape)
    held.write_h5ad(tmp_path / "split.h5ad")
    for name, path in (("one", made.held_out), ("two", tmp_path / "split.h5ad")):
        options = ["--section", made.run.embedding.model_dump_json(), "--model", "hvg"]
        run("embed-baseline", "--input", path, *options, "--output", tmp_path / f"{name}.h5ad")
    np.testing.assert_array_equal(*(ad.read_h5ad(tmp_path / f"{name}.h5ad").X for name in ("one", "two")))


def test_corpus_pca(made, searched, tmp_path):
    from wced.embedding.baselines.corpus_pca import fit
    from wced.shards.reader import ShardSet

    section = made.run.embedding.model_dump_json()
    run("fit-corpus-pca", "--shards", made.shards, "--section", section, "--seed", 3, "--output", tmp_path / "c.npz")
    options = ["--input", made.held_out, "--section", section, "--model", "corpus_pca", "--dataset", "held_blood"]
    options += ["--corpus", tmp_path / "c.npz", "--leakage-table", searched / "leakage.tsv"]
    run("embed-baseline", *options, "--output", tmp_path / "e.h5ad")
    read = read_embedding(tmp_path / "e.h5ad")
    expected = fit(ShardSet(made.shards), 10, 100_000, 3).embed(ad.read_h5ad(made.held_out))
    np.testing.assert_array_equal(read.X, expected)
    facts = read.uns["wced"]
    assert facts["leakage"] == "none (0 of 180 cells found in the corpus)" and facts["source"] == "here"
    assert facts["n_params"] == 11 * len(ShardSet(made.shards).vocabulary)


def test_embed_external(made, tmp_path):
    held = ad.read_h5ad(made.held_out)
    order = np.random.default_rng(0).permutation(held.n_obs)
    values = np.arange(2.0 * held.n_obs).reshape(-1, 2)
    ad.AnnData(values[order], obs=held.obs.iloc[order][[]]).write_h5ad(tmp_path / "of_held_blood.h5ad")
    section = {"embeddings": str(tmp_path / "of_{dataset}.h5ad"), "n_params": 5, "leakage": "trained on everything"}
    section["space"] = "dataset"
    options = ["--section", json.dumps(section), "--model", "theirs", "--dataset", "held_blood"]
    run("embed-external", "--input", made.held_out, *options, "--output", tmp_path / "e.h5ad")
    read = read_embedding(tmp_path / "e.h5ad")
    assert (values == read.X).all() and read.obs["batch"].tolist() == held.obs["batch"].tolist()
    assert read.uns["wced"] == {
        "model": "theirs", "n_params": 5, "width": 2, "dataset": "held_blood", "leakage": "trained on everything",
        "pooling": "none", "source": "external", "space": "dataset",
    }  # fmt: skip


EXTERNAL = ["embed-external", "--model", "theirs", "--section"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*EXTERNAL, '{"embeddings": "one.h5ad", "n_params": 1}'], "write {dataset} where its name stands"),
        ([*EXTERNAL, '{"embeddings": "{dataset}.h5ad"}'], "n_params: Field required"),
        (
            ["embed-baseline", "--model", "tsne", "--section", '{"datasets": []}'],
            "--model tsne: a baseline is one of hvg, pca",
        ),
    ],
    ids=["external path", "external n_params", "baseline"],
)
def test_models_that_do_not_exist_are_refused(made, tmp_path, words, message):
    with pytest.raises(WcedError, match=message):
        run(*words, "--input", made.held_out, "--output", tmp_path / "e.h5ad")
