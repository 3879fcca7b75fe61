import json

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from wced import tables
from wced.cli import benchmarks as commands
from wced.embedding.files import write_embedding
from wced.errors import WcedError
from wced.ontology import cut, load


@pytest.fixture
def app():
    app = typer.Typer()
    commands.register(app)
    return app


@pytest.fixture
def embedding(tmp_path):
    """30 cells of three cell types, in two batches."""
    rng = np.random.default_rng(0)
    types = ["CL:0000084", "CL:0000236", "CL:0000576"] * 10
    x_nd = rng.normal(size=(30, 3)) + 3 * np.eye(3)[[0, 1, 2] * 10]
    names = [f"c{i}" for i in range(30)]
    obs = pd.DataFrame({"cell_type_ontology_term_id": types, "batch": ["x"] * 15 + ["y"] * 15}, index=names)
    write_embedding(tmp_path / "m.h5ad", x_nd, obs, model="m", dataset="d", n_params=3, leakage="none")
    predicted = pd.DataFrame({"cell": names, "predicted_term": "CL:0000625", "probability": 0.5})
    predicted.to_parquet(tmp_path / "m.parquet")
    (tmp_path / "ontology.json").write_text(json.dumps(cut(load(), ["CL:0000625", "CL:0000236"]).to_json()))
    return tmp_path / "m.h5ad"


def score(app, task, embedding, *more, section) -> pd.DataFrame:
    output = embedding.parent / f"{task}.tsv"
    given = [f"score-{task}", "--embedding", embedding, "--section", json.dumps({"datasets": ["d"], **section})]
    given += ["--run", "r", "--seed", 0, "--output", output, *more]
    done = CliRunner().invoke(app, [str(part) for part in given], catch_exceptions=False)
    assert done.exit_code == 0
    assert (embedding.parent / f"{task}.tsv.provenance.json").exists()
    return tables.read(tables.SCORES, output).set_index("metric")


@pytest.mark.parametrize(
    ("task", "section", "n_metrics"),
    [
        pytest.param("zero-shot-integration", {"neighbours": 5}, 8, id="integration"),
        pytest.param("cell-type-classification", {"folds": 2, "min_class_size": 5}, 8, id="classification"),
    ],
)
def test_scores_of_an_embedding(app, embedding, task, section, n_metrics):
    table = score(app, task, embedding, section=section)
    assert len(table) == n_metrics and table["value"].between(0, 1).all()


def test_annotation_with_and_without_an_ontology_head(app, embedding):
    files = ["--annotation", embedding.with_suffix(".parquet"), "--ontology", embedding.parent / "ontology.json"]
    values = score(app, "zero-shot-annotation", embedding, *files, section={})["value"]
    assert values["accuracy_exact"] == 0  # CD8 T cells are predicted; the truth is T cell, B cell and monocyte
    assert values["accuracy_exact_or_descendant"] == pytest.approx(1 / 3)
    assert values["reachable_lineage"] == pytest.approx(2 / 3)
    assert score(app, "zero-shot-annotation", embedding, section={})["value"].isna().all()
    with pytest.raises(WcedError, match="together or not at all"):
        score(app, "zero-shot-annotation", embedding, *files[:2], section={})
